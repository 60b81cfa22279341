//! What can go wrong before the command runs: causes, and what to do about each.
//!
//! Not the command's own exit status, which is never an error. Every text is one line that says what to do,
//! and every variant can cross the socket between pid 1 and the parent.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An error number of the kernel, in a form that crosses a socket.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Errno(i32);

impl Errno {
    /// The number itself; 0 when the error had none.
    #[must_use]
    pub fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.raw_os_error())
    }
}

/// Why the kernel makes no user namespace for us.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Forbidden {
    /// `user.max_user_namespaces` is 0, or used up.
    Count,
    /// Debian's `kernel.unprivileged_userns_clone` is 0.
    Unprivileged,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns` is 1: the namespace is made, without
    /// capabilities.
    AppArmor,
    /// Nothing on the host says so: the seccomp filter or the capabilities of a container.
    Container,
}

impl Forbidden {
    /// Finds the cause in the host's settings.
    pub(super) fn diagnose(errno: Errno) -> Self {
        let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
        if errno.raw() == libc::ENOSPC || is("/proc/sys/user/max_user_namespaces", "0") {
            Self::Count
        } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
            Self::Unprivileged
        } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
            Self::AppArmor
        } else {
            Self::Container
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "raise it with `sysctl user.max_user_namespaces=10000`",
            Self::Unprivileged => "allow them with `sysctl kernel.unprivileged_userns_clone=1`",
            Self::AppArmor => {
                "allow them with `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile \
                 with `userns,`"
            }
            Self::Container => {
                "in a container, start it with `--security-opt seccomp=unconfined --cap-add SYS_ADMIN` \
                 or a profile that allows them"
            }
        })
    }
}

/// Why a command could not be started in namespaces of its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum NamespaceError {
    /// The command is empty.
    #[error("no command: say which after `--`")]
    NoCommand,
    /// Forking a process with threads is not safe, so it is refused.
    #[error("the namespaces must be made before the first thread: call spawn() earlier")]
    Threads,
    /// The kernel makes no user namespace for us.
    #[error("no user namespace can be made ({errno}): {cause}")]
    UserNamespace {
        /// What the kernel said.
        errno: Errno,
        /// What on this host is in the way.
        cause: Forbidden,
    },
    /// The ids of the user namespace could not be mapped.
    #[error(
        "the user namespace's {file} cannot be written ({errno}): allow CAP_SETUID and CAP_SETGID, or run as a \
         plain user"
    )]
    IdMap {
        /// `uid_map`, `gid_map` or `setgroups`.
        file: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// There is no TUN device.
    #[error("there is no /dev/net/tun: `modprobe tun`, or give the container `--device /dev/net/tun`")]
    NoTun,
    /// The TUN device may not be opened.
    #[error(
        "/dev/net/tun may not be opened ({0}): `chmod 0666 /dev/net/tun`, or allow the device in the container"
    )]
    TunDenied(Errno),
    /// The TAP device could not be made.
    #[error(
        "no TAP device can be made ({0}): the kernel needs CONFIG_TUN and must let a user namespace make one"
    )]
    Tap(Errno),
    /// The guest's network could not be set up.
    #[error("the guest's network cannot be set up: {step}: {errno}")]
    Network {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A container masks parts of `/proc`, and the kernel then makes no fresh one.
    #[error(
        "a container masks /proc, so no fresh one can be mounted: start it with docker's `--security-opt \
         systempaths=unconfined` or podman's `--security-opt unmask=ALL`"
    )]
    ProcMasked,
    /// `/run` is where our own files live, and it does not exist.
    #[error("there is no directory /run: create it")]
    NoRun,
    /// The resolver's configuration has no place to stand.
    #[error(
        "/etc/resolv.conf does not exist, and nothing is written to the host's disk: create it, empty will do"
    )]
    NoResolverFile,
    /// A mount failed.
    #[error(
        "{} cannot be mounted over ({errno}): see that it exists and that a container's policy allows mounts",
        .path.display()
    )]
    Mount {
        /// What should have been covered.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The working directory lies in a place the sandbox hides.
    #[error("the working directory {} is hidden in the sandbox: start from another", .0.display())]
    WorkingDirectory(PathBuf),
    /// A secret's file lies where the command has to be.
    #[error(
        "the secret's file {} cannot be hidden from the command, which needs the rest of {}: put it into a directory \
         of its own",
        .file.display(), .directory.display()
    )]
    Private {
        /// The file.
        file: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// A step of the confinement failed.
    #[error("the command cannot be confined: {step}: {errno}")]
    Confine {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The command does not exist.
    #[error("{0}: not found")]
    NotFound(String),
    /// The command exists and cannot be executed.
    #[error("{command}: {errno}")]
    NotExecutable {
        /// What should have run.
        command: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A system call of the parent failed.
    #[error("{step}: {errno}")]
    System {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// Pid 1 of the sandbox ended without a word: something killed it.
    #[error("the sandbox's first process was killed: see the kernel's log for a reason, such as memory")]
    Lost,
}

impl NamespaceError {
    /// The exit code of `run`: the shell's 127 and 126 for a command that cannot run, 125 for all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable { .. } => 126,
            Self::NoCommand
            | Self::Threads
            | Self::UserNamespace { .. }
            | Self::IdMap { .. }
            | Self::NoTun
            | Self::TunDenied(_)
            | Self::Tap(_)
            | Self::Network { .. }
            | Self::ProcMasked
            | Self::NoRun
            | Self::NoResolverFile
            | Self::Mount { .. }
            | Self::WorkingDirectory(_)
            | Self::Private { .. }
            | Self::Confine { .. }
            | Self::System { .. }
            | Self::Lost => 125,
        }
    }

    /// For `map_err`: a failed system call of the parent, by what it was for.
    pub(super) fn system<E: Into<Errno>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |errno| Self::System { step: step.to_owned(), errno: errno.into() }
    }

    /// For `map_err`: a failed step of the confinement.
    pub(super) fn confine<E: Into<Errno>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |errno| Self::Confine { step: step.to_owned(), errno: errno.into() }
    }

    /// For `map_err`: a failed mount.
    pub(super) fn mount<E: Into<Errno>>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        move |errno| Self::Mount { path: path.into(), errno: errno.into() }
    }
}
