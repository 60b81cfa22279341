//! The command line as its user meets it: the real binary, its exit codes, and what it says.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "cli/explained.rs"]
mod explained;
#[path = "cli/inside.rs"]
mod inside;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use support::canary;
use support::pki;
use support::sandboxed::{client, namespaces};

const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
/// A value that no line of ours may hold, nor any part of it.
const VALUE: &str = "hunter2-hunter2-hunter2";
/// Another, in the environment of every command.
static CANARY: LazyLock<String> = LazyLock::new(canary::value);

/// A directory of one test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("portcullis-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.0).stdin(Stdio::null()).env("GOOD", VALUE).env("SHORT", "hunter2");
        command.env("EMPTY", "").env("CR", format!("{VALUE}\r")).env("LF", format!("{VALUE}\n"));
        command.env("LONG", VALUE.repeat(1000)).env(canary::NAME, CANARY.as_str());
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Fails unless it ended with 125, one line and nothing else, and nothing was started.
fn assert_refused(scratch: &Scratch, output: &Output, says: &str) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(125), "{says}: {stdout}{stderr}");
    assert_eq!(stdout, "", "{says}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("portcullis: ") && stderr.ends_with('\n') && stderr.contains(says),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter2"), "{stderr}");
    canary::assert_not_in(&CANARY, "what it says", &output.stderr);
    assert!(!scratch.0.join("started").exists(), "{says}: the command ran");
    let audit = std::fs::read_to_string(scratch.0.join("audit.jsonl")).unwrap_or_default();
    assert_eq!(audit, "", "{says}");
}

/// `run` with these flags, which are wrong.
fn refuses(flags: &[&str], says: &str) {
    let scratch = Scratch::new();
    let mut command = scratch.command(PORTCULLIS);
    command.args(["run", "--audit", "audit.jsonl", "--secret", "CANARY@canary.example"]);
    command.args(flags).args(["--", "touch", "started"]);
    assert_refused(&scratch, &command.output().unwrap(), says);
}

#[test]
fn a_wrong_command_line_starts_nothing() {
    for (flags, says) in [
        (&["--frobnicate"][..], "unexpected argument '--frobnicate' found; usage: portcullis run"),
        (&["--alow", "a.example"], "a similar argument exists: '--allow'"),
        (&["--observed"], "a similar argument exists: '--observe'"),
        (&["stray"], "unexpected argument 'stray'"),
        (&["--allow"], "a value is required for '--allow <HOST[:PORT][/PROTOCOL]>'"),
        (&["--upstream-ca", ""], "a value is required for '--upstream-ca <FILE>'"),
        (&["--audit", "again"], "cannot be used multiple times"),
        (&["-c", "/nonexistent", "-c", "/nonexistent"], "cannot be used multiple times"),
        (&["--x\ny"], "unexpected argument '--x y'"),
    ] {
        refuses(flags, says);
    }
    let scratch = Scratch::new();
    for (words, says) in [
        (&["fly"][..], "unrecognized subcommand 'fly'"),
        (&["run"], "<CMD>...; usage: portcullis run"),
        (&["run", "--"], "<CMD>"),
        (&["run", "touch", "started"], "usage: portcullis run [OPTIONS] -- <CMD>..."),
        (&["check"], "URL"),
        (&["check", "a", "b", "c"], "unexpected value 'c'"),
    ] {
        assert_refused(&scratch, &scratch.command(PORTCULLIS).args(words).output().unwrap(), says);
    }
}

#[test]
fn a_secret_that_cannot_be_one_starts_nothing() {
    for (text, says) in [
        ("GOOD", "--secret 'GOOD': a secret needs its hosts; write NAME@HOST"),
        ("GOOD@", "a secret needs its hosts"),
        ("GOOD@a.example,", "a secret needs its hosts"),
        ("@a.example", "the name of a secret is that of a variable"),
        ("GO-OD@a.example", "the name of a secret is that of a variable"),
        ("GOOD=hunter2-hunter2-hunter2@a.example", "--secret '…@a.example': the name of a secret"),
        ("hunter2-hunter2-hunter2", "--secret '…': a secret needs its hosts"),
        ("UNSET_VARIABLE@a.example", "export UNSET_VARIABLE with the secret's value"),
        ("ghp_hunter2hunter2hunter2@a.example", "variable … is not set"),
        ("SHORT@a.example", "the value of env://SHORT is shorter than 8 bytes"),
        ("EMPTY@a.example", "is shorter than 8 bytes"),
        ("LONG@a.example", "is longer than 16384 bytes"),
        ("CR@a.example", "contains CR, LF or NUL; remove the line end"),
        ("LF@a.example", "contains CR, LF or NUL; remove the line end"),
        ("GOOD@*", "'*' would be any host"),
        ("GOOD@a.example:80", "port 80 is plain HTTP, which never carries a secret"),
        ("GOOD@127.0.0.1", "is an address"),
        ("GOOD@https://a.example", "is a URL; write its host alone"),
        ("GOOD@localhost", "localhost is the sandbox itself"),
        ("GOOD@host.portcullis.internal", "needs a port"),
    ] {
        refuses(&["--secret", text], says);
    }
    refuses(&["--secret", "GOOD@a.example", "--secret", "GOOD@b.example"], "secret GOOD is there already");
    // A NUL cannot stand in a variable, so no secret from there has one.
}

#[test]
fn a_host_that_is_none_starts_nothing() {
    for (text, says) in [
        ("", "is empty"),
        (".", "is empty"),
        ("a b", "has a label"),
        ("a..b", "has a label"),
        ("a,b", "has a label"),
        ("a\nb", "--allow 'a\\nb': has a label"),
        ("a.example/x", "followed by no protocol"),
        ("a.example:443/udp", "that UDP port is refused to every guest"),
        ("a.example:1/icmp", "ICMP has no ports"),
        ("user@a.example", "has user information"),
        ("xn--a.example", "is not a valid internationalized name"),
        ("*", "'*' would be any host; name the host"),
        ("*.*.example", "'*'"),
        ("a*.example", "'*'"),
        ("http://a.example/", "is a URL"),
        ("127.1", "is an address"),
        ("127.1:443", "is an address"),
        ("0x7f.1", "is an address"),
        ("2130706433", "is an address"),
        ("a.example:0", "has no ports that can be"),
        ("a.example:65536", "has no ports that can be"),
        ("a.example:+80", "has no ports that can be"),
        ("a.example:", "has no ports that can be"),
        ("a.example:53", "ports 53 and 853 are answered by the sandbox's own DNS"),
        ("localhost:8080", "localhost is the sandbox itself"),
        ("host.portcullis.internal", "needs a port"),
    ] {
        refuses(&[&format!("--allow={text}")], says);
    }
    for text in
        ["a.example", "a.example:443:b.example:443", "a.example:443:127.0.0.1", "a.example:443:::1:80"]
    {
        refuses(&["--connect-to", text], "write HOST:PORT:ADDR:PORT");
    }
    refuses(&["--connect-to", "*.a.example:443:127.0.0.1:443"], "write HOST");
    refuses(
        &["--connect-to", "a.example:443:127.0.0.1:1", "--connect-to", "A.example:443:127.0.0.1:2"],
        "that host and port are sent to 127.0.0.1:1 already",
    );
}

#[test]
fn a_file_that_cannot_be_used_starts_nothing() {
    let scratch = Scratch::new();
    let garbage = scratch.file("garbage.pem", "garbage");
    let damaged =
        scratch.file("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let key = pki::path("server.key").display().to_string();
    for (flags, says) in [
        (&["--upstream-ca", "/nonexistent.pem"][..], "cannot read the upstream CA file /nonexistent.pem"),
        (&["--upstream-ca", "/"], "name a PEM file that this user can read"),
        (&["--upstream-ca", &garbage], "no PEM certificate in the upstream CA file"),
        (&["--upstream-ca", &key], "no PEM certificate in the upstream CA file"),
        (&["--upstream-ca", &damaged], "is damaged or no X.509 certificate"),
        (&["--log", "/nonexistent/log"], "--log '/nonexistent/log': is no file to write to"),
        (&["--log", "/"], "is no file to write to"),
        (&["--log", ""], "is no file to write to"),
        (&["--log", "audit.jsonl"], "name the same file"),
        (&["-c", "/nonexistent.toml"], "/nonexistent.toml: cannot be read"),
        (&["-c", "/"], "name a file that this user can read"),
    ] {
        refuses(flags, says);
    }
    let log = scratch
        .command(PORTCULLIS)
        .env("PORTCULLIS_LOG", "a[[")
        .args(["run", "--log", "log", "--", "touch", "started"])
        .output();
    assert_refused(&scratch, &log.unwrap(), "variable PORTCULLIS_LOG");
    for audit in ["/nonexistent/audit", "/", "", "/proc/audit"] {
        let output =
            scratch.command(PORTCULLIS).args(["run", "--audit", audit, "--", "touch", "started"]).output();
        assert_refused(&scratch, &output.unwrap(), "audit");
    }
}

#[test]
fn a_fault_in_the_file_is_told_with_its_line_and_column() {
    for (text, place, says) in [
        ("[net]\nallow = [\"a.example\", \"127.1\"]", "2:23: [net] allow \"127.1\"", "is an address"),
        ("[net]\nalow = []", "2:1", "unknown field `alow`, expected one of `allow`"),
        ("[net\n", "1:5", "unclosed table"),
        ("[net]\nallow = \"a.example\"", "2:9", "expected a list; write allow = "),
        ("[net]\nnameservers = [\"dns/example\"]", "2:16", "is no nameserver"),
        ("[net]\nnameservers = [\"9.9.9.9:0\"]", "2:16", "is no nameserver"),
        ("[tls]\npassthrough = [\"a.example:443\"]", "2:16", "write the host alone"),
        ("[secrets.GOOD]", "1:10: [secrets.GOOD]", "a secret needs its hosts"),
        ("[secrets.GOOD]\nhosts = [\"*\"]", "2:10", "'*' would be any host"),
        ("[secrets.GOOD]\nhosts = [\"a.example\"]\nfrom = \"file://x\"", "3:8", "three slashes"),
        (
            "[secrets.GOOD]\nhosts = [\"a.example\"]\nswap = [\"basic\", \"cookie\"]",
            "3:18",
            "is no place to swap",
        ),
        ("[secrets.GOOD]\nhosts = [\"a.example\"]\nswap = [\"header:host\"]", "3:9", "cannot hold a secret"),
        ("[secrets.GOOD]\nhosts = [\"a.example\"]\nswap = []", "3:8", "leave swap out"),
        (
            "[secrets.GOOD]\nhosts = [\"a.example\"]\nswap = [\"body:json:a..b\"]",
            "3:9",
            "write a pointer as /a/b/0",
        ),
        (
            "[secrets.GOOD]\nhosts = [\"a.example\"]\nelsewhere = \"kill\"",
            "3:13: [secrets.GOOD] elsewhere",
            "inert, redact, deny or terminate",
        ),
        (
            "[secrets.GOOD]\nhosts = [\"a.example\"]\nelsewhere = { host = \"deny\" }",
            "3:13: [secrets.GOOD] elsewhere",
            "the keys body, header and url",
        ),
        (
            "[secrets.GOOD]\nhosts = [\"a.example\"]\nmax_per_request = 0",
            "3:19: [secrets.GOOD] max_per_request",
            "a whole number from 1",
        ),
        ("[secrets.GOOD]\nvalue = \"hunter2-hunter2\"", "2:1", "unknown field `value`"),
        ("[secrets]\nGOOD = \"hunter2-hunter2\"", "2:8", "expected a table with hosts"),
    ] {
        let scratch = Scratch::new();
        let file = scratch.file("p.toml", text);
        let mut run = scratch.command(PORTCULLIS);
        run.args(["run", "-c", &file, "--audit", "audit.jsonl", "--", "touch", "started"]);
        let place = format!("{file}:{place}");
        assert_refused(&scratch, &run.output().unwrap(), &place);
        let mut check = scratch.command(PORTCULLIS);
        check.args(["check", "-c", &file, "https://a.example/"]);
        assert_refused(&scratch, &check.output().unwrap(), says);
    }
}

#[test]
fn a_machine_that_permits_no_sandbox_is_told_what_to_permit() {
    if !namespaces() || !client("unshare --version") {
        return;
    }
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
    for (flags, hinder, says) in [
        (flags, "mount -t tmpfs none /dev/net", "there is no /dev/net/tun: `modprobe tun`"),
        ("-Ur", "echo 0 > /proc/sys/user/max_user_namespaces", "sysctl user.max_user_namespaces"),
    ] {
        let scratch = Scratch::new();
        let script = format!("{hinder} && exec {PORTCULLIS} run --audit audit.jsonl -- touch started");
        let output = scratch.command("unshare").args([flags, "sh", "-c", &script]).output().unwrap();
        assert_refused(&scratch, &output, says);
    }
}

#[test]
fn the_exit_code_is_the_commands_or_the_shells() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new();
    let plain = scratch.file("plain", "no program");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 125"], 125),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -SEGV $$"], 139),
        (&["/nonexistent"], 127),
        (&["no-such-program-anywhere"], 127),
        (&["/"], 126),
        (&[&plain], 126),
    ] {
        let mut run = scratch.command(PORTCULLIS);
        // A directory of the PATH that cannot be searched would make "not found" a "permission denied".
        run.env("PATH", "/usr/bin:/bin")
            .args(["run", "--secret", "CANARY@canary.example", "--"])
            .args(command);
        let output = run.output().unwrap();
        canary::assert_not_in(&CANARY, "what it says", &[&output.stdout[..], &output.stderr].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
        let lines = usize::from(code == 126 || code == 127);
        assert_eq!(stderr.lines().count(), lines, "{command:?}: {stderr}");
    }
}

#[test]
fn help_is_asked_for_and_read() {
    let said = |words: &[&str]| {
        let output = Command::new(PORTCULLIS).args(words).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = said(&["run", "--help"]);
    for word in
        ["--allow", "--secret", "--connect-to", "--upstream-ca", "--config", "--audit", "--log", "<CMD>"]
    {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    for words in
        [&["--help"][..], &["run", "--help"], &["serve", "--help"], &["check", "-h"], &["help", "check"]]
    {
        let help = said(words);
        assert!(help.contains("Usage: portcullis") && help.lines().all(|line| line.len() <= 100), "{help}");
    }
    assert_eq!(said(&["--version"]), format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_says_what_would_happen_and_needs_no_value() {
    for (words, code, says) in [
        (
            &["https://a.example/x"][..],
            0,
            "allowed GET https://a.example/x\nrule: --allow a.example\naddress: not judged, the name is not resolved here\nsecrets: none\n",
        ),
        (&["POST", "http://a.example"], 0, "allowed POST http://a.example/\n"),
        (&["HTTPS://A.Example.:443/"], 0, "allowed GET https://a.example/\n"),
        (&["https://a.example?@b.example"], 0, "allowed GET https://a.example/?@b.example\n"),
        (
            &["https://api.example/"],
            0,
            "rule: secret UNSET\naddress: 127.0.0.1:1, by --connect-to\nsecret: UNSET in header, basic\n",
        ),
        (&["https://x.below.example:8443/"], 0, "secret: UNSET in header, basic\n"),
        (&["https://below.example:8443/"], 3, "to allow it: --allow below.example:8443\n"),
        (&["http://api.example/"], 3, "reason: the host is allowed only at port 443\n"),
        (&["https://a.example:8443/"], 3, "to allow it: --allow a.example:8443\n"),
        (&["https://b.example#@a.example"], 3, "to allow it: --allow b.example\n"),
        (&["https://a.example.evil.example/"], 3, "reason: no rule allows it\nrule: default\n"),
        (&["https://127.0.0.1/"], 3, "no allowed name was resolved to it"),
        (&["http://0x7f.1/"], 3, "reads as one"),
        (&["http://2130706433/"], 3, "reads as one"),
        (&["https://[::ffff:1.2.3.4]/"], 3, "denied"),
        (&["https://x@a.example/"], 3, "user information"),
        (&["https://a.example\\@b.example/"], 3, "backslash"),
        (&["https://a.example%2e/"], 3, "has a label"),
        (&["https://a.example:0443/"], 3, "a port that is not"),
        (&["https:///x"], 3, "is empty"),
        (&["https://host.portcullis.internal:8080/"], 3, "this machine's loopback is closed"),
        (
            &["TRACE", "https://a.example/"],
            3,
            "TRACE is not passed on\nrule: requests that are never let by\n",
        ),
        (&["a.example"], 125, "a URL that starts with http:// or https://"),
        (&["ftp://a.example/"], 125, "a URL that starts with http:// or https://"),
        (&["get", "https://a.example/"], 125, "a method is written in capitals"),
    ] {
        let mut command = Command::new(PORTCULLIS);
        command.args(["check", "--allow", "a.example", "--secret", "UNSET@api.example,*.below.example:8443"]);
        command.args(["--connect-to", "api.example:443:127.0.0.1:1"]).args(words);
        let output = command.output().unwrap();
        let (told, other) =
            if code == 125 { (output.stderr, output.stdout) } else { (output.stdout, output.stderr) };
        let told = String::from_utf8(told).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        assert!(told.contains(says) && other.is_empty(), "{words:?}: {told}");
    }
}
