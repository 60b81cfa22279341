//! Runs `portcullis serve`, with a canary for a secret, and watches what it says.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::canary;

/// The host that may have the secret.
pub(crate) const HOST: &str = "api.example.com";
/// What is waited for at most before it is a hang.
const WATCHDOG: Duration = Duration::from_secs(60);
/// A user without any rights, for where root runs the tests.
const PLAIN_USER: u32 = 1234;

/// A directory that a server and its guest share, removed with it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("portcullis-serve-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    /// Gives it to the user without rights, where root runs the tests.
    fn give_away(self) -> Self {
        if rustix::process::geteuid().is_root() {
            chown(&self.0, Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
        }
        self
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A server about to start, as a user without rights where root runs the tests.
pub(crate) struct Serve {
    pub(crate) command: Command,
    pub(crate) secret: String,
    /// Another, which every server has.
    pub(crate) canary: String,
    pub(crate) scratch: Scratch,
}

impl Serve {
    /// `serve --link LINK`, with `DIR` in LINK for the directory it shares with its guest.
    pub(crate) fn new(link: &str) -> Self {
        let scratch = Scratch::new().give_away();
        let (secret, canary) = (canary::value(), canary::value());
        let mut command = plain(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args(["serve", "--link", &link.replace("DIR", scratch.0.to_str().unwrap())])
            .arg("--log")
            .arg(scratch.join("log"))
            .args(["--secret", &format!("{}@{}", canary::NAME, canary::HOST)])
            .env(canary::NAME, &canary)
            .env("TOKEN", &secret)
            .env("PORTCULLIS_LOG", "portcullis=trace")
            .current_dir(&scratch.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, secret, canary, scratch }
    }

    /// More of the command line.
    pub(crate) fn args(mut self, words: &[&str]) -> Self {
        self.command.args(words);
        self
    }

    /// The secret is [`HOST`]'s, and that host is at `addr`.
    pub(crate) fn upstream(self, addr: std::net::SocketAddr) -> Self {
        let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem");
        std::fs::copy(ca, self.scratch.join("upstream.pem")).unwrap();
        self.args(&["--secret", &format!("TOKEN@{HOST}"), "--upstream-ca", "upstream.pem"])
            .args(&["--connect-to", &format!("{HOST}:443:{addr}")])
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(mut self) -> Served {
        let mut child = self.command.spawn().unwrap();
        let (lines, said) = sync_channel(64);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().try_for_each(|line| lines.send(line.unwrap())));
        let served = Served { child, said, secret: self.secret, canary: self.canary, scratch: self.scratch };
        let ready = served.line();
        assert!(ready.starts_with("portcullis: listening at "), "{ready}");
        served
    }
}

/// A program, as the user without rights where root runs the tests.
pub(crate) fn plain(program: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    // By its number: that user may not be let into the directory where it is.
    let number = std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open(program).unwrap());
    let mut command = Command::new(format!("/proc/self/fd/{number}"));
    command.uid(PLAIN_USER).gid(PLAIN_USER);
    command
}

/// A server that is ready.
pub(crate) struct Served {
    child: Child,
    said: Receiver<String>,
    pub(crate) secret: String,
    canary: String,
    pub(crate) scratch: Scratch,
}

impl Served {
    pub(crate) fn dir(&self) -> &Path {
        &self.scratch.0
    }

    /// A variable of `guest.env` in the directory `out`.
    pub(crate) fn variable(&self, name: &str) -> String {
        let text = self.scratch.read("out/guest.env");
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).unwrap()
    }

    /// The next line on its standard error.
    pub(crate) fn line(&self) -> String {
        self.said.recv_timeout(WATCHDOG).expect("it says nothing")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Asks it to end, as an init does.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end: its status, and what it said since it was ready. The canary is nowhere.
    pub(crate) fn end(self) -> (ExitStatus, Vec<String>) {
        self.end_with(|_| ())
    }

    /// The same, with a look at the directory it leaves.
    pub(crate) fn end_with(mut self, look: impl FnOnce(&Path)) -> (ExitStatus, Vec<String>) {
        let mut said = Vec::new();
        while let Ok(line) = self.said.recv_timeout(WATCHDOG) {
            said.push(line);
        }
        let status = self.child.wait().unwrap();
        look(&self.scratch.0);
        for secret in [&self.secret, &self.canary] {
            canary::assert_not_in(secret, "the log", self.scratch.read("log").as_bytes());
            canary::assert_not_in(secret, "what it said", said.join("\n").as_bytes());
        }
        (status, said)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `end` it is no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
