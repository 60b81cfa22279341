//! A stock guest on a TAP device: busybox asks for its address, the kernel makes its own from advertisements.
//!
//! Each test runs again in a network of its own, where it is guest and sandbox at once: the guest's end of the
//! device is this namespace's only way out, and the sandbox is a thread of this process.
#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "support/canary.rs"]
mod canary;

use std::io::{BufRead, BufReader};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use canary::{Canary, End};
use portcullis::config::Config;
use portcullis::link::tap::{self, TapLink};
use portcullis::net::{Mac, Stats};
use portcullis::sandbox::{GuestEnv, Sandbox};

/// Set in a process that is in namespaces of its own.
const INSIDE: &str = "PORTCULLIS_TEST_INSIDE";
/// What udhcpc runs; it does what images do, and says what it was told.
const SCRIPT: &str = r#"#!/bin/sh
case $1 in bound|renew)
    ip address replace $ip/$mask broadcast $broadcast dev $interface
    ip link set $interface mtu $mtu
    ip route replace default via $router
    echo nameserver $dns > $RESOLV_CONF;;
esac
echo $1 $ip/$mask $broadcast $router $dns $mtu $serverid $lease
"#;

/// Runs a test again in network and mount namespaces of its own, and there runs `body`.
///
/// `body` is a closure of the test's function: its type's name holds the test's.
fn in_a_network_of_its_own<F: FnOnce()>(body: F) {
    if std::env::var_os(INSIDE).is_some() {
        return canary::over(body);
    }
    if !possible() {
        return;
    }
    let test = std::any::type_name::<F>().trim_end_matches("::{{closure}}").rsplit("::").next().unwrap();
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
fn unshared(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    let rootless = !rustix::process::geteuid().is_root();
    command.args(rootless.then_some("-Ur")).args(["-n", "-m", "--"]).arg(program);
    command
}

/// Whether all this can be had here; says loudly when not, and insists where the environment says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn possible() -> bool {
    let script = "set -e; ip tuntap add dev eth0 mode tap; busybox udhcpc --help; curl --version; \
                  mount --bind /etc/resolv.conf /etc/resolv.conf";
    let probe = unshared("/bin/sh".as_ref()).args(["-c", script]).output();
    let why = match probe {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    assert!(std::env::var_os("PORTCULLIS_REQUIRE_NAMESPACES").is_none(), "namespaces are required: {why}");
    eprintln!("\n*** SKIPPED, no stock guest here: {why}");
    false
}

/// A guest's network card with nothing set but what its maker set, and the sandbox at its other end.
struct Guest {
    env: GuestEnv,
    sandbox: Sandbox,
    dir: PathBuf,
    canary: Canary,
}

impl Guest {
    fn new(config: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("portcullis-stock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("resolv.conf"), "").unwrap();
        std::fs::write(dir.join("udhcpc"), SCRIPT).unwrap();
        let tap = tap::open("eth0").unwrap();
        let canary = Canary::of_test();
        let builder = Sandbox::builder().config(Config::parse(config).unwrap()).secret(canary.secret());
        let prepared = builder.prepare().unwrap();
        let env = prepared.guest_env().clone();
        let link = canary.watched(End::Sandboxs, TapLink::new(tap, env.mtu.into()));
        let sandbox = prepared.start(link).unwrap();
        let guest = Self { env, sandbox, dir, canary };
        guest.sh(&format!(
            "ip link set lo up; ip link set eth0 address {}; chmod +x $DIR/udhcpc; \
             mount --bind $DIR/resolv.conf /etc/resolv.conf",
            Mac(guest.env.mac)
        ));
        guest
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["30", "sh", "-e", "-c", script])
            .env("DIR", &self.dir)
            .env("RESOLV_CONF", self.dir.join("resolv.conf"))
            .stdin(Stdio::null());
        command
    }

    /// The output of a script that must succeed.
    fn sh(&self, script: &str) -> String {
        let output = self.command(script).output().unwrap();
        let said = |stream: &[u8]| String::from_utf8_lossy(stream).into_owned();
        assert!(output.status.success(), "{script}\n{}\n{}", said(&output.stdout), said(&output.stderr));
        self.canary.check("what the guest says", &output.stdout);
        said(&output.stdout)
    }

    /// A program whose lines are read as they come; it ends by itself before long.
    fn lines(&self, script: &str) -> Lines {
        let mut child = self
            .command(&format!("exec {script}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Lines { child, output }
    }

    fn stats(&self) -> Stats {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.sandbox.stats()).unwrap().net
    }

    fn end(self) {
        self.sh("umount /etc/resolv.conf");
        self.sandbox.shutdown_blocking();
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

struct Lines {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Lines {
    /// The next line that says `what`.
    fn until(&mut self, what: impl Fn(&str) -> bool) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "ended after:\n{seen}");
            if what(&line) {
                return line;
            }
            seen += &line;
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Which timeout passes on; killed itself, it would leave its program behind.
        let timeout = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(timeout, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

const UDHCPC: &str = "busybox udhcpc -i eth0 -f -n -O mtu -s $DIR/udhcpc";

#[test]
fn busybox_gets_its_lease_and_reaches_the_gateway() {
    in_a_network_of_its_own(|| {
        let guest = Guest::new("[net]\nslot = 300\nmtu = 1400");
        guest.sh("ip link set eth0 up");
        let told = guest.sh(&format!("{UDHCPC} -q"));
        let bound = told.lines().find(|line| line.starts_with("bound")).expect("a lease");
        let gateway = guest.env.gateway_v4;
        assert_eq!(gateway.to_string(), "172.16.4.177");
        let expected = format!("bound 172.16.4.178/30 172.16.4.179 {gateway} {gateway} 1400 {gateway} 86400");
        assert_eq!(bound, expected);
        guest.sh("busybox ping -c 1 -W 5 172.16.4.177");
        let answer = guest.sh("busybox nslookup -type=a host.portcullis.internal");
        assert!(answer.contains(&gateway.to_string()), "{answer}");
        let denied = "-o /dev/null -w '%{local_ip} %{http_code}' http://denied.example/";
        assert_eq!(guest.sh(&format!("curl -sS -4 {denied}")), "172.16.4.178 403");
        guest.end();
    });
}

#[test]
fn a_lease_is_renewed_at_the_gateway_and_given_back() {
    in_a_network_of_its_own(|| {
        let guest = Guest::new("");
        guest.sh("ip link set eth0 up");
        let mut client = guest.lines(UDHCPC);
        client.until(|line| line.starts_with("bound 172.16.0.2/30 "));
        let before = guest.stats();
        guest.sh(&format!("kill -USR1 $(pgrep -P {})", client.child.id()));
        client.until(|line| line.starts_with("renew 172.16.0.2/30 "));
        assert_eq!(guest.stats().dropped.dhcp, before.dropped.dhcp);
        guest.sh(&format!("kill -USR2 $(pgrep -P {})", client.child.id()));
        client.until(|line| line.starts_with("deconfig"));
        // What is answered was read after the release.
        guest.sh("busybox ping -c 1 -W 5 172.16.0.1");
        assert_eq!(guest.stats().dropped.dhcp, before.dropped.dhcp + 1, "one release");
        guest.end();
    });
}

#[test]
fn the_kernel_makes_itself_addresses_and_all_of_them_work() {
    in_a_network_of_its_own(|| {
        let guest = Guest::new("[net]\nslot = 300\nguest6 = 'fd00:1:2:3::2'\nmtu = 1400");
        let gateway = guest.env.gateway_v6;
        // One address made from the MAC address, and a temporary one; the gateway is found by the kernel alone.
        let switches = "/proc/sys/net/ipv6/conf/eth0";
        guest.sh(&format!("echo 2 > {switches}/accept_ra; echo 2 > {switches}/use_tempaddr"));
        let mut heard = Useropts::listen();
        let mut monitor = guest.lines("ip -o -6 monitor address route");
        guest.sh("ip link set eth0 up");
        let global = |line: &str| line.contains("inet6 fd00:1:2:3:") && !line.contains("tentative");
        let mut addresses: Vec<Ipv6Addr> = Vec::new();
        while addresses.len() < 2 {
            let line = monitor.until(global);
            let text = line.split("inet6 ").nth(1).unwrap().split('/').next().unwrap();
            let address = text.parse().unwrap();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let [a, b, c, d, e, f] = guest.env.mac;
        let eui = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        assert!(addresses.iter().any(|address| address.octets()[8..] == eui), "{addresses:?}");
        heard.await_nameserver(gateway);
        let router = "fe80::70:63ff:fe01:2c01";
        let route = guest.sh("ip -6 route show default");
        assert!(route.contains(&format!("default via {router} dev eth0 proto ra")), "{route}");
        assert_eq!(guest.sh(&format!("cat {switches}/mtu")).trim(), "1400");

        guest.sh(&format!("echo nameserver {gateway} > $RESOLV_CONF"));
        for address in addresses {
            let denied = "-o /dev/null -w '%{local_ip} %{http_code}' http://denied.example/";
            let answer = guest.sh(&format!("curl -sS -6 --interface {address} {denied}"));
            assert_eq!(answer, format!("{address} 403"));
        }
        let dropped = guest.stats().dropped;
        assert_eq!((dropped.source_ip, dropped.malformed, dropped.checksum), (0, 0, 0));
        guest.end();
    });
}

/// Options of advertisements that the kernel hands on to whoever keeps the nameservers.
struct Useropts(std::os::fd::OwnedFd);

impl Useropts {
    /// `RTNLGRP_ND_USEROPT` of rtnetlink(7).
    const GROUP: u32 = 20;

    fn listen() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink, sockopt};
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, None).unwrap();
        bind(&socket, &netlink::SocketAddrNetlink::new(0, 1 << (Self::GROUP - 1))).unwrap();
        let patience = Some(std::time::Duration::from_secs(30));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience).unwrap();
        Self(socket)
    }

    /// Waits until one of them names this nameserver, believed for half an hour; RFC 8106 §5.1.
    fn await_nameserver(&mut self, server: Ipv6Addr) {
        let option = [&[25, 3, 0, 0, 0, 0, 0x07, 0x08][..], &server.octets()].concat();
        let mut buffer = [0; 4_096];
        loop {
            let received = rustix::net::recv(&self.0, &mut buffer[..], rustix::net::RecvFlags::empty());
            let (len, _) = received.expect("the option, before patience ends");
            if buffer[..len].windows(option.len()).any(|window| window == option) {
                return;
            }
        }
    }
}
