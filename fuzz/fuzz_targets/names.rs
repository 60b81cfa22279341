//! Names, authorities, patterns and rules: what is accepted is canonical, all readers agree, and no address is a name.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use portcullis::name::{Authority, Host, HostName, HostPattern};
use portcullis::policy::{Rule, ConnectTo, RuleSource};

fuzz_target!(|text: &str| {
    let name = HostName::parse(text);
    if let Ok(name) = &name {
        assert_eq!(HostName::parse(name.as_str()).as_ref(), Ok(name));
        assert_eq!(HostName::parse(&format!("{name}.")).as_ref(), Ok(name));
        assert_eq!(HostName::parse(&text.to_ascii_uppercase()).as_ref(), Ok(name));
        assert!(name.as_str().len() <= 253 && name.as_str().parse::<IpAddr>().is_err());
        let last = name.as_str().rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x");
        assert!(!hex.is_some_and(|hex| hex.bytes().all(|octet| octet.is_ascii_hexdigit())));
        assert!(!last.bytes().all(|octet| octet.is_ascii_digit()));
    }
    match HostPattern::parse(text) {
        Ok(HostPattern::Exact(own)) => assert_eq!(Ok(own), name),
        Ok(pattern @ HostPattern::Below(_)) => {
            assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern))
        }
        Err(_) => assert!(name.is_err()),
    }
    if let Ok(authority) = Authority::parse(text) {
        match (&authority.host, authority.port) {
            (Host::Name(own), None) => assert_eq!(Ok(own), name.as_ref()),
            (Host::Name(_), Some(_)) => assert!(name.is_err()),
            (Host::Address(IpAddr::V4(addr)), None) => assert_eq!(text.parse::<Ipv4Addr>(), Ok(*addr)),
            (Host::Address(_), _) => assert!(name.is_err()),
        }
    } else {
        assert!(name.is_err());
    }
    let _ = Rule::allowing(text, RuleSource::Flag(String::new()));
    let _ = ConnectTo::parse(text);
});
