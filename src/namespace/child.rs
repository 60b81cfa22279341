//! The running command as its parent sees it: its end, its stops, and the signals meant for it.
//!
//! Parent, pid 1 and command share the caller's session and, unless the command makes its own, the process
//! group, so the terminal's own signals reach the command without us. Invariant: when a [`Child`] is gone, so
//! is every process of the sandbox.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;

use crate::namespace::error::NamespaceError;
use crate::namespace::message::{Channel, Message};
use crate::namespace::terminal::Terminal;
use crate::sys;

/// Signals that, sent to us by a process, are meant for the command.
pub(super) const FORWARDED: &[libc::c_int] =
    &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
/// What a shell adds to a signal's number.
const SIGNALLED: i32 = 128;

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code a shell would report: a signal's is 128 and its number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(SIGNALLED + signal).unwrap_or(u8::MAX),
        }
    }
}

/// A process of the sandbox.
#[derive(Debug)]
pub(super) struct Process {
    /// Refers to this process and never to a later one of the same number.
    pub(super) fd: OwnedFd,
    /// Its number in our pid namespace, where the kernel says it.
    pub(super) pid: Option<Pid>,
}

/// The command and everything it has started. Dropping it kills them all.
pub struct Child {
    init: OwnedFd,
    command: Process,
    control: Channel,
    signals: OwnedFd,
    terminal: Terminal,
    /// What SIGHUP is for, where it is not the command's.
    hangup: Option<Box<dyn Fn()>>,
    buried: bool,
}

impl Child {
    /// `signals` reads the [`FORWARDED`] ones.
    pub(super) fn new(init: OwnedFd, command: Process, control: Channel, signals: OwnedFd) -> Self {
        Self { init, command, control, signals, terminal: Terminal::of_caller(), hangup: None, buried: false }
    }

    /// Has `hook` called, in [`Child::wait`], whenever a process sends SIGHUP, instead of passing it on. With a terminal
    /// that has gone it is passed on all the same: then it means what it says.
    pub fn on_hangup(&mut self, hook: impl Fn() + 'static) {
        self.hangup = Some(Box::new(hook));
    }

    /// Waits for the command's end, and for that of every process it has started; passes signals on
    /// meanwhile.
    ///
    /// A command that is stopped stops this process too, as the shell that waits for us expects. Call it in a
    /// tokio runtime with IO enabled. When it is cancelled and called again nothing is lost.
    ///
    /// # Errors
    /// [`NamespaceError::Lost`] when the sandbox was killed from outside; `System` when a system call failed.
    pub async fn wait(&mut self) -> Result<Exit, NamespaceError> {
        let exit = self.until_exit().await;
        self.bury().await?;
        self.terminal.take_back();
        exit
    }

    async fn until_exit(&self) -> Result<Exit, NamespaceError> {
        let (control, signals) = (watch(self.control.as_fd())?, watch(self.signals.as_fd())?);
        loop {
            tokio::select! {
                ready = control.readable() => {
                    let mut ready = ready.map_err(NamespaceError::system("wait for the sandbox"))?;
                    match self.control.try_receive() {
                        Ok(Some((Message::Exited(code), _))) => return Ok(Exit::Code(code)),
                        Ok(Some((Message::Killed(signal), _))) => return Ok(Exit::Signal(signal)),
                        Ok(Some((Message::Stopped, _))) => self.stop_too()?,
                        Ok(Some((Message::Failed(error), _))) => return Err(error),
                        Err(Errno::AGAIN) => ready.clear_ready(),
                        Ok(Some(_) | None) | Err(_) => return Err(NamespaceError::Lost),
                    }
                }
                ready = signals.readable() => {
                    let mut ready = ready.map_err(NamespaceError::system("wait for signals"))?;
                    match sys::read_signal(&self.signals) {
                        Ok(signal) => self.forward(signal),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => ready.clear_ready(),
                        Err(error) => return Err(NamespaceError::system("read a signal")(error)),
                    }
                }
            }
        }
    }

    /// Waits until pid 1 is gone, and with it everything in its pid namespace.
    async fn bury(&mut self) -> Result<(), NamespaceError> {
        let gone = watch(self.init.as_fd())?;
        drop(gone.readable().await.map_err(NamespaceError::system("wait for the sandbox's end"))?);
        drop(gone);
        self.reap();
        Ok(())
    }

    fn reap(&mut self) {
        let wait = || rustix::process::waitid(WaitId::PidFd(self.init.as_fd()), WaitIdOptions::EXITED);
        let _ = rustix::io::retry_on_intr(wait);
        self.buried = true;
    }

    /// A signal of the kernel's has come from the terminal, and has reached the whole foreground by itself.
    fn forward(&self, diverted: sys::Diverted) {
        let sent_by_process = diverted.code <= 0;
        if let Some(hook) = &self.hangup
            && sent_by_process
            && diverted.signal == libc::SIGHUP
            && !self.terminal.is_gone()
        {
            return hook();
        }
        if let Some(signal) = Signal::from_named_raw(diverted.signal).filter(|_| sent_by_process) {
            self.signal(signal);
        }
    }

    /// A command that has ended needs no signal, so a failure is none.
    fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.command.fd, signal);
    }

    /// Stops with the command, and goes on with it.
    fn stop_too(&self) -> Result<(), NamespaceError> {
        let group = self.command.pid.and_then(|pid| rustix::process::getpgid(Some(pid)).ok());
        let shared = group == Some(rustix::process::getpgrp());
        // The terminal stops a shared group as a whole, us included: by the time we read of it, it is over.
        if shared && !self.is_stopped() {
            return Ok(());
        }
        rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)
            .map_err(NamespaceError::system("stop with the command"))?;
        if let Some(group) = group.filter(|_| !shared) {
            self.terminal.give(group);
            let _ = rustix::process::kill_process_group(group, Signal::CONT);
        }
        self.signal(Signal::CONT);
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        let Some(pid) = self.command.pid else { return false };
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.buried {
            let _ = rustix::process::pidfd_send_signal(&self.init, Signal::KILL);
            self.reap();
            self.terminal.take_back();
        }
    }
}

fn watch(fd: BorrowedFd<'_>) -> Result<AsyncFd<BorrowedFd<'_>>, NamespaceError> {
    sys::watch(fd).map_err(NamespaceError::system("watch the sandbox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_shells() {
        assert_eq!(Exit::Code(0).code(), 0);
        assert_eq!(Exit::Code(255).code(), 255);
        assert_eq!(Exit::Signal(libc::SIGINT).code(), 130);
        assert_eq!(Exit::Signal(libc::SIGKILL).code(), 137);
    }
}
