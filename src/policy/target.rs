//! Hosts and ports as people write them, and which name is dialled at another address.
//!
//! It reads; it judges nothing. Invariant: a target means at least one name that a guest can really use, and every
//! usual mistake is told what to write instead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::error::RuleError;
use crate::name::{HostName, HostPattern, NameError, parse_port};

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

/// Whether flows to `port` always carry their name, in TLS or HTTP.
pub(super) fn is_web(port: u16) -> bool {
    matches!(port, 80 | 443)
}

/// Whether `name` means the machine that asks (RFC 6761 §6.3), which for a guest is the sandbox.
pub(crate) fn is_localhost(name: &HostName) -> bool {
    name.as_str() == "localhost" || name.as_str().ends_with(".localhost")
}

/// An address or a CIDR, with or without a port.
pub(super) fn is_address(text: &str) -> bool {
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
