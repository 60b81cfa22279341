//! The record of what a sandbox did: every flow, request, injection and denial.
//!
//! It decides nothing and never holds a secret's value; guest text in it is escaped and cut. Invariant: where
//! a file is asked for, nothing is injected that is not recorded first ([`Audit::recorded`]).

mod event;
mod sink;
mod stats;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

pub use event::{Event, FlowKind, PolicyChange, Record, SecretChange, clip};
pub use sink::{Sink, SinkError};
pub use stats::{Flows, Stats};

use crate::limits::Limits;

/// Where events go: the file, the subscribers, and the tally of denials.
pub struct Audit {
    sink: Option<Sink>,
    subscribers: broadcast::Sender<Record>,
    denials: Arc<Denials>,
    flows: AtomicU64,
    counts: Cell<Stats>,
}

impl Audit {
    /// An audit trail that writes to `sink`, where there is one.
    #[must_use]
    pub fn new(sink: Option<Sink>, limits: &Limits) -> Self {
        let (subscribers, _) = broadcast::channel(limits.event_queue);
        Self { sink, subscribers, denials: Arc::default(), flows: AtomicU64::new(0), counts: Cell::default() }
    }

    /// Records one event; never waits.
    pub fn record(&self, event: Event) {
        if let Event::Denial { target, flow, .. } = &event {
            match flow {
                Some(_) => self.denials.count(target),
                None => self.denials.count_question(target),
            }
        }
        let mut counts = self.counts.get();
        counts.count(&event);
        self.counts.set(counts);
        let record = Record::now(event);
        if let Some(sink) = &self.sink {
            sink.write(&record);
        }
        // An error only says that nobody listens.
        let _ = self.subscribers.send(record);
    }

    /// Counts a denial of a flow in the tally alone, where its record is one with others.
    pub fn tally(&self, target: &str) {
        self.denials.count(target);
    }

    /// How many events there were, by kind.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counts.get()
    }

    /// Whether the file can take a record now. Where it cannot, nothing may be injected.
    #[must_use]
    pub fn can_record(&self) -> bool {
        self.sink.as_ref().is_none_or(Sink::can_write)
    }

    /// Resolves to true once everything recorded so far is in the file, to false if it cannot be.
    ///
    /// At once where there is no file.
    pub fn recorded(&self) -> impl Future<Output = bool> + use<> {
        let written = self.sink.as_ref().map(Sink::written);
        async move {
            match written {
                Some(written) => written.await,
                None => true,
            }
        }
    }

    /// A number for the next flow, unique in this sandbox.
    #[must_use]
    pub fn next_flow(&self) -> u64 {
        self.flows.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Events from now on; a slow subscriber misses the oldest (`Limits::event_queue`).
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Record> {
        self.subscribers.subscribe()
    }

    /// The sender behind [`Audit::subscribe`], for a handle on another thread.
    #[must_use]
    pub fn subscribers(&self) -> broadcast::Sender<Record> {
        self.subscribers.clone()
    }

    /// The tally of denials, shared with whoever reports it.
    #[must_use]
    pub fn denials(&self) -> Arc<Denials> {
        Arc::clone(&self.denials)
    }
}

/// How often each target was denied.
#[derive(Default)]
pub struct Denials(Mutex<BTreeMap<String, u64>>);

/// Distinct targets that are told apart; later ones count as one, so that a scan costs no memory.
const TARGETS_TOLD_APART: usize = 256;
/// Targets named in the one line at exit.
const TARGETS_NAMED: usize = 4;

impl Denials {
    /// Counts a name that was only looked up; a denied flow to it says the same with a port.
    fn count_question(&self, name: &str) {
        let prefix = format!("{name}:");
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_flow =
            tally.range(prefix.clone()..).next().is_some_and(|(target, _)| target.starts_with(&prefix));
        if !has_flow && (tally.len() < TARGETS_TOLD_APART || tally.contains_key(name)) {
            tally.insert(name.to_owned(), 1);
        }
    }

    fn count(&self, target: &str) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, _port)) = target.rsplit_once(':') {
            tally.remove(name);
        }
        if let Some(count) = tally.get_mut(target) {
            *count += 1;
        } else {
            let key = if tally.len() < TARGETS_TOLD_APART { target } else { "others" };
            *tally.entry(key.to_owned()).or_default() += 1;
        }
    }

    /// One line for people, or nothing where nothing was denied.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: u64 = tally.values().sum();
        if total == 0 {
            return None;
        }
        let mut by_count: Vec<_> = tally.iter().collect();
        by_count.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named: Vec<String> = by_count
            .iter()
            .take(TARGETS_NAMED)
            .map(|(target, count)| format!("{target} ({count})"))
            .collect();
        let rest = by_count.len().saturating_sub(TARGETS_NAMED);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let noun = if total == 1 { "denial" } else { "denials" };
        Some(format!("{total} {noun}: {}{more}", named.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(target: &str) -> Event {
        Event::Denial {
            flow: Some(1),
            target: target.into(),
            reason: "r".into(),
            rule: "default".into(),
            hint: String::new(),
        }
    }

    #[test]
    fn denials_are_summed_up_in_one_line() {
        let audit = Audit::new(None, &Limits::default());
        assert_eq!(audit.denials().summary(), None);
        for target in ["b:443", "a:443", "b:443"] {
            audit.record(denial(target));
        }
        assert_eq!(audit.denials().summary().as_deref(), Some("3 denials: b:443 (2), a:443 (1)"));
    }

    #[test]
    fn a_name_looked_up_counts_once_and_not_beside_its_flows() {
        let audit = Audit::new(None, &Limits::default());
        let question = |name: &str| {
            let Event::Denial { target, reason, rule, hint, .. } = denial(name) else { unreachable!() };
            Event::Denial { flow: None, target, reason, rule, hint }
        };
        for event in
            [question("a"), question("a"), denial("a:443"), question("a"), question("b"), question("b")]
        {
            audit.record(event);
        }
        assert_eq!(audit.denials().summary().as_deref(), Some("2 denials: a:443 (1), b (1)"));
    }

    #[test]
    fn a_scan_costs_no_memory() {
        let audit = Audit::new(None, &Limits::default());
        for port in 0..10_000 {
            audit.record(denial(&format!("a:{port}")));
        }
        assert!(audit.denials().0.lock().unwrap().len() <= TARGETS_TOLD_APART + 1);
        assert!(audit.denials().summary().unwrap().starts_with("10000 denials: others (9744)"));
    }

    #[tokio::test]
    async fn subscribers_see_what_is_recorded() {
        let audit = Audit::new(None, &Limits::default());
        let mut events = audit.subscribe();
        audit.record(denial("a:1"));
        assert!(
            matches!(events.recv().await.unwrap().event, Event::Denial { target, .. } if target == "a:1")
        );
    }
}
