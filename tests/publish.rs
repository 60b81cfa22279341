//! Published ports of `portcullis run`, from the host into a real namespace.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::time::Duration;

use support::sandboxed::{Running, Sandboxed, client, namespaces};

/// What `publish.py` writes and expects, over and over.
const BLOCK: usize = 251 * 256;
const BLOCKS: usize = 1045;

/// The guest's side as its own users would start it.
fn serving(sandboxed: Sandboxed, mode: &str) -> (Running, SocketAddr) {
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/publish.py"),
        sandboxed.dir().join("publish.py"),
    )
    .unwrap();
    let mut running = sandboxed.start(&format!("exec python3 publish.py {mode} 8000"));
    assert_eq!(running.line(), "ready\n");
    let at = running.published(8000);
    (running, at)
}

fn can_run() -> bool {
    namespaces() && client("python3 --version")
}

/// A connection that fails rather than hangs.
fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl").args(["-sS", "-m", "60"]).args(arguments).output().unwrap()
}

/// A web server inside that has one page.
fn web_server(sandboxed: Sandboxed) -> (Running, SocketAddr) {
    std::fs::write(sandboxed.dir().join("page"), "a page from inside").unwrap();
    let mut running = sandboxed
        .start("python3 -u -m http.server 8000 2>/dev/null & server=$!; read end; kill $server; echo served");
    assert!(running.line().starts_with("Serving HTTP"));
    let at = running.published(8000);
    (running, at)
}

#[test]
fn web_server_inside_is_reached_from_outside() {
    if !can_run() || !client("curl --version") {
        return;
    }
    let (running, at) = web_server(Sandboxed::bare().flag("-p", "0:8000"));
    assert!(at.ip().is_loopback(), "{at}");
    let fetched = curl(&[&format!("http://{at}/page")]);
    assert_eq!(String::from_utf8_lossy(&fetched.stdout), "a page from inside", "{fetched:?}");
    let ran = running.finish();
    assert_eq!(ran.ok(), "served\n");
    let flow = ran.records("flow").into_iter().find(|flow| flow["kind"] == "published").unwrap();
    assert_eq!(flow["destination"], "172.16.0.2:8000");
    assert!(flow["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{flow}");
    assert!(flow["rule"].as_str().unwrap().starts_with("publish 127.0.0.1:0:8000"), "{flow}");
    assert!(ran.log.contains(&at.to_string()), "the log says where");
    assert!(TcpStream::connect(at).is_err(), "nobody listens any more");
}

#[test]
fn peers_fin_is_passed_on_and_the_guest_has_the_last_word() {
    if !can_run() {
        return;
    }
    for mode in ["last-word", "v6"] {
        let (running, at) = serving(Sandboxed::bare().flag("-p", "0:8000"), mode);
        let mut stream = connect(at);
        stream.write_all(&[7; 300_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let gateway = if mode == "v6" { "fd70:6f72:7463::1" } else { "172.16.0.1" };
        assert_eq!(answer, format!("300000 octets from {gateway}"));
        running.finish().ok();
    }
}

#[test]
fn guests_fin_is_passed_on_and_the_peer_goes_on() {
    if !can_run() {
        return;
    }
    let (running, at) = serving(Sandboxed::bare().flag("-p", "[::1]:0:8000"), "first-word");
    assert!(at.is_ipv6());
    let mut stream = connect(at);
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "that is all");
    stream.write_all(&[7; 300_000]).unwrap();
    drop(stream);
    assert_eq!(running.finish().ok(), "300000 octets\n");
}

#[test]
fn sixty_four_mebibytes_each_way_at_once_are_the_same_bytes() {
    if !can_run() {
        return;
    }
    let (mut running, at) = serving(Sandboxed::bare().flag("-p", "0:8000"), "both");
    let block: Vec<u8> = (0..BLOCK).map(|at| (at % 251) as u8).collect();
    let mut reader = connect(at);
    let mut writer = reader.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..BLOCKS {
                writer.write_all(&block).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = vec![0; BLOCK];
        for number in 0..BLOCKS {
            reader.read_exact(&mut received).unwrap();
            assert!(received == block, "block {number}");
        }
        assert_eq!(reader.read(&mut received).unwrap(), 0);
    });
    assert_eq!(running.line(), "equal\n");
    running.finish().ok();
}

#[test]
fn port_the_guest_does_not_listen_at_is_reset_and_so_is_what_the_guest_resets() {
    if !can_run() {
        return;
    }
    let sandboxed = Sandboxed::bare().flag("-p", "0:8000").flag("--publish", "0:8001");
    let (mut running, at) = serving(sandboxed, "reset");
    let closed = running.published(8001);
    let kind = |result: io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(kind(connect(closed).read(&mut [0; 8])), io::ErrorKind::ConnectionReset);
    let mut stream = connect(at);
    stream.write_all(b"x").unwrap();
    assert_eq!(kind(stream.read(&mut [0; 8])), io::ErrorKind::ConnectionReset);
    running.finish().ok();
}

#[test]
fn port_in_use_is_told_before_the_command_runs() {
    if !namespaces() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (value, told) in [
        (format!("{port}:80"), "Address already in use"),
        ("192.0.2.1:0:80".to_owned(), "name an address of this machine"),
    ] {
        let ran = Sandboxed::bare().flag("-p", &value).sh("echo it ran");
        assert_eq!((ran.output.status.code(), ran.stdout().as_str()), (Some(125), ""));
        let line = ran.stderr();
        assert!(line.starts_with("portcullis: cannot publish ") && line.contains(told), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn peers_outside_from_are_reset_and_recorded() {
    if !can_run() || !client("curl --version") {
        return;
    }
    let sandboxed = Sandboxed::bare();
    let file = sandboxed.dir().join("portcullis.toml");
    std::fs::write(&file, "[[publish]]\nport = '0:8000'\nfrom = ['127.0.0.2', '10.0.0.0/8']\n").unwrap();
    let (running, at) = web_server(sandboxed.flag("-c", file.to_str().unwrap()));
    let error = connect(at).read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let fetched = curl(&["--interface", "127.0.0.2", &format!("http://{at}/page")]);
    assert_eq!(String::from_utf8_lossy(&fetched.stdout), "a page from inside", "{fetched:?}");
    let ran = running.finish();
    ran.ok();
    let denials = ran.records("denial");
    assert_eq!(denials.len(), 1, "{denials:?}");
    assert_eq!(denials[0]["hint"], "[[publish]] from = [\"127.0.0.1\"]");
    assert!(ran.stderr().contains("1 denial: 127.0.0.1 to 127.0.0.1:0:8000"), "{}", ran.stderr());
}

/// A socket that fails rather than hangs.
fn udp(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// What comes back for a payload: the end the guest saw it come from, and the payload.
fn echo(socket: &UdpSocket, at: SocketAddr, payload: &[u8]) -> (String, Vec<u8>) {
    socket.send_to(payload, at).unwrap();
    let mut buffer = vec![0; 65_535];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, at);
    let space = buffer.iter().position(|octet| *octet == b' ').unwrap();
    (String::from_utf8(buffer[..space].to_vec()).unwrap(), buffer[space + 1..len].to_vec())
}

#[test]
fn datagrams_of_each_peer_have_an_association_of_their_own() {
    if !can_run() {
        return;
    }
    let (running, at) = serving(Sandboxed::bare().flag("-p", "0:8000/udp"), "udp");
    let (one, other) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let (seen, payload) = echo(&one, at, b"hello");
    assert!(seen.starts_with("172.16.0.1:"), "{seen}");
    assert_eq!(payload, b"hello");
    let (seen_other, _) = echo(&other, at, b"hello");
    assert_ne!(seen, seen_other, "peers are told apart");
    assert_eq!(echo(&one, at, b"again").0, seen, "and each is the same one next time");
    let large: Vec<u8> = (0..9_000_u32).map(|at| (at % 251) as u8).collect();
    assert!(echo(&one, at, &large) == (seen, large), "in fragments both ways");
    let ran = running.finish();
    ran.ok();
    let published = &ran.records("published")[0];
    assert_eq!(published["transport"], "udp");
}

#[test]
fn refused_peer_of_a_udp_port_is_one_record() {
    if !can_run() {
        return;
    }
    let sandboxed = Sandboxed::bare();
    let file = sandboxed.dir().join("portcullis.toml");
    std::fs::write(&file, "[[publish]]\nport = '0:8000/udp'\nfrom = ['127.0.0.2']\n").unwrap();
    let (running, at) = serving(sandboxed.flag("-c", file.to_str().unwrap()), "udp");
    let stranger = udp("127.0.0.1:0");
    for _ in 0..10 {
        stranger.send_to(b"let me in", at).unwrap();
    }
    // Behind the stranger's datagrams in the same queue: when this is answered those have been looked at.
    assert_eq!(echo(&udp("127.0.0.2:0"), at, b"hello").1, b"hello");
    stranger.set_nonblocking(true).unwrap();
    assert_eq!(stranger.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let ran = running.finish();
    ran.ok();
    assert_eq!(ran.records("denial").len(), 1);
}
