//! Tells of the secrets put into one request, and waits until that is on record.
//!
//! It records nothing itself. Invariant: what it says is recorded is so in every record that was asked to be waited
//! for.

use std::pin::Pin;
use std::rc::Rc;

use http::StatusCode;

use super::deny::Refusal;
use super::{Answered, Event, Hold, Mirror, Subject};
use crate::secret::Injection;

/// Resolves to whether what was told is on record.
pub(super) type Recorded = Pin<Box<dyn Future<Output = bool>>>;

/// Who is told of one request.
pub(super) struct Recorder {
    subject: Subject,
    events: Rc<dyn Fn(Event)>,
    can_record: Rc<dyn Fn() -> bool>,
    denial_id: Rc<dyn Fn() -> Option<String>>,
}

impl Recorder {
    pub(super) fn new(mirror: &Mirror, subject: &Subject) -> Self {
        let (events, can_record) = (Rc::clone(&mirror.events), Rc::clone(&mirror.can_record));
        Self { subject: subject.clone(), events, can_record, denial_id: Rc::clone(&mirror.denial_id) }
    }

    /// Tells of secrets that are about to be sent.
    pub(super) fn record(&self, injections: Vec<Injection>) -> Recorded {
        if !(self.can_record)() {
            return Box::pin(std::future::ready(false));
        }
        let hold = Hold::default();
        for Injection { secret, place } in injections {
            let (subject, hold) = (self.subject.clone(), hold.clone());
            (self.events)(Event::Injected { subject, secret, place, hold });
        }
        Box::pin(async move { hold.released().await })
    }

    /// Tells that the request was refused while its answer was on its way.
    pub(super) fn denied(&self, refusal: Refusal) {
        let refusal = refusal.named(&*self.denial_id);
        (self.events)(Event::Denied { subject: self.subject.clone(), refusal, answered: Answered::Already });
    }

    /// What the guest is told where nothing can be recorded.
    pub(super) fn unrecorded() -> Refusal {
        let text = "the audit trail cannot be written, so no secret is sent";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error", text)
    }
}
