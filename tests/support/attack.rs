//! A hostile guest against the whole network, in one thread and in a time of its own.
//!
//! Beside it stands a proxy as careless as one can be: it accepts, refuses, reads, writes and forgets by the toss
//! of a coin. What must hold is asserted all the while.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::link::memory::{self, MemoryLink};
use portcullis::link::{Frame, Link};
use portcullis::net::{
    self, Arrival, Arrivals, Association, Config, Counters, Stats, TcpStream, Unreachable,
};
use tokio::io::AsyncWrite;

use crate::hostile::{Coin, Hostile};

/// Frames between two looks of the proxy.
const BATCH: usize = 24;
/// Streams and unanswered SYNs the proxy holds at once.
const HELD: usize = 40;

/// Things the proxy does to its streams in a look.
const RELAYED: usize = 8;

/// The bounds of the sandbox attacked: small, so that they are reached.
fn limits() -> Limits {
    Limits {
        flows: 64,
        half_open: 16,
        tombstones: 50,
        receive_ring: 1 << 16,
        transmit_ring: 1 << 16,
        spare_rings: 8,
        ring_memory: 400 << 10,
        datagrams: 8,
        associations: 12,
        associations_held: 8,
        udp_memory: 200 << 10,
        fragment_sets: 4,
        ..Limits::default()
    }
}

/// What was counted when all was taken in, and the most tombstones there were.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stats: Stats,
    pub(crate) tombstones: u64,
}

/// Runs the attack to its end, on a runtime of its own.
pub(crate) fn run(frames: u64, coin: Coin<'_>) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, attack(frames, coin))
}

async fn attack(frames: u64, mut coin: Coin<'_>) -> Outcome {
    let config = Config { limits: Arc::new(limits()), seed: coin.next(), ..Config::for_slot(4) };
    let (ours, mut cable) = memory::pair(2 * BATCH, 1500);
    let (driver, arrivals) = net::start(ours, config.clone());
    let mut proxy = Proxy {
        counters: driver.counters(),
        arrivals,
        held: Vec::new(),
        streams: Vec::new(),
        associations: Vec::new(),
    };
    let driver = tokio::task::spawn_local(driver);
    let mut guest = Hostile::new(&config);
    let (mut sent, mut tombstones) = (0, 0);
    while sent < frames {
        for _ in 0..BATCH {
            let frame = guest.frame(&mut coin);
            if cable.try_send(Frame { bytes: &frame, partial: None }).is_ok() {
                sent += 1;
            }
        }
        settle().await;
        proxy.act(&mut coin);
        settle().await;
        // Now and then it does not look, and the cable fills.
        if !coin.falls(8) {
            listen(&mut cable, &mut guest);
        }
        if coin.falls(16) {
            let millis = [1, 40, 1_000, 20_000][coin.below(4)];
            tokio::time::advance(Duration::from_millis(millis)).await;
        }
        let stats = proxy.counters.stats();
        check(&stats);
        tombstones = stats.tombstones.max(tombstones);
    }
    // It looks again, so that all it sent is taken in.
    for _ in 0..1_000 {
        listen(&mut cable, &mut guest);
        settle().await;
    }
    let stats = proxy.counters.stats();
    assert_eq!(stats.frames_in, sent);
    drop(cable);
    driver.await.unwrap().unwrap();
    let counters = proxy.counters.clone();
    drop(proxy);
    let end = counters.stats();
    assert_eq!((end.flows, end.half_open, end.associations), (0, 0, 0), "{end:?}");
    assert_eq!((end.fragment_sets, end.udp_memory), (0, 0), "{end:?}");
    assert_eq!(end.flows_opened, end.flows_closed);
    Outcome { stats, tombstones }
}

/// Lets the driver have its turn, and the next.
async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

fn listen(cable: &mut MemoryLink, guest: &mut Hostile) {
    let mut buffer = [0; 2_000];
    while let Ok(length) = cable.try_receive(&mut buffer) {
        guest.learn(&buffer[..length]);
    }
}

/// What holds at any time.
fn check(stats: &Stats) {
    let limits = limits();
    let within = |count: u64, most: usize| count <= most as u64;
    assert!(within(stats.flows, limits.flows) && within(stats.half_open, limits.half_open), "{stats:?}");
    assert!(within(stats.tombstones, limits.tombstones), "{stats:?}");
    assert!(within(stats.associations, limits.associations), "{stats:?}");
    assert!(within(stats.fragment_sets, limits.fragment_sets), "{stats:?}");
    assert!(within(stats.udp_memory, limits.udp_memory), "{stats:?}");
    // A page more for each writer that finds out, before its flow is reset.
    assert!(within(stats.ring_memory, limits.ring_memory + RELAYED * (4 << 10)), "{stats:?}");
    assert_eq!(stats.flows_opened - stats.flows_closed, stats.flows, "{stats:?}");
    assert!(dropped(stats) <= stats.frames_in + stats.datagrams, "{stats:?}");
}

/// Frames dropped on their way in.
pub(crate) fn dropped(stats: &Stats) -> u64 {
    let by = &stats.dropped;
    let ethernet = by.runt + by.vlan + by.ether_type + by.source_mac + by.destination_mac;
    let ip = by.source_ip + by.destination_ip + by.malformed + by.checksum + by.ip_options + by.fragment;
    ethernet + ip + by.protocol + by.udp + by.stray + by.datagram
}

/// The other side of the network.
struct Proxy {
    counters: Counters,
    arrivals: Arrivals,
    held: Vec<net::Incoming>,
    streams: Vec<TcpStream>,
    associations: Vec<Association>,
}

impl Proxy {
    fn act(&mut self, coin: &mut Coin<'_>) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(arrival)) = pin!(self.arrivals.next()).poll(&mut cx) {
            match arrival {
                Arrival::Tcp(incoming) => self.held.push(incoming),
                Arrival::Datagram(datagram) if coin.falls(4) => drop(datagram),
                Arrival::Datagram(datagram) => datagram.reply(&[7; 2_000][..coin.below(2_000)]),
                Arrival::Association(new) => match coin.below(8) {
                    0 => new.refuse(Unreachable::Port),
                    1 => drop(new),
                    _ => self.associations.push(new.accept()),
                },
            }
        }
        while self.held.len() > coin.below(HELD) {
            let incoming = self.held.swap_remove(coin.below(self.held.len()));
            match coin.below(8) {
                0 => incoming.refuse(),
                1 => drop(incoming),
                _ => self.streams.push(incoming.accept()),
            }
        }
        for _ in 0..RELAYED {
            self.relay(coin, &mut cx);
            self.associate(coin, &mut cx);
        }
    }

    fn associate(&mut self, coin: &mut Coin<'_>, cx: &mut Context<'_>) {
        if self.associations.is_empty() {
            return;
        }
        let at = coin.below(self.associations.len());
        let association = &mut self.associations[at];
        let (octets, room) = (coin.below(9_000), coin.below(3_000));
        match coin.below(16) {
            0..7 => drop(association.poll_receive(cx, &mut [0; 3_000][..room])),
            7..12 => drop(association.send(&[7; 9_000][..octets])),
            12 => association.unreachable(Unreachable::Host),
            13 => association.too_big(1_280),
            _ if self.associations.len() > HELD / 2 => drop(self.associations.swap_remove(at)),
            _ => {}
        }
    }

    fn relay(&mut self, coin: &mut Coin<'_>, cx: &mut Context<'_>) {
        if self.streams.is_empty() {
            return;
        }
        let at = coin.below(self.streams.len());
        let stream = &mut self.streams[at];
        let most = 1 + coin.below(30_000);
        match coin.below(16) {
            0..7 => drop(stream.poll_drain(cx, |octets| Ok(octets.len().min(most)))),
            7..13 => drop(stream.poll_fill(cx, |room| Ok(room.len().min(most)))),
            13 => drop(pin!(stream).poll_shutdown(cx)),
            14 => drop(self.streams.swap_remove(at)),
            _ if self.streams.len() > HELD => self.streams.swap_remove(at).abort(),
            _ => {}
        }
    }
}
