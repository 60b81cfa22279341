//! Every special-use block and transition encoding, row by row.

use super::Kind::*;
use super::*;

/// Address, and what it is; `None` is ordinary.
const TABLE: &[(&str, Option<Kind>)] = &[
    // IPv4, each block's first and last address and its neighbours.
    ("0.0.0.0", Some(Unspecified)),
    ("0.255.255.255", Some(Unspecified)),
    ("1.0.0.0", None),
    ("1.1.1.1", None),
    ("8.8.8.8", None),
    ("9.255.255.255", None),
    ("10.0.0.0", Some(Private)),
    ("10.255.255.255", Some(Private)),
    ("11.0.0.0", None),
    ("100.63.255.255", None),
    ("100.64.0.0", Some(Shared)),
    ("100.100.100.199", Some(Shared)),
    ("100.100.100.200", Some(Metadata)),
    ("100.127.255.255", Some(Shared)),
    ("100.128.0.0", None),
    ("126.255.255.255", None),
    ("127.0.0.0", Some(Loopback)),
    ("127.0.0.1", Some(Loopback)),
    ("127.255.255.255", Some(Loopback)),
    ("128.0.0.0", None),
    ("168.63.129.15", None),
    ("168.63.129.16", Some(Metadata)),
    ("168.63.129.17", None),
    ("169.253.255.255", None),
    ("169.254.0.0", Some(LinkLocal)),
    ("169.254.0.23", Some(Metadata)),
    ("169.254.42.42", Some(Metadata)),
    ("169.254.169.253", Some(Metadata)),
    ("169.254.169.254", Some(Metadata)),
    ("169.254.170.2", Some(Metadata)),
    ("169.254.170.23", Some(Metadata)),
    ("169.254.255.255", Some(LinkLocal)),
    ("169.255.0.0", None),
    ("172.15.255.255", None),
    ("172.16.0.0", Some(Private)),
    ("172.31.255.255", Some(Private)),
    ("172.32.0.0", None),
    ("191.255.255.255", None),
    ("192.0.0.0", Some(Protocol)),
    ("192.0.0.9", Some(Protocol)),
    ("192.0.0.192", Some(Metadata)),
    ("192.0.0.255", Some(Protocol)),
    ("192.0.1.0", None),
    ("192.0.1.255", None),
    ("192.0.2.0", Some(Documentation)),
    ("192.0.2.255", Some(Documentation)),
    ("192.0.3.0", None),
    ("192.88.98.255", None),
    ("192.88.99.0", Some(Transition)),
    ("192.88.99.255", Some(Transition)),
    ("192.88.100.0", None),
    ("192.167.255.255", None),
    ("192.168.0.0", Some(Private)),
    ("192.168.255.255", Some(Private)),
    ("192.169.0.0", None),
    ("198.17.255.255", None),
    ("198.18.0.0", Some(Benchmarking)),
    ("198.19.255.255", Some(Benchmarking)),
    ("198.20.0.0", None),
    ("198.51.99.255", None),
    ("198.51.100.0", Some(Documentation)),
    ("198.51.100.255", Some(Documentation)),
    ("198.51.101.0", None),
    ("203.0.112.255", None),
    ("203.0.113.0", Some(Documentation)),
    ("203.0.113.255", Some(Documentation)),
    ("203.0.114.0", None),
    ("223.255.255.255", None),
    ("224.0.0.0", Some(Multicast)),
    ("224.0.0.251", Some(Multicast)),
    ("239.255.255.255", Some(Multicast)),
    ("240.0.0.0", Some(Reserved)),
    ("255.255.255.254", Some(Reserved)),
    ("255.255.255.255", Some(Broadcast)),
    // IPv6 by its own form.
    ("::", Some(Unspecified)),
    ("::1", Some(Loopback)),
    ("100::", Some(Reserved)),
    ("100::ffff:ffff:ffff:ffff", Some(Reserved)),
    ("100:0:0:1::1", Some(Reserved)),
    ("100:0:0:2::1", Some(Reserved)),
    ("64:ff9a::1", Some(Reserved)),
    ("1fff:ffff::1", Some(Reserved)),
    ("2000::1", None),
    ("2001:1::1", Some(Protocol)),
    ("2001:2::1", Some(Benchmarking)),
    ("2001:2:0:ffff::1", Some(Benchmarking)),
    ("2001:2:1::1", Some(Protocol)),
    ("2001:10::1", Some(Protocol)),
    ("2001:20::1", Some(Protocol)),
    ("2001:1ff:ffff::1", Some(Protocol)),
    ("2001:200::1", None),
    ("2001:4860:4860::8888", None),
    ("2001:db7:ffff::1", None),
    ("2001:db8::1", Some(Documentation)),
    ("2001:db8:ffff::1", Some(Documentation)),
    ("2001:db9::1", None),
    ("2606:4700:4700::1111", None),
    ("3ffe:ffff::1", None),
    ("3fff::1", Some(Documentation)),
    ("3fff:fff:ffff::1", Some(Documentation)),
    ("3fff:1000::1", None),
    ("4000::1", Some(Reserved)),
    ("5f00::1", Some(Protocol)),
    ("8000::1", Some(Reserved)),
    ("fbff:ffff::1", Some(Reserved)),
    ("fc00::1", Some(Private)),
    ("fd00::1", Some(Private)),
    ("fdff:ffff::1", Some(Private)),
    ("fd00:ec2::254", Some(Metadata)),
    ("fd00:ec2::253", Some(Metadata)),
    ("fd00:ec2::23", Some(Metadata)),
    ("fd00:ec2::255", Some(Private)),
    ("fd20:ce::254", Some(Metadata)),
    ("fd00:c1::a9fe:a9fe", Some(Metadata)),
    ("fd00:42::42", Some(Metadata)),
    ("fe00::1", Some(Reserved)),
    ("fe80::1", Some(LinkLocal)),
    ("fe80::a9fe:a9fe", Some(LinkLocal)),
    ("febf:ffff::1", Some(LinkLocal)),
    ("fec0::1", Some(Private)),
    ("feff:ffff::1", Some(Private)),
    ("ff00::1", Some(Multicast)),
    ("ff02::fb", Some(Multicast)),
    ("ffff:ffff::1", Some(Multicast)),
    // IPv4-mapped: never a form for the wire, whatever is inside.
    ("::ffff:8.8.8.8", Some(Transition)),
    ("::ffff:127.0.0.1", Some(Loopback)),
    ("::ffff:10.0.0.1", Some(Private)),
    ("::ffff:169.254.169.254", Some(Metadata)),
    ("::ffff:168.63.129.16", Some(Metadata)),
    ("::ffff:0.0.0.0", Some(Unspecified)),
    // IPv4-compatible.
    ("::8.8.8.8", Some(Transition)),
    ("::127.0.0.1", Some(Loopback)),
    ("::192.168.1.1", Some(Private)),
    ("::169.254.169.254", Some(Metadata)),
    ("::2", Some(Unspecified)),
    // NAT64, well-known prefix: ordinary where the address inside is.
    ("64:ff9b::8.8.8.8", None),
    ("64:ff9b::1.1.1.1", None),
    ("64:ff9b::127.0.0.1", Some(Loopback)),
    ("64:ff9b::10.1.2.3", Some(Private)),
    ("64:ff9b::169.254.169.254", Some(Metadata)),
    ("64:ff9b::168.63.129.16", Some(Metadata)),
    ("64:ff9b::100.64.0.1", Some(Shared)),
    ("64:ff9b::255.255.255.255", Some(Broadcast)),
    ("64:ff9b::1:808:808", Some(Reserved)),
    // NAT64, local prefix: never ordinary.
    ("64:ff9b:1:808:8:800:808:808", Some(Transition)),
    ("64:ff9b:1:a9fe:a9:fe00:808:808", Some(Metadata)),
    ("64:ff9b:1:808:8:800:7f00:1", Some(Loopback)),
    // 6to4.
    ("2002:808:808::1", None),
    ("2002:7f00:1::1", Some(Loopback)),
    ("2002:a00:1::", Some(Private)),
    ("2002:c0a8:101::1", Some(Private)),
    ("2002:a9fe:a9fe::1", Some(Metadata)),
    ("2002:e000:1::1", Some(Multicast)),
    ("2003::1", None),
    // Teredo: the server in the clear, the client inverted.
    ("2001:0:808:808:0:0:f7f7:f7f7", None),
    ("2001:0:808:808:0:0:80ff:fffe", Some(Loopback)),
    ("2001:0:808:808:0:0:5601:5601", Some(Metadata)),
    ("2001:0:a00:1:0:0:f7f7:f7f7", Some(Private)),
    ("2001:0:7f00:1::f7f7:f7f7", Some(Loopback)),
    ("2001:0:808:808::", Some(Broadcast)),
];

#[test]
fn every_block_has_exact_edges_and_every_encoding_is_opened() {
    assert!(TABLE.len() >= 100);
    for (text, kind) in TABLE {
        let found = special_use(text.parse().unwrap());
        assert_eq!(found.map(|special| special.kind), *kind, "{text}: {found:?}");
    }
}

#[test]
fn a_rows_text_is_the_block_it_stands_for() {
    for Block4(net, prefix, _, text) in BLOCKS_4 {
        let written = if *prefix == 32 { net.to_string() } else { format!("{net}/{prefix}") };
        assert_eq!(written, *text);
    }
    for Block6(net, prefix, _, text) in BLOCKS_6.iter().chain([&PROTOCOLS_6, &GLOBAL_6]) {
        let (written, length) = text.split_once('/').unwrap_or((text, "128"));
        assert_eq!(
            (written.parse::<Ipv6Addr>().unwrap(), length.parse().unwrap()),
            (*net, *prefix),
            "{text}"
        );
    }
}

#[test]
fn no_encoding_of_a_special_ipv4_address_is_ordinary() {
    for Block4(net, ..) in BLOCKS_4 {
        let [a, b, c, d] = net.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let forms = [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0x808, 8, 0x800, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0xf7f7, 0xf7f7),
        ];
        for form in forms {
            assert!(special_use(form.into()).is_some(), "{form} holds {net}");
        }
    }
}

#[test]
fn the_text_names_the_block_and_what_was_inside() {
    let special = special_use("64:ff9b::169.254.169.254".parse().unwrap()).unwrap();
    assert_eq!(special.to_string(), "a cloud metadata service (169.254.169.254, by 169.254.169.254 inside)");
    let special = special_use("10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(special.to_string(), "a private network (10.0.0.0/8)");
}
