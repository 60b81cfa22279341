//! The command's own process: from a fork of pid 1 to the program, with nothing left that it could use.
//!
//! Invariant: when the program starts it has no capability, can gain none, and its mounts are locked by a
//! user namespace it does not own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::namespace::error::NamespaceError;
use crate::namespace::message::{Channel, Message};
use crate::namespace::mounts::Host;
use crate::namespace::{Spec, seccomp};
use crate::sys;

/// Descriptors below this one are the caller's to pass on.
const FIRST_CLOSED: i32 = 3;
/// Capabilities the kernel's sets have room for.
const CAPABILITIES: u32 = 64;

/// Becomes the command; comes back only when it cannot.
pub(super) fn become_command(spec: &Spec, host: &Host, umask: Mode, pid1: &Channel) -> NamespaceError {
    match confine(host, umask, pid1) {
        Ok(()) => execute(spec),
        Err(error) => error,
    }
}

fn confine(host: &Host, umask: Mode, pid1: &Channel) -> Result<(), NamespaceError> {
    sys::unshare_user_and_mounts().map_err(NamespaceError::confine("make the second user namespace"))?;
    pid1.send(&Message::Unshared).map_err(NamespaceError::confine("report to the first process"))?;
    match pid1.receive().map_err(NamespaceError::confine("hear from the first process"))? {
        Some((Message::Mapped, _)) => {}
        Some(_) | None => return Err(NamespaceError::Lost),
    }
    // A copy of the parent's memory until exec: nobody looks into it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(NamespaceError::confine("become non-dumpable"))?;
    // Anew and by name: the directory we stand in may be one of the hidden.
    rustix::process::chdir(&host.working_directory)
        .map_err(|_| NamespaceError::WorkingDirectory(host.working_directory.clone()))?;
    rustix::process::umask(umask);
    sys::join_new_session_keyring().map_err(NamespaceError::confine("leave the session keyring"))?;
    drop_capabilities().map_err(NamespaceError::confine("drop all capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(NamespaceError::confine("set no_new_privs"))?;
    sys::close_on_exec_from(FIRST_CLOSED).map_err(NamespaceError::confine("close all descriptors"))?;
    filter_system_calls()
}

/// Empties the bounding, ambient, permitted, effective and inheritable sets; root's id gives none back.
fn drop_capabilities() -> Result<(), Errno> {
    for bit in 0..CAPABILITIES {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Err(Errno::INVAL) => break, // past the last one this kernel has
            outcome => outcome?,
        }
    }
    let root_is_nobody = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(root_is_nobody)?;
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}

fn filter_system_calls() -> Result<(), NamespaceError> {
    let failed = |error: &dyn std::error::Error| NamespaceError::Confine {
        step: format!("filter system calls: {error}"),
        errno: Errno::INVAL.into(),
    };
    for program in seccomp::programs().map_err(|error| failed(&error))? {
        seccompiler::apply_filter(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Executes the command as a shell would: found in the PATH it will have, a script without `#!` by `/bin/sh`,
/// with an empty signal mask and SIGPIPE as it is by default.
fn execute(spec: &Spec) -> NamespaceError {
    let Some((program, arguments)) = spec.command.split_first() else { return NamespaceError::NoCommand };
    let variables = spec.env.iter().map(|(name, value)| (name, value));
    let error = Command::new(program).args(arguments).env_clear().envs(variables).exec();
    cannot_execute(program, &error)
}

/// The shell's two answers: 127 for what is not there, 126 for what cannot be run.
fn cannot_execute(program: &OsString, error: &io::Error) -> NamespaceError {
    let command = program.to_string_lossy().into_owned();
    match error.raw_os_error() {
        Some(libc::ENOENT) => NamespaceError::NotFound(command),
        errno => {
            let errno = Errno::from_raw_os_error(errno.unwrap_or(libc::EINVAL));
            NamespaceError::NotExecutable { command, errno: errno.into() }
        }
    }
}
