//! Runs the `portcullis` binary on real clients, with a canary for a secret.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::canary;
use super::upstream::Upstream;

/// The host that may have the secret.
pub(crate) const HOST: &str = "api.example.com";

/// Seconds after which a sandboxed command is ended, so that a hang fails its test and shows its log.
const PATIENCE: &str = "300";

/// A sandboxed command about to run.
pub(crate) struct Sandboxed {
    /// The value that must never be seen inside.
    pub(crate) secret: String,
    /// Another, which every run has whatever its test does.
    canary: String,
    dir: PathBuf,
    command: Command,
}

impl Sandboxed {
    /// `portcullis run` with the secret `TOKEN` for [`HOST`], which is mapped to `upstream`.
    pub(crate) fn new(upstream: &Upstream) -> Self {
        Self::bare()
            .flag("--secret", &format!("TOKEN@{HOST}"))
            .flag("--connect-to", &format!("{HOST}:443:{}", upstream.addr))
            .flag("--upstream-ca", concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem"))
    }

    /// `portcullis run` that allows nothing but the canary its host, with another in the variable `TOKEN`.
    pub(crate) fn bare() -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("portcullis-test-{}-{run}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (secret, canary) = (canary::value(), canary::value());
        let mut command = Command::new("timeout");
        command
            .args(["-k", "10", PATIENCE, env!("CARGO_BIN_EXE_portcullis")])
            .arg("run")
            .arg("--audit")
            .arg(dir.join("audit.jsonl"))
            .arg("--log")
            .arg(dir.join("log"))
            .args(["--secret", &format!("{}@{}", canary::NAME, canary::HOST)])
            .env(canary::NAME, &canary)
            .env("TOKEN", &secret)
            .env("PORTCULLIS_LOG", "portcullis=trace")
            .stdin(Stdio::null());
        Self { secret, canary, dir, command }
    }

    /// One more flag of `portcullis run`.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.command.args([name, value]);
        self
    }

    /// A variable of the host.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A scratch directory that both sides see.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Runs a shell script inside and waits for it.
    pub(crate) fn sh(self, script: &str) -> Ran {
        let Self { secret, canary, dir, mut command } = self;
        command.args(["--", "sh", "-c", script]).current_dir(&dir);
        let output = command.output().unwrap();
        Ran::collect(&[secret, canary], &dir, output)
    }

    /// Starts a shell script inside, whose standard input stays open until [`Running::finish`].
    pub(crate) fn start(self, script: &str) -> Running {
        let Self { secret, canary, dir, mut command } = self;
        command.args(["--", "sh", "-c", script]).current_dir(&dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { secrets: [secret, canary], dir, child, stdout }
    }
}

/// A sandboxed command that runs.
pub(crate) struct Running {
    secrets: [String; 2],
    dir: PathBuf,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Where a port of the guest's is published, as the audit file says.
    pub(crate) fn published(&mut self, guest_port: u16) -> SocketAddr {
        loop {
            let audit = std::fs::read_to_string(self.dir.join("audit.jsonl")).unwrap_or_default();
            let records =
                audit.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut published = records.filter(|record| record["event"] == "published");
            if let Some(record) = published.find(|record| record["guest_port"] == guest_port) {
                return record["address"].as_str().unwrap().parse().unwrap();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {audit}");
            std::thread::yield_now();
        }
    }

    /// Ends its standard input and waits for it.
    pub(crate) fn finish(mut self) -> Ran {
        drop(self.child.stdin.take());
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        let mut output = self.child.wait_with_output().unwrap();
        output.stdout = rest;
        Ran::collect(&self.secrets, &self.dir, output)
    }
}

/// What a sandboxed command left.
pub(crate) struct Ran {
    pub(crate) output: Output,
    pub(crate) audit: String,
    pub(crate) log: String,
}

impl Ran {
    fn collect(secrets: &[String], dir: &Path, output: Output) -> Self {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let ran = Ran { audit: read("audit.jsonl"), log: read("log"), output };
        for secret in secrets {
            canary::assert_not_in(secret, "stdout", &ran.output.stdout);
            canary::assert_not_in(secret, "stderr", &ran.output.stderr);
            canary::assert_not_in(secret, "audit", ran.audit.as_bytes());
            canary::assert_not_in(secret, "log", ran.log.as_bytes());
        }
        std::fs::remove_dir_all(dir).unwrap();
        ran
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The standard output of a command that must have succeeded.
    pub(crate) fn ok(&self) -> String {
        assert!(
            self.output.status.success(),
            "{}\n{}\n{}\n{}",
            self.output.status,
            self.stdout(),
            self.stderr(),
            self.log
        );
        self.stdout()
    }

    /// The audit records of one kind.
    pub(crate) fn records(&self, kind: &str) -> Vec<serde_json::Value> {
        let lines = self.audit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|record| record["event"] == kind).collect()
    }
}

/// Whether namespaces can be made here; says loudly when not, and insists where the environment says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn namespaces() -> bool {
    let probe = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["run", "--", "true"]).output().unwrap();
    if probe.status.success() {
        return true;
    }
    let why = String::from_utf8_lossy(&probe.stderr).into_owned();
    assert!(std::env::var_os("PORTCULLIS_REQUIRE_NAMESPACES").is_none(), "namespaces are required: {why}");
    eprintln!("\n*** SKIPPED, no namespaces here: {why}");
    false
}

/// Whether a client is installed; says loudly when not, and insists where the environment says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn client(probe: &str) -> bool {
    let found = Command::new("sh").args(["-c", probe]).output().unwrap().status.success();
    assert!(
        found || std::env::var_os("PORTCULLIS_REQUIRE_CLIENTS").is_none(),
        "a client is required: {probe}"
    );
    if !found {
        eprintln!("\n*** SKIPPED, no client here: {probe}");
    }
    found
}
