//! `portcullis serve` as its user meets it: what it says, what it writes, what it leaves.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use crate::served::{Scratch, Serve, plain};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn it_writes_the_guests_files_says_that_it_is_ready_and_leaves_nothing() {
    for (link, out) in [("qemu:DIR/net", "out"), ("krun:DIR/net", "out")] {
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let served = Serve::new(link).upstream(nowhere).args(&["--out", out]).start();
        assert_eq!(mode(&served.dir().join("net")), 0o600);
        assert_eq!(mode(&served.dir().join("out")), 0o700);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(served.dir().join("out")).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains(&served.secret), "{}", path.display());
            files.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        files.sort();
        assert_eq!(files, ["bundle.pem", "ca.pem", "guest.env"]);
        assert!(served.scratch.read("out/bundle.pem").ends_with(&served.scratch.read("out/ca.pem")));
        assert_eq!(served.variable("TOKEN").len(), served.secret.len());
        assert_eq!(served.variable("SSL_CERT_FILE"), "/run/portcullis/bundle.pem");
        assert_eq!(served.variable("NODE_EXTRA_CA_CERTS"), "/run/portcullis/ca.pem");
        assert_eq!(served.variable("PORTCULLIS_IPV4"), "172.16.0.2/30");

        served.terminate();
        let (status, said) =
            served.end_with(|dir| assert!(!dir.join("net").exists(), "the socket is still there"));
        assert_eq!((status.code(), said), (Some(0), vec![]));
    }
}

#[test]
fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
    let serve = Serve::new("qemu:DIR/net");
    let socket = serve.scratch.join("net");
    drop(UnixListener::bind(&socket).unwrap());
    // Whoever serves has to be able to ask whether anybody is there.
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let served = serve.start();
    UnixStream::connect(&socket).unwrap();
    let link = format!("qemu:{}/net", served.dir().display());
    let mut second = plain(env!("CARGO_BIN_EXE_portcullis"));
    let output = second.args(["serve", "--link", &link]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("another server listens there; end it") && stderr.lines().count() == 1,
        "{stderr}"
    );
    UnixStream::connect(&socket).unwrap();
    served.terminate();
    assert!(served.end().0.success());
}

#[test]
fn a_file_that_cannot_be_read_again_is_told_on_the_terminal_in_one_line() {
    let serve = Serve::new("qemu:DIR/net");
    let file = serve.scratch.join("p.toml");
    std::fs::write(&file, "[net]\nallow = ['a.example']\n").unwrap();
    let served = serve.args(&["-c", file.to_str().unwrap()]).start();
    std::fs::write(&file, "[net]\nallow = 'b.example'\n").unwrap();
    rustix::process::kill_process(served.pid(), rustix::process::Signal::HUP).unwrap();
    assert_eq!(
        served.line(),
        format!(
            "portcullis: not reloaded, the policy stays as it was: {}:2:9: invalid type: string, expected a list; \
             write allow = [\"HOST\"]",
            file.display()
        )
    );
    served.terminate();
    let (status, said) = served.end();
    assert!(status.success() && said.is_empty(), "{said:?}");
}

/// `serve` with these flags, which are wrong, says so in one line.
fn refused(flags: &[&str], says: &str) {
    let scratch = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let output = command.arg("serve").args(flags).current_dir(&scratch.0).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(125), 1), "{flags:?}: {stderr}");
    assert!(stderr.starts_with("portcullis: ") && stderr.contains(says), "{flags:?}: {stderr}");
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0, "{flags:?}: something was made");
}

#[test]
fn a_wrong_command_line_serves_nobody() {
    let long = format!("qemu:/tmp/{}", "x".repeat(108));
    for (link, says) in [
        ("", "write qemu:PATH, krun:PATH, tap:NAME or fd:N"),
        ("qemu", "write qemu:PATH"),
        ("qemu:", "write qemu:PATH"),
        ("vde:net", "write qemu:PATH"),
        ("a\nb", "--link a\\nb: write"),
        ("fd:x", "write qemu:PATH"),
        ("fd:-1", "write qemu:PATH"),
        ("fd:0", "no such descriptor was passed"),
        ("fd:2", "numbered 3 or higher"),
        ("fd:999", "--link fd:999: no such descriptor was passed"),
        ("qemu:/nonexistent/net", "/nonexistent: cannot be looked into"),
        ("krun:/nonexistent/net", "make the directory that the socket is to be in"),
        ("qemu:/dev/null", "is there already and is no socket"),
        ("krun:/dev/null", "is there already and is no socket"),
        ("qemu:/dev/null/net", "cannot be looked into"),
        ("qemu:/", "is no path of a socket"),
        (&long, "at most 107 octets"),
        ("tap:much-too-long-for-a-name", "1 to 15 octets"),
    ] {
        refused(&["--link", link], says);
    }
    refused(&[], "--link <LINK>");
    refused(&["--link", "qemu:net", "--", "true"], "unexpected argument 'true'");
    refused(&["--link", "qemu:net", "--out", "/dev/null"], "name a directory that this user can write to");
    refused(&["--link", "qemu:net", "--out", "/nonexistent/out"], "--out /nonexistent/out");
    refused(&["--link", "qemu:net", "--allow", "127.1"], "is an address");
    refused(&["--link", "krun:net", "--secret", "UNSET_VARIABLE@a.example"], "export UNSET_VARIABLE");
}
