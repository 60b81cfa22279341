//! Who may come in: ports of the host's that lead into the guest, and whose peers may use them.
//!
//! It binds nothing and accepts nobody. Invariant: an [`Admission`] is made for a peer that the port is open to,
//! and by nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Policy;
use super::denial::Denial;
use super::judge::Layer;
use super::reason::Reason;
use super::service::Service;
use super::subnet::Subnet;
use super::table::{Standing, Table};
use super::verdict::Verdict;

/// A port of the host's that leads to one of the guest's.
///
/// Open to whoever can reach the address it is bound to, which is this machine alone unless another is named;
/// [`Publish::only_from`] narrows that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publish {
    bind: SocketAddr,
    guest_port: u16,
    transport: Transport,
    from: Vec<Subnet>,
}

/// What a published port carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams, an association for each peer.
    Udp,
}

/// Proof that a port is open to this peer.
#[derive(Debug)]
#[must_use = "an admission leads into the guest or is a decision thrown away"]
pub struct Admission {
    peer: SocketAddr,
}

impl Admission {
    /// The peer.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Publish {
    /// Reads `[ADDR:]HOST:GUEST[/udp]`; an IPv6 ADDR stands in brackets, HOST 0 is any free port.
    pub fn parse(text: &str) -> Result<Self, PublishError> {
        let (ports, transport) = match text.strip_suffix("/udp") {
            Some(ports) => (ports, Transport::Udp),
            None => (text.strip_suffix("/tcp").unwrap_or(text), Transport::Tcp),
        };
        let (host, guest) = ports.rsplit_once(':').ok_or(PublishError::Form)?;
        let (addr, host) = match host.rsplit_once(':') {
            Some((addr, host)) => (bind_address(addr).ok_or(PublishError::Address)?, host),
            None => (Ipv4Addr::LOCALHOST.into(), host),
        };
        let guest_port = port(guest)?;
        if guest_port == 0 {
            return Err(PublishError::GuestPort);
        }
        Ok(Self { bind: SocketAddr::new(addr, port(host)?), guest_port, transport, from: Vec::new() })
    }

    /// Opens the port to these peers only.
    #[must_use]
    pub fn only_from(mut self, from: Vec<Subnet>) -> Self {
        self.from = from;
        self
    }

    /// Where on the host; port 0 is any free one.
    #[must_use]
    pub fn bind(&self) -> SocketAddr {
        self.bind
    }

    /// The guest's port.
    #[must_use]
    pub fn guest_port(&self) -> u16 {
        self.guest_port
    }

    /// What it carries.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether both ask for the same port of the host.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        self.bind.port() != 0 && self.bind == other.bind && self.transport == other.transport
    }

    /// Judges a peer by its address and by nothing but the port's own words; [`Policy::at_peer`] is what counts.
    pub(super) fn at_peer(&self, peer: SocketAddr) -> Verdict<Admission> {
        let addr = peer.ip().to_canonical();
        if self.from.is_empty() || self.from.iter().any(|subnet| subnet.contains(addr)) {
            return Verdict::Allow(Admission { peer });
        }
        Verdict::Deny(Denial {
            reason: Reason::Peer,
            target: format!("{addr} to {self}"),
            rule: format!("publish {self}"),
            hint: format!("[[publish]] from = [\"{addr}\"]"),
            observed: false,
        })
    }
}

impl Policy {
    /// Judges who comes in by a published port: by the rules that look inward, and by what the port itself says.
    ///
    /// Where no rule says who may come in, that the port is published is leave enough; where one does, nobody else may.
    pub fn at_peer(&self, publish: &Publish, peer: SocketAddr) -> Verdict<Admission> {
        let addr = peer.ip().to_canonical();
        let service = match publish.transport {
            Transport::Tcp => Service::Tcp(publish.guest_port),
            Transport::Udp => Service::Udp(publish.guest_port),
        };
        let target = || format!("{addr} to {publish}");
        let denies = |(layer, table): (Layer, &Table)| match table.inward(addr, service) {
            Standing::Denied(rule) => Some(Denial::by_rule(target(), rule, layer)),
            Standing::Unmentioned if table.lets_in() => Some(match layer {
                Layer::Floor => Denial::by_floor(target()),
                Layer::Own => Denial::by_ingress(target(), addr, service),
            }),
            Standing::Allowed(_) | Standing::Unmentioned => None,
        };
        match self.layers().find_map(denies) {
            Some(denial) => Verdict::Deny(denial),
            None => publish.at_peer(peer),
        }
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.transport {
            Transport::Tcp => "",
            Transport::Udp => "/udp",
        };
        write!(f, "{}:{}{suffix}", self.bind, self.guest_port)
    }
}

fn bind_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn port(text: &str) -> Result<u16, PublishError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| PublishError::Port(text.to_owned()))
}

/// Why a text publishes no port.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// Not two ports.
    #[error("is no published port; write [ADDR:]HOST:GUEST, with /udp behind it for UDP")]
    Form,
    /// Something else where an address stands.
    #[error("a port is bound to an address of this machine; write IPv4 as it is, IPv6 in brackets")]
    Address,
    /// Something else where a port stands.
    #[error("'{}' is no port; write a number up to 65535", .0.escape_debug())]
    Port(String),
    /// Port 0 of the guest.
    #[error("the guest has no port 0; only the host's may be 0, for any free one")]
    GuestPort,
}

#[cfg(test)]
mod tests;
