//! A cable whose far end is the test, which writes frames by hand.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::link::memory::MemoryLink;
use portcullis::link::{Frame, Link};
use portcullis::net::{self, Arrival, Arrivals, Config, Counters, Incoming, NewAssociation, Stats};

use crate::canary::Watched;
use crate::guest::{datagram, packet};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

/// A cable whose far end is the test.
pub(crate) struct Bed {
    pub(crate) link: Watched<MemoryLink>,
    pub(crate) config: Config,
    pub(crate) arrivals: Arrivals,
    pub(crate) counters: Counters,
    /// The guest as the network under test can connect to it.
    pub(crate) into: net::Guest,
}

/// A TCP segment, as far as these tests care.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tcp {
    pub(crate) port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
}

impl Bed {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::of(Config { limits: Arc::new(limits), ..Config::for_slot(5) })
    }

    pub(crate) fn of(config: Config) -> Self {
        let (ours, link) = super::bed::cable(64, 1500);
        let (driver, arrivals) = net::start(ours, config.clone());
        let (counters, into) = (driver.counters(), driver.guest());
        tokio::task::spawn_local(driver);
        Self { link, config, arrivals, counters, into }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    pub(crate) fn guest(&self, like: IpAddr) -> IpAddr {
        if like.is_ipv4() { self.config.guest_v4.into() } else { self.config.guest_v6.into() }
    }

    pub(crate) fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let kind: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        [&self.config.gateway_mac, &self.config.guest_mac, &kind[..], packet].concat()
    }

    pub(crate) fn arp(&self, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let mac = self.config.guest_mac;
        [&[0xff; 6], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &sender, &[0; 6], &target].concat()
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.link.try_send(Frame { bytes: frame, partial: None }).unwrap();
    }

    /// The next frame from the network; none if it falls silent first.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2_000];
        let ready = poll_fn(|cx| self.link.poll_receive_ready(cx));
        // In paused time this passes only when every task has nothing left to do.
        tokio::time::timeout(Duration::from_millis(1), ready).await.ok()?.unwrap();
        let len = self.link.try_receive(&mut buffer).unwrap();
        buffer.truncate(len);
        Some(buffer)
    }

    /// Sends a frame and has its one answer, the IP packet or ARP body of it.
    pub(crate) async fn exchange(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.send(frame);
        let answer = self.receive().await?;
        assert_eq!(answer[6..12], self.config.gateway_mac);
        assert_eq!(self.receive().await, None, "more than one answer");
        Some(answer[14..].to_vec())
    }

    pub(crate) fn tcp(&mut self, to: SocketAddr, tcp: Tcp, payload: &[u8]) {
        self.segment(to, tcp, (u16::MAX, 0), payload);
    }

    /// A segment with this window and urgent pointer.
    pub(crate) fn segment(&mut self, to: SocketAddr, tcp: Tcp, (window, urgent): (u16, u16), payload: &[u8]) {
        let mut body = [tcp.port.to_be_bytes(), to.port().to_be_bytes()].concat();
        body.extend(tcp.sequence.to_be_bytes());
        body.extend(tcp.acknowledgment.to_be_bytes());
        body.extend([5 << 4, tcp.flags]);
        body.extend(window.to_be_bytes());
        body.extend([0, 0]);
        body.extend(urgent.to_be_bytes());
        body.extend(payload);
        let packet = packet::ip(self.guest(to.ip()), to.ip(), 6, body, Some(16));
        let frame = self.frame(&packet);
        self.send(&frame);
    }

    pub(crate) async fn answer(&mut self) -> Option<Tcp> {
        self.reply().await.map(|(tcp, _)| tcp)
    }

    /// The next segment from the network, with its payload.
    pub(crate) async fn reply(&mut self) -> Option<(Tcp, Vec<u8>)> {
        let frame = self.receive().await?;
        let body = if frame[14] >> 4 == 4 { &frame[34..] } else { &frame[54..] };
        let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let tcp = Tcp {
            port: u16::from_be_bytes([body[2], body[3]]),
            sequence: word(4),
            acknowledgment: word(8),
            flags: body[13] & (FIN | SYN | RST | ACK),
        };
        Some((tcp, body[usize::from(body[12] >> 4) * 4..].to_vec()))
    }

    /// Takes all answers that are there; how many there were.
    pub(crate) async fn drain(&mut self) -> usize {
        let mut count = 0;
        while self.receive().await.is_some() {
            count += 1;
        }
        count
    }

    pub(crate) async fn association(&mut self) -> Option<NewAssociation> {
        let arrival = tokio::time::timeout(Duration::from_millis(1), self.arrivals.next()).await.ok()?;
        match arrival? {
            Arrival::Association(association) => Some(association),
            other @ (Arrival::Datagram(_) | Arrival::Tcp(_)) => panic!("{other:?}"),
        }
    }

    /// The guest sends a UDP datagram.
    pub(crate) fn datagram(&mut self, port: u16, to: &str, payload: &[u8]) {
        let to = far(to);
        let packet = datagram(SocketAddr::new(self.guest(to.ip()), port), to, payload);
        let frame = self.frame(&packet);
        self.send(&frame);
    }

    pub(crate) async fn incoming(&mut self) -> Option<Incoming> {
        let arrival = tokio::time::timeout(Duration::from_millis(1), self.arrivals.next()).await.ok()?;
        match arrival? {
            Arrival::Tcp(incoming) => Some(incoming),
            other @ (Arrival::Datagram(_) | Arrival::Association(_)) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn far(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

pub(crate) fn syn(port: u16, sequence: u32) -> Tcp {
    Tcp { port, sequence, acknowledgment: 0, flags: SYN }
}

pub(crate) const V4: &str = "192.0.2.1:443";
pub(crate) const V6: &str = "[2001:db8::1]:443";
