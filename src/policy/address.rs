//! Which addresses are no ordinary part of the Internet.
//!
//! The [IANA IPv4] and [IANA IPv6] special-purpose registries, multicast, what lies outside global unicast,
//! and the metadata services of large clouds. It knows no rules and no names. Invariant: an address that
//! carries an IPv4 address inside is judged by that one and by its own form; either suffices to be special.
//!
//! [IANA IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry/
//! [IANA IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry/

mod blocks;
mod carried;

pub use carried::carried;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Says whether `addr` is special, and how; `None` is an ordinary public address.
///
/// Of its own form and all the addresses that it carries, the gravest is the answer.
#[must_use]
pub fn special_use(addr: IpAddr) -> Option<SpecialUse> {
    let by_inside = carried(addr).filter_map(|inside| {
        own_use(inside.into()).map(|special| SpecialUse { inside: Some(inside), ..special })
    });
    by_inside.chain(own_use(addr)).min_by_key(|special| special.kind)
}

/// The same by the address's own form alone, whatever it carries.
///
/// A rule that opens a kind of address must open this one and that of each address which [`carried`] gives.
#[must_use]
pub fn own_use(addr: IpAddr) -> Option<SpecialUse> {
    let (kind, block) = match addr {
        IpAddr::V4(addr) => blocks::of_v4(addr)?,
        IpAddr::V6(addr) => blocks::of_v6(addr)?,
    };
    Some(SpecialUse { kind, block, inside: None })
}

/// The first address of each block, special or not, that is told from what is around it.
pub(super) fn blocks() -> impl Iterator<Item = IpAddr> {
    blocks::firsts()
}

/// The block an address lies in, and what that block is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpecialUse {
    /// What the block is for.
    pub kind: Kind,
    /// The block, or the single address, as the registry writes it.
    pub block: &'static str,
    /// The IPv4 address inside that was found special, where it was not the address's own form.
    pub inside: Option<Ipv4Addr>,
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inside {
            Some(inside) => write!(f, "{} ({}, by {inside} inside)", self.kind, self.block),
            None => write!(f, "{} ({})", self.kind, self.block),
        }
    }
}

/// What a special block is for; the graver comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Metadata service of a cloud, which hands out credentials.
    Metadata,
    /// The machine itself.
    Loopback,
    /// No address yet: 0.0.0.0/8, `::`. Some systems connect to themselves by it.
    Unspecified,
    /// Private networks, RFC 1918 and unique local.
    Private,
    /// Carrier-grade NAT, RFC 6598.
    Shared,
    /// One link only.
    LinkLocal,
    /// All of a link.
    Broadcast,
    /// Many receivers.
    Multicast,
    /// Benchmarking, RFC 2544; a sandbox's own mapped range lies here.
    Benchmarking,
    /// Set aside for IETF protocols.
    Protocol,
    /// Examples in documents.
    Documentation,
    /// Not assigned to anyone.
    Reserved,
    /// An encoding of IPv4 in IPv6 that is not for the wire.
    Transition,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "a cloud metadata service",
            Self::Loopback => "loopback",
            Self::Unspecified => "an unspecified address",
            Self::Private => "a private network",
            Self::Shared => "carrier-grade NAT space",
            Self::LinkLocal => "link-local",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::Benchmarking => "benchmarking space",
            Self::Protocol => "set aside for IETF protocols",
            Self::Documentation => "documentation space",
            Self::Reserved => "reserved space",
            Self::Transition => "an IPv4 address in disguise",
        })
    }
}

#[cfg(test)]
mod tests;
