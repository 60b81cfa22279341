//! That a guest neither sees a control socket nor is told anything by one, for each kind of user.

use std::process::{Command, Stdio};

use super::PORTCULLIS;
use crate::support::sandboxed::{client, namespaces};

/// Prepares a private mount namespace: this program, a TUN device for all, an empty `/run` and `/tmp`.
const STAGE: &str = "set -e\n\
    mount -t tmpfs -o mode=755 none /mnt\n\
    touch /mnt/self\n\
    mount --bind \"$1\" /mnt/self\n\
    mkdir /mnt/dev\n\
    if mknod -m 666 /mnt/dev/tun c 10 200 2>/dev/null; then mount --bind /mnt/dev/tun /dev/net/tun; fi\n\
    mount -t tmpfs -o mode=755 none /run\n\
    mount -t tmpfs -o mode=1777 none /tmp\n\
    chmod 1777 /tmp\n\
    shift\n\
    eval \"$MORE\"\n\
    exec \"$@\"\n";

/// Who starts the sandboxes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum User {
    /// Root, perhaps of a user namespace.
    Root,
    /// A user without any capability.
    Plain,
}

impl User {
    /// Those that this process can play.
    fn all() -> Vec<Self> {
        if rustix::process::geteuid().is_root() { vec![Self::Root, Self::Plain] } else { vec![Self::Root] }
    }

    /// The directory where there is no runtime directory but what a machine always has.
    fn directory(self) -> &'static str {
        match self {
            Self::Root => "/run/portcullis",
            Self::Plain => "/tmp/portcullis-65534",
        }
    }

    /// Runs a Python program as this user, on the stage.
    fn python(self, program: &str, arguments: &[&str], (runtime, more): (Option<&str>, &str)) -> String {
        let mut command = Command::new("unshare");
        command.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" });
        command.args(["--propagation", "private", "sh", "-c", STAGE, "stage", PORTCULLIS]);
        if self == Self::Plain {
            command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        }
        command.args(["/usr/bin/python3", "-c", program]).args(arguments).current_dir("/");
        command.stdin(Stdio::null()).env("HOME", "/tmp").env_remove("XDG_RUNTIME_DIR").env("MORE", more);
        if let Some(runtime) = runtime {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        let output = command.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "as {self:?}: {stdout}{stderr}");
        stdout.into_owned()
    }
}

#[test]
fn a_guest_sees_no_control_socket_also_of_later_sandboxes() {
    if !namespaces() || !client("/usr/bin/python3 --version && setpriv --version") {
        return;
    }
    let program = include_str!("hidden.py");
    for user in User::all() {
        for arguments in [&[user.directory()][..], &[user.directory(), "notes"]] {
            let seen = user.python(program, arguments, (None, ""));
            assert_eq!(seen, "ready\ndone\n", "as {user:?}, {arguments:?}");
        }
    }
    if User::all().contains(&User::Plain) {
        for runtime in ["/tmp/runtime", "/run/user/65534"] {
            let more = format!("mkdir -p {runtime}; chown 65534 {runtime}; chmod 700 {runtime}");
            let directory = format!("{runtime}/portcullis");
            let seen = User::Plain.python(program, &[&directory], (Some(runtime), &more));
            assert_eq!(seen, "ready\ndone\n", "in {runtime}");
        }
    }
}

#[test]
fn a_guest_that_gets_at_a_socket_all_the_same_is_told_nothing_and_believed_nothing() {
    if !namespaces() || !client("/usr/bin/python3 --version && setpriv --version") {
        return;
    }
    for user in User::all() {
        let (directory, owner) = (user.directory(), if user == User::Plain { "65534" } else { "0" });
        let more = format!(
            "mkdir -m 700 {directory} /tmp/alias; chown {owner} {directory}; mount --bind {directory} /tmp/alias"
        );
        let seen = user.python(include_str!("strangers.py"), &[directory, "/tmp/alias"], (None, &more));
        let refused = "portcullis: sandbox fake: the other end is a process in other namespaces, as inside a sandbox; \
            use it from outside\n";
        assert_eq!(seen, format!("told b''\nready\n125 {refused}connected\n"), "as {user:?}");
    }
}
