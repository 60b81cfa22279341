//! How many events there were, by kind.

use serde::{Deserialize, Serialize};

use super::event::{Event, FlowKind};

/// Counts of one sandbox's events since it started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Flows that have ended, by what they carried.
    pub flows: Flows,
    /// Requests that were answered, denied ones among them where they are answered.
    pub requests: u64,
    /// Secrets that went to their hosts.
    pub injections: u64,
    /// Refusals: of questions, flows and requests.
    pub denials: u64,
}

/// Flows that have ended, by what they carried.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Flows {
    /// Intercepted TLS with HTTP inside.
    pub https: u64,
    /// Plain HTTP.
    pub http: u64,
    /// TLS spliced to a pass-through host.
    pub passthrough: u64,
    /// Bytes spliced without looking inside.
    pub opaque: u64,
    /// DNS over TCP.
    pub dns: u64,
}

impl Stats {
    pub(super) fn count(&mut self, event: &Event) {
        let counter = match event {
            Event::Flow { kind: FlowKind::Https, .. } => &mut self.flows.https,
            Event::Flow { kind: FlowKind::Http, .. } => &mut self.flows.http,
            Event::Flow { kind: FlowKind::Passthrough, .. } => &mut self.flows.passthrough,
            Event::Flow { kind: FlowKind::Opaque, .. } => &mut self.flows.opaque,
            Event::Flow { kind: FlowKind::Dns, .. } => &mut self.flows.dns,
            Event::Request { .. } => &mut self.requests,
            Event::Injection { .. } => &mut self.injections,
            Event::Denial { .. } => &mut self.denials,
        };
        *counter += 1;
    }
}
