//! Links that are there already: descriptors that `serve` was passed, and a TAP device with the kernel as guest.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use portcullis::link::Link;
use portcullis::link::datagram::DatagramLink;
use portcullis::link::stream::StreamLink;
use portcullis::net::Config;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::memory::run;
use crate::served::Serve;
use crate::{MTU, pki, receive, scratch, send};

/// `serve --link fd:3`, started by a shell that passes what is its own input.
fn passing(fd: OwnedFd) -> Serve {
    let serve = Serve::new("fd:3");
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "exec \"$0\" serve --link fd:3 --log log 3<&0 </dev/null",
        env!("CARGO_BIN_EXE_portcullis"),
    ]);
    shell.current_dir(&serve.scratch.0).stdin(fd).stdout(Stdio::piped()).stderr(Stdio::piped());
    Serve { command: shell, ..serve }
}

/// Who has the gateway's address?
fn question(network: &Config) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &network.guest_mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend_from_slice(&network.guest_mac);
    frame.extend_from_slice(&network.guest_v4.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&network.gateway_v4.octets());
    frame
}

/// Asks, is answered, and unplugs itself.
async fn is_served(mut link: impl Link) {
    let network = Config::for_slot(0);
    send(&mut link, &question(&network)).await;
    let answer = receive(&mut link).await.unwrap();
    assert_eq!((&answer[..6], &answer[22..28]), (&network.guest_mac[..], &network.gateway_mac[..]));
}

#[test]
fn a_socket_that_was_passed_is_told_by_its_type() {
    run(async {
        let (far, near) = UnixStream::pair().unwrap();
        let served = passing(near.into()).start();
        is_served(StreamLink::connected(far, MTU).unwrap()).await;
        // The guest has gone for good, and with it what was to be served.
        assert_eq!(served.end().0.code(), Some(0));

        let (far, near) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let served = passing(near).start();
        is_served(DatagramLink::connected(far.into(), MTU).unwrap()).await;
        assert_eq!(served.end().0.code(), Some(0));

        let (far, near) = UnixDatagram::pair().unwrap();
        let served = passing(near.into()).start();
        is_served(DatagramLink::connected(far, MTU).unwrap()).await;
        served.terminate();
        assert_eq!(served.end().0.code(), Some(0));
    });
}

/// A segment of a connection that does not exist, longer than the MTU and without a checksum, as a guest of libkrun
/// sends it whose card is said to cut segments.
fn long_segment(network: &Config) -> Vec<u8> {
    let length = 9_000_u16;
    let mut ip = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0x40, 0, 64, 6, 0, 0]].concat();
    ip.extend_from_slice(&network.guest_v4.octets());
    ip.extend_from_slice(&[192, 0, 2, 1]);
    let words = ip.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    ip[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    // From port 40000 to 443, an ACK.
    ip.extend_from_slice(&[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    ip.resize(length.into(), 7);
    [&network.gateway_mac[..], &network.guest_mac, &[8, 0], &ip].concat()
}

#[test]
fn a_datagram_guest_may_leave_the_cutting_of_segments_to_others() {
    run(async {
        let (far, near) = UnixDatagram::pair().unwrap();
        let served = passing(near.into()).start();
        let mut link = DatagramLink::connected(far, MTU).unwrap();
        send(&mut link, &long_segment(&Config::for_slot(0))).await;
        let answer = receive(&mut link).await.unwrap();
        // It is answered with RST; had it been dropped, there were no answer.
        assert_eq!((answer[23], answer[47] & 0x04), (6, 0x04));
        served.terminate();
        assert_eq!(served.end().0.code(), Some(0));
    });
}

#[test]
fn a_descriptor_that_is_no_link_is_refused() {
    let (_scratch, path) = scratch();
    let cases: [(OwnedFd, &str); 5] = [
        (File::open("/dev/null").unwrap().into(), "is another device"),
        (File::open(pki::path("ca.pem")).unwrap().into(), "is neither a socket nor a device"),
        (TcpListener::bind("127.0.0.1:0").unwrap().into(), "is a socket of another family"),
        (UnixListener::bind(path).unwrap().into(), "is a socket that is not connected"),
        (UnixDatagram::unbound().unwrap().into(), "is a socket that is not connected"),
    ];
    for (fd, says) in cases {
        let output = passing(fd).command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.starts_with("portcullis: --link fd:3: ") && stderr.contains(says), "{stderr}");
    }
}

/// Makes the device by name, or opens it first and passes it on; then this kernel is its guest.
const TAP: &str = "\
    set -e\n\
    if [ $1 = named ]; then set -- tap:vm0; else ip tuntap add vm0 mode tap vnet_hdr; fi\n\
    \"$0\" serve --link tap:vm0 2>said & served=$!\n\
    until grep -q 'listening at' said; do [ -d /proc/$served ] || exit 3; done\n\
    ip link set vm0 address 02:70:63:00:00:02\n\
    ip addr add 172.16.0.2/30 dev vm0\n\
    ip link set vm0 up\n\
    ping -c 1 -W 10 172.16.0.1\n\
    kill $served\n\
    wait $served\n";

/// Whether network namespaces and TUN devices can be had; says loudly when not.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn tap() -> Option<&'static str> {
    let flags = if rustix::process::geteuid().is_root() { "-n" } else { "-Urn" };
    let probe = "ip tuntap add probe mode tap && ping -V";
    let output = Command::new("unshare").args([flags, "sh", "-c", probe]).output().unwrap();
    if output.status.success() {
        return Some(flags);
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(std::env::var_os("PORTCULLIS_REQUIRE_NAMESPACES").is_none(), "namespaces are required: {why}");
    eprintln!("\n*** SKIPPED, no TAP device here: {why}");
    None
}

#[test]
fn the_kernel_itself_is_a_guest_behind_a_tap() {
    let Some(flags) = tap() else { return };
    for how in ["named", "made before"] {
        let (scratch, _) = scratch();
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", TAP, env!("CARGO_BIN_EXE_portcullis")]).args(how.split(' ').take(1));
        let output = command.current_dir(&scratch.0).output().unwrap();
        let text = [&output.stdout[..], &output.stderr].concat();
        assert!(
            output.status.success(),
            "{how}: {} {}",
            String::from_utf8_lossy(&text),
            scratch.read("said")
        );
    }
}
