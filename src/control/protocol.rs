//! What is said over a control socket: one line of JSON each way.
//!
//! Invariant: a request of a version or a kind that this program does not know is refused with the reason, never
//! guessed at.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::name::SandboxName;
use crate::sandbox::Stats;

/// The version of the protocol; a change that an older end would misread raises it.
pub const VERSION: u32 = 1;

/// What a sandbox is asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Who it is and what it counted.
    Status,
    /// The guest's variables.
    Env,
    /// The CA's certificate.
    Ca,
}

/// What it answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Env`]: names and values; placeholders, never secrets.
    Env(Vec<(String, String)>),
    /// To [`Request::Ca`]: PEM.
    Ca(String),
    /// To what cannot be answered: why, in one line.
    Refused(String),
}

/// A running sandbox.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: SandboxName,
    /// The process it runs in.
    pub pid: u32,
    /// The program's version.
    pub program: String,
    /// How long it has run, in whole seconds.
    pub up_seconds: u64,
    /// What it counted.
    pub stats: Stats,
}

#[derive(Deserialize, Serialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    said: T,
}

#[derive(Deserialize, Serialize)]
struct Asked<T> {
    request: T,
}

#[derive(Deserialize, Serialize)]
struct Answered<T> {
    answer: T,
}

/// A line that says nothing to this program.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the line is not of the form {{\"version\":{VERSION},…}}: {0}")]
    Form(serde_json::Error),
    #[error("the other end speaks version {0} of the protocol and this one {VERSION}; use the same program")]
    Version(u32),
    #[error("{0}; see `portcullis --help` for what can be asked")]
    Kind(serde_json::Error),
}

/// The line that asks.
pub(super) fn write_request(request: &Request) -> Vec<u8> {
    line(&Versioned { version: VERSION, said: Asked { request } })
}

/// The line that answers.
pub(super) fn write_answer(answer: &Answer) -> Vec<u8> {
    line(&Versioned { version: VERSION, said: Answered { answer } })
}

/// Reads the line that asks.
pub(super) fn read_request(line: &[u8]) -> Result<Request, Unreadable> {
    let Asked { request } = read(line)?;
    known(request)
}

/// Reads the line that answers.
pub(super) fn read_answer(line: &[u8]) -> Result<Answer, Unreadable> {
    let Answered { answer } = read(line)?;
    known(answer)
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, Unreadable> {
    /// The version alone, whatever else there is.
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(line).map_err(Unreadable::Form)?;
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    let Versioned { said, .. } = serde_json::from_slice(line).map_err(Unreadable::Form)?;
    Ok(said)
}

fn known<T: DeserializeOwned>(said: serde_json::Value) -> Result<T, Unreadable> {
    serde_json::from_value(said).map_err(Unreadable::Kind)
}

fn line(said: &impl Serialize) -> Vec<u8> {
    // Numbers, texts and lists of them: nothing that JSON does not have.
    let mut line = serde_json::to_vec(said).unwrap_or_default();
    line.push(b'\n');
    line
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "status",
            Self::Env => "env",
            Self::Ca => "ca",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_the_module_says() {
        assert_eq!(write_request(&Request::Status), b"{\"version\":1,\"request\":\"status\"}\n");
        assert_eq!(
            write_answer(&Answer::Env(vec![("A".into(), "b\n".into())])),
            b"{\"version\":1,\"answer\":{\"env\":[[\"A\",\"b\\n\"]]}}\n"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        for request in [Request::Status, Request::Env, Request::Ca] {
            assert_eq!(read_request(&write_request(&request)).unwrap(), request);
        }
        let status = Status {
            name: SandboxName::parse("a").unwrap(),
            pid: 1,
            program: "0".into(),
            up_seconds: 2,
            stats: Stats::default(),
        };
        let answers =
            [Answer::Status(Box::new(status)), Answer::Ca("pem".into()), Answer::Refused("no".into())];
        for answer in answers {
            assert_eq!(read_answer(&write_answer(&answer)).unwrap(), answer);
        }
    }

    #[test]
    fn what_another_version_counts_is_no_error() {
        let line = br#"{"version":1,"answer":{"status":{"name":"a","pid":1,"program":"9","up_seconds":0,
            "stats":{"net":{"frames_in":7,"of_later":1},"later":{}}}}}"#;
        let Answer::Status(status) = read_answer(line).unwrap() else { panic!("no status") };
        assert_eq!((status.stats.net.frames_in, status.stats.net.frames_out), (7, 0));
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_reason() {
        for (line, says) in [
            (&b""[..], "not of the form"),
            (b"status", "not of the form"),
            (b"{}", "missing field `version`"),
            (b"{\"version\":1}", "missing field `request`"),
            (b"{\"version\":2,\"request\":\"status\"}", "speaks version 2 of the protocol and this one 1"),
            (b"{\"version\":1,\"request\":\"fly\"}", "unknown variant `fly`, expected one of `status`"),
            (b"{\"version\":1,\"request\":{\"status\":1}}", "invalid type"),
            (b"{\"version\":-1,\"request\":\"status\"}", "not of the form"),
            (b"\xff\xfe", "not of the form"),
        ] {
            let error = read_request(line).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let deep = "[".repeat(10_000);
        assert!(read_request(format!("{{\"version\":1,\"request\":{deep}").as_bytes()).is_err());
    }
}
