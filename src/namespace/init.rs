//! Pid 1 of the sandbox: makes everything ready, starts the command, and ends with it.
//!
//! Invariant: it outlives neither its parent (a signal of the kernel's, and a closed socket until that is
//! armed) nor the command, and with it dies every process of the sandbox.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};

use crate::namespace::error::NamespaceError;
use crate::namespace::ids::Ids;
use crate::namespace::message::{Channel, Message};
use crate::namespace::mounts::{self, Host, Identity};
use crate::namespace::{Spec, command, link};
use crate::sys;

/// Exit status when the parent has been told why, or is gone.
const GAVE_UP: u8 = 125;
/// What a new file of the sandbox's own may not be: writable by others.
const UMASK: Mode = Mode::from_raw_mode(0o022);

/// What pid 1 is given by its parent's memory.
pub(super) struct Init<'a> {
    /// What to run, and on which network.
    pub(super) spec: &'a Spec,
    /// The host as it was before.
    pub(super) host: &'a Host,
    /// How the command's ids are mapped.
    pub(super) ids: &'a Ids,
    /// The parent.
    pub(super) parent: Channel,
}

impl Init<'_> {
    /// Runs to the end of the command.
    pub(super) fn run(self) -> u8 {
        self.start().and_then(|command| self.reap(command)).unwrap_or_else(|error| {
            // A parent that is gone needs no reason.
            let _ = self.parent.send(&Message::Failed(error));
            GAVE_UP
        })
    }

    fn start(&self) -> Result<Pid, NamespaceError> {
        // Or what our parent has open would live on with us when it is killed: its control socket, its files.
        sys::close_inherited(self.parent.as_fd()).map_err(step("close_range"))?;
        self.expect_from_parent(|message| matches!(message, Message::Mapped))?;
        forget_arguments()?;
        let umask = rustix::process::umask(UMASK);
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // The device is opened before /dev could be anyone's but the host's.
        let tap = link::raise(&self.spec.addresses)?;
        mounts::arrange(self.spec, self.host, Identity { user, group })?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(step("PR_SET_PDEATHSIG"))?;
        self.parent.send_with(&Message::Ready, tap.as_fd()).map_err(step("hand over the TAP"))?;
        drop(tap);
        self.expect_from_parent(|message| matches!(message, Message::Alive))?;
        self.launch(umask)
    }

    /// Forks the command, maps its ids and waits until it is the program.
    fn launch(&self, umask: Mode) -> Result<Pid, NamespaceError> {
        let (ours, theirs) = Channel::pair().map_err(step("make a socket pair"))?;
        let (spec, host) = (self.spec, self.host);
        let pid = sys::fork_into(0, || {
            let error = command::become_command(spec, host, umask, &theirs);
            let _ = theirs.send(&Message::Failed(error));
            GAVE_UP
        });
        let pid = pid.map_err(NamespaceError::confine("fork the command"))?;
        drop(theirs);
        match ours.receive().map_err(step("hear from the command"))? {
            Some((Message::Unshared, _)) => self.ids.map(pid)?,
            Some((Message::Failed(error), _)) => return Err(error),
            Some(_) | None => return Err(NamespaceError::Lost),
        }
        // From now on no process of the command's user looks into this one, a copy of the parent.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(step("PR_SET_DUMPABLE"))?;
        let command = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(step("pidfd_open"))?;
        ours.send(&Message::Mapped).map_err(step("tell the command"))?;
        if let Some((message, _)) = ours.receive().map_err(step("hear from the command"))? {
            return Err(if let Message::Failed(error) = message { error } else { NamespaceError::Lost });
        }
        self.parent.send_with(&Message::Started, command.as_fd()).map_err(step("tell the parent"))?;
        Ok(pid)
    }

    /// Buries every orphan of the sandbox until the command ends, and says how it did.
    fn reap(&self, command: Pid) -> Result<u8, NamespaceError> {
        loop {
            let waited = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::UNTRACED));
            let Some((pid, status)) = waited.map_err(step("wait"))? else { continue };
            if pid != command {
                continue;
            }
            let message = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Message::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
                (None, Some(signal)) => Message::Killed(signal),
                (None, None) => Message::Stopped,
            };
            self.parent.send(&message).map_err(step("tell the parent"))?;
            if !matches!(message, Message::Stopped) {
                return Ok(0);
            }
        }
    }

    fn expect_from_parent(&self, expected: impl Fn(&Message) -> bool) -> Result<(), NamespaceError> {
        match self.parent.receive().map_err(step("hear from the parent"))? {
            Some((message, _)) if expected(&message) => Ok(()),
            Some(_) | None => Err(NamespaceError::Lost),
        }
    }
}

/// Wipes the arguments and the environment this process was started with: `/proc/1/cmdline` can be read by
/// all, and the environment may hold what the command must not. Fields 48 to 51 of proc_pid_stat(5) say where
/// they are.
fn forget_arguments() -> Result<(), NamespaceError> {
    const AFTER_NAME: usize = 48 - 3; // the third field is the first after the name's closing parenthesis
    let stat = fs::read_to_string("/proc/self/stat").map_err(step("/proc/self/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let mut places =
        fields.split_ascii_whitespace().skip(AFTER_NAME).map_while(|field| field.parse::<u64>().ok());
    let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem").map_err(step("/proc/self/mem"))?;
    for _ in ["arguments", "environment"] {
        let (Some(start), Some(end)) = (places.next(), places.next()) else { return Ok(()) };
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or_default();
        memory.write_all_at(&vec![0; length], start).map_err(step("/proc/self/mem"))?;
    }
    Ok(())
}

fn step<E: Into<crate::namespace::error::Errno>>(name: &'static str) -> impl FnOnce(E) -> NamespaceError {
    NamespaceError::system(name)
}
