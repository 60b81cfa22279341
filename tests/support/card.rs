//! The network card of the test guest: Ethernet and UDP by hand, TCP for its stack.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Context;

use portcullis::link::{Frame, Link};
use portcullis::net::Config;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::packet;

/// Whether the guest looks at its network card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Frozen {
    /// It does.
    No,
    /// It does not.
    Yes,
}

/// The guest's network card: Ethernet and UDP by hand, the rest for smoltcp.
pub(super) struct Card {
    link: Box<dyn Link>,
    pub(super) frozen: Frozen,
    inbox: VecDeque<Vec<u8>>,
    pub(super) outbox: VecDeque<Vec<u8>>,
    pub(super) replies: VecDeque<(u16, io::Result<Vec<u8>>)>,
    /// A port whose segments are handed out instead of given to the stack.
    pub(super) by_hand: Option<u16>,
    pub(super) handed: VecDeque<Vec<u8>>,
    guest_mac: [u8; 6],
    gateway_mac: [u8; 6],
    mtu: usize,
    buffer: Vec<u8>,
}

impl Card {
    pub(super) fn new<L: Link + 'static>(link: L, config: &Config) -> Self {
        Self {
            mtu: link.mtu(),
            link: Box::new(link),
            frozen: Frozen::No,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            replies: VecDeque::new(),
            by_hand: None,
            handed: VecDeque::new(),
            guest_mac: config.guest_mac,
            gateway_mac: config.gateway_mac,
            buffer: vec![0; 70_000],
        }
    }

    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.frozen == Frozen::No {
            match self.link.try_receive(&mut self.buffer) {
                Ok(len) => self.sort(self.buffer[..len].to_vec()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.link.poll_receive_ready(cx)?.is_pending() {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn sort(&mut self, frame: Vec<u8>) {
        assert_eq!(frame[..6], self.guest_mac, "a frame for another host");
        assert_eq!(frame[6..12], self.gateway_mac);
        let ip = &frame[14..];
        match reply(ip) {
            Reply::Tcp if self.by_hand.is_some_and(|port| is_to(ip, port)) => {
                self.handed.push_back(ip.to_vec());
            }
            Reply::Tcp => self.inbox.push_back(ip.to_vec()),
            Reply::Udp(port, payload) => self.replies.push_back((port, Ok(payload))),
            Reply::Unreachable(port) => {
                self.replies.push_back((port, Err(io::ErrorKind::ConnectionRefused.into())));
            }
            Reply::Other => {}
        }
    }

    /// Sends what is queued; whether the link would take more.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        let had = !self.outbox.is_empty();
        while let Some(packet) = self.outbox.front() {
            let mut frame = [self.gateway_mac, self.guest_mac].concat();
            frame.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
            frame.extend(packet);
            match self.link.try_send(Frame { bytes: &frame, partial: None }) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return self.link.poll_send_ready(cx).is_ready();
                }
                Ok(()) | Err(_) => drop(self.outbox.pop_front()),
            }
        }
        had
    }
}

/// Whether a TCP packet is for this port.
fn is_to(ip: &[u8], port: u16) -> bool {
    let tcp = if ip[0] >> 4 == 4 { 20 } else { 40 };
    ip[tcp + 2..tcp + 4] == port.to_be_bytes()
}

impl Device for Card {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        let packet = self.inbox.pop_front()?;
        Some((Rx(packet), Tx(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        // A card's queue is finite; this one is as long as a window.
        if self.outbox.len() < 512 { Some(Tx(&mut self.outbox)) } else { None }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

pub(super) struct Rx(Vec<u8>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(super) struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}

/// What a packet for the guest is.
enum Reply {
    /// TCP.
    Tcp,
    /// A datagram for this port.
    Udp(u16, Vec<u8>),
    /// "Port unreachable" about a datagram from this port.
    Unreachable(u16),
    /// Anything else.
    Other,
}

/// Sorts a packet for the guest.
fn reply(ip: &[u8]) -> Reply {
    let (protocol, body) = if ip[0] >> 4 == 4 { (ip[9], &ip[20..]) } else { (ip[6], &ip[40..]) };
    let port = |at: &[u8]| u16::from_be_bytes([at[0], at[1]]);
    match (protocol, body[0], body[1]) {
        (6, ..) => Reply::Tcp,
        (17, ..) => Reply::Udp(port(&body[2..]), body[8..].to_vec()),
        (1, 3, 3) => Reply::Unreachable(port(&body[8 + 20..])),
        (58, 1, 4) => Reply::Unreachable(port(&body[8 + 40..])),
        _ => Reply::Other,
    }
}

/// A UDP datagram.
pub(crate) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    let mut body = [from.port(), to.port(), len, 0].map(u16::to_be_bytes).concat();
    body.extend(payload);
    packet::ip(from.ip(), to.ip(), 17, body, Some(6))
}
