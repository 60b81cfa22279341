//! The core without a runtime: a link that records, frames by hand, and time that is a number.

mod connect;
mod datagrams;
mod hostile;
mod offload;
mod overlap;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smoltcp::time::{Duration, Instant};

use super::{Event, Stack};
use crate::limits::Limits;
use crate::link::{Frame, Link, Offload, Partial};
use crate::net::config::Config;
use crate::net::emit::{self, Envelope};
use crate::net::frame::{self, ETHERNET, Ends, Flags, PROTOCOL_TCP, Segment, TCP};
use crate::net::gateway::Unreachable;
use crate::net::syn::Syn;
use crate::net::table::FlowId;

const MTU: usize = 1500;

/// A link that keeps what it is given, or takes nothing.
struct Recorder {
    offload: Offload,
    busy: bool,
    sent: VecDeque<(Vec<u8>, Option<Partial>)>,
}

impl Link for Recorder {
    fn offload(&self) -> Offload {
        self.offload
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn try_receive(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        if self.busy {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.sent.push_back((frame.bytes.to_vec(), frame.partial));
        Ok(())
    }

    fn poll_receive_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_send_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// A stack, its link, and a guest that is a sequence number and a clock.
struct Bed {
    stack: Stack,
    link: Recorder,
    config: Config,
    now: Instant,
    to: IpAddr,
}

/// Where a connection of the guest stands.
#[derive(Clone, Copy, Debug)]
struct Peer {
    port: u16,
    next: u32,
    acknowledged: u32,
}

impl Bed {
    fn new(offload: Offload, to: &str, limits: Limits) -> Self {
        let config = Config { limits: Arc::new(limits), ..Config::for_slot(9) };
        let mut link = Recorder { offload, busy: false, sent: VecDeque::new() };
        let stack = Stack::new(config.clone(), &mut link, Instant::ZERO);
        Self { stack, link, config, now: Instant::from_secs(1), to: to.parse().unwrap() }
    }

    fn guest(&self) -> IpAddr {
        self.config.guest(self.to)
    }

    /// The two ends as the guest sees them, for frames in the other direction.
    fn ends(&self) -> Ends {
        let ends = self.config.ends();
        Ends { guest_mac: ends.gateway_mac, gateway_mac: ends.guest_mac, ..ends }
    }

    fn receive(&mut self, frame: &[u8]) {
        self.stack.receive(&mut self.link, frame, self.now);
    }

    fn turn(&mut self) {
        self.stack.expire(self.now);
        self.stack.transmit(&mut self.link, self.now);
        self.stack.take_woken(&mut Vec::new());
    }

    fn segment(&mut self, peer: &Peer, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; TCP];
        header[0..2].copy_from_slice(&peer.port.to_be_bytes());
        header[2..4].copy_from_slice(&443_u16.to_be_bytes());
        header[4..8].copy_from_slice(&peer.next.to_be_bytes());
        header[8..12].copy_from_slice(&peer.acknowledged.to_be_bytes());
        header[12] = 5 << 4;
        header[13] = flags;
        header[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        let envelope =
            Envelope { source: self.guest(), destination: self.to, protocol: PROTOCOL_TCP, hop_limit: 64 };
        let mut frame = Vec::new();
        assert!(emit::packet(&mut frame, &self.ends(), &envelope, &[&header, payload]));
        frame
    }

    fn send(&mut self, peer: &mut Peer, flags: u8, payload: &[u8]) {
        let frame = self.segment(peer, flags, payload);
        self.receive(&frame);
        let control = u32::from(flags & Flags::FIN != 0) + u32::from(flags & Flags::SYN != 0);
        peer.next = peer.next.wrapping_add(u32::try_from(payload.len()).unwrap() + control);
    }

    fn syn(&mut self, port: u16, sequence: u32, mss: u16) {
        let syn = Syn {
            source_port: port,
            destination_port: 443,
            sequence,
            acknowledgment: None,
            window: u16::MAX,
            mss,
            scale: Some(7),
            selective: true,
        };
        let mut frame = Vec::new();
        emit::syn(&mut frame, &self.ends(), (self.guest(), self.to), &syn, mss);
        self.receive(&frame);
    }

    fn arrival(&mut self) -> Option<FlowId> {
        match self.stack.next_event(Waker::noop())? {
            Event::Flow(id) => Some(id),
            Event::Datagram(payload) => panic!("{payload:?}"),
            // Of a segment that was mutated.
            Event::Association(id) => {
                self.stack.refuse_association(id, Unreachable::Port);
                self.arrival()
            }
        }
    }

    /// The next TCP segment that went out, with its frame and what is left to the link.
    fn sent(&mut self) -> Option<(Segment, Vec<u8>, Option<Partial>)> {
        let (bytes, partial) = self.link.sent.pop_front()?;
        let start = if self.to.is_ipv4() { ETHERNET + frame::IPV4 } else { ETHERNET + frame::IPV6 };
        let segment = frame::tcp_header(&bytes[start..]).unwrap();
        let payload = bytes[start + segment.header..].to_vec();
        Some((segment, payload, partial))
    }

    /// Opens a connection and accepts it.
    fn open(&mut self, port: u16, mss: u16) -> (FlowId, Peer) {
        self.open_with(port, 1_000, mss)
    }

    /// Opens one whose first octet has the sequence number `first`.
    fn open_at(&mut self, port: u16, first: u32) -> (FlowId, Peer) {
        self.open_with(port, first.wrapping_sub(1), 1_460)
    }

    fn open_with(&mut self, port: u16, sequence: u32, mss: u16) -> (FlowId, Peer) {
        self.syn(port, sequence, mss);
        let id = self.arrival().expect("a held SYN");
        self.stack.accept(id);
        self.turn();
        let (answer, ..) = self.sent().expect("a SYN-ACK");
        assert!(answer.flags.syn() && answer.flags.ack(), "{answer:?}");
        assert_eq!(answer.acknowledgment, sequence.wrapping_add(1));
        let mut peer =
            Peer { port, next: sequence.wrapping_add(1), acknowledged: answer.sequence.wrapping_add(1) };
        self.send(&mut peer, Flags::ACK, &[]);
        self.turn();
        (id, peer)
    }

    fn write(&mut self, id: FlowId, octets: &[u8]) -> usize {
        let polled = self.stack.poll_fill(id, Waker::noop(), |room| {
            let len = room.len().min(octets.len());
            room[..len].copy_from_slice(&octets[..len]);
            Ok(len)
        });
        match polled {
            Poll::Ready(written) => written.unwrap_or(0),
            Poll::Pending => 0,
        }
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut rng = Rng(7);
    (0..len).map(|_| rng.next().to_le_bytes()[0]).collect()
}

/// xorshift64; repeatable.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }
}

#[test]
fn frame_a_busy_link_refuses_is_held_and_nothing_passes_it() {
    let mut bed = Bed::new(Offload::None, "192.0.2.1", Limits::default());
    let (id, peer) = bed.open(5_000, 1_460);
    let octets = noise(40_000);
    bed.link.busy = true;
    bed.write(id, &octets);
    bed.turn();
    // A reply to a frame that comes meanwhile waits in line.
    let mut ghost = Peer { port: 9, ..peer };
    bed.send(&mut ghost, Flags::ACK, &[]);
    bed.turn();
    assert!(bed.link.sent.is_empty() && bed.stack.is_holding());
    bed.link.busy = false;
    bed.turn();
    let mut received = Vec::new();
    let mut resets = 0;
    while let Some((segment, payload, _)) = bed.sent() {
        if segment.flags.rst() {
            assert_eq!(received.len(), 1_460, "after the one frame that was held");
            resets += 1;
        }
        received.extend(payload);
    }
    assert_eq!((received.len(), resets), (octets.len(), 1));
    assert_eq!(received, octets);
    assert_eq!(bed.stack.stats().retransmits, 0);
}

#[test]
fn ten_thousand_connections_in_turn_leave_nothing_behind() {
    let limits = Limits { tombstones: 100, ..Limits::default() };
    let mut bed = Bed::new(Offload::None, "192.0.2.1", limits);
    for round in 0..10_000_u32 {
        let port = u16::try_from(10_000 + round % 20_000).unwrap();
        let (id, mut peer) = bed.open(port, 1_460);
        bed.send(&mut peer, Flags::ACK, b"ping");
        assert_eq!(bed.write(id, b"pong"), 4);
        bed.stack.finish(id).unwrap();
        bed.stack.release(id);
        bed.turn();
        while let Some((segment, ..)) = bed.sent() {
            peer.acknowledged = segment.sequence.wrapping_add(segment.space());
        }
        bed.send(&mut peer, Flags::FIN | Flags::ACK, &[]);
        bed.turn();
        let (last, ..) = bed.sent().expect("the last ACK");
        assert_eq!(last.acknowledgment, peer.next, "round {round}");
        assert_eq!(bed.stack.stats().flows, 0);
        bed.now += Duration::from_millis(1);
    }
    let stats = bed.stack.stats();
    assert_eq!((stats.flows_opened, stats.flows_closed), (10_000, 10_000));
    assert_eq!(stats.tombstones, 100);
    assert_eq!(bed.stack.table.slots(), 1);
    assert_eq!(bed.stack.pool.len(), 1);
    assert!(bed.stack.timers.len() <= 70, "{}", bed.stack.timers.len());
    assert!(bed.stack.dirty.is_empty());
}

#[test]
fn idle_flows_are_neither_served_nor_timed() {
    let mut bed = Bed::new(Offload::None, "192.0.2.1", Limits::default());
    for port in 0..200 {
        bed.open(2_000 + port, 1_460);
    }
    bed.link.sent.clear();
    bed.now += Duration::from_secs(5);
    bed.turn();
    assert!(bed.stack.dirty.is_empty() && bed.link.sent.is_empty());
    bed.now += Duration::from_secs(600);
    bed.turn();
    assert_eq!(bed.stack.timers.len(), 0);
    assert_eq!(bed.stack.stats().flows, 200);
}
