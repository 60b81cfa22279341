//! The parent's side of the start: forks pid 1, maps its ids, and waits until the command runs.
//!
//! Invariant: when this fails, no process, mount or interface is left.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};

use crate::namespace::Spec;
use crate::namespace::child::{Child, FORWARDED, Process};
use crate::namespace::error::{Forbidden, NamespaceError};
use crate::namespace::ids::Ids;
use crate::namespace::init::Init;
use crate::namespace::message::{Channel, Message};
use crate::namespace::mounts::Host;
use crate::sys;

/// The namespaces pid 1 starts in. Abstract Unix sockets belong to the network's, System V and POSIX queues
/// to the ipc's.
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;

/// A command that runs in namespaces of its own.
#[derive(Debug)]
#[must_use = "the command dies when this is dropped"]
pub struct Running {
    /// The network's other end: whole Ethernet frames, each behind a `virtio_net_hdr`; non-blocking.
    pub tap: OwnedFd,
    /// The command.
    pub child: Child,
}

/// Starts the command, and comes back when it runs.
///
/// Call it before the first thread, and from the thread that will live the longest: when the calling thread
/// ends, the kernel kills the sandbox. Afterwards this process is not dumpable, and the signals that end a
/// program are blocked in it, for [`Child::wait`] to pass on.
///
/// # Errors
/// By cause; [`NamespaceError::exit_code`] is what `run` exits with.
pub fn spawn(spec: &Spec) -> Result<Running, NamespaceError> {
    if spec.command.is_empty() {
        return Err(NamespaceError::NoCommand);
    }
    let host = Host::look(spec)?;
    let ids = Ids::of_caller()?;
    let (ours, theirs) = Channel::pair().map_err(NamespaceError::system("make a socket pair"))?;
    let (mut theirs, mut ours) = (Some(theirs), Some(ours));
    let pid = sys::fork_into(NAMESPACES, || {
        drop(ours.take()); // or pid 1 would hold its own parent's end, and never see it closed
        theirs.take().map_or(0, |parent| Init { spec, host: &host, ids: &ids, parent }.run())
    })
    .map_err(fork_failure)?;
    drop(theirs);
    let control = ours.ok_or(NamespaceError::Lost)?;
    let init = Fresh(Some(pid));
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(NamespaceError::system("pidfd_open"))?;
    let (tap, signals, command) = converse(&control, pid, &ids)?;
    let command = Process { pid: pid_of(&command), fd: command };
    let child = Child::new(process, command, control, signals);
    init.keep();
    Ok(Running { tap, child })
}

/// The parent's half of the conversation; gives the TAP, the diverted signals and a pidfd of the command.
fn converse(control: &Channel, pid: Pid, ids: &Ids) -> Result<(OwnedFd, OwnedFd, OwnedFd), NamespaceError> {
    ids.map(pid)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(NamespaceError::system("PR_SET_DUMPABLE"))?;
    let said = |message| control.send(message).map_err(NamespaceError::system("tell the first process"));
    // A process that is gone has said why, if it could: what it said is read before this failure counts.
    let told = said(&Message::Mapped);
    let tap = expect(control, |message| matches!(message, Message::Ready))?;
    // From before the command's first moment, so that none meant for it ends us instead.
    let signals = sys::divert_signals(FORWARDED).map_err(NamespaceError::system("signalfd"))?;
    told.and_then(|()| said(&Message::Alive))?;
    let command = expect(control, |message| matches!(message, Message::Started))?;
    Ok((tap, signals, command))
}

fn expect(control: &Channel, expected: impl Fn(&Message) -> bool) -> Result<OwnedFd, NamespaceError> {
    match control.receive().map_err(NamespaceError::system("hear from the first process"))? {
        Some((Message::Failed(error), _)) => Err(error),
        Some((message, Some(fd))) if expected(&message) => Ok(fd),
        Some(_) | None => Err(NamespaceError::Lost),
    }
}

fn fork_failure(error: std::io::Error) -> NamespaceError {
    if error.kind() == std::io::ErrorKind::Deadlock {
        return NamespaceError::Threads;
    }
    let errno = error.into();
    NamespaceError::UserNamespace { errno, cause: Forbidden::diagnose(errno) }
}

/// The number in our pid namespace of the process behind a pidfd; none where the kernel does not say.
fn pid_of(process: &OwnedFd) -> Option<Pid> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    let number = number.trim().parse().ok().filter(|number| *number > 0); // -1: it has ended already
    number.and_then(Pid::from_raw)
}

/// Pid 1 until the command runs: killed and buried unless it is kept.
struct Fresh(Option<Pid>);

impl Fresh {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let Some(pid) = self.0 else { return };
        // Not waited for by anyone else, so the number is still this process's.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
    }
}
