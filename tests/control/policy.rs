//! `portcullis policy`, and that SIGHUP reads the files of a running sandbox again.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::{Held, fresh, said};
use crate::support::sandboxed::{client, namespaces};

/// What a guest does that says, for each line of its input, what a URL's answer is.
const ASK: &str =
    "echo ready; while read -r url; do curl -s -o /dev/null -w '%{http_code}\\n' $url; done; true";
/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

/// A directory with a configuration in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(fresh("policy"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes it in place.
    fn put(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.file(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What `portcullis policy` said.
fn told(args: &[&str]) -> (Option<i32>, String, String) {
    said(&[&["policy"], args].concat())
}

/// Its rules: number, line and source.
fn rules(name: &str) -> Vec<(Option<u64>, String, String)> {
    let (code, stdout, stderr) = told(&[name, "show", "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let rule = |line: &str| {
        let rule: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| rule[key].as_str().unwrap().to_owned();
        (rule["number"].as_u64(), text("rule"), text("source"))
    };
    stdout.lines().map(rule).collect()
}

fn lines(name: &str) -> Vec<String> {
    rules(name).into_iter().map(|(_, rule, _)| rule).collect()
}

/// Asks until the audit file has so many events of the policy; what became of each, and why.
fn events(name: &str, path: &Path, count: usize) -> Vec<(String, String)> {
    for _ in 0..2_000 {
        let text = fs::read_to_string(path).unwrap_or_default();
        let event = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            (event["event"] == "policy").then(|| (text("change"), text("reason")))
        };
        let found: Vec<_> = text.lines().filter_map(event).collect();
        if found.len() >= count {
            return found;
        }
        rules(name);
    }
    panic!("{count} events of the policy do not come");
}

fn hang_up(held: &Held) {
    kill_process(Pid::from_child(&held.child), Signal::HUP).unwrap();
}

#[test]
fn rules_are_shown_put_first_and_dropped() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let flags =
        ["--secret", "TOKEN@api.example.com", "--allow", "a.example:8443", "--rule", "deny b.example"];
    let nobody = format!("c.example:80:{NOBODY}");
    let flags = [&flags[..], &["--connect-to", &nobody]].concat();
    let mut held = Held::start(&fresh("shown"), &flags, ASK);
    let name = held.name.clone();
    let expected = [
        (Some(1), "deny b.example", "--rule 'deny b.example'"),
        (Some(2), "allow a.example:8443/tcp", "--allow a.example:8443"),
        (Some(3), "allow api.example.com:443/tcp", "secret TOKEN"),
    ];
    let own =
        |(number, rule, source): (Option<u64>, &str, &str)| (number, rule.to_owned(), source.to_owned());
    assert_eq!(rules(&name), expected.map(own));
    let (code, stdout, _) = told(&[&name]);
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout.lines().next().unwrap(),
        format!("   1  {:40}  --rule 'deny b.example'", "deny b.example")
    );

    assert_eq!(held.ask("http://c.example/"), "403");
    let (code, stdout, stderr) = told(&[&name, "allow", "GET", "c.example", "/x/**"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, "1: allow GET c.example:80,443/tcp /x/**; 4 rules, 0 flows ended\n");
    assert_eq!(held.ask("http://c.example/x/y"), "502", "nobody is there");
    let (_, stdout, _) = told(&[&name, "deny", "c.example"]);
    assert_eq!(stdout, "1: deny c.example; 5 rules, 0 flows ended\n");
    assert_eq!(rules(&name)[0].2, "the sandbox's owner");
    assert_eq!(held.ask("http://c.example/x/y"), "000", "there is no such name any more");

    let (_, stdout, _) = told(&[&name, "remove", "1"]);
    assert_eq!(stdout, "without deny c.example; 4 rules, 0 flows ended\n");
    assert_eq!(told(&[&name, "remove", "3"]).0, Some(0));
    assert!(!lines(&name).contains(&"allow a.example:8443/tcp".to_owned()), "also one of a flag");
    for (args, says) in [
        (&["remove", "3"][..], "rule 3 comes with secret TOKEN"),
        (&["remove", "9"], "there is no rule 9"),
        (&["remove", "0"], "there is no rule 0"),
        (&["allow", "https://x.example/"], "'allow https://x.example/'"),
        (&["allow", "x.example:0"], "'allow x.example:0'"),
        (&["reload"], "without a file"),
    ] {
        let (code, stdout, stderr) = told(&[&[name.as_str()], args].concat());
        assert_eq!((code, stdout.as_str()), (Some(125), ""), "{args:?}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{stderr}");
    }
    assert_eq!(lines(&name).len(), 3);
    held.end();
    let (code, _, stderr) = told(&[&name]);
    assert!(code == Some(125) && stderr.contains("no sandbox named"), "{stderr}");
}

#[test]
fn a_file_is_read_again_on_sighup_and_by_request_and_an_invalid_one_changes_nothing() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let scratch = Scratch::new();
    let open = |address| format!("[[rule]]\naction = 'allow'\naddress = '{address}'\n");
    let floor = scratch.put("floor.toml", &format!("[net]\ndefault = 'allow'\n{}", open("127.0.0.0/8")));
    let config = scratch.put("p.toml", "[net]\nallow = ['a.example']\n");
    let (audit, log) = (scratch.file("audit"), scratch.file("log"));
    let nobody = ["b.example:80:127.0.0.1:9", "c.example:80:127.0.0.2:9"];
    let flags =
        ["-c", &config, "--floor", &floor, "--allow", "flag.example", "--audit", &audit, "--log", &log];
    let flags = [&flags[..], &["--connect-to", nobody[0], "--connect-to", nobody[1]]].concat();
    let mut held = Held::start(&fresh("reload"), &flags, ASK);
    let (name, audit) = (held.name.clone(), Path::new(&audit));
    assert_eq!(rules(&name)[1], (None, "allow any".to_owned(), format!("floor, {floor}:2: [net] default")));
    assert_eq!(held.ask("http://b.example/"), "403");
    told(&[&name, "allow", "by.hand"]);

    scratch.put("p.toml", "[net]\nallow = ['b.example', 'c.example']\nslot = 3\n[limits]\nflows = 99\n");
    hang_up(&held);
    let found = events(&name, audit, 2);
    assert_eq!(found[1], ("reloaded".to_owned(), "the files were read again".to_owned()));
    let expected = [
        "allow 127.0.0.0/8",
        "allow any",
        "allow b.example:80,443/tcp",
        "allow c.example:80,443/tcp",
        "allow flag.example:80,443/tcp",
    ];
    assert_eq!(lines(&name), expected, "with the flags, and without what was done by hand");
    assert_eq!(held.ask("http://b.example/"), "502");

    scratch.put("p.toml", "[net]\nallow = ['b.example'\n");
    hang_up(&held);
    let (change, why) = events(&name, audit, 3).remove(2);
    assert!(change == "rejected" && why.contains("p.toml:"), "{change} {why}");
    assert_eq!(lines(&name), expected);
    let (code, _, stderr) = told(&[&name, "reload"]);
    assert!(code == Some(125) && stderr.contains("p.toml:") && stderr.lines().count() == 1, "{stderr}");

    // What the floor allows more waits for a restart; what it allows less counts at once.
    scratch.put("p.toml", "[net]\nallow = ['b.example', 'c.example']\n");
    scratch.put("floor.toml", &format!("[net]\nallow = ['c.example']\n{}", open("127.0.0.2")));
    let (code, stdout, stderr) = told(&[&name, "reload"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "the files were read again; 3 rules, 0 flows ended\n"));
    assert!(stderr.contains("the floor changed"), "{stderr}");
    assert_eq!(held.ask("http://b.example/"), "403");
    assert_eq!(held.ask("http://c.example/"), "502");

    // Another file in its place could be the command's.
    let next = scratch.put("next", "[net]\nallow = ['evil.example']\n");
    fs::rename(next, &config).unwrap();
    let (code, _, stderr) = told(&[&name, "reload"]);
    assert!(code == Some(125) && stderr.contains("another file"), "{stderr}");
    assert!(!lines(&name).iter().any(|line| line.contains("evil")));
    held.end();
    let log = fs::read_to_string(log).unwrap();
    for part in ["[net] addresses changed, which needs a restart", "[limits] changed, which needs a restart"]
    {
        assert!(log.lines().any(|line| line.contains(" WARN ") && line.contains(part)), "{log}");
    }
    assert!(log.lines().any(|line| line.contains(" ERROR ") && line.contains("p.toml:")), "{log}");
}

#[test]
fn without_a_file_sighup_is_the_commands() {
    if !namespaces() {
        return;
    }
    let script = "trap 'echo hung up; exit 7' HUP; sleep 1000 & echo ready; wait";
    let mut held = Held::start(&fresh("hup"), &[], script);
    hang_up(&held);
    assert_eq!(held.line(), "hung up");
    assert_eq!(held.child.wait().unwrap().code(), Some(7));
}
