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
    /// What would have been refused but for `--observe`.
    pub observed: u64,
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
    /// Through a published port, into the guest.
    pub published: u64,
    /// UDP associations.
    pub udp: u64,
    /// Associations of ICMP echo requests.
    pub icmp: u64,
}

impl Stats {
    pub(super) fn count(&mut self, event: &Event) {
        let (counter, count) = match event {
            Event::Flow { kind, .. } => (self.flows.of(*kind), 1),
            Event::Request { .. } => (&mut self.requests, 1),
            Event::Injection { .. } => (&mut self.injections, 1),
            Event::Denial { observed: false, .. } => (&mut self.denials, 1),
            Event::Denial { observed: true, .. } => (&mut self.observed, 1),
            Event::Denials { count, observed: false } => (&mut self.denials, *count),
            Event::Denials { count, observed: true } => (&mut self.observed, *count),
            // The one says where a port is, the other what a secret is; nothing has happened with them yet.
            Event::Published { .. } | Event::Secret { .. } | Event::Policy { .. } => return,
        };
        *counter += count;
    }
}

impl Flows {
    fn of(&mut self, kind: FlowKind) -> &mut u64 {
        match kind {
            FlowKind::Https => &mut self.https,
            FlowKind::Http => &mut self.http,
            FlowKind::Passthrough => &mut self.passthrough,
            FlowKind::Opaque => &mut self.opaque,
            FlowKind::Dns => &mut self.dns,
            FlowKind::Published => &mut self.published,
            FlowKind::Udp => &mut self.udp,
            FlowKind::Icmp => &mut self.icmp,
        }
    }
}
