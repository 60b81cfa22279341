//! A request with a secret waits until whoever was told of it has it on record.
//!
//! It records nothing itself. Invariant: what is held is sent only if every recorder that asked it to wait has
//! succeeded.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

type Recorded = Pin<Box<dyn Future<Output = bool>>>;

/// Handed out with an event, for the hearer to hold the request back; clones are the same hold.
#[derive(Clone, Default)]
pub struct Hold(Rc<RefCell<Vec<Recorded>>>);

impl Hold {
    /// The request waits for `recorded`, and is refused where that comes out false.
    ///
    /// To be called while the event is heard; later it is in vain.
    pub fn until(&self, recorded: impl Future<Output = bool> + 'static) {
        self.0.borrow_mut().push(Box::pin(recorded));
    }

    /// Whether everything waited for is on record; at once where there is nothing.
    pub(super) async fn released(&self) -> bool {
        let waiting = self.0.take();
        for recorded in waiting {
            if !recorded.await {
                return false;
            }
        }
        true
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
