//! All that a sandbox counts, gathered from those who count it.

use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::{audit, dns, net, tls};

/// Counters of one sandbox since it started.
///
/// As JSON, which is what `portcullis status --json` prints, a counter's key is its field's name. One that another
/// version of this program does not have reads as 0.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Frames, flows, datagrams, and what was dropped of them.
    pub net: net::Stats,
    /// The guest's questions.
    pub dns: dns::Stats,
    /// Handshakes.
    pub tls: tls::Stats,
    /// What the audit trail tells: ended flows, requests, injections, denials.
    pub events: audit::Stats,
}

impl Sandbox {
    /// What would have been denied so far but for [`Config::observe`](crate::config::Config::observe), in one line.
    #[must_use]
    pub fn observed(&self) -> Option<String> {
        self.denials.observed()
    }
}
