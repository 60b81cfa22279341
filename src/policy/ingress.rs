//! Who may come in: ports of the host's that lead into the guest, and whose peers may use them.
//!
//! It binds nothing and accepts nobody. Invariant: an [`Admission`] is made for a peer that the port is open to,
//! and by nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::verdict::{Denial, Reason, Verdict};

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

    /// Judges a peer by its address.
    pub fn at_peer(&self, peer: SocketAddr) -> Verdict<Admission> {
        let addr = peer.ip().to_canonical();
        if self.from.is_empty() || self.from.iter().any(|subnet| subnet.contains(addr)) {
            return Verdict::Allow(Admission { peer });
        }
        Verdict::Deny(Denial {
            reason: Reason::Peer,
            target: format!("{addr} to {self}"),
            rule: format!("publish {self}"),
            hint: format!("[[publish]] from = [\"{addr}\"]"),
        })
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

/// The addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subnet {
    addr: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Whether an address lies in it; an IPv4 address is never in an IPv6 subnet, nor the other way round.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        masked(addr, self.prefix) == self.addr
    }
}

/// The first `prefix` bits of an address, the others zero.
fn masked(addr: IpAddr, prefix: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let host = 32_u32.saturating_sub(prefix.into());
            IpAddr::V4(Ipv4Addr::from_bits(addr.to_bits() & u32::MAX.checked_shl(host).unwrap_or(0)))
        }
        IpAddr::V6(addr) => {
            let host = 128_u32.saturating_sub(prefix.into());
            IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & u128::MAX.checked_shl(host).unwrap_or(0)))
        }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Reads `ADDR` or `ADDR/PREFIX`.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| SubnetError::Address)?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => {
                prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or(SubnetError::Prefix { most })?
            }
            None => most,
        };
        let first = masked(addr, prefix);
        if first != addr {
            return Err(SubnetError::HostBits { first, prefix });
        }
        Ok(Self { addr, prefix })
    }
}

/// Why a text is no subnet.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubnetError {
    /// No address.
    #[error("is no address; write ADDR or ADDR/PREFIX")]
    Address,
    /// No length of a prefix.
    #[error("has no prefix length between 0 and {most} behind the '/'")]
    Prefix {
        /// The longest there is.
        most: u8,
    },
    /// An address inside rather than the subnet's own.
    #[error("has bits set behind its prefix; write {first}/{prefix}, or the address alone")]
    HostBits {
        /// The subnet's own address.
        first: IpAddr,
        /// Its length.
        prefix: u8,
    },
}

#[cfg(test)]
mod tests;
