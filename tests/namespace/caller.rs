//! Who starts a sandbox, from where, and what came of it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use crate::{canary, spawner};

/// Where programs are looked up: not in a home, which a plain user may not enter.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Prepares a private mount namespace: a TUN device for all, empty places for sockets, this binary where
/// every user finds it. Positional arguments: this binary, then what to execute.
const STAGE: &str = "\
    set -e\n\
    mount -t tmpfs -o mode=755 none /mnt\n\
    touch /mnt/self /mnt/tun\n\
    mount --bind \"$1\" /mnt/self\n\
    mkdir /mnt/dev\n\
    if mknod -m 666 /mnt/dev/tun c 10 200 2>/dev/null; then mount --bind /mnt/dev/tun /dev/net/tun; fi\n\
    mount -t tmpfs -o mode=755 none /run\n\
    mount -t tmpfs -o mode=1777 none /tmp\n\
    chmod 1777 /tmp\n\
    shift\n\
    eval \"$EXTRA_STAGE\"\n\
    exec \"$@\"\n";
/// For [`with_stage`]: an `/etc` that can be changed.
pub(crate) const OWN_ETC: &str = "mkdir /mnt/etc; cp /etc/passwd /etc/group /etc/ld.so.* /mnt/etc 2>/dev/null || true; \
    mount --bind /mnt/etc /etc";
pub(crate) const STAGED_SELF: &str = "/mnt/self";
const PLAIN_USER: &str = "65534";

/// A value in the environment of every parent, which no command may see.
static CANARY: LazyLock<String> = LazyLock::new(canary::value);

/// Who starts the sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Caller {
    /// Root, with every capability.
    Root,
    /// A user without any. Staged by root.
    Plain,
    /// Whoever runs the tests, not root: staged in a user namespace.
    Unprivileged,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Plain => "plain user",
            Self::Unprivileged => "own user",
        })
    }
}

/// Every caller there is on this machine.
pub(crate) fn all() -> Vec<Caller> {
    if rustix::process::geteuid().is_root() {
        vec![Caller::Root, Caller::Plain]
    } else {
        vec![Caller::Unprivileged]
    }
}

/// Can a sandbox be made here at all? Says why not.
pub(crate) fn available() -> Result<(), String> {
    for caller in all() {
        let output = caller.run(&["true"]);
        if !output.status.success() {
            return Err(format!("as {caller}: {}", output.err()));
        }
    }
    Ok(())
}

impl Caller {
    /// A parent of a sandbox that runs `command`, on a stage; standard streams are pipes.
    pub(crate) fn parent(self, command: &[&str]) -> Command {
        self.staged(&[&[STAGED_SELF, spawner::ARGUMENT], command].concat())
    }

    /// Anything at all, as this caller, on a stage. It finds this binary at [`STAGED_SELF`].
    pub(crate) fn staged(self, command: &[&str]) -> Command {
        let mut staged = Command::new("unshare");
        staged.args(match self {
            Self::Root | Self::Plain => &["-m"][..],
            Self::Unprivileged => &["-Urm"][..],
        });
        staged
            .args(["--propagation", "private", "sh", "-c", STAGE, "stage"])
            .arg(env::current_exe().unwrap());
        if self == Self::Plain {
            staged.args(["setpriv", "--reuid", PLAIN_USER, "--regid", PLAIN_USER, "--clear-groups", "--"]);
        }
        // A group of its own: what a case sends to the group must not reach the runner.
        staged.process_group(0);
        staged
            .args(command)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        staged.env("PATH", PATH).env("HOME", "/tmp/home").env("LC_ALL", "C").env_remove("XDG_RUNTIME_DIR");
        staged.env(spawner::CANARY, CANARY.as_str());
        staged
    }

    /// Runs a command in a sandbox to its end.
    pub(crate) fn run(self, command: &[&str]) -> Output {
        run(&mut self.parent(command), b"")
    }

    /// Runs a shell script in a sandbox, which must succeed, and gives what it printed.
    pub(crate) fn sh(self, script: &str) -> String {
        self.run(&["sh", "-c", script]).succeeded()
    }

    /// Runs a Python program in a sandbox, which must succeed, and gives what it printed.
    pub(crate) fn python(self, program: &str) -> String {
        self.run(&["python3", "-c", program]).succeeded()
    }

    /// Does the caller have the capabilities of root where the sandbox is made?
    pub(crate) fn is_root(self) -> bool {
        match self {
            Self::Root | Self::Unprivileged => true,
            Self::Plain => false,
        }
    }
}

/// Runs to the end with `input`.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A command that does not read its input is no error.
        scope.spawn(move || drop(stdin.write_all(input)));
        let output = child.wait_with_output().unwrap();
        canary::assert_not_in(&CANARY, "stdout", &output.stdout);
        canary::assert_not_in(&CANARY, "stderr", &output.stderr);
        output
    })
}

/// Mount commands run on the stage before the caller's user is taken.
pub(crate) fn with_stage(command: &mut Command, script: &str) {
    command.env("EXTRA_STAGE", OsString::from(script));
}

/// What tests ask of an [`Output`].
pub(crate) trait Texts {
    /// Standard output.
    fn out(&self) -> String;
    /// Standard error.
    fn err(&self) -> String;
    /// Standard output of what must have exited with 0.
    fn succeeded(&self) -> String;
}

impl Texts for Output {
    fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    fn succeeded(&self) -> String {
        assert!(self.status.success(), "{}: out {:?}, err {:?}", self.status, self.out(), self.err());
        self.out()
    }
}
