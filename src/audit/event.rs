//! What is recorded, in the shape it has as JSON.
//!
//! Text that a guest or an upstream chose goes through [`clip`] before it gets here.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::policy::{Denial, Transport};

/// Longest guest text in a record or a log line, in bytes.
const CLIP: usize = 256;

/// One line of the audit file.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// When, in UTC ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)).
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// Stamps an event with the wall clock.
    #[must_use]
    pub fn now(event: Event) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a record carries the wall time, and nothing is decided by it"
        )]
        let now = OffsetDateTime::from(SystemTime::now());
        Self { time: now.format(&Rfc3339).unwrap_or_default(), event }
    }
}

/// Something a sandbox did.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A flow has ended.
    Flow {
        /// Its number in this sandbox.
        flow: u64,
        /// What it carried.
        kind: FlowKind,
        /// The address the guest connected to; of a connection into the guest, the guest's own.
        destination: SocketAddr,
        /// Who connected to the guest by a published port.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<SocketAddr>,
        /// The name it was judged by.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// The upstream's address that was dialled.
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream: Option<SocketAddr>,
        /// The rule that allowed it.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// How long it lived, in milliseconds.
        millis: u64,
    },
    /// A port of the host's now leads into the guest.
    Published {
        /// The address and port of the host it is bound to.
        address: SocketAddr,
        /// The guest's port.
        guest_port: u16,
        /// What it carries.
        transport: Transport,
    },
    /// A request was answered.
    Request {
        /// The flow it came on.
        flow: u64,
        /// Method.
        method: String,
        /// Scheme, host and port.
        origin: String,
        /// Path and query as the guest wrote them: placeholders, never secrets.
        path: String,
        /// Status the guest got.
        status: u16,
        /// The id of the denial that it was answered with; none where it was let by.
        #[serde(skip_serializing_if = "Option::is_none")]
        denial: Option<String>,
    },
    /// A secret went to its host.
    Injection {
        /// The flow it went on.
        flow: u64,
        /// The secret's name.
        secret: String,
        /// Scheme, host and port it went to.
        origin: String,
        /// Where in the request: `header:authorization`, `basic`.
        place: String,
    },
    /// Something was refused.
    Denial {
        /// Its name, which the guest was told too where it could be.
        id: String,
        /// The flow, where there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        flow: Option<u64>,
        /// Host and port, or the question.
        target: String,
        /// Why, in one line.
        reason: String,
        /// The rule that decided.
        rule: String,
        /// The flag that would allow it; empty where none would.
        #[serde(skip_serializing_if = "String::is_empty")]
        hint: String,
        /// Whether it was let by all the same, under `--observe`.
        #[serde(skip_serializing_if = "is_enforced")]
        observed: bool,
    },
    /// A secret's value was replaced, taken back or lost, or could not be had anew.
    Secret {
        /// The secret's name.
        secret: String,
        /// What became of it.
        change: SecretChange,
        /// Why, in one line; nothing where somebody asked for it.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The policy of the running sandbox was exchanged, or was to be.
    Policy {
        /// What became of it.
        change: PolicyChange,
        /// What was asked for, or why it was not done, in one line.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
        /// How many rules hold now, the platform's aside.
        rules: usize,
        /// How many flows ended because of it, each with a denial of its own.
        ended: usize,
    },
    /// Flows were refused, or questions denied, faster than each is told (`Limits::refusals_told`).
    Denials {
        /// So many more than have a record of their own.
        count: u64,
        /// Whether they were let by all the same, under `--observe`.
        #[serde(skip_serializing_if = "is_enforced")]
        observed: bool,
    },
}

impl Event {
    /// A denial of policy's, on a flow or before there was one.
    #[must_use]
    pub fn of_denial(id: String, flow: Option<u64>, denial: &Denial) -> Self {
        Self::Denial {
            id,
            flow,
            target: clip(&denial.target),
            reason: clip(&denial.reason.to_string()),
            rule: denial.rule.clone(),
            hint: denial.hint.clone(),
            observed: denial.observed,
        }
    }
}

fn is_enforced(observed: &bool) -> bool {
    !observed
}

/// What became of a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretChange {
    /// It has another value.
    Rotated,
    /// Its owner took it back.
    Revoked,
    /// Its value was good until now.
    Expired,
    /// Its source gave no value that could be taken; it has the one it had.
    Unavailable,
}

/// What became of a policy.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChange {
    /// Its owner exchanged it, or a rule of it.
    Replaced,
    /// Its files were read again.
    Reloaded,
    /// It is as it was: the new one could not be had.
    Rejected,
}

/// What a flow carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowKind {
    /// Intercepted TLS with HTTP inside.
    Https,
    /// Plain HTTP.
    Http,
    /// TLS spliced to a pass-through host.
    Passthrough,
    /// Bytes spliced without looking inside.
    Opaque,
    /// DNS over TCP.
    Dns,
    /// A connection into the guest, by a published port.
    Published,
    /// UDP datagrams.
    Udp,
    /// ICMP echo requests and their replies.
    Icmp,
}

/// Escapes control characters and anything beyond ASCII in foreign text, and cuts it at 256 bytes.
#[must_use]
pub fn clip(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(CLIP));
    for c in text.chars() {
        if out.len() >= CLIP {
            out.push_str("...");
            break;
        }
        match c {
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_flat_json_object() {
        let event = Event::Injection {
            flow: 3,
            secret: "TOKEN".into(),
            origin: "https://a.example".into(),
            place: "basic".into(),
        };
        let line = serde_json::to_value(Record { time: "2026-01-02T03:04:05Z".into(), event }).unwrap();
        let expected = serde_json::json!({
            "time": "2026-01-02T03:04:05Z", "event": "injection", "flow": 3,
            "secret": "TOKEN", "origin": "https://a.example", "place": "basic",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn foreign_text_cannot_forge_a_line_or_fill_the_log() {
        assert_eq!(clip("a\r\nb\u{1b}[31m\u{202e}"), "a\\u{d}\\u{a}b\\u{1b}[31m\\u{202e}");
        assert!(clip(&"x".repeat(100_000)).len() < CLIP + 8);
    }
}
