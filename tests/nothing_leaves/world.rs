//! A host and an internet of the test's own, in network namespaces.
//!
//! The host has one network card, public and other addresses on it, a default route, a resolv.conf, and services
//! on every address. The internet, at the other end of the cable, answers to every address there is: whatever
//! leaves the host arrives and is heard.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use rustix::thread::LinkNameSpaceType;

use crate::capture::{Capture, Interface, Packet, Transport};
use crate::nameserver::Nameserver;
use crate::support::pki;
use crate::support::sandboxed::{Ran, Sandboxed};
use crate::support::upstream::Upstream;
use crate::tripwires::{self, Tripwires};

/// Address of the one allowed host; nothing about it is special.
pub(crate) const UPSTREAM: &str = "93.184.216.34";
/// The same on IPv6.
pub(crate) const UPSTREAM_V6: &str = "2606:2800:220:1::34";
/// Addresses of the host's network card.
pub(crate) const HOST: [&str; 4] = ["192.0.2.2", "93.184.216.10", "2001:db8::2", "2606:2800:220:1::10"];
/// The nameserver in the host's resolv.conf.
pub(crate) const NAMESERVER: &str = "192.0.2.53";
/// Ports on which the host has a service, on all of its addresses and on loopback.
pub(crate) const SERVICES: [u16; 8] = [22, 53, 80, 443, 853, 2222, 5432, 8080];

/// Set in a process that is in namespaces of its own.
const INSIDE: &str = "PORTCULLIS_TEST_INSIDE";
const PROBES: &str = include_str!("probes.py");

const HOST_SETUP: &str = "set -e
ip link set lo up
ip link add wan0 address 02:00:00:00:00:0a type veth peer name peer0 address 02:00:00:00:00:0b
ip link set peer0 netns $INTERNET
ip link set wan0 addrgenmode none
ip link set wan0 up
ip address add 192.0.2.2/24 dev wan0
ip address add 93.184.216.10/32 dev wan0
ip address add 2001:db8::2/64 dev wan0 nodad
ip address add 2606:2800:220:1::10/128 dev wan0 nodad
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8::1
echo 0 0 > /proc/sys/net/ipv4/ping_group_range
printf 'nameserver 192.0.2.53\\n' > $DIR/resolv.conf
mount --bind $DIR/resolv.conf /etc/resolv.conf";

const INTERNET_SETUP: &str = "set -e
ip link set lo up
ip link set peer0 addrgenmode none
ip link set peer0 up
ip address add 192.0.2.1/24 dev peer0
ip address add 2001:db8::1/64 dev peer0 nodad
ip route add 93.184.216.10/32 dev peer0
ip -6 route add 2606:2800:220:1::10/128 dev peer0
ip route add local 192.0.2.53/32 dev lo
ip address add 93.184.216.34/32 dev lo
ip address add 2606:2800:220:1::34/128 dev lo nodad
ip route add local default dev lo table main
ip -6 route add local default dev lo table main";

/// Runs a test in network and mount namespaces of its own, where it is the host.
///
/// `body` is a closure of the test's function: its type's name holds the test's.
pub(crate) fn as_host<F: FnOnce(&World)>(body: F) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&World::new());
    }
    if !possible() {
        return;
    }
    let (_, test) = std::any::type_name::<F>().trim_end_matches("::{{closure}}").split_once("::").unwrap();
    let ran = unshared(&std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = |stream: &[u8]| String::from_utf8_lossy(stream).into_owned();
    assert!(ran.status.success(), "in its namespaces:\n{}\n{}", said(&ran.stdout), said(&ran.stderr));
    assert!(said(&ran.stdout).contains("1 passed"), "{test} is not the name of its test");
}

/// A command in new network and mount namespaces, with a user namespace where the caller is not root.
fn unshared(program: &std::path::Path) -> Command {
    let mut command = Command::new("unshare");
    let rootless = !rustix::process::geteuid().is_root();
    command.args(rootless.then_some("-Ur")).args(["-n", "-m", "--"]).arg(program);
    command
}

/// Whether all this can be had here; says loudly when not, and insists where the environment says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let portcullis = env!("CARGO_BIN_EXE_portcullis");
        let script = format!(
            "set -e; ip link add wan0 type veth peer name peer0; nsenter --version; mount --bind /etc/resolv.conf /etc/resolv.conf; \
             curl --version; python3 --version; {portcullis} run -- true"
        );
        let probe = unshared("/bin/sh".as_ref()).args(["-c", &script]).output();
        let why = match probe {
            Ok(output) if output.status.success() => {
                let wires = tripwires::possible(unshared("nft".as_ref()));
                let required = std::env::var_os("PORTCULLIS_REQUIRE_NAMESPACES").is_some();
                assert!(wires || !required, "nft of nftables is required");
                if !wires {
                    eprintln!("\n*** SKIPPED the tripwires, no nft of nftables here: only the capture looks");
                }
                return true;
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => format!("unshare: {error}"),
        };
        assert!(std::env::var_os("PORTCULLIS_REQUIRE_NAMESPACES").is_none(), "namespaces are required: {why}");
        eprintln!("\n*** SKIPPED, no namespaces here: {why}");
        false
    })
}

/// The host, as its tests see it.
pub(crate) struct World {
    /// The TLS server at port 443 of every address of the internet.
    pub upstream: Upstream,
    /// The plain server at port 80 of every address of the internet.
    pub plain: Upstream,
    /// What the host's resolv.conf leads to.
    pub nameserver: Nameserver,
    capture: Capture,
    tripwires: Option<Tripwires>,
    /// Where something that the capture has told of was sent to.
    accounted: RefCell<Vec<IpAddr>>,
    services: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    dir: PathBuf,
    internet: Internet,
}

impl World {
    fn new() -> Self {
        let internet = Internet::new();
        let dir = std::env::temp_dir().join(format!("portcullis-host-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let setup = Command::new("sh")
            .args(["-c", HOST_SETUP])
            .env("DIR", &dir)
            .env("INTERNET", internet.pid())
            .status();
        assert!(setup.unwrap().success());
        internet.set_up();
        let tls = pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
        let any = |port: u16| format!("[::]:{port}");
        let world = Self {
            upstream: Upstream::on(internet.at(|| TcpListener::bind(any(443))), Some(Arc::new(tls)), None),
            plain: Upstream::on(internet.at(|| TcpListener::bind(any(80))), None, None),
            nameserver: Nameserver::start(internet.at(|| UdpSocket::bind((NAMESERVER, 53)))),
            capture: Capture::start(),
            tripwires: tripwires::possible(Command::new("nft")).then(Tripwires::stretch),
            accounted: RefCell::default(),
            services: SERVICES.map(|port| TcpListener::bind(any(port)).unwrap()).into(),
            datagrams: SERVICES.map(|port| UdpSocket::bind(any(port)).unwrap()).into(),
            dir,
            internet,
        };
        world.services.iter().for_each(|service| service.set_nonblocking(true).unwrap());
        world.datagrams.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        world.nameserver.set("api.example.com", &[UPSTREAM, UPSTREAM_V6]);
        world
    }

    /// A sandbox that allows `api.example.com` with the secret, and what `allow` says.
    pub(crate) fn sandbox(&self, allow: &[&str]) -> Sandboxed {
        let sandboxed = Sandboxed::bare()
            .flag("--secret", "TOKEN@api.example.com")
            .flag("--upstream-ca", concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem"));
        allow.iter().fold(sandboxed, |sandboxed, rule| sandboxed.flag("--allow", rule))
    }

    /// From now on a server at this UDP port of [`UPSTREAM`] and [`UPSTREAM_V6`] answers each datagram: `big N` with
    /// N octets, all others with themselves.
    pub(crate) fn echoes(&self, port: u16) {
        for address in [UPSTREAM, UPSTREAM_V6] {
            let socket = self.internet.at(|| UdpSocket::bind((address, port)));
            std::thread::spawn(move || echo(&socket));
        }
    }

    /// Makes each call of `probes.py` inside, and looks for the outcome in the line that it prints.
    pub(crate) fn probe<C: AsRef<str>>(&self, sandboxed: Sandboxed, table: &[(C, &str)]) -> Ran {
        let calls: Vec<&str> = table.iter().map(|(call, _)| call.as_ref()).collect();
        let program = format!("{PROBES}\n\n{}\n", calls.join("\n"));
        std::fs::write(sandboxed.dir().join("probe.py"), program).unwrap();
        let ran = sandboxed.sh("PATH=/usr/bin:$PATH python3 probe.py");
        let said = ran.ok();
        let wrong: Vec<String> = table
            .iter()
            .zip(said.lines())
            .filter(|((_, expected), line)| !line.contains(expected))
            .map(|((_, expected), line)| format!("{line}, not {expected}"))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(said.lines().count(), table.len(), "{said}");
        ran
    }

    /// From now on this port, anywhere on the internet, answers what it first reads of each connection, or its end.
    pub(crate) fn answers(&self, port: u16, answer: fn(&str) -> String) {
        let listener = self.internet.at(|| TcpListener::bind(format!("[::]:{port}")));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // Some connections are made and never used.
                std::thread::spawn(move || {
                    let mut asked = [0; 4096];
                    let length = stream.read(&mut asked).unwrap_or_default();
                    let _ = stream.write_all(answer(&String::from_utf8_lossy(&asked[..length])).as_bytes());
                });
            }
        });
    }

    /// Every packet that has left the host since it was last asked, over its loopback ones included.
    pub(crate) fn left(&self) -> Vec<Packet> {
        let packets = self.capture.packets();
        self.accounted.borrow_mut().extend(packets.iter().map(|packet| packet.to.ip()));
        packets
    }

    /// Whether there are any: where not, the skip was told of.
    pub(crate) fn has_tripwires(&self) -> bool {
        self.tripwires.is_some()
    }

    /// The denied ranges whose tripwire was cut since it was last asked.
    pub(crate) fn cut(&self) -> Vec<&'static str> {
        self.tripwires.as_ref().map(Tripwires::cut).unwrap_or_default()
    }

    /// Fails if anything has left, or has reached a service of the host; and if it could not have been seen.
    pub(crate) fn nothing_left(&self) {
        self.only(|_| false);
    }

    /// Fails if anything has left but what `expected` knows, or has reached a service of the host.
    pub(crate) fn only(&self, mut expected: impl FnMut(&Packet) -> bool) {
        let others: Vec<String> =
            self.left().iter().filter(|packet| !expected(packet)).map(Packet::to_string).collect();
        let shown = others[..others.len().min(20)].join("\n");
        assert!(others.is_empty(), "{} packets left:\n{shown}", others.len());
        for range in self.cut() {
            let known = self.accounted.borrow().iter().any(|address| tripwires::contains(range, *address));
            assert!(known, "the tripwire of {range} was cut");
        }
        self.services_are_untouched();
        self.would_be_seen();
    }

    /// Fails if a service of the host, on whatever address, was connected to or sent to.
    fn services_are_untouched(&self) {
        for service in &self.services {
            match service.accept() {
                Ok((_, peer)) => panic!("{peer} connected to {:?}", service.local_addr()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        for socket in &self.datagrams {
            match socket.recv_from(&mut [0; 64]) {
                Ok((_, peer)) => panic!("{peer} sent to {:?}", socket.local_addr()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }

    /// The tripwires are live: a packet of the host's own is seen, on its card and on loopback.
    fn would_be_seen(&self) {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for to in ["8.8.8.8:9999", "127.0.0.1:9999"] {
            let _ = socket.send_to(b"tripwire", to);
        }
        let mut wires: Vec<Interface> = Vec::new();
        for packet in self.left().iter().filter(|packet| packet.transport == Transport::Udp) {
            assert_eq!((packet.payload.as_slice(), packet.to.port()), (&b"tripwire"[..], 9999), "{packet}");
            wires.push(packet.interface);
        }
        wires.dedup();
        assert_eq!(wires, [Interface::Wan, Interface::Loopback]);
        assert!(self.tripwires.is_none() || self.cut() == ["127.0.0.0/8"]);
        self.accounted.take();
    }
}

/// Serves until the process ends.
pub(crate) fn echo(socket: &UdpSocket) {
    let mut datagram = vec![0; 1 << 16];
    while let Ok((length, client)) = socket.recv_from(&mut datagram) {
        let said = String::from_utf8_lossy(&datagram[..length]).into_owned();
        match said.strip_prefix("big ").and_then(|number| number.parse().ok()) {
            Some(number) => socket.send_to(&vec![b'b'; number], client).unwrap(),
            None => socket.send_to(&datagram[..length], client).unwrap(),
        };
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Another machine, which is everywhere: a process that holds its network namespace until it is dropped.
struct Internet(Child);

impl Internet {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first line says that it has a namespace.
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Self(holder)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn set_up(&self) {
        let status =
            Command::new("nsenter").args(["-n", "-t", &self.pid(), "sh", "-c", INTERNET_SETUP]).status();
        assert!(status.unwrap().success());
    }

    /// Makes a socket there.
    fn at<T: Send>(&self, bind: impl FnOnce() -> std::io::Result<T> + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(namespace.as_fd(), network).unwrap();
                bind().unwrap()
            });
            made.join().unwrap()
        })
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
