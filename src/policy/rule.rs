//! Rules as people write them: which hosts at which ports, and which name is dialled at another address.
//!
//! It reads and matches; it judges nothing. Invariant: a rule means at least one host and one port that a
//! guest can really be given, and it remembers where it was written.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::name::{HOST_ALIAS, HostName, HostPattern, NameError, parse_port};

use super::service::{Protocol, Reserved, Service};

/// Ports of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ports {
    /// 80 and 443, meant where a rule names no port.
    Web,
    /// This one.
    One(u16),
    /// None, of a protocol that has no ports: ICMP.
    None,
}

impl Ports {
    /// Whether `port` is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        match self {
            Self::Web => is_web(port),
            Self::One(own) => own == port,
            Self::None => false,
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web => f.write_str("80 and 443"),
            Self::One(port) => write!(f, "{port}"),
            Self::None => f.write_str("none"),
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

/// Leave to reach a host, or all hosts below one, by one protocol at some ports.
#[derive(Clone, Debug)]
pub struct AllowRule {
    pattern: HostPattern,
    protocol: Protocol,
    ports: Ports,
    source: RuleSource,
}

impl AllowRule {
    /// Reads `HOST`, `HOST:PORT`, `HOST:PORT/udp`, `HOST/icmp` or the same with `*.SUFFIX` for the host.
    pub fn parse(text: &str, source: RuleSource) -> Result<Self, RuleError> {
        let (text, protocol) = split_protocol(text)?;
        let Target { pattern, port } = Target::parse(text)?;
        let is_alias = is_alias(&pattern);
        let ports = match (protocol, port) {
            (Protocol::Tcp, None) if is_alias => return Err(RuleError::AliasPort),
            (Protocol::Tcp, None) => Ports::Web,
            (Protocol::Tcp, Some(port)) => Ports::One(port),
            (Protocol::Udp, None) => return Err(RuleError::UdpPort),
            (Protocol::Udp, Some(port)) => match Reserved::of_port(port) {
                Some(reserved) => return Err(RuleError::UdpReserved(reserved)),
                None => Ports::One(port),
            },
            (Protocol::Icmp, Some(_)) => return Err(RuleError::IcmpPort),
            (Protocol::Icmp, None) if is_alias => return Err(RuleError::AliasEcho),
            (Protocol::Icmp, None) => Ports::None,
        };
        Ok(Self { pattern, protocol, ports, source })
    }

    /// The leave that comes with being a host of the secret `name`.
    #[must_use]
    pub fn for_secret(pattern: HostPattern, port: u16, name: &str) -> Self {
        let source = RuleSource::Secret { name: name.to_owned() };
        Self { pattern, protocol: Protocol::Tcp, ports: Ports::One(port), source }
    }

    /// Whether it is about `host`, by whatever protocol and at whatever port.
    ///
    /// The host alias is meant only by its full name: a suffix must not open this machine by accident.
    #[must_use]
    pub fn names(&self, host: &HostName) -> bool {
        self.pattern.matches(host) && (!host.is_host_alias() || self.alias().is_some())
    }

    /// Whether it allows this service of `host`.
    #[must_use]
    pub fn reaches(&self, host: &HostName, service: Service) -> bool {
        self.opens(service) && self.names(host)
    }

    /// Whether it allows this service of its hosts.
    pub(super) fn opens(&self, service: Service) -> bool {
        self.protocol == service.protocol() && service.port().is_none_or(|port| self.ports.contains(port))
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

    /// Its protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
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

/// Takes the protocol off the end of a rule. A slash in a URL or behind an address is none of its.
fn split_protocol(text: &str) -> Result<(&str, Protocol), RuleError> {
    match text.rsplit_once('/') {
        Some((rest, word)) if !text.contains("://") && !is_address(text) => {
            Ok((rest, Protocol::parse(word).ok_or(RuleError::Protocol)?))
        }
        Some(_) | None => Ok((text, Protocol::Tcp)),
    }
}

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
    /// Another word than a protocol behind a slash.
    #[error("has a '/' that is followed by no protocol; write HOST, HOST:PORT, HOST:PORT/udp or HOST/icmp")]
    Protocol,
    /// UDP without a port.
    #[error("UDP needs a port; write HOST:PORT/udp")]
    UdpPort,
    /// A UDP port that no rule opens.
    #[error("that UDP port is refused to every guest: {0}; {advice}", advice = udp_advice(*.0))]
    UdpReserved(Reserved),
    /// ICMP with a port.
    #[error("ICMP has no ports; write HOST/icmp")]
    IcmpPort,
    /// An echo of the host alias.
    #[error("the gateway answers echo requests by itself; leave the rule out")]
    AliasEcho,
    /// Not `HOST:PORT:ADDR:PORT`.
    #[error("write HOST:PORT:ADDR:PORT with an address, an IPv6 one in brackets")]
    ConnectTo,
}

fn udp_advice(reserved: Reserved) -> &'static str {
    match reserved {
        Reserved::Dns | Reserved::OtherDns => "set [net] nameservers to choose who is asked",
        Reserved::Quic => "write HOST alone, and clients use TCP",
    }
}

#[cfg(test)]
mod tests;
