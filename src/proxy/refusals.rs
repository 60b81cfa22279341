//! How many refused flows and denied questions are told one by one.
//!
//! A guest that scans is refused with one frame for each of its own, which costs the audit trail a line each and
//! nothing the guest. A denial that the guest is told by its id is none of these. Invariant: in each stretch of
//! `Limits::refusals_window` at most `Limits::refusals_told` of them have a record of their own, and one record has
//! the number of all others.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::Context;
use crate::audit::{Audit, Event};
use crate::limits::Limits;
use crate::policy::Denial;

/// Records a denial; of many at once, only how many there were.
pub(super) fn record(context: &Context, flow: Option<u64>, denial: &Denial) {
    context.refusals.record(flow, denial);
}

/// The records of one sandbox's refusals.
pub(crate) struct Refusals {
    audit: Rc<Audit>,
    limits: Arc<Limits>,
    denied: Seen,
    /// What only would have been denied.
    observed: Seen,
}

impl Refusals {
    /// Records in `audit`.
    pub(crate) fn new(audit: Rc<Audit>, limits: Arc<Limits>) -> Rc<Self> {
        Rc::new(Self { audit, limits, denied: Seen::default(), observed: Seen::default() })
    }

    /// Records a denial on a flow or before there was one; of many at once, only how many there were.
    pub(crate) fn record(self: &Rc<Self>, flow: Option<u64>, denial: &Denial) {
        let telling = self.of(denial.observed).telling(Instant::now(), &self.limits);
        if telling == Telling::Alone {
            self.audit.deny(flow, denial);
            return;
        }
        self.audit.tally(flow, denial);
        if let Telling::FirstOfMany(due) = telling {
            let summed = Summed { refusals: Rc::clone(self), observed: denial.observed };
            drop(tokio::task::spawn_local(async move {
                sleep_until(due).await;
                drop(summed);
            }));
        }
    }

    fn of(&self, observed: bool) -> &Seen {
        if observed { &self.observed } else { &self.denied }
    }
}

/// Denials that have no record of their own, with one for all of them, when they are due or the sandbox ends.
struct Summed {
    refusals: Rc<Refusals>,
    observed: bool,
}

impl Drop for Summed {
    fn drop(&mut self) {
        let Self { refusals, observed } = self;
        let count = refusals.of(*observed).take_untold();
        if *observed {
            tracing::info!(count, "more would be denied");
        } else {
            tracing::info!(count, "more denied");
        }
        refusals.audit.record(Event::Denials { count, observed: *observed });
    }
}

/// What the current stretch of time has seen.
#[derive(Debug, Default)]
struct Seen {
    began: Cell<Option<Instant>>,
    told: Cell<usize>,
    untold: Cell<u64>,
}

/// How one refusal is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Telling {
    /// By a record of its own.
    Alone,
    /// With others; the number is due at this moment, and this is the first of them.
    FirstOfMany(Instant),
    /// With others.
    OneOfMany,
}

impl Seen {
    /// Takes in one refusal.
    fn telling(&self, now: Instant, limits: &Limits) -> Telling {
        let end = |began: Instant| began + limits.refusals_window;
        let began = match self.began.get().filter(|began| now < end(*began)) {
            Some(began) => began,
            None => {
                self.told.set(0);
                self.began.set(Some(now));
                now
            }
        };
        if self.told.get() < limits.refusals_told {
            self.told.set(self.told.get() + 1);
            return Telling::Alone;
        }
        self.untold.set(self.untold.get() + 1);
        if self.untold.get() == 1 { Telling::FirstOfMany(end(began)) } else { Telling::OneOfMany }
    }

    /// How many there were that have no record of their own; from now on they are counted anew.
    fn take_untold(&self) -> u64 {
        self.untold.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_scan_is_told_in_a_bounded_number_of_records() {
        let limits = Limits::default();
        let (refusals, start) = (Seen::default(), Instant::now());
        let (mut alone, mut first) = (0, Vec::new());
        for _ in 0..10_000 {
            match refusals.telling(start, &limits) {
                Telling::Alone => alone += 1,
                Telling::FirstOfMany(due) => first.push(due),
                Telling::OneOfMany => {}
            }
        }
        assert_eq!((alone, first), (limits.refusals_told, vec![start + limits.refusals_window]));
        assert_eq!(refusals.take_untold(), 10_000 - limits.refusals_told as u64);
        let later = start + limits.refusals_window;
        assert_eq!(refusals.telling(later, &limits), Telling::Alone);
        assert_eq!(refusals.take_untold(), 0);
    }
}
