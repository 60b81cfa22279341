//! What the command line comes to inside the sandbox: a file's secrets, and an environment without values.

use std::sync::Arc;

use crate::support::pki;
use crate::support::sandboxed::{HOST, Sandboxed, client, namespaces};
use crate::support::upstream::Upstream;

#[test]
fn a_file_is_as_good_as_flags() {
    if !namespaces() || !client("curl --version") {
        return;
    }
    let tls = pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let upstream = Upstream::start(Some(Arc::new(tls)), None);
    let sandboxed = Sandboxed::bare();
    let dir = sandboxed.dir().clone();
    std::fs::copy(pki::path("ca.pem"), dir.join("corp.pem")).unwrap();
    let text = format!(
        "[net]\nallow = [\"{HOST}:80\"]\n[tls]\nupstream_ca = [\"corp.pem\"]\n\
         [secrets.API_KEY]\nfrom = \"env://TOKEN\"\nhosts = [\"{HOST}\"]\nswap = [\"header:x-api-key\"]\n"
    );
    std::fs::write(dir.join("p.toml"), text).unwrap();
    let secret = sandboxed.secret.clone();
    let ran = sandboxed
        .flag("-c", &dir.join("p.toml").display().to_string())
        .flag("--connect-to", &format!("{HOST}:443:{}", upstream.addr))
        .sh(&format!(
            "curl -sS -o /dev/null -w '%{{http_code}}\\n' -H \"X-Api-Key: $API_KEY\" -H \"X-Other: $API_KEY\" https://{HOST}/echo; \
             [ \"$TOKEN\" = \"$API_KEY\" ] && echo same; \
             echo '[net]' 2>/dev/null >> p.toml || echo read-only; cat audit.jsonl log | wc -c"
        ));
    assert_eq!(ran.ok(), "200\nsame\nread-only\n0\n");
    let seen = upstream.seen();
    assert_eq!(seen[0].header("x-api-key"), [secret.as_str()]);
    assert_ne!(seen[0].header("x-other"), [secret.as_str()]);
}

#[test]
fn no_process_inside_can_read_the_value_anywhere() {
    if !namespaces() {
        return;
    }
    let value = "ghp_hunter2hunter2hunter2hunter2hunter22";
    let mut sandboxed = Sandboxed::bare();
    sandboxed.secret = value.to_owned();
    let ran = sandboxed
        .env("TOKEN", value)
        .env("COPY", &format!("https://x:{value}@git.example/?again={value}"))
        .env("HTTP_PROXY", "http://127.0.0.1:3128")
        .env("https_proxy", "http://127.0.0.1:3128")
        .env("SSH_AUTH_SOCK", "/tmp/agent")
        .flag("--secret", "TOKEN@git.example")
        .sh("echo $TOKEN; echo $COPY; env | grep -ic -e _proxy -e SSH_AUTH; \
             cat /proc/self/environ /proc/*/environ /proc/*/cmdline /proc/*/mem 2>/dev/null; env; ps axe 2>/dev/null; true");
    let out = ran.ok();
    let mut lines = out.lines();
    let placeholder = lines.next().unwrap();
    assert!(placeholder.starts_with("ghp_") && placeholder.len() == value.len() && placeholder != value);
    assert_eq!(lines.next().unwrap(), format!("https://x:{placeholder}@git.example/?again={placeholder}"));
    assert_eq!(lines.next(), Some("0"));
    // It is asserted of all output that the value is not in it; that there was something to find shows this.
    assert!(out.matches(placeholder).count() > 4, "{out}");
}

#[test]
fn the_kernels_keyrings_of_the_user_are_out_of_reach() {
    if !namespaces() || !client("python3 --version") {
        return;
    }
    // The number of the user's own keyring, a key added to the session's, and one asked for.
    let (keyctl, add, request) = (libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key);
    let calls = format!(
        "({keyctl}, 0, -4, 0), ({add}, b'user', b'x', b'y', 1, -3), ({request}, b'user', b'x', None, 0)"
    );
    let program = format!(
        "import ctypes\n\
         kernel = ctypes.CDLL(None, use_errno=True)\n\
         for call in {calls}: print(kernel.syscall(*call), ctypes.get_errno())\n"
    );
    let sandboxed = Sandboxed::bare();
    std::fs::write(sandboxed.dir().join("keys.py"), program).unwrap();
    let ran = sandboxed.sh("PATH=/usr/bin:$PATH python3 keys.py");
    assert_eq!(ran.ok(), format!("-1 {}\n", libc::ENOSYS).repeat(3));
}

/// The variable it came from, any other that repeats it, the file it came from, and a client's key.
#[test]
fn no_process_inside_sees_the_password_of_a_proxy_or_a_clients_key() {
    if !namespaces() {
        return;
    }
    let password = "hunter2hunter2hunter2";
    let sandboxed = Sandboxed::bare();
    let dir = sandboxed.dir().clone();
    let keys = std::env::temp_dir().join(format!("portcullis-keys-{}", std::process::id()));
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::copy(pki::path("server.key"), keys.join("client.key")).unwrap();
    std::fs::copy(pki::path("good.pem"), dir.join("client.pem")).unwrap();
    std::fs::write(keys.join("password"), password).unwrap();
    let text = format!(
        "[[upstream]]\nhosts = [\"{HOST}\"]\nclient_cert = \"client.pem\"\nclient_key = \"{keys}/client.key\"\n\
         proxy = \"filed\"\n[proxy.filed]\nurl = \"http://127.0.0.1:3128\"\nusername = \"agent\"\n\
         password = \"file://{keys}/password\"\n[proxy.corp]\nurl = \"http://127.0.0.1:3128\"\nusername = \"agent\"\n\
         password = \"env://PROXY_PASSWORD\"\ndefault = true\n",
        keys = keys.display()
    );
    std::fs::write(dir.join("p.toml"), text).unwrap();
    let ran = sandboxed
        .env("PROXY_PASSWORD", password)
        .env("MY_PROXY", &format!("http://agent:{password}@127.0.0.1:3128"))
        .env("KEPT", "kept")
        .flag("--secret", &format!("TOKEN@{HOST}"))
        .flag("-c", &dir.join("p.toml").display().to_string())
        .sh(&format!("echo $KEPT; env; cat {0}/* 2>&1; cat /proc/*/environ; true", keys.display()));
    std::fs::remove_dir_all(&keys).unwrap();
    let out = ran.ok();
    assert!(out.starts_with("kept\n"), "{out}");
    assert!(!out.contains("hunter2") && !out.contains("PRIVATE KEY"), "{out}");
}
