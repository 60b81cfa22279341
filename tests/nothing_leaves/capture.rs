//! Every frame that the host sends, seen by a packet socket in its network namespace.
//!
//! A frame counts when it goes over the host's loopback, or when the host's own network card sends it. What a
//! link says by itself (ARP, neighbour discovery, multicast listener reports) does not count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, sockopt};

/// MAC address of the host's network card.
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
/// Room for what waits to be looked at; nothing here sends as much between two looks.
const BACKLOG: usize = 1 << 22;

/// Where a frame was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interface {
    /// The host's own loopback.
    Loopback,
    /// The way out.
    Wan,
}

/// The transport of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Other(u8),
}

/// One packet that left.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub interface: Interface,
    pub transport: Transport,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// After the header of the transport where that has a fixed length, else after IP's.
    pub payload: Vec<u8>,
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, transport, from, to, payload } = self;
        let start = &payload[..payload.len().min(64)];
        write!(
            f,
            "{interface:?} {transport:?} {from} > {to} {}",
            String::from_utf8_lossy(start).escape_debug()
        )
    }
}

/// A running capture; a thread takes what comes, so that there is always room for more.
pub(crate) struct Capture(Arc<Shared>);

struct Shared {
    socket: OwnedFd,
    packets: Mutex<Vec<Packet>>,
}

impl Capture {
    /// Sees everything from now on in the calling thread's network namespace.
    pub(crate) fn start() -> Self {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL)).unwrap();
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BACKLOG);
        let shared = Arc::new(Shared { socket, packets: Mutex::default() });
        let taking = Arc::clone(&shared);
        std::thread::spawn(move || {
            loop {
                let mut wanted = [PollFd::new(&taking.socket, PollFlags::IN)];
                rustix::event::poll(&mut wanted, None).unwrap();
                taking.take(&mut taking.packets.lock().unwrap());
            }
        });
        Self(shared)
    }

    /// What has left since it was last asked.
    pub(crate) fn packets(&self) -> Vec<Packet> {
        let mut packets = self.0.packets.lock().unwrap();
        self.0.take(&mut packets);
        std::mem::take(&mut packets)
    }
}

impl Shared {
    fn take(&self, packets: &mut Vec<Packet>) {
        let mut buffer = vec![0; 1 << 17];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Ok((length, _)) => packets.extend(parse(&buffer[..length])),
                Err(Errno::AGAIN) => return,
                // Reported once for a link that went down; the socket goes on.
                Err(Errno::NETDOWN) => {}
                Err(error) => panic!("the capture failed: {error}"),
            }
        }
    }
}

fn parse(frame: &[u8]) -> Option<Packet> {
    let (header, packet) = frame.split_at_checked(14)?;
    let interface = match &header[6..12] {
        mac if mac == HOST_MAC => Interface::Wan,
        [0, 0, 0, 0, 0, 0] => Interface::Loopback,
        _ => return None,
    };
    let (number, from, to, body): (u8, IpAddr, IpAddr, &[u8]) = match &header[12..] {
        [0x08, 0x00] => {
            let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
            (packet[9], address(12).into(), address(16).into(), &packet[usize::from(packet[0] & 15) * 4..])
        }
        [0x86, 0xdd] => {
            let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
            // A report of multicast membership hides behind a hop-by-hop header.
            if packet[6] == 0 || (packet[6] == 58 && matches!(packet[40], 131..=137 | 143)) {
                return None;
            }
            (packet[6], address(8).into(), address(24).into(), &packet[40..])
        }
        [0x08, 0x06] => return None,
        other => panic!("a frame of type {other:?} on {interface:?}"),
    };
    let (transport, header) = match number {
        6 => (Transport::Tcp, usize::from(body[12] >> 4) * 4),
        17 => (Transport::Udp, 8),
        other => (Transport::Other(other), 0),
    };
    let port = |at: usize| match transport {
        Transport::Tcp | Transport::Udp => u16::from_be_bytes([body[at], body[at + 1]]),
        Transport::Other(_) => 0,
    };
    let (from, to) = (SocketAddr::new(from, port(0)), SocketAddr::new(to, port(2)));
    Some(Packet { interface, transport, from, to, payload: body[header..].to_vec() })
}
