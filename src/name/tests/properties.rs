//! What holds of every text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::name::{Authority, Host, HostName, HostPattern};

/// What the C library's `inet_aton` reads: one to four parts, each decimal, octal or hexadecimal, the last of them
/// filling what is left; then nothing, or white space and anything.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| c.is_ascii_whitespace()).next()?;
    let parts = text.split('.').map(c_number).collect::<Option<Vec<u32>>>()?;
    let (last, heads) = parts.split_last()?;
    if heads.len() > 3 || heads.iter().any(|head| *head > 255) {
        return None;
    }
    let room = 32 - 8 * heads.len();
    if u64::from(*last) >= 1 << room {
        return None;
    }
    let head = heads.iter().zip(0..).fold(0, |bits, (head, index)| bits | head << (24 - 8 * index));
    Some(Ipv4Addr::from_bits(head | last))
}

fn c_number(part: &str) -> Option<u32> {
    let lower = part.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if !lower.bytes().all(|byte| byte.is_ascii_digit()) => None,
        None if lower.starts_with('0') && lower.len() > 1 => u32::from_str_radix(&lower, 8).ok(),
        None => lower.parse().ok(),
    }
}

#[test]
fn the_model_reads_what_the_c_library_reads() {
    for (text, addr) in [
        ("127.0.0.1", Some("127.0.0.1")),
        ("127.1", Some("127.0.0.1")),
        ("127.0.258", Some("127.0.1.2")),
        ("0x7f.1", Some("127.0.0.1")),
        ("0177.0.0.1", Some("127.0.0.1")),
        ("2130706433", Some("127.0.0.1")),
        ("017700000001", Some("127.0.0.1")),
        ("0xffffffff", Some("255.255.255.255")),
        ("0", Some("0.0.0.0")),
        ("127.0.0.1 x", Some("127.0.0.1")),
        ("127.0.0.1.", None),
        ("256.1", None),
        ("1.2.3.256", None),
        ("4294967296", None),
        ("08.1", None),
        ("1.2.3.4.5", None),
        ("a.1", None),
        ("", None),
    ] {
        assert_eq!(inet_aton(text).map(|addr| addr.to_string()).as_deref(), addr, "{text}");
    }
}

/// One part of an address, in some spelling.
fn part() -> impl Strategy<Value = String> {
    (any::<u32>(), 0_u32..32, 0..5, 0_usize..3).prop_map(|(number, shift, style, zeros)| {
        let number = number >> shift;
        let zeros = "0".repeat(zeros);
        match style {
            0 => format!("0x{zeros}{number:x}"),
            1 => format!("0X{zeros}{number:X}"),
            2 => format!("0{zeros}{number:o}"),
            3 => number.to_string().chars().map(|digit| wide(digit, 0xff10)).collect(),
            _ => number.to_string(),
        }
    })
}

fn wide(digit: char, zero: u32) -> char {
    digit.to_digit(10).and_then(|digit| char::from_u32(zero + digit)).unwrap_or(digit)
}

fn disguised() -> impl Strategy<Value = String> {
    let dot =
        prop_oneof![4 => Just("."), 1 => Just("\u{3002}"), 1 => Just("\u{ff0e}"), 1 => Just("\u{ff61}")];
    let tail = prop_oneof![4 => Just(""), 1 => Just("."), 1 => Just("\u{3002}"), 1 => Just(" "), 1 => Just("\u{ad}")];
    (prop::collection::vec((part(), dot), 1..6), tail).prop_map(|(parts, tail)| {
        let mut text = String::new();
        for (index, (part, dot)) in parts.iter().enumerate() {
            if index > 0 {
                text.push_str(dot);
            }
            text.push_str(part);
        }
        text + tail
    })
}

/// Texts that are often a name: letters, digits, dots and the characters that IDNA does something to.
fn nearly_a_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_.-]{0,40}",
        "(xn--)?[a-z0-9-]{0,12}\\.[a-z]{1,3}\\.?",
        "[a-z\u{e0}-\u{17f}\u{430}-\u{44f}\u{3042}-\u{3050}\u{5d0}-\u{5ea}\u{3002}\u{ad}\u{200d}.-]{0,20}",
        "\\PC{0,12}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_canonical_name_reads_as_itself(text in nearly_a_name()) {
        if let Ok(name) = HostName::parse(&text) {
            let again = HostName::parse(name.as_str());
            prop_assert_eq!(again.as_ref(), Ok(&name), "{:?}", text);
            let octets = name.as_str().bytes();
            prop_assert!(octets.into_iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')));
            prop_assert!(name.as_str().len() <= 253);
        }
    }

    #[test]
    fn case_and_the_final_dot_mean_nothing(text in nearly_a_name()) {
        let name = HostName::parse(&text);
        // What is not seen may stand behind the dot.
        let dotted = idna::domain_to_ascii(&text).is_ok_and(|ascii| ascii.ends_with('.'));
        if name.is_ok() && !dotted {
            prop_assert_eq!(&HostName::parse(&format!("{text}.")), &name);
        }
        prop_assert_eq!(&HostName::parse(&text.to_ascii_uppercase()), &name);
        prop_assert_eq!(&HostName::parse(&text.to_ascii_lowercase()), &name);
    }

    #[test]
    fn every_reader_reads_the_same_host(text in nearly_a_name()) {
        let text = text.replace(['*', ':', '@', '['], "-");
        let name = HostName::parse(&text);
        prop_assert_eq!(HostPattern::parse(&text), name.clone().map(HostPattern::Exact));
        match Authority::parse(&text).map(|authority| authority.host) {
            Ok(Host::Address(addr)) => prop_assert_eq!(text.parse::<IpAddr>(), Ok(addr)),
            Ok(Host::Name(host)) => prop_assert_eq!(Ok(host), name),
            Err(error) => prop_assert_eq!(Err(error), name),
        }
    }

    #[test]
    fn what_any_parser_reads_as_an_address_is_no_name(text in prop_oneof![disguised(), nearly_a_name()]) {
        if let Ok(name) = HostName::parse(&text) {
            prop_assert_eq!(inet_aton(&text), None);
            prop_assert_eq!(inet_aton(name.as_str()), None);
            prop_assert!(text.parse::<IpAddr>().is_err() && name.as_str().parse::<IpAddr>().is_err());
        }
    }

    #[test]
    fn an_address_in_disguise_is_no_name_and_no_other_address(text in disguised()) {
        prop_assert!(HostName::parse(&text).is_err(), "{:?}", text);
        prop_assert!(HostPattern::parse(&text).is_err(), "{:?}", text);
        if let Ok(authority) = Authority::parse(&text) {
            let addr = inet_aton(&text).map(|addr| Host::Address(addr.into()));
            prop_assert_eq!(Some(authority.host), addr);
        }
    }

    #[test]
    fn an_address_as_displayed_is_that_address(four in any::<u32>(), six in any::<u128>(), port in 1_u16..) {
        for addr in [IpAddr::V4(Ipv4Addr::from_bits(four)), IpAddr::V6(Ipv6Addr::from_bits(six))] {
            let host = Host::Address(addr);
            let authority = Authority::parse(&format!("{host}:{port}")).unwrap();
            prop_assert_eq!(authority, Authority { host, port: Some(port) });
            prop_assert!(HostName::parse(&addr.to_string()).is_err());
            prop_assert!(HostPattern::parse(&addr.to_string()).is_err());
        }
    }
}
