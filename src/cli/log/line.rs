//! One event on one line: clock, word, what it was about.
//!
//! Invariant: every event has a line, of other versions too.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::audit::Line;
use crate::cli::shown;

/// Columns of the word.
const WORD: usize = 9;

/// `12:04:31 denied    evil.example:443: no rule allows it (k3f9-17)`
pub(super) fn told(line: &Line) -> String {
    let (word, what) = words(line);
    format!("{} {word:WORD$} {}", clock(&line.time), shown(&what))
}

/// The time of day here; where the system does not say what that is, in UTC with a `Z`.
fn clock(time: &str) -> String {
    let Ok(moment) = OffsetDateTime::parse(time, &Rfc3339) else { return "--:--:--".to_owned() };
    let (moment, mark) = match offset_at(moment) {
        Some(offset) => (moment.to_offset(offset), ""),
        None => (moment.to_offset(UtcOffset::UTC), "Z"),
    };
    format!("{:02}:{:02}:{:02}{mark}", moment.hour(), moment.minute(), moment.second())
}

fn offset_at(moment: OffsetDateTime) -> Option<UtcOffset> {
    UtcOffset::local_offset_at(moment).ok()
}

fn words(line: &Line) -> (&str, String) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    match line.event.as_str() {
        "flow" => ("flow", flow(line)),
        "request" => {
            let status = line.status.unwrap_or_default();
            let denial = line.denial.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
            let (method, origin, path) = (text(&line.method), text(&line.origin), text(&line.path));
            ("request", format!("{method} {origin}{path} {status}{denial}"))
        }
        "injection" => (
            "injected",
            format!("{} into {} of {}", text(&line.secret), text(&line.place), text(&line.origin)),
        ),
        "denial" => {
            let word = if line.observed { "observed" } else { "denied" };
            (word, format!("{}: {} ({})", text(&line.target), text(&line.reason), text(&line.id)))
        }
        "denials" => ("denied", format!("{} more", line.count.unwrap_or_default())),
        "published" => {
            let (from, to) = (text(&line.address), line.guest_port.unwrap_or_default());
            ("published", format!("{from} to port {to} by {}", text(&line.transport)))
        }
        "secret" => {
            let why = line.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            ("secret", format!("{} {}{why}", text(&line.secret), text(&line.change)))
        }
        "policy" => {
            let why = line.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let (rules, ended) = (line.rules.unwrap_or_default(), line.ended.unwrap_or_default());
            let flows = if ended == 1 { "flow" } else { "flows" };
            let rule = if rules == 1 { "rule" } else { "rules" };
            ("policy", format!("{}{why}; {rules} {rule}, {ended} {flows} ended", text(&line.change)))
        }
        other => ("other", other.to_owned()),
    }
}

fn flow(line: &Line) -> String {
    let destination = line.destination.as_deref().unwrap_or_default();
    let port = destination.rsplit_once(':').map_or("", |(_, port)| port);
    let target = match &line.host {
        Some(host) => format!("{host}:{port}"),
        None => destination.to_owned(),
    };
    let kind = line.kind.as_deref().unwrap_or_default();
    let from = line.peer.as_ref().map(|peer| format!(" from {peer}")).unwrap_or_default();
    let seconds = std::time::Duration::from_millis(line.millis.unwrap_or_default()).as_secs_f64();
    let number = line.flow.unwrap_or_default();
    format!("{target}{from} {kind}, {seconds:.1} s (flow {number})")
}
