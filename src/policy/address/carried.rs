//! The IPv4 addresses that some box on the way may read out of an IPv6 address.
//!
//! Only encodings that are known by their form: a NAT64 or 6rd prefix of an operator's own looks like any other
//! network, and needs a rule. It judges nothing. Invariant: where an encoding can be read in several ways, every
//! reading is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most readings of one prefix: those of the local NAT64 prefix.
const READINGS: usize = 4;

/// The IPv4 addresses that `addr` carries, in no order that means anything; none for an IPv4 address.
///
/// Mapped and compatible ([RFC 4291 §2.5.5]), translated (`::ffff:0:a.b.c.d`, [RFC 2765 §2.1]), NAT64 by the
/// well-known and by the local prefix ([RFC 6052 §2.2], [RFC 8215]), 6to4 ([RFC 3056 §2]), Teredo's client and
/// server ([RFC 4380 §4]) and ISATAP under any prefix ([RFC 5214 §6.1]). It allocates nothing.
///
/// [RFC 4291 §2.5.5]: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5
/// [RFC 2765 §2.1]: https://www.rfc-editor.org/rfc/rfc2765#section-2.1
/// [RFC 6052 §2.2]: https://www.rfc-editor.org/rfc/rfc6052#section-2.2
/// [RFC 8215]: https://www.rfc-editor.org/rfc/rfc8215
/// [RFC 3056 §2]: https://www.rfc-editor.org/rfc/rfc3056#section-2
/// [RFC 4380 §4]: https://www.rfc-editor.org/rfc/rfc4380#section-4
/// [RFC 5214 §6.1]: https://www.rfc-editor.org/rfc/rfc5214#section-6.1
pub fn carried(addr: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let (in_prefix, in_interface) = match addr {
        IpAddr::V4(_) => ([None; READINGS], None),
        IpAddr::V6(addr) => (by_prefix(addr), by_interface(addr)),
    };
    in_prefix.into_iter().chain([in_interface]).flatten()
}

fn by_prefix(addr: Ipv6Addr) -> [Option<Ipv4Addr>; READINGS] {
    let [a, b, c, d, e, f, g, h] = addr.segments();
    let only = |inside| [Some(inside), None, None, None];
    match [a, b, c, d, e, f] {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => [None; READINGS],
        // Compatible, mapped, translated, NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            only(join(g, h))
        }
        [0x64, 0xff9b, 1, ..] => by_local_nat64(addr),
        [0x2002, high, low, ..] => only(join(high, low)),
        // Teredo's client is inverted, its server is not.
        [0x2001, 0, high, low, ..] => [Some(join(!g, !h)), Some(join(high, low)), None, None],
        _ => [None; READINGS],
    }
}

/// The length of the prefix in use cannot be known: 48, 56, 64 and 96 bits lie within the block.
///
/// Octet 8 is skipped, as RFC 6052 §2.2 says. The zeros around an address of another length read as 0.0.0.0/8,
/// where no translator has a host, so they are no reading.
fn by_local_nat64(addr: Ipv6Addr) -> [Option<Ipv4Addr>; READINGS] {
    let [_, _, _, _, _, _, o6, o7, _, o9, o10, o11, o12, o13, o14, o15] = addr.octets();
    [[o6, o7, o9, o10], [o7, o9, o10, o11], [o9, o10, o11, o12], [o12, o13, o14, o15]]
        .map(|octets @ [first, ..]| (first != 0).then(|| Ipv4Addr::from_octets(octets)))
}

/// ISATAP, with the bit for a globally unique address set or not.
fn by_interface(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., e, f, g, h] = addr.segments();
    (matches!(e, 0 | 0x200) && f == 0x5efe).then(|| join(g, h))
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << u16::BITS | u32::from(low))
}
