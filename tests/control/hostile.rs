//! What comes over the socket that is no request, and from whom none is taken.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use super::{Held, directory, fresh};
use crate::support::sandboxed::{client, namespaces};

/// A configuration in a file of its own.
fn config(text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(fresh("config"));
    std::fs::write(&path, text).unwrap();
    path
}

fn exchange(held: &Held, said: &[u8]) -> String {
    let mut stream = UnixStream::connect(held.socket()).unwrap();
    // A peer that has heard enough may close before all is written.
    let _ = stream.write_all(said);
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(_) => answer,
        Err(error) => panic!("{error} after {answer:?}"),
    }
}

#[test]
fn nonsense_is_refused_in_one_line_and_the_sandbox_lives() {
    if !namespaces() {
        return;
    }
    let file = config("[limits]\ncontrol_request = \"1KiB\"\n");
    let held = Held::waiting("nonsense", &["-c", file.to_str().unwrap()]);
    let long = [b"x".repeat(1024).as_slice(), b"\n"].concat();
    let unending = b"x".repeat(1025);
    for (said, says) in [
        (&b"\n"[..], "not of the form"),
        (b"status\n", "not of the form"),
        (b"\0\xff\xfe\n", "not of the form"),
        (b"{\"version\":7,\"request\":\"status\"}\n", "version 7 of the protocol and this one 1"),
        (b"{\"version\":1,\"request\":\"shutdown\"}\n", "unknown variant `shutdown`"),
        (&long, "not of the form"),
        (&unending, "a request has at most 1024 octets"),
    ] {
        let answer = exchange(&held, said);
        assert!(answer.starts_with("{\"version\":1,\"answer\":{\"refused\":\""), "{answer}");
        assert!(answer.contains(says) && answer.ends_with("\n") && answer.lines().count() == 1, "{answer}");
    }
    // One request a connection: what follows it is not heard.
    let twice = exchange(&held, b"{\"version\":1,\"request\":\"ca\"}\n{\"version\":1,\"request\":\"ca\"}\n");
    assert_eq!(twice.matches("BEGIN CERTIFICATE").count(), 1, "{twice}");
    drop(UnixStream::connect(held.socket()).unwrap());
    assert_eq!(held.status()["pid"], held.child.id());
    held.end();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn who_is_slow_is_let_go_and_the_next_one_is_served() {
    if !namespaces() {
        return;
    }
    let file = config("[limits]\ncontrol_connections = 2\ncontrol_wait = \"100ms\"\n");
    let held = Held::waiting("slow", &["-c", file.to_str().unwrap()]);
    let mut slow: Vec<UnixStream> = (0..5).map(|_| UnixStream::connect(held.socket()).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"{\"version\":1,").unwrap();
    }
    assert_eq!(held.status()["pid"], held.child.id());
    for stream in &mut slow {
        let mut answer = Vec::new();
        // An end, or a reset since what it said was not all read.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    held.end();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn another_users_process_is_told_nothing() {
    if !namespaces() || !client("python3 --version && setpriv --version") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let held = Held::waiting("foreign", &[]);
    // The socket as nobody should have it, reached by all, so that only the look at the peer is left.
    let program = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX); s.connect('/mnt/socket')\n\
        try: s.sendall(b'{\"version\":1,\"request\":\"status\"}\\n')\n\
        except BrokenPipeError: pass\n\
        try: print('told', s.recv(99999))\n\
        except ConnectionResetError: print('told', b'')\n";
    let stage = "mount -t tmpfs -o mode=755 none /mnt && touch /mnt/socket && mount --bind \"$1\" /mnt/socket && \
        chmod 666 /mnt/socket && exec setpriv --reuid \"$2\" --regid \"$2\" --clear-groups -- /usr/bin/python3 -c \"$3\"";
    let ask = |user: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", stage, "stage"]).arg(held.socket());
        let output = command.args([user, program]).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(ask("65534"), "told b''\n");
    assert!(ask("0").contains(&held.name), "root is answered");
    assert_eq!(std::fs::metadata(directory()).unwrap().permissions().mode() & 0o777, 0o700);
    held.end();
}
