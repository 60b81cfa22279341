//! The record of what a sandbox did: every flow, request, injection and denial.
//!
//! It decides nothing and never holds a secret's value; guest text in it is escaped and cut. Invariant: where
//! a file is asked for, nothing is injected that is not recorded first ([`Audit::recorded`]).

mod event;
mod id;
mod reader;
mod sink;
mod stats;
mod tally;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

pub use event::{Event, FlowKind, PolicyChange, Record, SecretChange, clip};
pub use id::is_denial_id;
pub use reader::{Line, Reader, Told};
pub use sink::{Sink, SinkError};
pub use stats::{Flows, Stats};
pub use tally::Denials;

use id::Ids;

use crate::limits::Limits;
use crate::policy::Denial;

/// Where events go: the file, the subscribers, the tally of denials and the last of them.
pub struct Audit {
    sink: Option<Sink>,
    subscribers: broadcast::Sender<Record>,
    denials: Arc<Denials>,
    ids: Ids,
    /// The oldest first.
    recent: RefCell<VecDeque<Told>>,
    kept: usize,
    flows: AtomicU64,
    counts: Cell<Stats>,
}

impl Audit {
    /// An audit trail that writes to `sink`, where there is one.
    #[must_use]
    pub fn new(sink: Option<Sink>, limits: &Limits) -> Self {
        let (subscribers, _) = broadcast::channel(limits.event_queue);
        Self {
            sink,
            subscribers,
            denials: Arc::default(),
            ids: Ids::new(),
            recent: RefCell::default(),
            kept: limits.denials_kept,
            flows: AtomicU64::new(0),
            counts: Cell::default(),
        }
    }

    /// Records one event; never waits.
    pub fn record(&self, event: Event) {
        if let Event::Denial { target, flow, observed, .. } = &event {
            self.denials.count(*observed, *flow, target);
        }
        let mut counts = self.counts.get();
        counts.count(&event);
        self.counts.set(counts);
        let record = Record::now(event);
        self.keep(&record);
        if let Some(sink) = &self.sink {
            sink.write(&record);
        }
        // An error only says that nobody listens.
        let _ = self.subscribers.send(record);
    }

    /// Records what policy denied, or would have, on a flow or before there was one; its id.
    pub fn deny(&self, flow: Option<u64>, denial: &Denial) -> String {
        let id = self.next_denial();
        let Denial { target, reason, .. } = denial;
        if denial.observed {
            tracing::info!(flow, id, %target, %reason, "would be denied");
        } else {
            tracing::info!(flow, id, %target, %reason, "denied");
        }
        self.record(Event::of_denial(id.clone(), flow, denial));
        id
    }

    /// An id for the next denial: unique in this sandbox, and hardly another sandbox's.
    #[must_use]
    pub fn next_denial(&self) -> String {
        self.ids.next()
    }

    /// Counts a denial on a flow, or before there was one, in the tally alone: its record is one with others.
    pub fn tally(&self, flow: Option<u64>, denial: &Denial) {
        self.denials.count(denial.observed, flow, &denial.target);
    }

    /// A denial that is still kept (`Limits::denials_kept`).
    #[must_use]
    pub fn denial(&self, id: &str) -> Option<Told> {
        self.recent.borrow().iter().rfind(|told| told.id == id).cloned()
    }

    fn keep(&self, record: &Record) {
        let Some(told) = Told::of(record).filter(|_| self.kept > 0) else { return };
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= self.kept {
            recent.pop_front();
        }
        recent.push_back(told);
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

#[cfg(test)]
mod tests;
