//! What is said over a control socket: one line of JSON each way.
//!
//! Invariant: a request of a version or a kind that this program does not know is refused with the reason, never
//! guessed at.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::name::SandboxName;
use super::value::NewValue;
use crate::audit::Told;
use crate::limits::Limits;
use crate::sandbox::{Edit, PolicyChanged, PolicyRule, Stats};
use crate::secret::{Rotation, SecretStatus};

/// Octets of a request beside a value in it: names of secrets are variables', and short.
const SHORT: usize = 1_024;

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
    /// What one of its last denials was about.
    Explain {
        /// The denial's id.
        id: String,
    },
    /// Its secrets, without their values.
    Secrets,
    /// To give a secret another value.
    Rotate {
        /// The secret's name.
        secret: String,
        /// The value; without, the one that its source has now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<NewValue>,
    },
    /// The rules of its policy.
    Policy,
    /// To change its policy.
    ChangePolicy(Edit),
    /// To take a secret back.
    Revoke {
        /// The secret's name.
        secret: String,
    },
}

impl Request {
    /// How long its answer may take to be found: a source that is being read has to end, and then to be read again.
    pub(super) fn patience(&self, limits: &Limits) -> Duration {
        match self {
            Self::Rotate { value: None, .. } => limits.control_wait + limits.source_timeout * 2,
            Self::Status
            | Self::Env
            | Self::Ca
            | Self::Explain { .. }
            | Self::Secrets
            | Self::Policy
            | Self::ChangePolicy(_)
            | Self::Rotate { value: Some(_), .. }
            | Self::Revoke { .. } => limits.control_wait,
        }
    }
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
    /// To [`Request::Explain`]: the denial, where it is still kept.
    Denial(Option<Box<Told>>),
    /// To [`Request::Secrets`].
    Secrets(Vec<SecretStatus>),
    /// To [`Request::Rotate`].
    Rotated(Rotation),
    /// To [`Request::Revoke`].
    Revoked,
    /// To [`Request::Policy`].
    Policy(Vec<PolicyRule>),
    /// To [`Request::ChangePolicy`].
    PolicyChanged(PolicyChanged),
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

/// The line that asks, which may hold a value.
pub(super) fn write_request(request: &Request) -> Zeroizing<Vec<u8>> {
    // Of the right size at once: a buffer that grows leaves its bytes behind.
    let value = match request {
        Request::Rotate { value: Some(value), .. } => value.written(),
        Request::Status
        | Request::Env
        | Request::Ca
        | Request::Explain { .. }
        | Request::Secrets
        | Request::Policy
        | Request::ChangePolicy(_)
        | Request::Rotate { value: None, .. }
        | Request::Revoke { .. } => 0,
    };
    let line = Zeroizing::new(Vec::with_capacity(value + SHORT));
    write(line, &Versioned { version: VERSION, said: Asked { request } })
}

/// The line that answers.
pub(super) fn write_answer(answer: &Answer) -> Vec<u8> {
    let mut line = write(Zeroizing::default(), &Versioned { version: VERSION, said: Answered { answer } });
    std::mem::take(&mut *line)
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

fn write(mut line: Zeroizing<Vec<u8>>, said: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Numbers, texts and lists of them: nothing that JSON does not have.
    let _ = serde_json::to_writer(&mut *line, said);
    line.push(b'\n');
    line
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "status",
            Self::Env => "env",
            Self::Ca => "ca",
            Self::Explain { .. } => "explain",
            Self::Secrets => "secrets",
            Self::Policy => "policy",
            Self::ChangePolicy(_) => "change_policy",
            Self::Rotate { .. } => "rotate",
            Self::Revoke { .. } => "revoke",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_the_module_says() {
        assert_eq!(*write_request(&Request::Status), b"{\"version\":1,\"request\":\"status\"}\n");
        assert_eq!(
            write_answer(&Answer::Env(vec![("A".into(), "b\n".into())])),
            b"{\"version\":1,\"answer\":{\"env\":[[\"A\",\"b\\n\"]]}}\n"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let secret = || "TOKEN".to_owned();
        let requests = [
            Request::Status,
            Request::Env,
            Request::Ca,
            Request::Explain { id: "k3f9-1".into() },
            Request::Secrets,
            Request::Rotate { secret: secret(), value: None },
            Request::Rotate { secret: secret(), value: Some(NewValue::new(b"\xffcanary\n".to_vec())) },
            Request::Revoke { secret: secret() },
            Request::Policy,
            Request::ChangePolicy(Edit::Allow("a.example".into())),
            Request::ChangePolicy(Edit::Remove(1)),
            Request::ChangePolicy(Edit::Reload),
        ];
        for request in requests {
            assert!(!format!("{request:?}").contains("canary"));
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
