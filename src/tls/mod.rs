//! Both TLS legs.
//!
//! Toward the guest: a [`CertificateAuthority`] of the sandbox's own, the [`Leaves`] it mints, and
//! the handshake in two steps ([`hello`]). Toward upstreams: [`Roots`] and the [`Connector`]. It judges no name and speaks no HTTP.
//! Invariant: nothing the guest leg trusts or mints is ever trusted on the upstream leg.

mod accept;
mod ca;
mod client;
mod connect;
mod failure;
mod farewell;
mod leaf;
mod provider;
mod roots;
mod stats;
mod verified;

pub use accept::{AcceptError, Hello, Sni, hello};
pub use ca::{CaError, CertificateAuthority};
pub use connect::{Connector, VerifiedUpstream};
pub use failure::ConnectError;
pub use farewell::Heard;
pub(crate) use leaf::Subject;
pub use leaf::{LeafError, Leaves};
pub use provider::provider;
pub use roots::{Roots, TlsConfigError};
pub use stats::Stats;
pub use verified::{Alpn, VerifiedPeer};

/// The time that certificates are made for.
#[expect(clippy::disallowed_methods, reason = "certificates carry wall time")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

#[cfg(test)]
#[path = "../../tests/support/pki.rs"]
mod pki;
#[cfg(test)]
mod testing;
