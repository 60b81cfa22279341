//! A guest with a TCP stack of its own, the network under test, and the cable between them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis::limits::Limits;
use portcullis::link::memory::MemoryLink;
use portcullis::link::{Link, memory};
use portcullis::net::{self, Arrival, Arrivals, Config, Counters, Incoming, TcpStream};

use crate::canary::{Canary, End, Watched};
use crate::guest::{Guest, GuestStream};

pub(crate) const V4: &str = "192.0.2.1:443";
pub(crate) const V6: &str = "[2001:db8::1]:443";

/// A guest, the network under test, and the cable between them.
pub(crate) struct Bed {
    pub(crate) guest: Guest,
    /// The guest as the network under test can connect to it.
    pub(crate) into: net::Guest,
    pub(crate) arrivals: Arrivals,
    pub(crate) counters: Counters,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let config = Config { limits: Arc::new(limits), ..Config::for_slot(3) };
        let (ours, theirs) = cable(256, 1500);
        Self::plug(ours, theirs, config)
    }

    pub(crate) fn plug(ours: impl Link + 'static, theirs: impl Link + 'static, config: Config) -> Self {
        Self::seeded(ours, theirs, (config, 7))
    }

    /// The same with a seed for the guest's initial sequence numbers.
    pub(crate) fn seeded(
        ours: impl Link + 'static,
        theirs: impl Link + 'static,
        (config, seed): (Config, u64),
    ) -> Self {
        let guest = Guest::seeded(theirs, &config, seed);
        let (driver, arrivals) = net::start(ours, config);
        let (counters, into) = (driver.counters(), driver.guest());
        tokio::task::spawn_local(driver);
        Self { guest, into, arrivals, counters }
    }

    pub(crate) async fn incoming(&mut self) -> Incoming {
        match self.arrivals.next().await.unwrap() {
            Arrival::Tcp(incoming) => incoming,
            other @ (Arrival::Datagram(_) | Arrival::Association(_)) => panic!("{other:?}"),
        }
    }

    /// A connection, both ends.
    pub(crate) async fn connected(&mut self, to: &str) -> (GuestStream, TcpStream) {
        let (guest, to) = (self.guest.clone(), address(to));
        let theirs = tokio::task::spawn_local(async move { guest.connect(to).await.unwrap() });
        let ours = self.incoming().await.accept();
        (theirs.await.unwrap(), ours)
    }
}

/// A cable, of which the guest's end is watched for the canary; as every cable of these tests is.
pub(crate) fn cable(capacity: usize, mtu: usize) -> (MemoryLink, Watched<MemoryLink>) {
    let (ours, theirs) = memory::pair(capacity, mtu);
    (ours, Canary::of_test().watched(End::Guests, theirs))
}

pub(crate) fn address(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

pub(crate) fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}
