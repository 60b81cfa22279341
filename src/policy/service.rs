//! What of a host a rule opens and a flow asks for: a protocol, and a port where it has ports.
//!
//! Words and numbers only; it judges nothing. Invariant: two services are equal only where their protocols are,
//! so that a rule of one protocol never opens another.

use std::fmt;

/// A transport that rules tell apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// TCP, meant where a rule names no protocol.
    Tcp,
    /// UDP, written `/udp`.
    Udp,
    /// Echo requests of ICMP and ICMPv6 and the answers to them, written `/icmp`.
    Icmp,
}

impl Protocol {
    /// Its service at `port`, which means nothing for ICMP.
    #[must_use]
    pub fn at(self, port: u16) -> Service {
        match self {
            Self::Tcp => Service::Tcp(port),
            Self::Udp => Service::Udp(port),
            Self::Icmp => Service::Icmp,
        }
    }

    /// Its word in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }

    /// Reads its word in rules.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "icmp" => Some(Self::Icmp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP echo",
        })
    }
}

/// One service of a host, as a flow asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// This TCP port.
    Tcp(u16),
    /// This UDP port.
    Udp(u16),
    /// An answer to echo requests.
    Icmp,
}

impl Service {
    /// Its protocol.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp(_) => Protocol::Udp,
            Self::Icmp => Protocol::Icmp,
        }
    }

    /// Its port; ICMP has none.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) | Self::Udp(port) => Some(port),
            Self::Icmp => None,
        }
    }
}

/// What follows the host, as rules write it: `:22`, `:123/udp`, `/icmp`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, ":{port}"),
            Self::Udp(port) => write!(f, ":{port}/udp"),
            Self::Icmp => f.write_str("/icmp"),
        }
    }
}

/// Why a UDP port is closed to every guest, whatever the rules say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reserved {
    /// 53: all DNS of a guest ends in the sandbox.
    Dns,
    /// 443: TLS inside QUIC cannot be intercepted. A client that is refused at once goes on over TCP.
    Quic,
    /// 853, 5353, 5355 and 137: DNS by another road, past the sandbox's own.
    OtherDns,
}

impl Reserved {
    /// What a service is kept for, if anything.
    pub(super) fn of(service: Service) -> Option<Self> {
        match service {
            Service::Tcp(port @ (53 | 853)) | Service::Udp(port) => Self::of_port(port),
            Service::Tcp(_) | Service::Icmp => None,
        }
    }

    /// What the UDP port `port` is kept for, if anything.
    #[must_use]
    pub fn of_port(port: u16) -> Option<Self> {
        match port {
            53 => Some(Self::Dns),
            443 => Some(Self::Quic),
            137 | 853 | 5353 | 5355 => Some(Self::OtherDns),
            _ => None,
        }
    }

    /// What to do instead, for the hint of a denial at a host.
    pub(super) fn instead(self, host: &str) -> String {
        match self {
            Self::Dns | Self::OtherDns => "let the client use the sandbox's own DNS".to_owned(),
            Self::Quic => format!("--allow {host}, and let the client use TCP"),
        }
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "port 53 is answered by the sandbox's own DNS",
            Self::Quic => "QUIC would carry TLS that cannot be intercepted",
            Self::OtherDns => "names are looked up by the sandbox's own DNS alone",
        })
    }
}
