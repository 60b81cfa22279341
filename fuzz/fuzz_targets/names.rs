//! Names and authorities: what is accepted is canonical, so that reading it again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::name::{Authority, HostName, HostPattern};

fuzz_target!(|text: &str| {
    if let Ok(name) = HostName::parse(text) {
        assert_eq!(HostName::parse(&name.to_string()).as_ref(), Ok(&name));
    }
    let _ = HostPattern::parse(text);
    let _ = Authority::parse(text);
});
