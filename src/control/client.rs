//! The asking end of a control socket: what `portcullis status`, `env` and `ca` use.
//!
//! Blocking, and for callers outside a sandbox. Invariant: it believes no answer of a process that is not the user's
//! or root's, or that is inside a sandbox.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;

use super::directory::{Directory, places};
use super::endpoint::{connect, name_of, path_of};
use super::name::SandboxName;
use super::peer::{self, Stranger};
use super::protocol::{Answer, Request, Status, read_answer, write_request};
use super::value::NewValue;
use crate::audit::Told;
use crate::limits::Limits;
use crate::sandbox::{Edit, PolicyChanged, PolicyRule};
use crate::secret::{Rotation, SecretStatus};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No sandbox has that name.
    #[error("no sandbox named {0} is running; `portcullis status` lists those that are")]
    NotRunning(SandboxName),
    /// What listens there is not to be trusted.
    #[error("sandbox {name}: {cause}")]
    Stranger {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        cause: Stranger,
    },
    /// It says nothing that could be understood.
    #[error("sandbox {name}: {cause}")]
    Unreadable {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        cause: String,
    },
    /// It does not say anything in time.
    #[error("sandbox {name} does not answer: {cause}; try again, or look into its --log")]
    Silent {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        cause: io::Error,
    },
}

/// What a sandbox has counted.
pub fn status(name: &SandboxName) -> Result<Status, AskError> {
    let Answer::Status(status) = ask(name, &Request::Status)? else { return Err(beside_the_point(name)) };
    Ok(*status)
}

/// The variables of a sandbox's guest: placeholders, never secrets.
pub fn env(name: &SandboxName) -> Result<Vec<(String, String)>, AskError> {
    let Answer::Env(variables) = ask(name, &Request::Env)? else { return Err(beside_the_point(name)) };
    Ok(variables)
}

/// The certificate of a sandbox's CA, as PEM.
pub fn ca(name: &SandboxName) -> Result<String, AskError> {
    let Answer::Ca(pem) = ask(name, &Request::Ca)? else { return Err(beside_the_point(name)) };
    Ok(pem)
}

/// A denial of a sandbox by its id, where it is still kept.
pub fn denial(name: &SandboxName, id: &str) -> Result<Option<Told>, AskError> {
    let Answer::Denial(told) = ask(name, &Request::Explain { id: id.to_owned() })? else {
        return Err(beside_the_point(name));
    };
    Ok(told.map(|told| *told))
}

/// The secrets of a sandbox, without their values.
pub fn secrets(name: &SandboxName) -> Result<Vec<SecretStatus>, AskError> {
    let Answer::Secrets(secrets) = ask(name, &Request::Secrets)? else { return Err(beside_the_point(name)) };
    Ok(secrets)
}

/// Gives a secret of a sandbox another value: this one, or the one that its source has now.
pub fn rotate(name: &SandboxName, secret: &str, value: Option<NewValue>) -> Result<Rotation, AskError> {
    let request = Request::Rotate { secret: secret.to_owned(), value };
    let Answer::Rotated(rotation) = ask(name, &request)? else { return Err(beside_the_point(name)) };
    Ok(rotation)
}

/// Takes a secret of a sandbox back.
pub fn revoke(name: &SandboxName, secret: &str) -> Result<(), AskError> {
    let Answer::Revoked = ask(name, &Request::Revoke { secret: secret.to_owned() })? else {
        return Err(beside_the_point(name));
    };
    Ok(())
}

/// The rules of a sandbox.
pub fn policy(name: &SandboxName) -> Result<Vec<PolicyRule>, AskError> {
    let Answer::Policy(rules) = ask(name, &Request::Policy)? else { return Err(beside_the_point(name)) };
    Ok(rules)
}

/// Changes the rules of a sandbox.
pub fn change_policy(name: &SandboxName, edit: Edit) -> Result<PolicyChanged, AskError> {
    let Answer::PolicyChanged(changed) = ask(name, &Request::ChangePolicy(edit))? else {
        return Err(beside_the_point(name));
    };
    Ok(changed)
}

/// Asks the sandbox of this name; its refusal is an error.
pub fn ask(name: &SandboxName, request: &Request) -> Result<Answer, AskError> {
    let limits = Limits::default();
    for directory in directories() {
        match connect(&path_of(directory.path(), name)) {
            Ok(socket) => return converse(name, UnixStream::from(socket), request, &limits),
            Err(Errno::NOENT | Errno::CONNREFUSED) => {}
            Err(errno) => return Err(AskError::Silent { name: name.clone(), cause: errno.into() }),
        }
    }
    Err(AskError::NotRunning(name.clone()))
}

/// This user's sandboxes that run, by name, and what each has counted.
#[must_use]
pub fn list() -> Vec<(SandboxName, Result<Status, AskError>)> {
    let sockets = directories().into_iter().flat_map(|directory| directory.sockets());
    let mut names: Vec<SandboxName> = sockets.filter_map(|path| name_of(&path)).collect();
    names.sort();
    names.dedup();
    let asked = names.into_iter().map(|name| (name.clone(), status(&name)));
    // What an ended sandbox left is none that runs.
    asked.filter(|(_, status)| !matches!(status, Err(AskError::NotRunning(_)))).collect()
}

fn beside_the_point(name: &SandboxName) -> AskError {
    AskError::Unreadable { name: name.clone(), cause: "it answers what was not asked".to_owned() }
}

/// The directories that there are and that are safe to look into.
fn directories() -> Vec<Directory> {
    let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
    places().iter().filter(|path| exists(path)).filter_map(|path| Directory::open(path).ok()).collect()
}

fn converse(
    name: &SandboxName,
    mut stream: UnixStream,
    request: &Request,
    limits: &Limits,
) -> Result<Answer, AskError> {
    peer::admit(&stream).map_err(|cause| AskError::Stranger { name: name.clone(), cause })?;
    let line = exchange(&mut stream, request, limits)
        .map_err(|cause| AskError::Silent { name: name.clone(), cause })?;
    let answer = read_answer(&line).map_err(|error| error.to_string());
    match answer {
        Ok(Answer::Refused(cause)) | Err(cause) => {
            Err(AskError::Unreadable { name: name.clone(), cause: printable(&cause) })
        }
        Ok(answer) => Ok(answer),
    }
}

fn exchange(stream: &mut UnixStream, request: &Request, limits: &Limits) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(limits.control_wait + request.patience(limits)))?;
    stream.set_write_timeout(Some(limits.control_wait))?;
    stream.write_all(&write_request(request))?;
    let mut line = Vec::new();
    let bound = u64::try_from(limits.control_answer).unwrap_or(u64::MAX);
    BufReader::new(stream.take(bound)).read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(line),
        Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// One line that does nothing to a terminal.
fn printable(text: &str) -> String {
    crate::audit::clip(text)
}
