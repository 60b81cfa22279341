//! The audit file read back, by whoever explains it.
//!
//! It believes nothing: a line that is cut, too long or no record is counted and left out, and texts are escaped
//! again before they are shown. Invariant: no line costs more memory than `Limits::audit_line`.

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

use super::event::{Event, Record};
use crate::limits::Limits;

/// A denial, as it is kept and explained.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Told {
    /// Its name.
    pub id: String,
    /// When, in UTC ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)).
    pub time: String,
    /// The flow, where there was one.
    #[serde(default)]
    pub flow: Option<u64>,
    /// What was asked for.
    pub target: String,
    /// Why not.
    pub reason: String,
    /// The rule that decided.
    pub rule: String,
    /// The flag that would allow it; empty where none would.
    #[serde(default)]
    pub hint: String,
    /// Whether it was let by, under `--observe`.
    #[serde(default)]
    pub observed: bool,
}

impl Told {
    /// The denial in a record.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let Event::Denial { id, flow, target, reason, rule, hint, observed } = &record.event else {
            return None;
        };
        Some(Self {
            id: id.clone(),
            time: record.time.clone(),
            flow: *flow,
            target: target.clone(),
            reason: reason.clone(),
            rule: rule.clone(),
            hint: hint.clone(),
            observed: *observed,
        })
    }
}

/// What a line of an audit file may say; what it does not say, or says in another version, is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields of the events, see there")]
pub struct Line {
    pub time: String,
    pub event: String,
    pub id: Option<String>,
    pub flow: Option<u64>,
    pub kind: Option<String>,
    pub destination: Option<String>,
    pub peer: Option<String>,
    pub host: Option<String>,
    pub upstream: Option<String>,
    pub rule: Option<String>,
    pub millis: Option<u64>,
    pub address: Option<String>,
    pub guest_port: Option<u16>,
    pub transport: Option<String>,
    pub method: Option<String>,
    pub origin: Option<String>,
    pub path: Option<String>,
    pub status: Option<u16>,
    pub denial: Option<String>,
    pub secret: Option<String>,
    pub place: Option<String>,
    pub target: Option<String>,
    pub reason: Option<String>,
    pub hint: Option<String>,
    pub observed: bool,
    pub change: Option<String>,
    pub count: Option<u64>,
    pub rules: Option<u64>,
    pub ended: Option<u64>,
}

impl Line {
    /// Reads one line; `None` where it is no record.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|line: &Self| !line.event.is_empty())
    }

    /// The denial it tells of.
    #[must_use]
    pub fn denial(self) -> Option<Told> {
        let Self { time, id, flow, target, reason, rule, hint, observed, event, .. } = self;
        if event != "denial" {
            return None;
        }
        Some(Told {
            id: id?,
            time,
            flow,
            target: target?,
            reason: reason.unwrap_or_default(),
            rule: rule.unwrap_or_default(),
            hint: hint.unwrap_or_default(),
            observed,
        })
    }
}

/// The records of an audit file, one after another.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    longest: usize,
    unread: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads from here on.
    pub fn new(from: R, limits: &Limits) -> Self {
        Self { from, longest: limits.audit_line, unread: 0 }
    }

    /// The next record; `None` at the end of what is there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let most = u64::try_from(self.longest).unwrap_or(u64::MAX);
            let read = self.from.by_ref().take(most).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            if read >= self.longest && text.last() != Some(&b'\n') {
                self.skip_line()?;
                self.unread += 1;
                continue;
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            match Line::parse(&text) {
                Some(line) => return Ok(Some(line)),
                None => self.unread += 1,
            }
        }
    }

    /// How many lines were no records.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let there = self.from.fill_buf()?;
            if there.is_empty() {
                return Ok(());
            }
            let end = there.iter().position(|octet| *octet == b'\n');
            let count = end.map_or(there.len(), |end| end + 1);
            self.from.consume(count);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &[u8], longest: usize) -> (Vec<String>, u64) {
        let limits = Limits { audit_line: longest, ..Limits::default() };
        let mut reader = Reader::new(text, &limits);
        let mut events = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            events.push(line.event);
        }
        (events, reader.unread())
    }

    #[test]
    fn what_is_no_record_is_left_out_and_counted() {
        let text =
            b"{\"event\":\"flow\"}\n\nnonsense\n{\"event\":\"later\",\"x\":[1]}\n[]\n\xff\n{\"event\":\"requ";
        assert_eq!(events(text, 1_024), (vec!["flow".to_owned(), "later".to_owned()], 4));
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_hides_no_other() {
        let mut text = vec![b'x'; 100_000];
        text.extend_from_slice(b"\n{\"event\":\"flow\"}\n");
        assert_eq!(events(&text, 1_024), (vec!["flow".to_owned()], 1));
        assert_eq!(events(&[b'x'; 5_000], 1_024), (Vec::new(), 1));
        assert_eq!(events(b"{\"event\":\"flow\"}", 16), (Vec::new(), 1));
    }
}
