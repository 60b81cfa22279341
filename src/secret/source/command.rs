//! A command that prints a secret's value.
//!
//! It runs on the host with the host's environment and nothing on its standard input, in a process group of its own.
//! Invariant: it ends, or is killed with all of its group, within `Limits::source_timeout`, and no more of what it says
//! is kept than the bounds allow.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::complaint::Complaint;
use super::file::without_line_end;
use super::{Argv, Bounds, CommandError};
use crate::limits::Limits;
use crate::secret::time;

/// What a command has printed, taken apart.
pub(super) struct Printed {
    /// To be wiped by who takes it.
    pub(super) value: Vec<u8>,
    pub(super) expires: Option<SystemTime>,
}

/// What became of a command.
pub(super) struct Ran {
    /// What it printed.
    pub(super) outcome: Result<Zeroizing<Vec<u8>>, CommandError>,
    /// What it says on its standard error, in one line.
    pub(super) said: String,
}

/// Runs the command to its end.
pub(super) fn run(argv: &Argv, bounds: Bounds<'_>) -> Ran {
    match Running::start(argv, bounds.limits) {
        Ok(running) => running.finish(bounds),
        Err(cause) => Ran { outcome: Err(cause), said: String::new() },
    }
}

struct Running {
    child: Child,
    /// Its group, until it is known to have ended.
    group: Option<Pid>,
    end: OwnedFd,
    output: Zeroizing<Vec<u8>>,
    complaint: Complaint,
}

impl Running {
    fn start(argv: &Argv, limits: &Limits) -> Result<Self, CommandError> {
        let mut command = Command::new(&argv.program);
        command.args(&argv.arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| CommandError::Start(error.kind()))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let opened = group.ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let end = opened.map_err(|errno| {
            let _ = child.kill();
            let _ = child.wait();
            system(errno)
        })?;
        Ok(Self {
            child,
            group,
            end,
            // Of the right size at once: a buffer that grows leaves its bytes behind.
            output: Zeroizing::new(Vec::with_capacity(limits.source_output)),
            complaint: Complaint::new(limits.source_complaint),
        })
    }

    fn finish(mut self, bounds: Bounds<'_>) -> Ran {
        let ended = self.listen(bounds);
        let said = match ended {
            // What else it printed, its complaint may repeat.
            Err(CommandError::Output(_)) => String::new(),
            Ok(_) | Err(_) => self.complaint.told(&self.output),
        };
        let outcome = ended.and_then(|status| match status.code() {
            Some(0) => Ok(std::mem::take(&mut self.output)),
            Some(code) => Err(CommandError::Exit(code)),
            None => Err(CommandError::Signal),
        });
        Ran { outcome, said }
    }

    /// Listens until it has ended. Who else has its pipes open then is not waited for.
    fn listen(&mut self, bounds: Bounds<'_>) -> Result<ExitStatus, CommandError> {
        let limits = bounds.limits;
        let deadline = now() + limits.source_timeout;
        let mut stdout = self.child.stdout.take().map(OwnedFd::from);
        let mut stderr = self.child.stderr.take().map(OwnedFd::from);
        for pipe in [&stdout, &stderr].into_iter().flatten() {
            fcntl_setfl(pipe, OFlags::NONBLOCK).map_err(system)?;
        }
        loop {
            let has_ended = wait(&self.end, [&stdout, &stderr], bounds.stop, deadline)?;
            // Whatever the complaint repeats was printed before it, and so is read after it.
            drain(&mut stderr, |octets| self.complaint.add(octets))?;
            let mut is_too_much = false;
            drain(&mut stdout, |octets| {
                let fits = limits.source_output.saturating_sub(self.output.len());
                self.output.extend(octets.iter().take(fits));
                is_too_much |= octets.len() > fits;
            })?;
            if is_too_much {
                return Err(CommandError::Output(limits.source_output));
            }
            if has_ended {
                self.group = None;
                return self.child.wait().map_err(|error| CommandError::System(error.kind()));
            }
            if now() >= deadline {
                return Err(CommandError::Timeout(limits.source_timeout));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(group) = self.group else { return };
        // A group whose members have all ended is no error worth a word.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Waits for something to be read or for the process to end, which it tells; for the deadline at most.
fn wait(
    end: &OwnedFd,
    pipes: [&Option<OwnedFd>; 2],
    stop: Option<&OwnedFd>,
    deadline: Instant,
) -> Result<bool, CommandError> {
    let left = deadline.saturating_duration_since(now());
    let open = stop.into_iter().chain(pipes.into_iter().flatten());
    let mut fds: Vec<PollFd<'_>> =
        [end].into_iter().chain(open).map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    let timeout = Timespec::try_from(left.min(Duration::from_secs(3600)))
        .map_err(|_| CommandError::System(io::ErrorKind::InvalidInput))?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(system(errno)),
    }
    let is_told = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
    if stop.is_some() && is_told(1) { Err(CommandError::Stopped) } else { Ok(is_told(0)) }
}

/// Octets read of a pipe in one turn: more than the system keeps in one, so that all of what a process left is seen,
/// and not without end, so that one that writes for ever meets its deadline.
const TURN: usize = 1 << 20;

/// Reads what is there; a pipe at its end is closed.
fn drain(pipe: &mut Option<OwnedFd>, mut take: impl FnMut(&[u8])) -> Result<(), CommandError> {
    let mut buffer = Zeroizing::new([0_u8; 4_096]);
    let mut heard = 0;
    while let Some(open) = pipe {
        match rustix::io::read(&*open, &mut buffer[..]) {
            Ok(0) => *pipe = None,
            Ok(read) => {
                take(buffer.get(..read).unwrap_or_default());
                heard += read;
            }
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(system(errno)),
        }
        if heard > TURN {
            break;
        }
    }
    Ok(())
}

fn system(errno: Errno) -> CommandError {
    CommandError::System(io::Error::from(errno).kind())
}

#[expect(clippy::disallowed_methods, reason = "a process outside is waited for, on a thread that may block")]
fn now() -> Instant {
    Instant::now()
}

/// Takes apart what was printed: the value alone, or JSON with the time of its end.
pub(super) fn read(output: &[u8]) -> Result<Printed, CommandError> {
    if !output.trim_ascii_start().starts_with(b"{") {
        let mut value = Zeroizing::new(output.to_vec());
        without_line_end(&mut value);
        return Ok(Printed { value: std::mem::take(&mut *value), expires: None });
    }
    let said: Said = serde_json::from_slice(output).map_err(|_| CommandError::Json)?;
    let expires = match said.expires_at {
        None => None,
        Some(Moment::Seconds(seconds)) => Some(time::from_unix(seconds).ok_or(CommandError::Time)?),
        Some(Moment::Text(text)) => Some(time::parse(&text).ok_or(CommandError::Time)?),
        Some(Moment::Other(_)) => return Err(CommandError::Time),
    };
    let Wiped(mut value) = said.value;
    Ok(Printed { value: std::mem::take(&mut *value).into_bytes(), expires })
}

#[derive(Deserialize)]
struct Said {
    value: Wiped,
    expires_at: Option<Moment>,
}

#[derive(Deserialize)]
#[serde(from = "String")]
struct Wiped(Zeroizing<String>);

impl From<String> for Wiped {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Seconds(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}
