//! What a packet costs with idle flows beside it: flat, or the design is broken.
//!
//! Guest and network are on one thread, joined by a link in memory; the guest writes its frames by hand, so that
//! what is measured is parsing, the flow table, one flow's TCP, the driver's turn and the task that echoes.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

#[path = "../tests/support/packet.rs"]
mod packet;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use divan::counter::ItemsCount;
use portcullis::link::memory::{self, MemoryLink};
use portcullis::link::{Frame, Link};
use portcullis::net::{self, Arrival, Arrivals, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PAYLOAD: usize = 64;
const FAR: &str = "192.0.2.1:443";

fn main() {
    divan::main();
}

/// One octet string there and back, alone on the cable.
#[divan::bench(args = [0, 1_000, 8_000], sample_count = 5_000)]
fn round_trip(bencher: divan::Bencher<'_, '_>, idle: u16) {
    let mut bed = Bed::new(idle);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(move || bed.echo(1));
}

/// Sixty-four segments at once and their octets back.
#[divan::bench(args = [0, 1_000, 8_000], sample_count = 5_000)]
fn burst(bencher: divan::Bencher<'_, '_>, idle: u16) {
    let mut bed = Bed::new(idle);
    bencher.counter(ItemsCount::new(64_u32)).bench_local(move || bed.echo(64));
}

struct Bed {
    runtime: Runtime,
    local: Rc<LocalSet>,
    wire: Wire,
    active: Peer,
}

/// The guest's card, and frames to be filled in.
struct Wire {
    link: MemoryLink,
    config: Config,
    buffer: Vec<u8>,
}

/// One connection of the guest.
#[derive(Clone, Copy)]
struct Peer {
    port: u16,
    sequence: u32,
    acknowledgment: u32,
}

impl Bed {
    /// A guest with so many idle connections and one that is used.
    fn new(idle: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = Rc::new(LocalSet::new());
        let config = Config::for_slot(1);
        let (ours, link) = memory::pair(256, 1_500);
        let mut wire = Wire { link, config: config.clone(), buffer: vec![0; 2_000] };
        let active = local.block_on(&runtime, async {
            let (driver, arrivals) = net::start(ours, config);
            tokio::task::spawn_local(driver);
            tokio::task::spawn_local(accept(arrivals));
            for port in 0..idle {
                wire.open(10_000 + port).await;
            }
            wire.open(9_999).await
        });
        Self { runtime, local, wire, active }
    }

    fn echo(&mut self, segments: usize) {
        let Self { runtime, local, wire, active } = self;
        local.block_on(runtime, wire.echo(active, segments));
    }
}

/// Accepts everything and echoes it.
async fn accept(mut arrivals: Arrivals) {
    while let Some(arrival) = arrivals.next().await {
        let Arrival::Tcp(incoming) = arrival else { continue };
        let mut stream = incoming.accept();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 64 * PAYLOAD];
            while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..len]).await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Wire {
    async fn open(&mut self, port: u16) -> Peer {
        let mut peer = Peer { port, sequence: 1, acknowledgment: 0 };
        self.send(&peer, SYN, &[]);
        peer.sequence = 2;
        let (sequence, _) = self.receive().await;
        peer.acknowledgment = sequence.wrapping_add(1);
        self.send(&peer, ACK, &[]);
        peer
    }

    async fn echo(&mut self, peer: &mut Peer, segments: usize) {
        for _ in 0..segments {
            self.send(peer, ACK, &[7; PAYLOAD]);
            peer.sequence = peer.sequence.wrapping_add(PAYLOAD as u32);
        }
        let mut missing = segments * PAYLOAD;
        while missing > 0 {
            let (_, payload) = self.receive().await;
            peer.acknowledgment = peer.acknowledgment.wrapping_add(payload as u32);
            missing -= payload;
        }
    }

    fn send(&mut self, peer: &Peer, flags: u8, payload: &[u8]) {
        let to: SocketAddr = FAR.parse().unwrap();
        let mut body = Vec::with_capacity(20 + payload.len());
        body.extend(peer.port.to_be_bytes());
        body.extend(to.port().to_be_bytes());
        body.extend(peer.sequence.to_be_bytes());
        body.extend(peer.acknowledgment.to_be_bytes());
        body.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(payload);
        let from = IpAddr::V4(self.config.guest_v4);
        let packet = packet::ip(from, to.ip(), 6, body, Some(16));
        let frame = [&self.config.gateway_mac[..], &self.config.guest_mac, &[8, 0], &packet].concat();
        self.link.try_send(Frame { bytes: &frame, partial: None }).unwrap();
    }

    /// Sequence number and payload length of the next segment.
    async fn receive(&mut self) -> (u32, usize) {
        poll_fn(|cx| self.link.poll_receive_ready(cx)).await.unwrap();
        let len = self.link.try_receive(&mut self.buffer).unwrap();
        let tcp = &self.buffer[34..len];
        let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        (sequence, tcp.len() - usize::from(tcp[12] >> 4) * 4)
    }
}
