//! Every special-use block and transition encoding, row by row, and what holds of all addresses.

mod table;

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::blocks::{BLOCKS_4, BLOCKS_6, Block};
use super::*;

#[test]
fn every_block_has_exact_edges_and_every_encoding_is_opened() {
    assert!(table::TABLE.len() >= 150, "{}", table::TABLE.len());
    for row in table::TABLE {
        let found = special_use(row.addr.parse().unwrap());
        assert_eq!(found.map(|found| (found.kind, found.block)), row.special, "{}", row.addr);
        let inside = row.inside.map(|inside| inside.parse().unwrap());
        assert_eq!(found.and_then(|found| found.inside), inside, "{}", row.addr);
    }
}

#[test]
fn every_block_is_in_the_table() {
    let blocks = BLOCKS_4.iter().map(|block| (block.2, block.3));
    for (kind, text) in blocks.chain(BLOCKS_6.iter().map(|block| (block.2, block.3))) {
        let shown = table::TABLE.iter().any(|row| row.special.is_some_and(|(_, block)| block == text));
        assert_eq!(shown, kind.is_some(), "{text}");
    }
}

#[test]
fn a_rows_text_is_the_block_it_stands_for() {
    for Block(net, prefix, _, text) in BLOCKS_4 {
        let written = if *prefix == 32 { net.to_string() } else { format!("{net}/{prefix}") };
        assert_eq!(written, *text);
    }
    for Block(net, prefix, _, text) in BLOCKS_6 {
        let (written, length) = text.split_once('/').unwrap_or((text, "128"));
        assert_eq!(
            (written.parse::<Ipv6Addr>().unwrap(), length.parse().unwrap()),
            (*net, *prefix),
            "{text}"
        );
    }
}

#[test]
fn no_row_hides_behind_a_wider_one() {
    for (index, Block(net, prefix, _, text)) in BLOCKS_4.iter().enumerate() {
        let wider = |other: &&Block<Ipv4Addr>| {
            other.1 <= *prefix && (other.0.to_bits() ^ net.to_bits()) >> (32 - other.1) == 0
        };
        assert!(!BLOCKS_4[..index].iter().any(|other| wider(&other)), "{text}");
    }
    for (index, Block(net, prefix, _, text)) in BLOCKS_6.iter().enumerate() {
        let wider = |other: &&Block<Ipv6Addr>| {
            other.1 <= *prefix && (other.0.to_bits() ^ net.to_bits()) >> (128 - other.1) == 0
        };
        assert!(!BLOCKS_6[..index].iter().any(|other| wider(&other)), "{text}");
    }
}

#[test]
fn an_address_carries_every_reading_of_it() {
    for (addr, inside) in [
        ("10.0.0.1", &[][..]),
        ("::", &[]),
        ("::1", &[]),
        ("2606:4700::1", &[]),
        ("fe80::a00:1", &[]),
        ("::10.0.0.1", &["10.0.0.1"]),
        ("::ffff:10.0.0.1", &["10.0.0.1"]),
        ("::ffff:0:10.0.0.1", &["10.0.0.1"]),
        ("64:ff9b::10.0.0.1", &["10.0.0.1"]),
        ("64:ff9b:1::10.0.0.1", &["10.0.0.1"]),
        ("64:ff9b:1:102:3:400::", &["1.2.3.4", "2.3.4.0", "3.4.0.0"]),
        ("64:ff9b:1:102:ff03:405:607:809", &["1.2.3.4", "2.3.4.5", "3.4.5.6", "6.7.8.9"]),
        ("2002:a00:1::1", &["10.0.0.1"]),
        ("2001:0:102:304:0:0:f5ff:fffe", &["10.0.0.1", "1.2.3.4"]),
        ("2600::5efe:10.0.0.1", &["10.0.0.1"]),
        ("2002:102:304::200:5efe:a00:1", &["1.2.3.4", "10.0.0.1"]),
    ] {
        let found: Vec<String> = carried(addr.parse().unwrap()).map(|inside| inside.to_string()).collect();
        assert_eq!(found, inside, "{addr}");
    }
}

#[test]
fn what_an_address_carries_does_not_change_its_own_use() {
    let own = |text: &str| own_use(text.parse().unwrap()).map(|special| special.kind);
    assert_eq!(own("64:ff9b::10.0.0.1"), None);
    assert_eq!(own("2002:a00:1::1"), None);
    assert_eq!(own("::ffff:10.0.0.1"), Some(Kind::Transition));
    assert_eq!(own("fe80::5efe:10.0.0.1"), Some(Kind::LinkLocal));
    assert_eq!(own("10.0.0.1"), Some(Kind::Private));
}

#[test]
fn the_text_names_the_block_and_what_was_inside() {
    let special = special_use("64:ff9b::169.254.169.254".parse().unwrap()).unwrap();
    assert_eq!(special.to_string(), "a cloud metadata service (169.254.169.254, by 169.254.169.254 inside)");
    let special = special_use("10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(special.to_string(), "a private network (10.0.0.0/8)");
}

/// `inside`, by each encoding, under prefixes that are ordinary where the encoding leaves a choice.
fn encodings(inside: Ipv4Addr, noise: u16) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = inside.octets();
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let (high, low) = (word(a, b), word(c, d));
    vec![
        inside.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, high, word(0, c), word(d, 0), 0, noise),
        Ipv6Addr::new(0x64, 0xff9b, 1, word(8, a), word(0, b), low, 0, noise),
        Ipv6Addr::new(0x64, 0xff9b, 1, noise, word(0, a), word(b, c), word(d, 0), 0),
        Ipv6Addr::new(0x64, 0xff9b, 1, noise, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, noise, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, noise, !high, !low),
        Ipv6Addr::new(0x2001, 0, high, low, 0, noise, 0xf7f7, 0xf7f7),
        Ipv6Addr::new(0x2600, noise, 0, 0, 0, 0x5efe, high, low),
        Ipv6Addr::new(0x2600, noise, 0, 0, 0x200, 0x5efe, high, low),
    ]
}

/// What the local NAT64 prefix is filled up with: no address to read there, though special all the same.
fn is_padding(inside: Ipv4Addr) -> bool {
    inside.octets()[0] == 0
}

#[test]
fn no_encoding_of_a_special_block_is_ordinary() {
    for Block(net, _, kind, text) in BLOCKS_4.iter().filter(|block| block.2.is_some()) {
        for form in encodings(*net, 0x100) {
            let found = special_use(form.into()).map(|special| special.kind);
            assert!(found.is_some(), "{form} holds {text}");
            assert!(found <= *kind || is_padding(*net), "{form} holds {text}: {found:?}");
        }
    }
}

proptest! {
    /// Half of all 2^32 are special, so chance finds both sorts.
    #[test]
    fn an_address_inside_is_as_special_as_outside(bits in any::<u32>(), noise in any::<u16>()) {
        let inside = Ipv4Addr::from_bits(bits);
        for form in encodings(inside, noise) {
            let (inner, outer) = (special_use(inside.into()), special_use(form.into()));
            if let Some(inner) = inner {
                let grave = outer.is_some_and(|outer| outer.kind <= inner.kind || is_padding(inside));
                prop_assert!(grave, "{form}: {outer:?}");
            }
            let found = carried(form.into()).any(|found| found == inside);
            prop_assert!(found || is_padding(inside), "{form} carries {inside}");
        }
    }

    #[test]
    fn any_address_is_judged(bits in any::<u128>(), top in 0_u32..128) {
        // Mostly zeros in front, where the encodings are.
        for bits in [bits, bits >> top] {
            let addr = IpAddr::V6(Ipv6Addr::from_bits(bits));
            let (own, all) = (own_use(addr), special_use(addr));
            prop_assert!(own.is_none() || all.is_some_and(|all| all.kind <= own.map_or(all.kind, |own| own.kind)));
            prop_assert_eq!(all.is_some_and(|all| all.inside.is_some()) && carried(addr).next().is_none(), false);
        }
    }

    #[test]
    fn nothing_outside_global_unicast_is_ordinary_but_nat64(bits in any::<u128>()) {
        let addr = Ipv6Addr::from_bits(bits);
        prop_assume!(addr.segments()[0] >> 13 != 1);
        prop_assert!(special_use(addr.into()).is_some());
    }
}
