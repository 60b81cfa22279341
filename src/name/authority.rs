//! A host with the port that may follow it.
//!
//! It reads what stands in a `Host` field, an `:authority` or a URL; whether a flow may mean it is said elsewhere.
//! Invariant: an [`Authority`] has no user information, and its host is a canonical name or an address that was
//! written in the one way all parsers agree on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::host::is_ipv6;
use super::{HostName, NameError};

/// The host of an authority: a name, or a literal address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A name.
    Name(HostName),
    /// An address in its canonical spelling; odd spellings are refused before they get here.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Address(IpAddr::V4(addr)) => write!(f, "{addr}"),
            Self::Address(IpAddr::V6(addr)) => write!(f, "[{addr}]"),
        }
    }
}

/// `host[:port]` as it stands in a `Host` field or `:authority` ([RFC 9110 §7.2]).
///
/// [RFC 9110 §7.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `example.com`, `example.com:8443`, `192.0.2.1:80` or `[2001:db8::1]:443`; nothing before or after.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains('@') {
            return Err(NameError::Userinfo);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or(NameError::Address)?;
            let addr = inside.parse::<Ipv6Addr>().map_err(|_| NameError::Address)?;
            let port = match after.strip_prefix(':') {
                Some(digits) => Some(parse_port(digits)?),
                None if after.is_empty() => None,
                None => return Err(NameError::Port),
            };
            return Ok(Self { host: Host::Address(addr.into()), port });
        }
        if is_ipv6(text) {
            return Err(NameError::Address);
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, Some(parse_port(digits)?)),
            None => (text, None),
        };
        let host = match host.parse::<Ipv4Addr>() {
            Ok(addr) => Host::Address(addr.into()),
            Err(_) => Host::Name(HostName::parse(host)?),
        };
        Ok(Self { host, port })
    }
}

/// Reads a port in plain decimal: no sign, no leading zero, 1 to 65535.
pub fn parse_port(digits: &str) -> Result<u16, NameError> {
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NameError::Port);
    }
    digits.parse().map_err(|_| NameError::Port)
}
