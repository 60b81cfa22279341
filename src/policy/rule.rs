//! Rules as people write them: which hosts at which ports, and which name is dialled at another address.
//!
//! It reads and matches; it judges nothing. Invariant: a rule means at least one host and one port that a
//! guest can really be given, and it remembers where it was written.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::name::{HOST_ALIAS, HostName, HostPattern, NameError, parse_port};

/// Ports of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ports {
    /// 80 and 443, meant where a rule names no port.
    Web,
    /// This one.
    One(u16),
}

impl Ports {
    /// Whether `port` is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        match self {
            Self::Web => is_web(port),
            Self::One(own) => own == port,
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web => f.write_str("80 and 443"),
            Self::One(port) => write!(f, "{port}"),
        }
    }
}

/// Whether flows to `port` always carry their name, in TLS or HTTP.
pub(super) fn is_web(port: u16) -> bool {
    matches!(port, 80 | 443)
}

/// Where a rule was written; its text is what denials, audit and `check` show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuleSource {
    /// `--allow TEXT`.
    Flag(String),
    /// `[net] allow[index]` of the file.
    File {
        /// Place in the list, from 0.
        index: usize,
        /// What stands there.
        text: String,
    },
    /// A host of this secret.
    Secret {
        /// The secret's name.
        name: String,
    },
}

impl fmt::Display for RuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(text) => write!(f, "--allow {text}"),
            Self::File { index, text } => write!(f, "[net] allow[{index}] \"{text}\""),
            Self::Secret { name } => write!(f, "secret {name}"),
        }
    }
}

/// Leave to reach a host, or all hosts below one, at some ports.
#[derive(Clone, Debug)]
pub struct AllowRule {
    pattern: HostPattern,
    ports: Ports,
    source: RuleSource,
}

impl AllowRule {
    /// Reads `HOST`, `HOST:PORT` or the same with `*.SUFFIX` for the host.
    pub fn parse(text: &str, source: RuleSource) -> Result<Self, RuleError> {
        let target = Target::parse(text)?;
        let ports = match target.port {
            Some(port) => Ports::One(port),
            None if is_alias(&target.pattern) => return Err(RuleError::AliasPort),
            None => Ports::Web,
        };
        Ok(Self { pattern: target.pattern, ports, source })
    }

    /// The leave that comes with being a host of the secret `name`.
    #[must_use]
    pub fn for_secret(pattern: HostPattern, port: u16, name: &str) -> Self {
        Self { pattern, ports: Ports::One(port), source: RuleSource::Secret { name: name.to_owned() } }
    }

    /// Whether it is about `host`, at whatever port.
    ///
    /// The host alias is meant only by its full name: a suffix must not open this machine by accident.
    #[must_use]
    pub fn names(&self, host: &HostName) -> bool {
        self.pattern.matches(host) && (!host.is_host_alias() || self.alias().is_some())
    }

    /// Whether it allows `host` at `port`.
    #[must_use]
    pub fn reaches(&self, host: &HostName, port: u16) -> bool {
        self.ports.contains(port) && self.names(host)
    }

    /// The host alias, where the rule is about it.
    pub(super) fn alias(&self) -> Option<&HostName> {
        match &self.pattern {
            HostPattern::Exact(name) if name.is_host_alias() => Some(name),
            HostPattern::Exact(_) | HostPattern::Below(_) => None,
        }
    }

    /// Its hosts.
    #[must_use]
    pub fn pattern(&self) -> &HostPattern {
        &self.pattern
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Where it was written.
    #[must_use]
    pub fn source(&self) -> &RuleSource {
        &self.source
    }
}

/// A host pattern with an optional port, as rules and secrets write it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The hosts.
    pub pattern: HostPattern,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl Target {
    /// Reads `HOST[:PORT]`; says for each usual mistake what to write instead.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.contains("://") {
            return Err(RuleError::Url);
        }
        if is_address(text) {
            return Err(RuleError::Address);
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, Some(parse_port(digits).map_err(RuleError::Host)?)),
            None => (text, None),
        };
        if host == "*" {
            return Err(RuleError::AnyHost);
        }
        let pattern = HostPattern::parse(host).map_err(|error| match error {
            NameError::Address => RuleError::Address,
            NameError::Empty
            | NameError::Idna
            | NameError::TooLong
            | NameError::Label
            | NameError::Port
            | NameError::Userinfo
            | NameError::Wildcard => RuleError::Host(error),
        })?;
        let (HostPattern::Exact(name) | HostPattern::Below(name)) = &pattern;
        if is_localhost(name) {
            return Err(RuleError::Localhost);
        }
        if port == Some(DNS) {
            return Err(RuleError::Dns);
        }
        Ok(Self { pattern, port })
    }
}

/// All DNS of a guest ends in the sandbox.
const DNS: u16 = 53;

fn is_alias(pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Exact(name) => name.is_host_alias(),
        HostPattern::Below(_) => false,
    }
}

/// Whether `name` means the machine that asks (RFC 6761 §6.3), which for a guest is the sandbox.
pub(crate) fn is_localhost(name: &HostName) -> bool {
    name.as_str() == "localhost" || name.as_str().ends_with(".localhost")
}

/// An address or a CIDR, with or without a port.
fn is_address(text: &str) -> bool {
    let (head, _) = text.split_once('/').unwrap_or((text, ""));
    text.starts_with('[') || head.parse::<IpAddr>().is_ok() || head.parse::<SocketAddr>().is_ok()
}

/// Whether some name is meant by both.
#[must_use]
pub fn overlap(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        (HostPattern::Exact(name), HostPattern::Below(_)) => other.matches(name),
        (HostPattern::Below(_), HostPattern::Exact(name)) => one.matches(name),
        (HostPattern::Below(one), HostPattern::Below(other)) => {
            one == other || one.is_below(other) || other.is_below(one)
        }
    }
}

/// An operator's word that a name and port are reached at this very address: curl's `--connect-to`.
///
/// It lifts the check of the address and nothing else: the name still needs a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectTo {
    /// The name a guest uses.
    pub host: HostName,
    /// The port a guest uses.
    pub port: u16,
    /// What is dialled.
    pub to: SocketAddr,
}

impl ConnectTo {
    /// Reads `HOST:PORT:ADDR:PORT`, an IPv6 ADDR in brackets.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut parts = text.splitn(3, ':');
        let (Some(host), Some(port), Some(to)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(RuleError::ConnectTo);
        };
        let host = HostName::parse(host).map_err(RuleError::Host)?;
        let port = parse_port(port).map_err(RuleError::Host)?;
        if host.is_host_alias() {
            return Err(RuleError::AliasRedirected);
        }
        if is_localhost(&host) {
            return Err(RuleError::Localhost);
        }
        match to.parse::<SocketAddr>() {
            Ok(to) if to.port() != 0 => Ok(Self { host, port, to }),
            Ok(_) | Err(_) => Err(RuleError::ConnectTo),
        }
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--connect-to {}:{}:{}", self.host, self.port, self.to)
    }
}

/// Why a text is no rule, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// The host or the port is none.
    #[error("{0}; write HOST, HOST:PORT or *.SUFFIX")]
    Host(NameError),
    /// An address, or a text that some resolver reads as one.
    #[error(
        "is an address, and rules go by name; name the host, with --connect-to for its address if need be"
    )]
    Address,
    /// `*` alone.
    #[error("'*' would be any host; name the host, or all below one as *.SUFFIX")]
    AnyHost,
    /// `scheme://` before the host.
    #[error("is a URL; write its host alone, as HOST or HOST:PORT")]
    Url,
    /// The host alias without a port.
    #[error("needs a port: {HOST_ALIAS}:PORT")]
    AliasPort,
    /// The host alias in `--connect-to`.
    #[error("{HOST_ALIAS} is always this machine's loopback; use another name")]
    AliasRedirected,
    /// `localhost`, which a guest's resolver keeps to itself.
    #[error("localhost is the sandbox itself; this machine's loopback is {HOST_ALIAS}:PORT")]
    Localhost,
    /// Port 53.
    #[error("port 53 is answered by the sandbox's own DNS; set [net] nameservers to choose who is asked")]
    Dns,
    /// Not `HOST:PORT:ADDR:PORT`.
    #[error("write HOST:PORT:ADDR:PORT with an address, an IPv6 one in brackets")]
    ConnectTo,
}

#[cfg(test)]
mod tests;
