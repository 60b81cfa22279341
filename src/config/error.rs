//! What is wrong with a configuration, where, and what to do about it.
//!
//! Invariant: one line, with the place first and the remedy last; never a secret's value.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::limits::LimitError;
use crate::name::NameError;
use crate::net::{AddressingError, MacError};
use crate::policy::{PublishError, RuleError, SubnetError};
use crate::secret::{ShapeError, SourceError};
use crate::upstream::{ProxyError, UpstreamsError};

/// A configuration that does not start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

impl ConfigError {
    pub(super) fn flag(flag: &'static str, text: &str, problem: Problem) -> Self {
        Self { place: Place::Flag { flag, text: text.to_owned() }, problem }
    }
}

/// Where a fault stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A flag and its value.
    Flag {
        /// With its dashes.
        flag: &'static str,
        /// As typed.
        text: String,
    },
    /// The file as a whole.
    File(PathBuf),
    /// A spot in the file.
    Spot {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The key there, such as `[net] allow`; empty where the text has no such form.
        key: String,
    },
    /// A host of `[tls] passthrough`.
    Passthrough(String),
    /// A secret, by name.
    Secret(String),
    /// A rule that stands in no text.
    Rule(String),
    /// The addresses of `[net]`, as they are together.
    Addressing,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { flag, text } => write!(f, "{flag} '{}'", text.escape_debug()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Spot { file, line, column, key } => {
                write!(f, "{}:{line}:{column}", file.display())?;
                if key.is_empty() { Ok(()) } else { write!(f, ": {key}") }
            }
            Self::Passthrough(pattern) => write!(f, "[tls] passthrough '{pattern}'"),
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Rule(source) => write!(f, "rule of {source}"),
            Self::Addressing => write!(f, "[net]"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A file that cannot be read.
    #[error("cannot be read ({0}); name a file that this user can read")]
    Unreadable(io::ErrorKind),
    /// A file that is read again is another than it was, and the sandbox's command could have put it there.
    #[error(
        "is another file than at the start, which the command could have put there; write into it in place (cat NEW > FILE), or keep it where this user may not write"
    )]
    FileReplaced,
    /// Not TOML, or not of the shape of a configuration.
    #[error("{0}")]
    Toml(String),
    /// No rule, no host.
    #[error("{0}")]
    Rule(RuleError),
    /// A protocol that rules do not know.
    #[error("is no protocol; write tcp, udp or icmp")]
    RuleProtocol,
    /// A rule that does nothing.
    #[error("needs an action; write action = \"allow\" or action = \"deny\"")]
    RuleAction,
    /// Two rules that say the opposite of one another.
    #[error("contradicts '{other}' ({place}), which is about the very same; take one of them out")]
    RuleContradicts {
        /// The earlier one.
        other: String,
        /// Where it stands.
        place: String,
    },
    /// Two addresses for one name and port.
    #[error("that host and port are sent to {to} already; keep one of the two")]
    ConnectToTwice {
        /// The first one's address.
        to: SocketAddr,
    },
    /// No published port.
    #[error("{0}")]
    Publish(PublishError),
    /// The same port of the host again.
    #[error("{bind} is published already; keep one of the two, or give one another port of the host")]
    PublishTwice {
        /// The address and port.
        bind: SocketAddr,
    },
    /// A peer that is none.
    #[error("{0}")]
    Subnet(SubnetError),
    /// No peer at all.
    #[error("a port that is open to nobody is of no use; leave from out for whoever reaches it")]
    PublishFromNobody,
    /// No nameserver.
    #[error("is no nameserver: {0}; write ADDR, ADDR:PORT with an IPv6 one in brackets, NAME or NAME:PORT")]
    Nameserver(NameError),
    /// No network.
    #[error("is no network; write ADDR/LEN, as in 10.0.0.0/24")]
    Network,
    /// No IPv4 address.
    #[error("is no IPv4 address; write one, as in 10.0.0.1")]
    AddressV4,
    /// No IPv6 address.
    #[error("is no IPv6 address; write one, as in fd00::1")]
    AddressV6,
    /// No MAC address.
    #[error("{MacError}")]
    Mac,
    /// Addresses that do not hold together.
    #[error(transparent)]
    Addressing(AddressingError),
    /// A secret that no host may have.
    #[error("a secret needs its hosts; write NAME@HOST[,HOST] as a flag, hosts = [\"HOST\"] in a file")]
    SecretWithoutHost,
    /// A name that no variable can have.
    #[error("the name of a secret is that of a variable: letters, digits and '_', not first a digit")]
    SecretName,
    /// The same name again.
    #[error("secret {name} is there already; name all its hosts in one place")]
    SecretTwice {
        /// The name.
        name: String,
    },
    /// Port 80.
    #[error("port 80 is plain HTTP, which never carries a secret; leave the port out for 443")]
    SecretOnPlainHttp,
    /// A source of another kind.
    #[error("from {0}")]
    SecretSource(SourceError),
    /// A placeholder of another form than there can be.
    #[error("shape {0}")]
    SecretShape(ShapeError),
    /// An alphabet without a shape.
    #[error("an alphabet is for the {{rand}} of a shape; add one, as in shape = \"sk-{{rand}}\"")]
    SecretAlphabet,
    /// A kind of secret that there is not.
    #[error("there is no such type of secret; write \"aws-sigv4\", or leave type out")]
    SecretType,
    /// A key of plain secrets, for a key pair.
    #[error(
        "a secret of type aws-sigv4 has hosts, access_key_id, secret_access_key and session_token, and nothing else"
    )]
    SecretOfType,
    /// A part of a key pair, for a plain secret.
    #[error("the parts of a key pair need type = \"aws-sigv4\" beside them")]
    SecretWithoutType,
    /// A place where nothing can be swapped, in the words of the one who knows them.
    #[error("{0}")]
    Swap(String),
    /// No place at all.
    #[error("a secret with no place to stand is of no use; leave swap out for header and basic")]
    SwapEmpty,
    /// No reaction to a placeholder elsewhere.
    #[error("write inert, redact, deny or terminate, as in elsewhere = {{ url = \"deny\" }}")]
    Elsewhere,
    /// A kind of place that is none.
    #[error("elsewhere has the keys body, header and url; write one word for all three")]
    ElsewherePlace,
    /// A bound that no request could hold.
    #[error("write a whole number from 1, or leave it out for any number")]
    MaxPerRequest,
    /// A secret for a host whose traffic is not looked at.
    #[error(
        "secret {name} could never be injected there; take the host off [tls] passthrough or off the secret"
    )]
    SecretPassedThrough {
        /// The secret.
        name: String,
    },
    /// A pass-through host with a port.
    #[error("a host is passed through at all its allowed ports; write the host alone")]
    PassthroughPort,
    /// A pass-through host without a rule.
    #[error("no rule allows it; add it to [net] allow")]
    PassthroughNotAllowed,
    /// Options of a host whose traffic is not looked at.
    #[error(
        "TLS and HTTP with {host} are the guest's own there, so that an [[upstream]] can set only proxy and connect_timeout; take the host off one of the two"
    )]
    UpstreamPassedThrough {
        /// The host of the entry.
        host: String,
    },
    /// An entry about nobody.
    #[error("names no host; write hosts = [\"HOST\"], or *.SUFFIX for all below one")]
    UpstreamWithoutHost,
    /// A host of an entry with a port.
    #[error("an [[upstream]] counts at all ports of its hosts; write the host alone")]
    UpstreamPort,
    /// The host alias behind a proxy.
    #[error("this machine is never reached through a proxy; take the host off, or write proxy = \"direct\"")]
    UpstreamAlias,
    /// No root at all.
    #[error("would trust nobody; leave ca out for the system's roots")]
    UpstreamTrustsNobody,
    /// One half of a pair of files.
    #[error("client_cert and client_key go together; add the other one")]
    ClientPair,
    /// Another version of TLS.
    #[error("write \"1.2\" or \"1.3\"")]
    MinTls,
    /// No time.
    #[error("{0}")]
    Duration(Box<LimitError>),
    /// No proxy.
    #[error("{0}")]
    Proxy(ProxyError),
    /// No source of a password.
    #[error("password {0}")]
    ProxyPassword(Box<SourceError>),
    /// One half of a login.
    #[error("username and password go together; add the other one")]
    ProxyLogin,
    /// Nobody who resolves.
    #[error("write \"here\" or \"there\"")]
    ProxyResolve,
    /// Entries and proxies that do not go together.
    #[error("{0}")]
    Upstreams(Box<UpstreamsError>),
    /// A variable that is not set.
    #[error("variable {variable} is not set; export {variable} with the secret's value")]
    VariableUnset {
        /// The variable.
        variable: String,
    },
    /// A bound that cannot be one.
    #[error("{0}")]
    Limit(Box<LimitError>),
    /// An output that cannot be one.
    #[error("is no file to write to; name a file in a directory that exists")]
    Output,
}
