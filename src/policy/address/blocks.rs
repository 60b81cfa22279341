//! The special blocks themselves, as the registries of 2025-10-09 hold them, and the metadata services.
//!
//! It reads no address inside another. Invariant: the more exact block comes first, and the first that holds an
//! address decides; a row without a kind is ordinary, and shields its addresses from the wider rows below.
//!
//! What the registries call globally reachable is ordinary, but for two sorts. The anycast addresses of PCP, TURN
//! and DNS-SD are answered by the nearest box, which is this machine's own NAT, relay or registrar and nobody's on
//! the Internet. ORCHIDv2 and DET addresses are hashes: no router knows them, and what answers to one is an overlay
//! on this machine. AS112 and AMT are services that are open to everyone, and stay ordinary. 6to4 and Teredo, where
//! the registries leave it open, are as ordinary as the addresses they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Kind;

/// First address, length of the prefix, what it is for, how it is written.
pub(super) struct Block<A>(pub(super) A, pub(super) u32, pub(super) Option<Kind>, pub(super) &'static str);

/// A metadata service, which is one address.
const fn metadata<A>(addr: A, bits: u32, text: &'static str) -> Block<A> {
    Block(addr, bits, Some(Kind::Metadata), text)
}

const fn metadata_4(addr: [u8; 4], text: &'static str) -> Block<Ipv4Addr> {
    metadata(Ipv4Addr::from_octets(addr), u32::BITS, text)
}

const fn metadata_6(addr: [u16; 8], text: &'static str) -> Block<Ipv6Addr> {
    metadata(Ipv6Addr::from_segments(addr), u128::BITS, text)
}

const fn v4(addr: [u8; 4], prefix: u32, kind: Kind, text: &'static str) -> Block<Ipv4Addr> {
    Block(Ipv4Addr::from_octets(addr), prefix, Some(kind), text)
}

const fn v6(head: [u16; 4], prefix: u32, kind: Kind, text: &'static str) -> Block<Ipv6Addr> {
    let [a, b, c, d] = head;
    Block(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix, Some(kind), text)
}

const fn ordinary_4(addr: [u8; 4], prefix: u32, text: &'static str) -> Block<Ipv4Addr> {
    Block(Ipv4Addr::from_octets(addr), prefix, None, text)
}

const fn ordinary_6(head: [u16; 4], prefix: u32, text: &'static str) -> Block<Ipv6Addr> {
    let [a, b, c, d] = head;
    Block(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix, None, text)
}

pub(super) const BLOCKS_4: &[Block<Ipv4Addr>] = &[
    // Amazon, Google, Azure, Oracle, Alibaba, Akamai, DigitalOcean, Hetzner and most others.
    metadata_4([169, 254, 169, 254], "169.254.169.254"),
    // Amazon's DNS, then its credentials for containers and for pods.
    metadata_4([169, 254, 169, 253], "169.254.169.253"),
    metadata_4([169, 254, 170, 2], "169.254.170.2"),
    metadata_4([169, 254, 170, 23], "169.254.170.23"),
    // Google's for pods.
    metadata_4([169, 254, 169, 252], "169.254.169.252"),
    // Scaleway, Tencent.
    metadata_4([169, 254, 42, 42], "169.254.42.42"),
    metadata_4([169, 254, 0, 23], "169.254.0.23"),
    // Azure's wire server, in space that is public.
    metadata_4([168, 63, 129, 16], "168.63.129.16"),
    // Alibaba, Volcengine, UCloud, in carriers' space.
    metadata_4([100, 100, 100, 200], "100.100.100.200"),
    metadata_4([100, 96, 0, 96], "100.96.0.96"),
    metadata_4([100, 80, 80, 80], "100.80.80.80"),
    // Oracle's older one.
    metadata_4([192, 0, 0, 192], "192.0.0.192"),
    v4([255, 255, 255, 255], 32, Kind::Broadcast, "255.255.255.255"),
    v4([0, 0, 0, 0], 32, Kind::Unspecified, "0.0.0.0"),
    v4([0, 0, 0, 0], 8, Kind::Unspecified, "0.0.0.0/8"),
    v4([10, 0, 0, 0], 8, Kind::Private, "10.0.0.0/8"),
    v4([100, 64, 0, 0], 10, Kind::Shared, "100.64.0.0/10"),
    v4([127, 0, 0, 0], 8, Kind::Loopback, "127.0.0.0/8"),
    v4([169, 254, 0, 0], 16, Kind::LinkLocal, "169.254.0.0/16"),
    v4([172, 16, 0, 0], 12, Kind::Private, "172.16.0.0/12"),
    // IPv4 behind IPv6 (RFC 7335), the dummy address (RFC 7600), PCP and TURN by anycast (RFC 7723, RFC 8155), what
    // ipv4only.arpa has (RFC 7050).
    v4([192, 0, 0, 0], 29, Kind::Protocol, "192.0.0.0/29"),
    v4([192, 0, 0, 8], 32, Kind::Protocol, "192.0.0.8"),
    v4([192, 0, 0, 9], 32, Kind::Protocol, "192.0.0.9"),
    v4([192, 0, 0, 10], 32, Kind::Protocol, "192.0.0.10"),
    v4([192, 0, 0, 170], 32, Kind::Protocol, "192.0.0.170"),
    v4([192, 0, 0, 171], 32, Kind::Protocol, "192.0.0.171"),
    v4([192, 0, 0, 0], 24, Kind::Protocol, "192.0.0.0/24"),
    v4([192, 0, 2, 0], 24, Kind::Documentation, "192.0.2.0/24"),
    // AS112 (RFC 7535), AMT (RFC 7450).
    ordinary_4([192, 31, 196, 0], 24, "192.31.196.0/24"),
    ordinary_4([192, 52, 193, 0], 24, "192.52.193.0/24"),
    // 6a44 and 6to4 relays (RFC 6751, RFC 7526): what is sent there is IPv6 in disguise.
    v4([192, 88, 99, 2], 32, Kind::Transition, "192.88.99.2"),
    v4([192, 88, 99, 0], 24, Kind::Transition, "192.88.99.0/24"),
    v4([192, 168, 0, 0], 16, Kind::Private, "192.168.0.0/16"),
    // AS112 by direct delegation (RFC 7534).
    ordinary_4([192, 175, 48, 0], 24, "192.175.48.0/24"),
    v4([198, 18, 0, 0], 15, Kind::Benchmarking, "198.18.0.0/15"),
    v4([198, 51, 100, 0], 24, Kind::Documentation, "198.51.100.0/24"),
    v4([203, 0, 113, 0], 24, Kind::Documentation, "203.0.113.0/24"),
    v4([224, 0, 0, 0], 4, Kind::Multicast, "224.0.0.0/4"),
    v4([240, 0, 0, 0], 4, Kind::Reserved, "240.0.0.0/4"),
];

pub(super) const BLOCKS_6: &[Block<Ipv6Addr>] = &[
    // Amazon's metadata, DNS and credentials for pods; Google; Oracle; Scaleway; Akamai; Alibaba; OpenStack.
    metadata_6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], "fd00:ec2::254"),
    metadata_6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253], "fd00:ec2::253"),
    metadata_6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], "fd00:ec2::23"),
    metadata_6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], "fd20:ce::254"),
    metadata_6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], "fd00:c1::a9fe:a9fe"),
    metadata_6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], "fd00:42::42"),
    metadata_6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], "fd00:a9fe:a9fe::1"),
    metadata_6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], "fd00:100::100:200"),
    metadata_6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], "fe80::a9fe:a9fe"),
    Block(Ipv6Addr::UNSPECIFIED, 128, Some(Kind::Unspecified), "::"),
    Block(Ipv6Addr::LOCALHOST, 128, Some(Kind::Loopback), "::1"),
    Block(Ipv6Addr::UNSPECIFIED, 96, Some(Kind::Transition), "::/96"),
    Block(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Some(Kind::Transition), "::ffff:0:0/96"),
    Block(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Some(Kind::Transition), "::ffff:0:0:0/96"),
    // NAT64: ordinary where the address inside is.
    ordinary_6([0x64, 0xff9b, 0, 0], 96, "64:ff9b::/96"),
    v6([0x64, 0xff9b, 1, 0], 48, Kind::Transition, "64:ff9b:1::/48"),
    // Discarded (RFC 6666), a dummy (RFC 9780).
    v6([0x100, 0, 0, 0], 64, Kind::Reserved, "100::/64"),
    v6([0x100, 0, 0, 1], 64, Kind::Reserved, "100:0:0:1::/64"),
    // Teredo.
    ordinary_6([0x2001, 0, 0, 0], 32, "2001::/32"),
    // PCP, TURN and DNS-SD registration by anycast (RFC 7723, RFC 8155, RFC 9665).
    Block(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, Some(Kind::Protocol), "2001:1::1"),
    Block(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, Some(Kind::Protocol), "2001:1::2"),
    Block(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, Some(Kind::Protocol), "2001:1::3"),
    v6([0x2001, 2, 0, 0], 48, Kind::Benchmarking, "2001:2::/48"),
    // AMT (RFC 7450), AS112 (RFC 7535).
    ordinary_6([0x2001, 3, 0, 0], 32, "2001:3::/32"),
    ordinary_6([0x2001, 4, 0x112, 0], 48, "2001:4:112::/48"),
    // ORCHID (RFC 4843, ended), ORCHIDv2 (RFC 7343), DETs (RFC 9374).
    v6([0x2001, 0x10, 0, 0], 28, Kind::Protocol, "2001:10::/28"),
    v6([0x2001, 0x20, 0, 0], 28, Kind::Protocol, "2001:20::/28"),
    v6([0x2001, 0x30, 0, 0], 28, Kind::Protocol, "2001:30::/28"),
    v6([0x2001, 0, 0, 0], 23, Kind::Protocol, "2001::/23"),
    v6([0x2001, 0xdb8, 0, 0], 32, Kind::Documentation, "2001:db8::/32"),
    // 6to4.
    ordinary_6([0x2002, 0, 0, 0], 16, "2002::/16"),
    // AS112 by direct delegation.
    ordinary_6([0x2620, 0x4f, 0x8000, 0], 48, "2620:4f:8000::/48"),
    // The 6bone, given back (RFC 3701).
    v6([0x3ffe, 0, 0, 0], 16, Kind::Reserved, "3ffe::/16"),
    v6([0x3fff, 0, 0, 0], 20, Kind::Documentation, "3fff::/20"),
    // All that was ever given out as global unicast.
    ordinary_6([0x2000, 0, 0, 0], 3, "2000::/3"),
    // SRv6 SIDs (RFC 9602).
    v6([0x5f00, 0, 0, 0], 16, Kind::Protocol, "5f00::/16"),
    v6([0xfc00, 0, 0, 0], 7, Kind::Private, "fc00::/7"),
    v6([0xfe80, 0, 0, 0], 10, Kind::LinkLocal, "fe80::/10"),
    // Site-local, ended (RFC 3879); networks that have it still are private.
    v6([0xfec0, 0, 0, 0], 10, Kind::Private, "fec0::/10"),
    v6([0xff00, 0, 0, 0], 8, Kind::Multicast, "ff00::/8"),
];

/// The first address of each block.
pub(super) fn firsts() -> impl Iterator<Item = IpAddr> {
    BLOCKS_4.iter().map(|block| block.0.into()).chain(BLOCKS_6.iter().map(|block| block.0.into()))
}

/// What `addr` is for, and the block that says so.
pub(super) fn of_v4(addr: Ipv4Addr) -> Option<(Kind, &'static str)> {
    let holds = |block: &&Block<Ipv4Addr>| (addr.to_bits() ^ block.0.to_bits()) >> (u32::BITS - block.1) == 0;
    let Block(_, _, kind, text) = BLOCKS_4.iter().find(holds)?;
    kind.map(|kind| (kind, *text))
}

/// The same for IPv6, where all that no block holds is nobody's.
pub(super) fn of_v6(addr: Ipv6Addr) -> Option<(Kind, &'static str)> {
    let holds =
        |block: &&Block<Ipv6Addr>| (addr.to_bits() ^ block.0.to_bits()) >> (u128::BITS - block.1) == 0;
    match BLOCKS_6.iter().find(holds) {
        Some(Block(_, _, kind, text)) => kind.map(|kind| (kind, *text)),
        None => Some((Kind::Reserved, "outside 2000::/3")),
    }
}
