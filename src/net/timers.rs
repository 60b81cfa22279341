//! Deadlines of flows: a binary heap whose stale entries are left to surface.
//!
//! A deadline that moves later, as a retransmission timer does with every ACK, costs nothing: the entry that is
//! there surfaces first and is pushed again. One that moves earlier is pushed anew and the old one ignored.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smoltcp::time::Instant;

use super::table::FlowId;

/// Stale entries put up with before the heap is swept, beyond twice the flows there are.
const SLACK: usize = 64;

/// All armed deadlines.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, FlowId)>>,
}

/// The timer of one flow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// When the flow wants to be served.
    deadline: Option<Instant>,
    /// The time of its entry in the heap.
    armed: Option<Instant>,
}

/// What an entry that surfaced means.
pub(super) enum Surfaced {
    /// The flow is due.
    Due,
    /// The entry was early; it is back in the heap, or was stale.
    Later,
}

impl Timers {
    /// Sets a flow's deadline.
    pub(super) fn set(&mut self, id: FlowId, timer: &mut Timer, deadline: Option<Instant>) {
        timer.deadline = deadline;
        let Some(deadline) = deadline else { return };
        if timer.armed.is_none_or(|armed| deadline < armed) {
            timer.armed = Some(deadline);
            self.heap.push(Reverse((deadline, id)));
        }
    }

    /// The earliest entry; it may turn out stale.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest entry that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, FlowId)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Judges an entry that [`Timers::pop`] gave, of a flow that is still there.
    pub(super) fn judge(&mut self, entry: (Instant, FlowId), timer: &mut Timer, now: Instant) -> Surfaced {
        let (at, id) = entry;
        if timer.armed != Some(at) {
            return Surfaced::Later;
        }
        timer.armed = None;
        match timer.deadline {
            Some(deadline) if deadline <= now => {
                timer.deadline = None;
                Surfaced::Due
            }
            later => {
                self.set(id, timer, later);
                Surfaced::Later
            }
        }
    }

    /// Drops entries that `current` does not vouch for, if there are far more of them than flows.
    pub(super) fn sweep(&mut self, flows: usize, mut current: impl FnMut(Instant, FlowId) -> bool) {
        if self.heap.len() > flows * 2 + SLACK {
            self.heap.retain(|Reverse((at, id))| current(*at, *id));
        }
    }

    /// Whether this is the entry a timer has in the heap.
    pub(super) fn is_armed_at(timer: &Timer, at: Instant) -> bool {
        timer.armed == Some(at)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
