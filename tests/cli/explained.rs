//! A denial from the guest's screen to the rule that allows it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use super::{PORTCULLIS, Scratch};
use crate::support::sandboxed::{client, namespaces};

/// Answers every request on this port of the host with `ok`, until the test's process ends.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            drop(stream.write_all(answer));
        }
    });
    port
}

/// Exit code and both outputs.
fn run(scratch: &Scratch, words: &[&str]) -> (Option<i32>, String, String) {
    let output = scratch.command(PORTCULLIS).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_denial_is_explained_by_its_id_while_the_sandbox_runs_and_after() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let scratch = Scratch::new();
    let mut command = scratch.command(PORTCULLIS);
    command.args(["run", "--audit", "a.jsonl", "--", "sh", "-c"]);
    command.arg("curl -sS -H 'Accept: application/json' http://denied.example/; read wait");
    let mut sandbox = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(sandbox.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let id = told["id"].as_str().unwrap();
    let running = run(&scratch, &["explain", id]);
    drop(sandbox.stdin.take());
    out.read_to_string(&mut line).unwrap();
    sandbox.wait().unwrap();
    let later = run(&scratch, &["explain", "--audit", "a.jsonl", id]);
    for (code, out, err) in [running, later] {
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.starts_with(&format!("denied denied.example:80\nid: {id}\n")), "{out}");
        assert!(out.contains("to allow it: --allow denied.example\n"), "{out}");
        assert!(out.ends_with("[net]\nallow = [\"denied.example\"]\n"), "{out}");
    }
    let (code, _, err) = run(&scratch, &["explain", id]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("no sandbox that runs remembers"), "{err}");
}

#[test]
fn what_was_observed_and_learnt_is_then_allowed_and_nothing_else() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let scratch = Scratch::new();
    let to = format!("any.example:80:127.0.0.1:{}", serve());
    let get = "curl -sS -o /dev/null -w '%{http_code}\\n' http://any.example";
    let script = format!("{get}/v1/a; {get}/v1/b%20c");
    let flags = ["run", "--observe", "--audit", "a.jsonl", "--connect-to", &to, "--", "sh", "-c", &script];
    let (code, out, err) = run(&scratch, &flags);
    assert_eq!((code, out.as_str()), (Some(0), "200\n200\n"), "{err}");
    assert_eq!(err, "portcullis: would have denied 2: any.example:80 (2)\n");

    let (code, learnt, err) = run(&scratch, &["learn", "--requests", "a.jsonl"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    scratch.file("learnt.toml", &learnt);
    let script = format!("{get}/v1/a; {get}/v1/b%20c; {get}/v2; {get}/v1/a -X POST");
    let flags = ["run", "-c", "learnt.toml", "--connect-to", &to, "--", "sh", "-c", &script];
    let (_, out, err) = run(&scratch, &flags);
    assert_eq!(out, "200\n200\n403\n403\n", "{learnt}{err}");
    for (words, expected) in [
        (&["http://any.example/v1/a"][..], 0),
        (&["http://any.example/v1/b%20c"], 0),
        (&["http://any.example/v2"], 3),
        (&["POST", "http://any.example/v1/a"], 3),
    ] {
        let words = [&["check", "-c", "learnt.toml"], words].concat();
        assert_eq!(run(&scratch, &words).0, Some(expected), "{words:?}");
    }
    let (code, out, _) = run(&scratch, &["log", "a.jsonl"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().any(|line| line.contains(" observed  any.example:80: no rule allows it (")), "{out}");
}
