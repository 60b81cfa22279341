//! Every spelling of a host, row by row; authorities, patterns and origins; what holds of all texts.

mod properties;
mod spellings;

use std::net::{IpAddr, Ipv6Addr};

use super::*;
use spellings::{Is, TABLE};

/// What each reader makes of `text`: a name alone, an authority, a pattern.
fn readings(text: &str) -> [Result<Host, NameError>; 3] {
    let pattern = |pattern| match pattern {
        HostPattern::Exact(name) => Host::Name(name),
        HostPattern::Below(_) => panic!("{text:?} has no star"),
    };
    [
        HostName::parse(text).map(Host::Name),
        Authority::parse(text).map(|authority| authority.host),
        HostPattern::parse(text).map(pattern),
    ]
}

#[test]
fn a_spelling_is_one_name_or_one_address_or_refused_by_whoever_reads_it() {
    assert!(TABLE.len() >= 150, "{}", TABLE.len());
    let mut wrong = Vec::new();
    for (text, is) in TABLE {
        let expected = match is {
            Is::Name(name) => [(); 3].map(|()| Ok((*name).to_owned())),
            Is::Addr(addr) => {
                let addr = addr.parse::<IpAddr>().unwrap();
                let refused = Err(NameError::Address);
                [refused.clone(), Ok(Host::Address(addr).to_string()), refused]
            }
            Is::No(error) => [(); 3].map(|()| Err(*error)),
        };
        let found = readings(text).map(|host| host.map(|host| host.to_string()));
        if found != expected {
            wrong.push(format!("{text:?}: {found:?}, not {is:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_port_or_a_star_changes_nothing_about_the_host() {
    for (text, is) in TABLE {
        let with_port = Authority::parse(&format!("{text}:8443"));
        let below = HostPattern::parse(&format!("*.{text}"));
        match is {
            Is::Name(name) => {
                let authority = with_port.unwrap();
                assert_eq!((authority.host.to_string().as_str(), authority.port), (*name, Some(8443)));
                assert_eq!(below.unwrap().to_string(), format!("*.{name}"), "{text:?}");
            }
            Is::Addr(addr) => {
                assert_eq!(with_port.unwrap().host, Host::Address(addr.parse().unwrap()), "{text:?}");
                assert!(below.is_err(), "{text:?}");
            }
            Is::No(_) => assert!(with_port.is_err() && below.is_err(), "{text:?}"),
        }
    }
}

#[test]
fn a_label_has_63_octets_and_a_name_253() {
    let label = |length| "a".repeat(length);
    assert!(HostName::parse(&label(63)).is_ok());
    assert_eq!(HostName::parse(&label(64)), Err(NameError::Label));
    assert_eq!(HostName::parse(&format!("x.{}", label(64))), Err(NameError::Label));
    // As written it is short, as an A-label it is not.
    assert!(HostName::parse(&"\u{fc}".repeat(56)).is_ok());
    assert_eq!(HostName::parse(&"\u{fc}".repeat(64)), Err(NameError::Label));
    let name = [label(63), label(63), label(63), label(61)].join(".");
    assert_eq!(name.len(), 253);
    for text in [name.clone(), format!("{name}."), name.to_uppercase()] {
        assert_eq!(HostName::parse(&text).unwrap().as_str(), name);
    }
    for text in [format!("{name}a"), format!("{name}a."), format!("{name}.a")] {
        assert_eq!(HostName::parse(&text), Err(NameError::TooLong));
        assert_eq!(Authority::parse(&text), Err(NameError::TooLong));
    }
    for huge in [label(100_000), "a.".repeat(100_000), "\u{ad}".repeat(100_000)] {
        assert_eq!(HostName::parse(&huge), Err(NameError::TooLong));
    }
}

#[test]
fn a_pattern_has_room_for_a_name_below() {
    let label = |length| "a".repeat(length);
    let apex = |last| [label(63), label(63), label(63), label(last)].join(".");
    let pattern = HostPattern::parse(&format!("*.{}", apex(59))).unwrap();
    assert!(pattern.matches(&HostName::parse(&format!("b.{}", apex(59))).unwrap()));
    assert_eq!(HostPattern::parse(&format!("*.{}", apex(60))), Err(NameError::TooLong));
}

#[test]
fn a_star_is_any_name_below_and_not_the_apex() {
    let pattern = HostPattern::parse("*.Example.com").unwrap();
    let meant = |text| pattern.matches(&HostName::parse(text).unwrap());
    assert!(meant("a.example.com") && meant("a.b.example.com"));
    assert!(!meant("example.com") && !meant("badexample.com") && !meant("example.com.evil.org"));
    for text in ["*", "a.*.com", "*a.com", "*.*.com", "**.com", "*\u{3002}com", "a*", "*.com*"] {
        assert_eq!(HostPattern::parse(text), Err(NameError::Wildcard), "{text}");
        assert!(HostName::parse(text).is_err() && Authority::parse(text).is_err(), "{text}");
    }
    assert_eq!(HostPattern::parse("*."), Err(NameError::Empty));
}

#[test]
fn an_authority_is_host_and_port_and_nothing_else() {
    assert_eq!(Authority::parse("a.example:8443").unwrap().port, Some(8443));
    assert_eq!(Authority::parse("[::1]:443").unwrap().host, Host::Address(Ipv6Addr::LOCALHOST.into()));
    for (text, error) in [
        ("u@a.example", NameError::Userinfo),
        ("u:p@a.example:443", NameError::Userinfo),
        ("u@[::1]", NameError::Userinfo),
        ("a.example:", NameError::Port),
        ("a.example:+5", NameError::Port),
        ("a.example:-1", NameError::Port),
        ("a.example: 80", NameError::Port),
        ("a.example:80 ", NameError::Port),
        ("a.example:080", NameError::Port),
        ("a.example:0", NameError::Port),
        ("a.example:65536", NameError::Port),
        ("a.example:70000", NameError::Port),
        ("a.example:0x50", NameError::Port),
        ("a.example:\u{ff18}\u{ff10}", NameError::Port),
        ("a.example:http", NameError::Port),
        ("a:1:2", NameError::Port),
        ("127.0.0.1:", NameError::Port),
        ("[::1]:", NameError::Port),
        ("[::1]x", NameError::Port),
        ("[::1].", NameError::Port),
        ("[::1]:0", NameError::Port),
        ("[::1]:443:1", NameError::Port),
        (":443", NameError::Empty),
        (".:443", NameError::Empty),
        ("[::1", NameError::Address),
        ("[fe80::1%25lo]:443", NameError::Address),
        ("127.1:443", NameError::Address),
    ] {
        assert_eq!(Authority::parse(text), Err(error), "{text}");
    }
}

#[test]
fn an_origin_is_meant_only_with_its_own_host_and_port() {
    let origin = Origin { scheme: Scheme::Https, host: HostName::parse("a.example").unwrap(), port: 443 };
    let meant = |text| origin.is_meant_by(&Authority::parse(text).unwrap());
    assert!(meant("a.example") && meant("A.EXAMPLE.:443") && meant("\u{ff41}\u{3002}example"));
    assert!(!meant("a.example:80") && !meant("b.example") && !meant("127.0.0.1"));
    assert_eq!(origin.authority(), "a.example");
}
