//! `portcullis run` on real clients in a real namespace.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::process::Command;
use std::sync::Arc;

use http::Version;
use support::pki;
use support::sandboxed::{HOST, Sandboxed, client, namespaces};
use support::upstream::{Upstream, pattern};

fn tls() -> Option<Arc<rustls::ServerConfig>> {
    Some(Arc::new(pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"])))
}

fn upstream() -> Upstream {
    Upstream::start(tls(), None)
}

#[test]
fn curl_injects_over_h1_and_h2_and_the_echo_is_scrubbed() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    for (flag, version) in [("--http1.1", Version::HTTP_11), ("--http2", Version::HTTP_2)] {
        let upstream = upstream();
        let sandboxed = Sandboxed::new(&upstream);
        let secret = sandboxed.secret.clone();
        let ran = sandboxed.sh(&format!(
            "echo $TOKEN; echo x | curl -sS {flag} -H \"Authorization: Bearer $TOKEN\" -d @- https://{HOST}/echo"
        ));
        let out = ran.ok();
        let placeholder = out.lines().next().unwrap().to_owned();
        assert_ne!(placeholder, secret);
        assert!(out.contains(&format!("authorization: Bearer {placeholder}")), "{out}");
        let seen = upstream.seen();
        let seen = seen.last().unwrap();
        assert_eq!(seen.version, version);
        assert_eq!(seen.header("authorization"), [format!("Bearer {secret}")]);
        let injection = &ran.records("injection")[0];
        assert_eq!(
            (injection["secret"].as_str(), injection["place"].as_str()),
            (Some("TOKEN"), Some("header:authorization"))
        );
        assert!(!ran.records("request").is_empty() && !ran.records("flow").is_empty());
    }
}

#[test]
fn git_clones_and_pushes_with_the_token_in_basic() {
    if !namespaces() || !client("git --version && git http-backend --help") {
        return;
    }
    let root = std::env::temp_dir().join(format!("portcullis-git-{}", std::process::id()));
    let setup = format!(
        "set -e; mkdir -p {0}; cd {0}; git init -q --bare -b main repo.git; git -C repo.git config http.receivepack true; \
         git init -q -b main seed; cd seed; git config user.email t@example.com; git config user.name t; \
         head -c 3000000 /dev/urandom > blob; git add .; git commit -qm one; git push -q ../repo.git main",
        root.display()
    );
    assert!(Command::new("sh").args(["-c", &setup]).status().unwrap().success());
    let upstream = Upstream::start(tls(), Some(root.clone()));
    let sandboxed = Sandboxed::new(&upstream);
    std::fs::write(root.join("credentials"), format!("x-access-token:{}", sandboxed.secret)).unwrap();
    let ran = sandboxed.sh(&format!(
        "set -e; export HOME=$PWD GIT_TERMINAL_PROMPT=0; repo={HOST}/git/repo.git; \
         ! git clone -q https://x-access-token:wrong@$repo none 2>/dev/null; \
         git clone -q https://x-access-token:$TOKEN@$repo clone; cd clone; \
         git config user.email t@example.com; git config user.name t; \
         head -c 4000000 /dev/urandom > more; git add .; git commit -qm two; git push -q origin main; git rev-parse HEAD"
    ));
    let head = ran.ok().trim().to_owned();
    let pushed = Command::new("git")
        .args(["-C", &root.join("repo.git").display().to_string(), "rev-parse", "main"])
        .output();
    assert_eq!(String::from_utf8_lossy(&pushed.unwrap().stdout).trim(), head);
    // By the one request that changes anything, which the server took from nobody else.
    let pushes = upstream.seen();
    let pushes = pushes.iter().filter(|seen| seen.target.ends_with("/git/repo.git/git-receive-pack"));
    assert!(pushes.count() >= 1);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn python_requests_trusts_the_sandbox_by_its_variables() {
    if !namespaces() {
        return;
    }
    let python = python_with("requests");
    let Some(python) = python else {
        client("python3 -c 'import requests'");
        return;
    };
    let upstream = upstream();
    let ran = Sandboxed::new(&upstream).sh(&format!(
        "{python} -c 'import os, requests; r = requests.get(\"https://{HOST}/echo\", \
         headers={{\"Authorization\": \"Bearer \" + os.environ[\"TOKEN\"]}}); print(r.status_code); \
         assert os.environ[\"TOKEN\"] in r.text'"
    ));
    assert_eq!(ran.ok(), "200\n");
}

/// The Python that has a package, if one has.
fn python_with(package: &str) -> Option<&'static str> {
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| runs(&format!("{python} -c 'import {package}'")))
}

/// Whether a shell command succeeds out here.
fn runs(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).output().unwrap().status.success()
}

#[test]
fn node_fetch_trusts_the_sandbox_by_its_variables() {
    if !namespaces() || !client("node --version") {
        return;
    }
    let upstream = upstream();
    let ran = Sandboxed::new(&upstream).sh(&format!(
        "node -e 'fetch(\"https://{HOST}/echo\", {{headers: {{authorization: \"Bearer \" + process.env.TOKEN}}}})\
         .then(async r => console.log(r.status, (await r.text()).includes(process.env.TOKEN)))'"
    ));
    assert_eq!(ran.ok(), "200 true\n");
}

#[test]
fn an_event_stream_arrives_event_by_event() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    for flag in ["--http1.1", "--http2"] {
        let upstream = upstream();
        // The second event is sent only after somebody who has read the first asks for it.
        let ran = Sandboxed::new(&upstream).sh(&format!(
            "curl -sSN {flag} https://{HOST}/sse | {{ read first; echo \"got $first\"; \
             curl -sS https://{HOST}/ack; read empty; read second; echo \"got $second\"; }}"
        ));
        assert_eq!(ran.ok(), "got data: first\nacknowledged\ngot data: second\n", "{flag}");
    }
}

#[test]
fn a_websocket_is_relayed_and_scrubbed() {
    if !namespaces() || !client("python3 --version") {
        return;
    }
    let upstream = upstream();
    let sandboxed = Sandboxed::new(&upstream);
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/websocket.py"),
        sandboxed.dir().join("ws.py"),
    )
    .unwrap();
    let ran = sandboxed.sh(&format!("python3 ws.py {HOST}"));
    assert_eq!(ran.ok(), "101 extensions=false\necho 5\necho 300\necho 70000\nclosed\n");
}

#[test]
fn a_bot_authenticates_by_a_text_message() {
    if !namespaces() {
        return;
    }
    const NODE: &str = "node --experimental-websocket";
    let node = runs(&format!("{NODE} -e 'WebSocket'")).then_some((NODE, "bot.mjs"));
    let python = python_with("websockets").map(|python| (python, "bot.py"));
    let clients: Vec<_> = node.into_iter().chain(python).collect();
    if clients.is_empty() {
        client("python3 -c 'import websockets'");
    }
    let upstream = upstream();
    for (program, script) in clients {
        // One secret is as long as its placeholder, the other shorter and not to be put into JSON as it is.
        for secret in [None, Some("s3cr\"et\\é")] {
            let mut sandboxed = Sandboxed::bare();
            if let Some(secret) = secret {
                sandboxed = sandboxed.env("TOKEN", secret);
                sandboxed.secret = secret.to_owned();
            }
            let config = sandboxed.dir().join("bot.toml");
            std::fs::write(&config, format!("[secrets.TOKEN]\nhosts = ['{HOST}']\nswap = ['websocket']\n"))
                .unwrap();
            let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support");
            std::fs::copy(format!("{scripts}/{script}"), sandboxed.dir().join(script)).unwrap();
            let value = sandboxed.secret.clone();
            let ran = sandboxed
                .flag("--config", config.to_str().unwrap())
                .flag("--connect-to", &format!("{HOST}:443:{}", upstream.addr))
                .flag("--upstream-ca", concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem"))
                .sh(&format!("{program} {script} {HOST}"));
            let expected = format!("{} true\n1000 bye true\n", support::websocket::sha256(&value));
            assert_eq!(ran.ok(), expected, "{program}");
            let injection = &ran.records("injection")[0];
            assert_eq!(
                (injection["secret"].as_str(), injection["place"].as_str()),
                (Some("TOKEN"), Some("websocket"))
            );
        }
    }
}

#[test]
fn a_gigabyte_down_and_a_quarter_up_at_once_are_the_same_bytes() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    const DOWN: u64 = 1 << 30;
    const UP: u64 = 256 << 20;
    let upstream = upstream();
    let sandboxed = Sandboxed::new(&upstream);
    write_pattern(&sandboxed.dir().join("up"), UP);
    let ran = sandboxed.sh(&format!(
        "curl -sS -H \"Authorization: Bearer $TOKEN\" https://{HOST}/big/{DOWN} | cksum > down.sum & \
         curl -sS -H \"Authorization: Bearer $TOKEN\" -T up https://{HOST}/upload; wait; cat down.sum"
    ));
    let out = ran.ok();
    let expected = Command::new("sh")
        .args(["-c", "cksum"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map(|mut child| {
            write_to(&mut child.stdin.take().unwrap(), DOWN);
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        })
        .unwrap();
    assert_eq!(out, format!("{UP}\n{expected}"));
}

fn write_pattern(path: &std::path::Path, length: u64) {
    write_to(&mut std::fs::File::create(path).unwrap(), length);
}

fn write_to(out: &mut impl std::io::Write, length: u64) {
    let mut offset = 0;
    while offset < length {
        let chunk = pattern(offset, (length - offset).min(1 << 20) as usize);
        out.write_all(&chunk).unwrap();
        offset += chunk.len() as u64;
    }
}

#[test]
fn another_host_is_refused_with_the_flag_that_would_allow_it() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let upstream = upstream();
    let ran =
        Sandboxed::new(&upstream).sh("curl -sS -w '%{http_code} %{http_version}\\n' https://other.host/x; \
         curl -sS -w '%{http_code}\\n' http://other.host/x; \
         curl -sS -m 5 http://other.host:8080/x");
    let out = ran.stdout();
    assert_eq!(out.matches("--allow other.host").count(), 2, "{out}{}", ran.stderr());
    assert!(out.contains("403 2\n") && out.ends_with("403\n"), "{out}");
    assert!(ran.stderr().contains("(7)"), "another port is refused at once: {}", ran.stderr());
    assert!(
        ran.stderr().contains("portcullis: ") && ran.stderr().contains("other.host:443 (1)"),
        "{}",
        ran.stderr()
    );
    assert!(ran.records("denial").iter().any(|denial| denial["target"] == "other.host:443"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn addresses_set_by_hand_are_the_commands_own_and_work() {
    if !namespaces() || !client("curl --version && ip -V") {
        return;
    }
    let config = "[net]\nguest = '10.0.2.15/24'\ngateway = '10.0.2.2'\nguest6 = 'fd00:0:0:2::15'\n\
                  gateway6 = 'fd00:0:0:2::2'\nmac = '52:54:00:12:34:56'\n";
    for mtu in [1_280, 9_000, 65_520] {
        let upstream = upstream();
        let sandboxed = Sandboxed::new(&upstream);
        let path = sandboxed.dir().join("addresses.toml");
        std::fs::write(&path, format!("{config}mtu = {mtu}\n")).unwrap();
        let ran = sandboxed.flag("--config", path.to_str().unwrap()).sh(&format!(
            "ip -o addr show eth0 | awk '{{print $4}}'; ip route show default; ip -6 route show default; \
             cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; cat /etc/resolv.conf; \
             for family in -4 -6; do head -c 1000000 /dev/zero | \
             curl -sS $family -w '%{{local_ip}} %{{http_code}} %{{size_download}}\\n' -o /dev/null --data-binary @- https://{HOST}/echo; done"
        ));
        let out = ran.ok();
        for says in [
            "10.0.2.15/24\nfd00:0:0:2::15/64\n",
            "default via 10.0.2.2 dev eth0",
            "default via fd00:0:0:2::2 dev eth0",
            &format!("52:54:00:12:34:56\n{mtu}\n"),
            "nameserver 10.0.2.2\nnameserver fd00:0:0:2::2\n",
            "10.0.2.15 200 ",
            "fd00:0:0:2::15 200 ",
        ] {
            assert!(out.contains(says), "{mtu}: {says}\n{out}");
        }
    }
}
