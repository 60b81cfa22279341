//! What a guest and its upstream see of each other through the mirror, the same on HTTP/1 and HTTP/2.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "support/canary.rs"]
mod canary;
#[path = "support/http_peers.rs"]
mod http_peers;

#[path = "http_mirror/coded.rs"]
mod coded;
#[path = "http_mirror/coded_flow.rs"]
mod coded_flow;
#[path = "http_mirror/failure.rs"]
mod failure;
#[path = "http_mirror/head.rs"]
mod head;
#[path = "http_mirror/stream.rs"]
mod stream;

/// Runs each function of a module on both versions.
macro_rules! on_both_versions {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod h1 {
            $(#[test] $(#[$attribute])* fn $name() {
                crate::http_peers::run(super::$name(portcullis::tls::Alpn::Http1));
            })*
        }
        mod h2 {
            $(#[test] $(#[$attribute])* fn $name() {
                crate::http_peers::run(super::$name(portcullis::tls::Alpn::H2));
            })*
        }
    };
}
pub(crate) use on_both_versions;
