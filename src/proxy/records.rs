//! The records of what happened to requests.
//!
//! It decides nothing. Invariant: each request that was answered has one record of that, whatever else is told of it.

use ::http::StatusCode;

use super::flow::Told;
use crate::audit::{Event, clip};
use crate::http::{self, Answered, Explanation, Refusal, Subject};

/// An event of an exchange with `origin`, as the audit trail tells it: what it is, and the answer to a request that was
/// refused.
pub(super) fn records(
    flow: u64,
    origin: &str,
    (event, verdict): (http::Event, Told),
) -> impl Iterator<Item = Event> {
    let answer = match (&event, verdict) {
        (http::Event::Denied { subject, refusal, answered: Answered::ByRefusal }, Told::Nothing) => {
            Some(request(flow, origin, subject, Outcome::of(refusal)))
        }
        (
            http::Event::Denied { .. }
            | http::Event::Failed { .. }
            | http::Event::Injected { .. }
            | http::Event::Request { .. },
            _,
        ) => None,
    };
    std::iter::once(audited(flow, origin, (event, verdict))).chain(answer)
}

fn audited(flow: u64, origin: &str, event: (http::Event, Told)) -> Event {
    match event {
        (http::Event::Request { subject, status }, _) => {
            request(flow, origin, &subject, Outcome { status, denial: None })
        }
        (http::Event::Failed { subject, refusal }, _)
        | (http::Event::Denied { subject, refusal, .. }, Told::Denial) => {
            request(flow, origin, &subject, Outcome::of(&refusal))
        }
        (http::Event::Injected { secret, place, .. }, _) => {
            Event::Injection { flow, secret, origin: origin.to_owned(), place }
        }
        (http::Event::Denied { subject, refusal, .. }, Told::Nothing) => {
            let (reason, rule, hint) = match refusal.explanation() {
                Some(Explanation { reason, rule, hint, .. }) => (reason.clone(), rule.clone(), hint.clone()),
                None => (refusal.text().to_owned(), refusal.error().to_owned(), String::new()),
            };
            Event::Denial {
                id: refusal.id().unwrap_or_default().to_owned(),
                flow: Some(flow),
                target: clip(&format!("{} {origin}{}", subject.method, subject.path)),
                reason,
                rule,
                hint,
                observed: false,
            }
        }
    }
}

/// How a request was answered.
struct Outcome<'a> {
    status: StatusCode,
    denial: Option<&'a str>,
}

impl<'a> Outcome<'a> {
    fn of(refusal: &'a Refusal) -> Self {
        Self { status: refusal.status(), denial: refusal.id() }
    }
}

fn request(flow: u64, origin: &str, subject: &Subject, outcome: Outcome<'_>) -> Event {
    Event::Request {
        flow,
        method: clip(subject.method.as_str()),
        origin: origin.to_owned(),
        path: clip(&subject.path),
        status: outcome.status.as_u16(),
        denial: outcome.denial.map(str::to_owned),
    }
}
