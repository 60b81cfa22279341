//! Which addresses are no ordinary part of the Internet.
//!
//! The [IANA IPv4] and [IANA IPv6] special-purpose registries, multicast, what lies outside global unicast,
//! and the metadata services of large clouds. It knows no rules and no names. Invariant: an address that
//! carries an IPv4 address inside is judged by that one and by its own form; either suffices to be special.
//!
//! [IANA IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry/
//! [IANA IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry/

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Says whether `addr` is special, and how; `None` is an ordinary public address.
#[must_use]
pub fn special_use(addr: IpAddr) -> Option<SpecialUse> {
    match addr {
        IpAddr::V4(addr) => special_v4(addr),
        IpAddr::V6(addr) => special_v6(addr),
    }
}

/// The IPv4 addresses that some box on the way may read out of `addr`.
pub fn carried(addr: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let inside = match addr {
        IpAddr::V4(_) => Inside::Nothing,
        IpAddr::V6(addr) => Inside::of(addr),
    };
    inside.addresses()
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

/// What a special block is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Metadata service of a cloud, which hands out credentials.
    Metadata,
    /// No address yet: 0.0.0.0/8, `::`.
    Unspecified,
    /// Private networks, RFC 1918 and unique local.
    Private,
    /// Carrier-grade NAT, RFC 6598.
    Shared,
    /// The machine itself.
    Loopback,
    /// One link only.
    LinkLocal,
    /// Set aside for IETF protocols.
    Protocol,
    /// Examples in documents.
    Documentation,
    /// Benchmarking, RFC 2544; a sandbox's own mapped range lies here.
    Benchmarking,
    /// Many receivers.
    Multicast,
    /// All of a link.
    Broadcast,
    /// An encoding of IPv4 in IPv6 that is not for the wire.
    Transition,
    /// Not assigned to anyone.
    Reserved,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "a cloud metadata service",
            Self::Unspecified => "an unspecified address",
            Self::Private => "a private network",
            Self::Shared => "carrier-grade NAT space",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Protocol => "set aside for IETF protocols",
            Self::Documentation => "documentation space",
            Self::Benchmarking => "benchmarking space",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Transition => "an IPv4 address in disguise",
            Self::Reserved => "reserved space",
        })
    }
}

struct Block4(Ipv4Addr, u32, Kind, &'static str);
struct Block6(Ipv6Addr, u32, Kind, &'static str);

/// The more exact first; the first that holds the address is the answer.
const BLOCKS_4: &[Block4] = &[
    // Amazon, Google, Azure, Oracle, DigitalOcean, Hetzner and most others.
    Block4(Ipv4Addr::new(169, 254, 169, 254), 32, Kind::Metadata, "169.254.169.254"),
    // Amazon's time, DNS and container credentials.
    Block4(Ipv4Addr::new(169, 254, 169, 253), 32, Kind::Metadata, "169.254.169.253"),
    Block4(Ipv4Addr::new(169, 254, 170, 2), 32, Kind::Metadata, "169.254.170.2"),
    Block4(Ipv4Addr::new(169, 254, 170, 23), 32, Kind::Metadata, "169.254.170.23"),
    // Scaleway, Tencent, Azure's wire server, Alibaba, Oracle's older service.
    Block4(Ipv4Addr::new(169, 254, 42, 42), 32, Kind::Metadata, "169.254.42.42"),
    Block4(Ipv4Addr::new(169, 254, 0, 23), 32, Kind::Metadata, "169.254.0.23"),
    Block4(Ipv4Addr::new(168, 63, 129, 16), 32, Kind::Metadata, "168.63.129.16"),
    Block4(Ipv4Addr::new(100, 100, 100, 200), 32, Kind::Metadata, "100.100.100.200"),
    Block4(Ipv4Addr::new(192, 0, 0, 192), 32, Kind::Metadata, "192.0.0.192"),
    Block4(Ipv4Addr::BROADCAST, 32, Kind::Broadcast, "255.255.255.255"),
    Block4(Ipv4Addr::UNSPECIFIED, 8, Kind::Unspecified, "0.0.0.0/8"),
    Block4(Ipv4Addr::new(10, 0, 0, 0), 8, Kind::Private, "10.0.0.0/8"),
    Block4(Ipv4Addr::new(100, 64, 0, 0), 10, Kind::Shared, "100.64.0.0/10"),
    Block4(Ipv4Addr::new(127, 0, 0, 0), 8, Kind::Loopback, "127.0.0.0/8"),
    Block4(Ipv4Addr::new(169, 254, 0, 0), 16, Kind::LinkLocal, "169.254.0.0/16"),
    Block4(Ipv4Addr::new(172, 16, 0, 0), 12, Kind::Private, "172.16.0.0/12"),
    Block4(Ipv4Addr::new(192, 0, 0, 0), 24, Kind::Protocol, "192.0.0.0/24"),
    Block4(Ipv4Addr::new(192, 0, 2, 0), 24, Kind::Documentation, "192.0.2.0/24"),
    Block4(Ipv4Addr::new(192, 88, 99, 0), 24, Kind::Transition, "192.88.99.0/24"),
    Block4(Ipv4Addr::new(192, 168, 0, 0), 16, Kind::Private, "192.168.0.0/16"),
    Block4(Ipv4Addr::new(198, 18, 0, 0), 15, Kind::Benchmarking, "198.18.0.0/15"),
    Block4(Ipv4Addr::new(198, 51, 100, 0), 24, Kind::Documentation, "198.51.100.0/24"),
    Block4(Ipv4Addr::new(203, 0, 113, 0), 24, Kind::Documentation, "203.0.113.0/24"),
    Block4(Ipv4Addr::new(224, 0, 0, 0), 4, Kind::Multicast, "224.0.0.0/4"),
    Block4(Ipv4Addr::new(240, 0, 0, 0), 4, Kind::Reserved, "240.0.0.0/4"),
];

/// The more exact first. NAT64's well-known prefix (RFC 6052), 6to4 and Teredo have no row: the address inside decides.
const BLOCKS_6: &[Block6] = &[
    // Amazon's metadata, DNS and pod identity; Google; Oracle; Scaleway.
    Block6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, Kind::Metadata, "fd00:ec2::254"),
    Block6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253), 128, Kind::Metadata, "fd00:ec2::253"),
    Block6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), 128, Kind::Metadata, "fd00:ec2::23"),
    Block6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Kind::Metadata, "fd20:ce::254"),
    Block6(
        Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
        128,
        Kind::Metadata,
        "fd00:c1::a9fe:a9fe",
    ),
    Block6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128, Kind::Metadata, "fd00:42::42"),
    Block6(Ipv6Addr::UNSPECIFIED, 128, Kind::Unspecified, "::"),
    Block6(Ipv6Addr::LOCALHOST, 128, Kind::Loopback, "::1"),
    Block6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Kind::Transition, "::ffff:0:0/96"),
    Block6(Ipv6Addr::UNSPECIFIED, 96, Kind::Transition, "::/96"),
    Block6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Kind::Transition, "64:ff9b:1::/48"),
    Block6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Kind::Reserved, "100::/64"),
    Block6(Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, Kind::Reserved, "100:0:0:1::/64"),
    Block6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, Kind::Benchmarking, "2001:2::/48"),
    Block6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Kind::Documentation, "2001:db8::/32"),
    Block6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Kind::Documentation, "3fff::/20"),
    Block6(Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, Kind::Protocol, "5f00::/16"),
    Block6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Kind::Private, "fc00::/7"),
    Block6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Kind::LinkLocal, "fe80::/10"),
    Block6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Kind::Private, "fec0::/10"),
    Block6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Kind::Multicast, "ff00::/8"),
];

/// IETF protocol assignments; Teredo lies in it, and is judged by the addresses inside instead.
const PROTOCOLS_6: Block6 =
    Block6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Kind::Protocol, "2001::/23");
/// All that has ever been given out as global unicast.
const GLOBAL_6: Block6 = Block6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Kind::Reserved, "2000::/3");
impl Block4 {
    fn holds(&self, addr: Ipv4Addr) -> bool {
        (addr.to_bits() ^ self.0.to_bits()) >> (u32::BITS - self.1) == 0
    }
}

impl Block6 {
    fn holds(&self, addr: Ipv6Addr) -> bool {
        (addr.to_bits() ^ self.0.to_bits()) >> (u128::BITS - self.1) == 0
    }

    fn special(&self) -> SpecialUse {
        SpecialUse { kind: self.2, block: self.3, inside: None }
    }
}

fn special_v4(addr: Ipv4Addr) -> Option<SpecialUse> {
    let block = BLOCKS_4.iter().find(|block| block.holds(addr))?;
    Some(SpecialUse { kind: block.2, block: block.3, inside: None })
}

fn special_v6(addr: Ipv6Addr) -> Option<SpecialUse> {
    let inside = Inside::of(addr);
    let by_inside = inside
        .addresses()
        .find_map(|inner| special_v4(inner).map(|special| SpecialUse { inside: Some(inner), ..special }));
    if by_inside.is_some() {
        return by_inside;
    }
    if let Some(block) = BLOCKS_6.iter().find(|block| block.holds(addr)) {
        return Some(block.special());
    }
    match inside {
        Inside::Nat64(_) | Inside::SixToFour(_) | Inside::Teredo { .. } => None,
        Inside::Mapped(_) | Inside::Compatible(_) | Inside::LocalNat64 { .. } | Inside::Nothing => {
            let ordinary = GLOBAL_6.holds(addr) && !PROTOCOLS_6.holds(addr);
            (!ordinary).then_some(if PROTOCOLS_6.holds(addr) {
                PROTOCOLS_6.special()
            } else {
                SpecialUse { kind: Kind::Reserved, block: "outside 2000::/3", inside: None }
            })
        }
    }
}

/// The IPv4 addresses that some box on the way may read out of an IPv6 address.
enum Inside {
    /// `::ffff:a.b.c.d`, RFC 4291 §2.5.5.2.
    Mapped(Ipv4Addr),
    /// `::a.b.c.d`, RFC 4291 §2.5.5.1.
    Compatible(Ipv4Addr),
    /// `64:ff9b::a.b.c.d`, RFC 6052 §2.1.
    Nat64(Ipv4Addr),
    /// `64:ff9b:1::/48`, RFC 8215; the length of the prefix in use cannot be known.
    LocalNat64 { by_48: Ipv4Addr, by_96: Ipv4Addr },
    /// `2002:aabb:ccdd::`, RFC 3056.
    SixToFour(Ipv4Addr),
    /// `2001:0:server:flags:port:client`, RFC 4380 §4.
    Teredo { server: Ipv4Addr, client: Ipv4Addr },
    /// None.
    Nothing,
}

impl Inside {
    fn of(addr: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h] = addr.segments();
        let last = ipv4(g, h);
        match [a, b, c, d, e, f] {
            [0, 0, 0, 0, 0, 0xffff] => Self::Mapped(last),
            // `::` and `::1` are addresses of their own.
            [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => Self::Compatible(last),
            [0x64, 0xff9b, 0, 0, 0, 0] => Self::Nat64(last),
            [0x64, 0xff9b, 1, high, low, _] => {
                // RFC 6052 §2.2: with a /48 the octet in the middle, bits 64 to 71, is skipped.
                let [_, third] = low.to_be_bytes();
                let [fourth, _] = f.to_be_bytes();
                Self::LocalNat64 { by_48: ipv4(high, u16::from_be_bytes([third, fourth])), by_96: last }
            }
            [0x2002, high, low, ..] => Self::SixToFour(ipv4(high, low)),
            [0x2001, 0, high, low, ..] => Self::Teredo { server: ipv4(high, low), client: ipv4(!g, !h) },
            _ => Self::Nothing,
        }
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (first, second) = match *self {
            Self::Mapped(addr) | Self::Compatible(addr) | Self::Nat64(addr) | Self::SixToFour(addr) => {
                (Some(addr), None)
            }
            Self::LocalNat64 { by_48, by_96 } => (Some(by_48), Some(by_96)),
            Self::Teredo { server, client } => (Some(client), Some(server)),
            Self::Nothing => (None, None),
        };
        first.into_iter().chain(second)
    }
}

fn ipv4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests;
