//! What a person asks about: a request, or a service of a host.
//!
//! It reads by the letter: where parsers differ, a spelling is refused and not guessed at, as the proxy does it. It
//! resolves nothing. Invariant: what is read here means the same to the proxy.

use std::fmt;
use std::net::IpAddr;

use http::header::HOST;
use http::{Method, Request};

use crate::http as proxy;
use crate::limits::Limits;
use crate::name::{Authority, Host, HostName, NameError, Origin, Scheme};
use crate::policy::{Protocol, Service};

/// What a guest would do.
#[derive(Debug)]
pub(in crate::cli) enum Asked {
    /// An HTTP request.
    Request {
        /// Its method.
        method: String,
        /// Whom it is for.
        origin: Origin,
        /// Path and query.
        target: String,
    },
    /// A flow to a name.
    Name(HostName, Service),
    /// A flow to an address.
    Address(IpAddr, Service),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, origin, target } => write!(f, "{method} {origin}{target}"),
            Self::Name(host, service) => write!(f, "{host}{service}"),
            Self::Address(addr, service) => write!(f, "{}{service}", Host::Address(*addr)),
        }
    }
}

/// Why there is nothing to judge.
#[derive(Debug)]
pub(in crate::cli) enum Unreadable {
    /// The command line is wrong.
    Usage(Usage),
    /// It is something that is never let by.
    Refused(Refused),
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(in crate::cli) enum Usage {
    #[error("a method is written in capitals, as in POST https://HOST/")]
    Method,
    #[error(
        "what is asked about is a URL that starts with http:// or https://, or HOST:PORT, HOST:PORT/udp or HOST/icmp"
    )]
    Form,
    #[error("a method is for a URL, as in POST https://HOST/")]
    MethodOfFlow,
    #[error("put an IPv6 address in brackets, as in [2001:db8::1]:22")]
    Brackets,
    #[error("with --peer, what is asked about is a port of the guest's, as in 80 or 53/udp")]
    Peer,
}

/// A spelling that no rule can allow.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::cli) enum Refused {
    #[error("the host {0}")]
    Host(NameError),
    #[error("there is a control character, a space or a backslash before the path")]
    Spelling,
    #[error("the path holds what no request target can")]
    Target,
    #[error("{0}")]
    Gate(String),
}

impl Refused {
    /// What stands in the way, as a rule does elsewhere.
    pub(in crate::cli) fn rule(&self) -> &'static str {
        match self {
            Self::Host(_) | Self::Spelling | Self::Target => "spelling",
            Self::Gate(_) => "requests that are never let by",
        }
    }

    /// What to do instead.
    pub(in crate::cli) fn hint(&self) -> &'static str {
        match self {
            Self::Host(NameError::Userinfo) => {
                "leave out what is before the '@'; credentials go into a field"
            }
            Self::Host(NameError::Address) => "write the host's name, or the address in its usual spelling",
            Self::Host(_) | Self::Spelling => "write the host by its name alone, as HOST or HOST:PORT",
            Self::Target => "write the path percent-encoded",
            Self::Gate(_) => "nothing does; make another request",
        }
    }
}

impl Asked {
    /// Reads `[METHOD] URL`, `HOST:PORT`, `HOST:PORT/udp` or `HOST/icmp`.
    pub(in crate::cli) fn parse(words: &[String]) -> Result<Self, Unreadable> {
        let (method, what) = match words {
            [method, what] => (Some(method.as_str()), what.as_str()),
            [what] => (None, what.as_str()),
            _ => return Err(Unreadable::Usage(Usage::Form)),
        };
        if !what.contains("://") {
            return match method {
                Some(_) => Err(Unreadable::Usage(Usage::MethodOfFlow)),
                None => flow(what),
            };
        }
        let method = method.unwrap_or("GET");
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return Err(Unreadable::Usage(Usage::Method));
        }
        request(method, what)
    }
}

/// Schemes that people write before a colon. `https:443` is port 443 of a host of that name all the same.
const SCHEMES: [&str; 6] = ["http", "https", "ws", "wss", "ftp", "ssh"];

fn is_url_without_slashes(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
            && !rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

fn flow(text: &str) -> Result<Asked, Unreadable> {
    if is_url_without_slashes(text) {
        return Err(Unreadable::Usage(Usage::Form));
    }
    let (text, protocol) = match text.rsplit_once('/') {
        Some((host, word)) => {
            let protocol = Protocol::parse(word).ok_or(Unreadable::Usage(Usage::Form))?;
            (host, protocol)
        }
        None => (text, Protocol::Tcp),
    };
    let Authority { host, port } = authority(text)?;
    let service = match (protocol, port) {
        (Protocol::Icmp, None) => Service::Icmp,
        (Protocol::Tcp | Protocol::Udp, Some(port)) => protocol.at(port),
        (Protocol::Icmp, Some(_)) | (Protocol::Tcp | Protocol::Udp, None) => {
            return Err(Unreadable::Usage(Usage::Form));
        }
    };
    Ok(match host {
        Host::Name(host) => Asked::Name(host, service),
        Host::Address(addr) => Asked::Address(addr, service),
    })
}

fn request(method: &str, url: &str) -> Result<Asked, Unreadable> {
    let (scheme, rest) = url.split_once("://").ok_or(Unreadable::Usage(Usage::Form))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(Unreadable::Usage(Usage::Form)),
    };
    let (before, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let Authority { host, port } = authority(before)?;
    let port = port.unwrap_or_else(|| scheme.default_port());
    let target = target.split('#').next().unwrap_or_default();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let host = match host {
        Host::Name(host) => host,
        // Whatever it asks: an address is judged before anything is read.
        Host::Address(addr) => return Ok(Asked::Address(addr, Service::Tcp(port))),
    };
    let origin = Origin { scheme, host, port };
    admit(method, &origin, &target).map_err(Unreadable::Refused)?;
    Ok(Asked::Request { method: method.to_owned(), origin, target })
}

fn authority(text: &str) -> Result<Authority, Unreadable> {
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(Unreadable::Refused(Refused::Spelling));
    }
    let is_bare = |text: &str| text.contains("::") || text.matches(':').count() > 1;
    if is_bare(text) && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.')) {
        return Err(Unreadable::Usage(Usage::Brackets));
    }
    Authority::parse(text).map_err(|error| Unreadable::Refused(Refused::Host(error)))
}

/// Asks the proxy's own gate.
fn admit(method: &str, origin: &Origin, target: &str) -> Result<(), Refused> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Target)?;
    let head = Request::builder().method(method).uri(target).header(HOST, origin.authority());
    let (head, ()) = head.body(()).map_err(|_| Refused::Target)?.into_parts();
    let refusal = proxy::admit(&head, origin, &Limits::default());
    refusal.map_err(|refusal| Refused::Gate(refusal.text().to_owned()))
}
