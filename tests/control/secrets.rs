//! `portcullis secrets`, and that a guest never sees the file that a secret comes from.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use super::{CANARY, Held, WAIT, fresh, portcullis, said};
use crate::support::sandboxed::namespaces;

const SECOND: &str = "ghp_canarysecondsecondsecondsecondsecond";

/// A directory for keys and one for a configuration.
struct Keys(PathBuf);

impl Keys {
    fn new() -> Self {
        let path = std::env::temp_dir().join(fresh("keys"));
        fs::create_dir_all(path.join("keys")).unwrap();
        Self(path)
    }

    fn key(&self) -> PathBuf {
        self.0.join("keys/token")
    }

    /// Puts a key there in one step.
    fn put(&self, content: &str) {
        let next = self.0.join("keys/next");
        fs::write(&next, content).unwrap();
        fs::rename(next, self.key()).unwrap();
    }

    fn config(&self, text: &str) -> String {
        let path = self.0.join("portcullis.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What `portcullis secrets` said, and never a value.
fn told(args: &[&str]) -> (Option<i32>, String, String) {
    let (code, stdout, stderr) = said(&[&["secrets"], args].concat());
    assert!(!stdout.contains(SECOND) && !stderr.contains(SECOND), "{stdout}{stderr}");
    (code, stdout, stderr)
}

fn listed(name: &str) -> Vec<serde_json::Value> {
    let (code, stdout, stderr) = told(&[name, "list", "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Gives a value by standard input.
fn offer(name: &str, secret: &str, value: &str) -> (Option<i32>, String, String) {
    let mut command = portcullis(&["secrets", name, "rotate", secret, "--stdin"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains(value.trim_end()) && !stderr.contains(value.trim_end()), "{stdout}{stderr}");
    (output.status.code(), stdout, stderr)
}

#[test]
fn a_file_is_hidden_from_the_guest_also_after_another_took_its_place() {
    if !namespaces() {
        return;
    }
    let keys = Keys::new();
    keys.put(&CANARY);
    // Nobody looks at the file by itself, so that what is seen was asked for.
    let text = format!(
        "[limits]\nsource_poll = \"1h\"\n[secrets.KEY]\nhosts = [\"a.example\"]\nfrom = \"file://{}\"\n",
        keys.key().display()
    );
    let config = keys.config(&text);
    let directory = keys.0.join("keys").display().to_string();
    let look = format!("cat {directory}/token; ls -A {directory}; touch {directory}/x");
    let script = format!("{{ {look}; }} 2>/dev/null; echo $KEY; echo ready; read -r line; {look}; echo seen");
    let name = fresh("file");
    let mut held = {
        let mut command = portcullis(&["run", "--name", &name, "-c", &config, "--", "sh", "-c", &script]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Held { name: name.clone(), child, input, output: std::io::BufReader::new(output) }
    };
    let placeholder = held.line();
    assert!(placeholder.starts_with("ghp_") && placeholder != *CANARY, "{placeholder}");
    assert_eq!(held.line(), "ready");

    let list = listed(&name);
    assert_eq!(list[0]["source"], format!("file://{}", keys.key().display()));
    assert_eq!((&list[0]["state"], &list[0]["rotated"]), (&"live".into(), &serde_json::Value::Null));
    assert_eq!(told(&[&name, "rotate", "KEY"]).1, "KEY: that is the value it has\n");
    keys.put(SECOND);
    assert_eq!(told(&[&name, "rotate", "KEY"]).1, "KEY: another value from the next request on\n");
    assert!(listed(&name)[0]["rotated"].as_str().unwrap().ends_with('Z'));
    keys.put("short");
    let (code, stdout, stderr) = told(&[&name, "rotate", "KEY"]);
    assert_eq!((code, stdout.as_str()), (Some(125), ""));
    assert!(stderr.contains("is shorter than 8 bytes") && stderr.lines().count() == 1, "{stderr}");
    keys.put(SECOND);

    writeln!(held.input.as_mut().unwrap(), "go").unwrap();
    assert_eq!(held.line(), "seen", "nothing of the file before");
    assert!(!keys.0.join("keys/x").exists());
    held.end();
}

#[test]
fn a_file_that_cannot_be_hidden_starts_nothing() {
    if !namespaces() {
        return;
    }
    let keys = Keys::new();
    keys.put(&CANARY);
    let text =
        format!("[secrets.KEY]\nhosts = [\"a.example\"]\nfrom = \"file://{}\"\n", keys.key().display());
    let config = keys.config(&text);
    let mut command = portcullis(&["run", "-c", &config, "--", "true"]);
    let output = command.current_dir(keys.0.join("keys")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr.contains("put it into a directory of its own") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_value_comes_by_standard_input_and_a_secret_is_taken_back() {
    if !namespaces() {
        return;
    }
    let held = Held::waiting("rotate", &["--secret", "TOKEN@api.example.com,b.example:8443"]);
    let name = held.name.clone();
    let (code, line, _) = told(&[&name]);
    let expected = format!(
        "{:24} live     env://TOKEN, to api.example.com:443 b.example:8443 in header basic\n",
        "TOKEN"
    );
    assert_eq!((code, line), (Some(0), expected));

    let (code, stdout, stderr) = told(&[&name, "rotate", "TOKEN"]);
    assert_eq!((code, stdout.as_str()), (Some(125), ""));
    for says in ["comes from env://TOKEN", "does not change", "--stdin", "file:///PATH"] {
        assert!(stderr.contains(says), "{stderr}");
    }
    let (code, stdout, _) = offer(&name, "TOKEN", &format!("{SECOND}\n"));
    assert_eq!((code, stdout.as_str()), (Some(0), "TOKEN: another value from the next request on\n"));
    assert_eq!(offer(&name, "TOKEN", SECOND).1, "TOKEN: that is the value it has\n");
    for (secret, value, says) in [
        ("TOKEN", "tiny", "the new value is shorter than 8 bytes"),
        ("TOKEN", "two-lines\ntwo-lines\n", "the new value contains CR, LF or NUL"),
        ("NONE", "a-value-for-nobody", "there is no secret of that name"),
        ("x\u{1b}[31m", "a-value-for-nobody", "there is no secret of that name"),
    ] {
        let (code, stdout, stderr) = offer(&name, secret, value);
        assert_eq!((code, stdout.as_str()), (Some(125), ""));
        assert!(stderr.contains(says) && !stderr.contains('\u{1b}'), "{stderr}");
    }
    let long = offer(&name, "TOKEN", &"x".repeat(40_000));
    assert!(long.0 == Some(125) && long.2.contains("longer than 16384 bytes"), "{}", long.2);

    assert_eq!(told(&[&name, "revoke", "TOKEN"]).0, Some(0));
    assert_eq!(listed(&name)[0]["state"], "revoked");
    let (code, _, stderr) = offer(&name, "TOKEN", SECOND);
    assert!(code == Some(125) && stderr.contains("was revoked; give it another one"), "{stderr}");
    assert_eq!(offer(&name, "TOKEN", "another-value-of-token").0, Some(0));
    assert_eq!(listed(&name)[0]["state"], "live");
    assert_eq!(told(&[&name, "revoke", "NONE"]).0, Some(125));
    held.end();
}

#[test]
fn a_commands_first_value_is_needed_and_its_words_are_told_nobody() {
    if !namespaces() {
        return;
    }
    let keys = Keys::new();
    let config = |command: &str| {
        keys.config(&format!("[secrets.KEY]\nhosts = [\"a.example\"]\nfrom = {{ cmd = {command} }}\n"))
    };
    let runs = keys.0.join("runs");
    let failing = config("[\"sh\", \"-c\", \"echo hunter2hunter2; exit 4\"]");
    let (code, stdout, stderr) = said(&["run", "-c", &failing, "--", "echo", "started"]);
    let expected =
        "portcullis: secret KEY: the command sh ended with exit code 4; run it by hand to see why\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(125), "", expected));
    let complaining = config("[\"sh\", \"-c\", \"echo hunter2hunter2; echo >&2 not signed in; exit 4\"]");
    let (code, stdout, stderr) = said(&["run", "-c", &complaining, "--", "echo", "started"]);
    assert_eq!((code, stdout.as_str()), (Some(125), ""));
    assert!(stderr.ends_with("; run it by hand to see why; it says: not signed in\n"), "{stderr}");
    assert_eq!((stderr.lines().count(), stderr.contains("hunter2")), (1, false), "{stderr}");

    let counting = config(&format!("[\"sh\", \"-c\", \"echo x >> {}; printf %s $TOKEN\"]", runs.display()));
    let name = fresh("command");
    let held = Held::start(&name, &["-c", &counting], WAIT);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "x\n", "once, and with the host's environment");
    assert_eq!(told(&[&name, "rotate", "KEY"]).1, "KEY: that is the value it has\n");
    assert_eq!(fs::read_to_string(&runs).unwrap(), "x\nx\n");
    assert_eq!(listed(&name)[0]["source"], "cmd://sh");
    held.end();
}
