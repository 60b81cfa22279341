//! What was put into one request so far, and whether more may be.
//!
//! It puts nothing anywhere: who does asks first. Invariant: a secret that is not
//! [`SecretState::Live`](super::SecretState::Live), or that was put in as often as it may be, is not admitted, whatever
//! the place.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::book::Book;
use super::inject::InjectError;

/// How often each secret was put into one request; a WebSocket is one request with the one it came from.
///
/// A copy counts on with the original. It outlives a change of the secrets: which secret is which stays.
#[derive(Clone, Debug, Default)]
pub struct Uses(Rc<RefCell<Vec<u32>>>);

impl Uses {
    /// Counts one more of a secret, and gives how many those are.
    fn count(&self, secret: usize) -> u32 {
        let mut counts = self.0.borrow_mut();
        if counts.len() <= secret {
            counts.resize(secret + 1, 0);
        }
        counts.get_mut(secret).map_or(0, |count| {
            *count = count.saturating_add(1);
            *count
        })
    }
}

/// The secrets of one request, and how often each was put into it.
pub(super) struct Tally {
    pub(super) book: Arc<Book>,
    pub(super) uses: Uses,
}

impl Tally {
    /// Refuses a secret that is to be put nowhere now.
    pub(super) fn admit(&self, secret: usize) -> Result<(), InjectError> {
        self.book.entries().get(secret).and_then(|entry| entry.refusal()).map_or(Ok(()), Err)
    }

    /// Counts one more of `secret`, unless it is to be put nowhere, or that is one too many.
    pub(super) fn count(&self, secret: usize) -> Result<(), InjectError> {
        self.admit(secret)?;
        let Some(entry) = self.book.entries().get(secret) else { return Ok(()) };
        let count = self.uses.count(secret);
        match entry.max_per_request {
            Some(most) if count > most.get() => {
                Err(InjectError::TooOften { secret: entry.name.clone(), most: most.get() })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn name(&self, secret: usize) -> String {
        self.book.entries().get(secret).map(|entry| entry.name.clone()).unwrap_or_default()
    }
}
