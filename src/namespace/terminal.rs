//! The caller's terminal: who is in its foreground, and giving it back.
//!
//! A shell in the sandbox makes process groups of its own and puts them in the foreground. It cannot put ours
//! back when it ends, because our group has no number in its pid namespace. Invariant: the terminal is only
//! ever taken from a group that no longer exists, or given while it is ours.

use std::fs::{File, OpenOptions};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys;

/// The controlling terminal, if there is one.
#[derive(Debug)]
pub(crate) struct Terminal(Option<File>);

impl Terminal {
    /// Opens the caller's.
    pub(crate) fn of_caller() -> Self {
        Self(OpenOptions::new().read(true).write(true).open("/dev/tty").ok())
    }

    /// Whether there was one and it has hung up: then this process has none any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_some() && File::open("/dev/tty").is_err()
    }

    /// Takes the foreground back from a process group of the sandbox that is gone.
    pub(super) fn take_back(&self) {
        let Some((terminal, foreground)) = self.foreground() else { return };
        if rustix::process::test_kill_process_group(foreground) == Err(Errno::SRCH) {
            set_foreground(terminal, rustix::process::getpgrp());
        }
    }

    /// Gives the foreground to `group`, if it is ours to give.
    pub(super) fn give(&self, group: Pid) {
        let Some((terminal, foreground)) = self.foreground() else { return };
        if foreground == rustix::process::getpgrp() {
            set_foreground(terminal, group);
        }
    }

    fn foreground(&self) -> Option<(&File, Pid)> {
        let terminal = self.0.as_ref()?;
        Some((terminal, rustix::termios::tcgetpgrp(terminal).ok()?))
    }
}

fn set_foreground(terminal: &File, group: Pid) {
    // A process in the background that sets the foreground is stopped unless it blocks this signal. One that
    // loses its terminal meanwhile has none to set.
    if sys::block_signals(&[libc::SIGTTOU]).is_ok() {
        let _ = rustix::termios::tcsetpgrp(terminal, group);
    }
}
