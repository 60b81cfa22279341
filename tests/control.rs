//! The control socket of real sandboxes: who is answered, what, and who never gets there.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "control/embedded.rs"]
mod embedded;
#[path = "control/hidden.rs"]
mod hidden;
#[path = "control/hostile.rs"]
mod hostile;
#[path = "control/policy.rs"]
mod policy;
#[path = "control/secrets.rs"]
mod secrets;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use support::canary;
use support::sandboxed::{client, namespaces};

const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
/// A value that nothing may hold that is said to anybody.
static CANARY: LazyLock<String> = LazyLock::new(|| format!("ghp_{}", &canary::value()[3..]));
/// What a guest does that waits until its input ends.
const WAIT: &str = "echo ready; read -r line; true";

/// A name that no other test has.
fn fresh(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{test}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Where sockets are: root's directory is the system's, another user's one of the tests' own.
fn directory() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/portcullis");
    }
    let runtime = std::env::temp_dir().join(format!("portcullis-runtime-{}", std::process::id()));
    std::fs::create_dir_all(&runtime).unwrap();
    runtime.join("portcullis")
}

fn portcullis(args: &[&str]) -> Command {
    let mut command = Command::new(PORTCULLIS);
    command.args(args).env("TOKEN", CANARY.as_str()).env("XDG_RUNTIME_DIR", directory().parent().unwrap());
    command
}

/// What a subcommand said, which never holds the canary.
fn said(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = portcullis(args).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    canary::assert_not_in(&CANARY, "an answer", format!("{stdout}{stderr}").as_bytes());
    (status.code(), stdout, stderr)
}

/// A `run` whose guest waits; it ends with this.
struct Held {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Held {
    fn start(name: &str, flags: &[&str], script: &str) -> Self {
        let mut command = portcullis(&["run", "--name", name]);
        command.args(flags).args(["--", "sh", "-c", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut held = Self { name: name.to_owned(), child, input, output };
        while held.line() != "ready" {}
        held
    }

    fn waiting(test: &str, flags: &[&str]) -> Self {
        Self::start(&fresh(test), flags, WAIT)
    }

    /// The next line that the guest printed.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the guest of {} is gone", self.name);
        canary::assert_not_in(&CANARY, "what its guest says", line.as_bytes());
        line.trim_end().to_owned()
    }

    /// What the guest answers to a line.
    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.line()
    }

    fn socket(&self) -> PathBuf {
        directory().join(format!("{}.sock", self.name))
    }

    fn status(&self) -> serde_json::Value {
        let (code, stdout, stderr) = said(&["status", &self.name, "--json"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        serde_json::from_str(&stdout).unwrap()
    }

    /// Lets the guest end, and the sandbox with it.
    fn end(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
        assert!(!self.socket().exists(), "the socket is left");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_sandbox_tells_its_counters_its_variables_and_its_certificate() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let script = "echo $TOKEN; cat /run/portcullis/ca.pem; echo; \
        curl -s http://other.example/ >/dev/null; echo ready; read -r line; true";
    let name = fresh("tells");
    let mut command = portcullis(&["run", "--name", &name, "--secret", "TOKEN@api.example.com"]);
    command.args(["--", "sh", "-c", script]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
    let mut held = Held { name: name.clone(), child, input, output };
    let placeholder = held.line();
    let mut certificate = String::new();
    loop {
        match held.line().as_str() {
            "" => {}
            "ready" => break,
            line => certificate += &format!("{line}\n"),
        }
    }

    let status = held.status();
    assert_eq!((&status["name"], &status["pid"]), (&name.as_str().into(), &held.child.id().into()));
    let stats = &status["stats"];
    for (group, counter) in [("net", "frames_in"), ("net", "flows_opened"), ("dns", "denied")] {
        assert!(stats[group][counter].as_u64().unwrap() > 0, "{group} {counter} of {stats}");
    }
    assert!(stats["events"]["denials"].as_u64().unwrap() > 0, "{stats}");
    assert_eq!(stats["net"]["dropped"]["runt"], 0);

    let (code, told, _) = said(&["status", &name]);
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("name ") && lines[0].ends_with(&format!("  {name}")), "{told}");
    let columns: Vec<usize> = lines.iter().map(|line| line.find("  ").unwrap()).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("net.dropped.source_mac  ")) && columns.len() > 40,
        "{told}"
    );
    let (_, listed, _) = said(&["status"]);
    assert_eq!(listed.lines().filter(|line| line.starts_with(&format!("{name} "))).count(), 1, "{listed}");

    let (code, variables, _) = said(&["env", &name]);
    assert_eq!(code, Some(0));
    assert!(variables.contains(&format!("\nTOKEN={placeholder}\n")), "{variables}");
    assert!(variables.contains("\nSSL_CERT_FILE=/run/portcullis/bundle.pem\n"), "{variables}");
    assert!(variables.contains("PORTCULLIS_IPV4=172.16.0.2/30\n"), "{variables}");
    let shell =
        Command::new("sh").args(["-ec", &format!("{variables}echo $PORTCULLIS_DNS; echo $TOKEN")]).output();
    let shell = String::from_utf8(shell.unwrap().stdout).unwrap();
    assert!(shell.ends_with(&format!("\n{placeholder}\n")) && shell.starts_with("172.16.0.1 fd"), "{shell}");

    let (code, pem, _) = said(&["ca", &name]);
    assert_eq!((code, pem), (Some(0), certificate));

    held.end();
    for command in ["status", "env", "ca"] {
        let (code, stdout, stderr) = said(&[command, &name]);
        let expected = format!(
            "portcullis: no sandbox named {name} is running; `portcullis status` lists those that are\n"
        );
        assert_eq!((code, stdout.as_str(), stderr), (Some(125), "", expected));
    }
}

#[test]
fn a_name_is_one_sandboxs_at_a_time() {
    if !namespaces() {
        return;
    }
    let (first, second) = (Held::waiting("first", &[]), Held::waiting("second", &[]));
    let (_, listed, _) = said(&["status", "--json"]);
    for held in [&first, &second] {
        let object = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        assert!(listed.lines().map(object).any(|status| status["pid"] == held.child.id()), "{listed}");
    }
    let started = std::env::temp_dir().join(fresh("started"));
    let (code, stdout, stderr) =
        said(&["run", "--name", &first.name, "--", "touch", started.to_str().unwrap()]);
    assert_eq!((code, stdout.as_str()), (Some(125), ""));
    let name = &first.name;
    assert_eq!(
        stderr,
        format!("portcullis: a sandbox named {name} is running; choose another --name, or end that one\n")
    );
    assert!(!started.exists());
    assert_eq!(first.status()["pid"], first.child.id());
    let name = first.name.clone();
    first.end();
    Held::start(&name, &[], WAIT).end();
    second.end();
}

#[test]
fn what_a_killed_sandbox_left_is_in_nobodys_way() {
    if !namespaces() {
        return;
    }
    let mut killed = Held::waiting("killed", &[]);
    let name = killed.name.clone();
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let (_, listed, _) = said(&["status"]);
    assert!(!listed.contains(&name), "{listed}");
    // Its socket is there still, or another test's start has removed it by now.
    Held::start(&name, &[], WAIT).end();
}

#[test]
fn a_sandbox_that_nobody_named_has_a_name() {
    if !namespaces() {
        return;
    }
    let mut command = portcullis(&["run", "--", "sh", "-c", WAIT]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
    let mut held = Held { name: format!("run-{}", child.id()), child, input, output };
    assert_eq!(held.line(), "ready");
    assert_eq!(held.status()["name"], held.name.as_str());
    held.end();
}

#[test]
fn a_name_that_is_none_starts_nothing() {
    for args in [
        &["run", "--name", "../x", "--", "true"][..],
        &["run", "--name", "", "--", "true"],
        &["run", "--name", "A", "--", "true"],
        &["status", "a/b"],
        &["env", "."],
        &["ca", "a b"],
    ] {
        let (code, stdout, stderr) = said(args);
        assert_eq!((code, stdout.as_str()), (Some(125), ""), "{stderr}");
        assert!(stderr.starts_with("portcullis: ") && stderr.lines().count() == 1, "{stderr}");
    }
}
