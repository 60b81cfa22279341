//! Addresses: every one is judged, and one that carries another is never less special than that.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use portcullis::policy::address::{carried, own_use, special_use};

fuzz_target!(|bits: [u8; 16]| {
    let addr = IpAddr::V6(Ipv6Addr::from(bits));
    let kind = special_use(addr).map(|special| special.kind);
    for part in carried(addr).map(IpAddr::V4).chain([addr]) {
        if let Some(own) = own_use(part) {
            assert!(kind.is_some_and(|kind| kind <= own.kind), "{addr}: {part}");
        }
    }
    assert!(kind.is_some() || Ipv6Addr::from(bits).segments()[0] >> 13 == 1 || carried(addr).count() == 1);
});
