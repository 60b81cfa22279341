//! Questions under way to nameservers, each asked once however many wait for it.
//!
//! Many equal questions at once would give a forger as many answers to guess
//! ([RFC 5452 §5](https://www.rfc-editor.org/rfc/rfc5452#section-5)). It asks nobody itself. Invariant: at most one
//! question about a topic is under way; when who asks gives up, the next who waits asks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::OnceCell;

use super::answer::{Records, Topic};
use super::forwarder::ForwardError;

/// What came of a question.
pub(super) type Landed = Result<Rc<Records>, ForwardError>;

type Cell = Rc<OnceCell<Landed>>;

/// All of one sandbox.
#[derive(Debug, Default)]
pub(super) struct Flights(RefCell<HashMap<Topic, Cell>>);

impl Flights {
    /// Waits for the answer about `topic`, for which somebody asks already or `ask` does.
    pub(super) async fn land<F>(&self, topic: &Topic, ask: impl FnOnce() -> F) -> Landed
    where
        F: Future<Output = Landed>,
    {
        let cell = Rc::clone(self.0.borrow_mut().entry(topic.clone()).or_default());
        let seat = Seat { flights: self, topic, cell };
        seat.cell.get_or_init(ask).await.clone()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// A wait for an answer; the last to leave clears the entry.
struct Seat<'a> {
    flights: &'a Flights,
    topic: &'a Topic,
    cell: Cell,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // The table's and ours; later questions ask anew once there is an answer, for it is in the cache.
        if Rc::strong_count(&self.cell) <= 2 || self.cell.initialized() {
            let mut flights = self.flights.0.borrow_mut();
            if flights.get(self.topic).is_some_and(|cell| Rc::ptr_eq(cell, &self.cell)) {
                flights.remove(self.topic);
            }
        }
    }
}
