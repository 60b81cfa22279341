//! Slots, pools and overrides, right and wrong.

use std::str::FromStr;

use super::*;

fn v4(text: &str) -> Cidr<Ipv4Addr> {
    text.parse().unwrap()
}

fn addr<A: FromStr>(text: &str) -> A {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn config(addressing: &Addressing) -> Result<Config, AddressingError> {
    addressing.config(Arc::default())
}

fn usual() -> Addressing {
    Addressing::default()
}

#[test]
fn every_slot_of_the_default_pools_is_what_the_shorthand_says() {
    for slot in [0, 1, 255, 256, 40_000, u16::MAX] {
        let (one, other) = (config(&Addressing { slot, ..usual() }).unwrap(), Config::for_slot(slot));
        assert_eq!((one.guest_mac, one.gateway_mac), (other.guest_mac, other.gateway_mac));
        assert_eq!((one.guest_v4, one.gateway_v4), (other.guest_v4, other.gateway_v4));
        assert_eq!((one.guest_v6, one.gateway_v6), (other.guest_v6, other.gateway_v6));
        assert_eq!((one.v4_prefix, one.mtu), (other.v4_prefix, other.mtu));
    }
}

#[test]
fn a_pool_gives_each_slot_a_network_and_says_when_it_ends() {
    let pool = v4("10.64.0.0/28");
    let last = config(&Addressing { slot: 3, pool, ..usual() }).unwrap();
    assert_eq!(last.gateway_v4, Ipv4Addr::new(10, 64, 0, 13));
    assert_eq!((last.guest_v4, last.v4_prefix), (Ipv4Addr::new(10, 64, 0, 14), 30));
    let error = config(&Addressing { slot: 4, pool, ..usual() }).unwrap_err();
    assert_eq!(error, AddressingError::PoolTooSmall { pool, slot: 4, slots: 4 });
    assert!(error.to_string().contains("a slot below 4"), "{error}");
    let one = config(&Addressing { pool: v4("10.64.0.4/30"), ..usual() }).unwrap();
    assert_eq!(one.guest_v4, Ipv4Addr::new(10, 64, 0, 6));
    // One that is not looked at for the guest's address may be too small.
    let set = Addressing { slot: 9, pool, guest: Some(v4("10.0.0.2/24")), ..usual() };
    assert!(config(&set).is_ok());
}

#[test]
fn a_prefix_gives_each_slot_a_network() {
    let prefix = addr("fd12:3456:789a::/48");
    let config = config(&Addressing { slot: 0xabcd, prefix, ..usual() }).unwrap();
    assert_eq!(config.guest_v6, addr::<Ipv6Addr>("fd12:3456:789a:abcd::2"));
    assert_eq!(config.gateway_v6, addr::<Ipv6Addr>("fd12:3456:789a:abcd::1"));
}

#[test]
fn addresses_set_by_hand_bring_the_rest_of_their_link() {
    let config = config(&Addressing {
        guest: Some(v4("192.168.127.2/24")),
        guest6: Some(addr("2001:db8:1:2::aa")),
        mac: Some([0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee]),
        mtu: 9_000,
        ..usual()
    });
    let config = config.unwrap();
    assert_eq!((config.gateway_v4, config.v4_prefix), (Ipv4Addr::new(192, 168, 127, 1), 24));
    assert_eq!(config.gateway_v6, addr::<Ipv6Addr>("2001:db8:1:2::1"));
    assert_eq!(config.guest_mac, [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee]);
    assert_eq!((config.gateway_mac, config.mtu), ([0x02, 0x70, 0x63, 0, 0, 1], 9_000));
    assert!(config.is_on_link(addr("192.168.127.200")) && !config.is_on_link(addr("192.168.128.1")));
}

#[test]
fn gateways_set_by_hand_are_kept() {
    let config = config(&Addressing {
        guest: Some(v4("10.0.2.15/24")),
        gateway: Some(addr("10.0.2.2")),
        gateway6: Some(addr("fd70:6f72:7463::fe")),
        gateway_mac: Some([2, 0, 0, 0, 0, 9]),
        ..usual()
    });
    let config = config.unwrap();
    assert_eq!(config.gateway_v4, Ipv4Addr::new(10, 0, 2, 2));
    assert_eq!(config.gateway_v6, addr::<Ipv6Addr>("fd70:6f72:7463::fe"));
    assert_eq!(config.gateway_mac, [2, 0, 0, 0, 0, 9]);
}

#[test]
fn ipv4_addresses_that_do_not_hold_together_say_so() {
    // The guest, the gateway, and what the error says.
    let table = [
        ("10.0.0.2/24", "10.0.0.2", "10.0.0.2 is both guest and gateway"),
        ("10.0.0.1/24", "", "10.0.0.1 is both guest and gateway"),
        ("10.0.0.2/24", "10.0.1.1", "gateway 10.0.1.1 is not on the guest's link 10.0.0.0/24"),
        ("10.0.0.0/24", "", "10.0.0.0 is the first or the last address of 10.0.0.0/24"),
        ("10.0.0.255/24", "", "10.0.0.255 is the first or the last"),
        ("10.0.0.2/24", "10.0.0.255", "10.0.0.255 is the first or the last"),
        ("10.0.0.2/31", "", "write a length from 8 to 30"),
        ("10.0.0.2/32", "", "write a length from 8 to 30"),
        ("10.0.0.2/200", "", "write a length from 8 to 30"),
        ("10.0.0.2/7", "", "write a length from 8 to 30"),
        ("10.0.0.2/0", "", "write a length from 8 to 30"),
        ("224.0.0.2/24", "", "224.0.0.2 is no host's address"),
        ("127.0.0.2/24", "", "127.0.0.2 is no host's address"),
        ("0.0.0.0/24", "", "0.0.0.0 is no host's address"),
        ("10.0.0.2/24", "255.255.255.255", "255.255.255.255 is no host's address"),
        ("240.0.0.2/24", "", "240.0.0.2 is no host's address"),
        ("198.18.0.2/24", "", "198.18.0.0/24 overlaps 198.18.0.0/15"),
        ("198.19.255.2/30", "", "overlaps 198.18.0.0/15"),
        ("198.51.100.2/8", "", "198.0.0.0/8 overlaps 198.18.0.0/15"),
    ];
    for (guest, gateway, says) in table {
        let gateway = Some(gateway).filter(|text| !text.is_empty()).map(addr);
        let error = config(&Addressing { guest: Some(v4(guest)), gateway, ..usual() }).expect_err(guest);
        assert!(error.to_string().contains(says), "{guest}: {error}");
    }
    let alone = Addressing { gateway: Some(addr("10.0.0.1")), ..usual() };
    let error = config(&alone).unwrap_err().to_string();
    assert!(error.ends_with("set guest and gateway in one network"), "{error}");
}

#[test]
fn pools_and_prefixes_that_are_none_say_so() {
    for pool in ["10.0.0.1/24", "10.0.0.0/31", "10.0.0.0/33", "0.0.0.0/0"] {
        let error = config(&Addressing { pool: v4(pool), ..usual() }).unwrap_err();
        assert_eq!(error, AddressingError::Pool(v4(pool)));
    }
    let error = config(&Addressing { pool: v4("198.18.0.0/16"), ..usual() }).unwrap_err();
    assert_eq!(error, AddressingError::Mapped(v4("198.18.0.0/30")));
    assert!(config(&Addressing { pool: v4("224.0.0.0/8"), ..usual() }).is_err());
    for prefix in ["fd00::/64", "fd00::1/48", "fd00:0:0:1::/48", "fd00::/200"] {
        let prefix = addr(prefix);
        let error = config(&Addressing { prefix, ..usual() }).unwrap_err();
        assert_eq!(error, AddressingError::Prefix(prefix));
    }
}

#[test]
fn ipv6_addresses_that_do_not_hold_together_say_so() {
    let table = [
        ("fd00::2", "fd00::2", "fd00::2 is both guest and gateway"),
        ("fd00::1", "", "fd00::1 is both guest and gateway"),
        ("fd00::2", "fd00:0:0:1::1", "not on the guest's link fd00::/64"),
        ("fd00::", "", "fd00:: is the first or the last address of fd00::/64"),
        ("fd00::2", "fd00::", "fd00:: is the first or the last"),
        ("ff02::2", "", "ff02::2 is no host's address"),
        ("fe80::2", "", "fe80::2 is no host's address"),
        ("::1", "", "::1 is no host's address"),
        ("::", "", ":: is no host's address"),
        ("::ffff:10.0.0.2", "", "is no host's address"),
    ];
    for (guest, gateway, says) in table {
        let gateway6 = Some(gateway).filter(|text| !text.is_empty()).map(addr);
        let error = config(&Addressing { guest6: Some(addr(guest)), gateway6, ..usual() }).expect_err(guest);
        assert!(error.to_string().contains(says), "{guest}: {error}");
    }
}

#[test]
fn mac_addresses_and_mtus_that_cannot_be_say_so() {
    for mac in [[1, 0, 0, 0, 0, 2], [0xff; 6], [0; 6]] {
        for addressing in
            [Addressing { mac: Some(mac), ..usual() }, Addressing { gateway_mac: Some(mac), ..usual() }]
        {
            assert_eq!(config(&addressing).unwrap_err(), AddressingError::Mac(Mac(mac)));
        }
    }
    let twice = Addressing { mac: Some([0x02, 0x70, 0x63, 0, 0, 1]), ..usual() };
    let error = config(&twice).unwrap_err().to_string();
    assert!(error.starts_with("MAC address 02:70:63:00:00:01 is both"), "{error}");
    for (mtu, fits) in [(1_279, false), (1_280, true), (65_520, true), (65_521, false), (0, false)] {
        assert_eq!(config(&Addressing { mtu, ..usual() }).is_ok(), fits, "{mtu}");
    }
}

#[test]
fn texts_are_read_to_the_letter() {
    assert_eq!(v4("10.0.0.2/24").to_string(), "10.0.0.2/24");
    for text in ["10.0.0.2", "10.0.0.2/", "10.0.0.2/+8", "10.0.0.2/256", "10.0.0/24", "/24", "fd00::/48", ""]
    {
        assert_eq!(text.parse::<Cidr<Ipv4Addr>>(), Err(CidrError), "{text}");
    }
    assert_eq!("02:0a:Bc:00:00:ff".parse(), Ok(Mac([2, 10, 0xbc, 0, 0, 255])));
    for text in [
        "",
        "02",
        "02:00:00:00:00",
        "02:00:00:00:00:00:00",
        "2:0:0:0:0:0",
        "+2:00:00:00:00:00",
        "02-00-00-00-00-00",
    ] {
        assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
    }
}
