//! What TLS counts; numbers alone, no names.

use serde::{Deserialize, Serialize};

/// Counts of one sandbox's handshakes since it started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Upstreams that proved their name.
    pub upstream_verified: u64,
    /// Upstreams that did not, or whose handshake failed.
    pub upstream_failed: u64,
    /// Handshakes with the guest that were finished.
    pub guest_accepted: u64,
    /// Handshakes with the guest that failed: most often it does not trust the sandbox's CA.
    pub guest_failed: u64,
    /// Handshakes of the guest that were answered with an alert, by verdict.
    pub guest_refused: u64,
}
