//! A guest's whole way out and back: its TCP, its TLS, its HTTP, through a sandbox to an upstream on loopback.
//!
//! Everything goes through the public facade and the in-memory link. What HTTP is asserted of is asserted of
//! HTTP/1.1 and HTTP/2 by one macro. No secret may be seen anywhere on the guest's side or in a log line.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test does not reckon with ends it"
)]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "../support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "the guest is shared with the tests of the network")]
#[path = "../support/guest.rs"]
mod guest;
#[expect(dead_code, reason = "the harness is shared with the two sandboxes")]
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/pki_made.rs"]
mod pki_made;
#[path = "../support/proxy.rs"]
mod proxy;

/// Runs each of these on HTTP/1.1 and on HTTP/2.
macro_rules! on_h1_and_h2 {
    ($($name:ident),* $(,)?) => {
        mod h1 {
            $(#[test] fn $name() { crate::memory::run(super::$name(crate::memory::Http::One)); })*
        }
        mod h2 {
            $(#[test] fn $name() { crate::memory::run(super::$name(crate::memory::Http::Two)); })*
        }
    };
}

mod audit;
mod certificates;
mod datagrams;
mod denials;
mod dns;
mod failures;
mod flows;
mod gate;
mod live;
mod many;
mod opaque;
mod policy;
mod proxies;
mod published;
mod rules;
mod secrets;
mod tls;
mod upstreams;
mod watch;

use rustls::{ALL_VERSIONS, ServerConfig};

/// The configuration of an upstream with a good certificate that speaks both versions of HTTP.
fn good() -> ServerConfig {
    pki::server_config("good", ALL_VERSIONS, &[b"h2", b"http/1.1"])
}
