//! What the DNS service counts; numbers alone, no names.

use serde::{Deserialize, Serialize};

/// Counts of one sandbox's DNS since it started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Messages of the guest.
    pub messages: u64,
    /// Messages that were not one question: answered with an error, or not at all.
    pub malformed: u64,
    /// Questions for a name that no rule allows.
    pub denied: u64,
    /// Questions that could not be answered: no nameserver did, or too many were in flight.
    pub failed: u64,
    /// Connections that ended because all together held too much (`Limits::dns_stream_memory`).
    pub crowded: u64,
    /// Questions sent to nameservers, those of our own dials among them.
    pub forwarded: u64,
}
