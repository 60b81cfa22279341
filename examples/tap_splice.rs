//! A NAT without policy over a TAP device: every connection is relayed to the same port of this host.
//!
//! For measuring `portcullis::net` alone, with the splice that a relay would use: the rings of a connection are
//! lent to the system calls of the socket toward this host.
//!
//! ```text
//! tap_splice TAP SLOT /run/netns/GUEST
//! ```
//!
//! opens TAP in the named network namespace with the addresses of the slot, which the namespace is to be set up
//! with. It needs root. IPv4 connections are relayed to 127.0.0.1, IPv6 connections to ::1, to the same port.
//! Interrupted, it prints what was counted.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use portcullis::link::tap::{self, TapLink};
use portcullis::net::{self, Arrival, Config, Incoming, Stats, TcpStream};
use tokio::io::AsyncWrite;
use tokio::task::LocalSet;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Octets relayed in one direction before the other has its turn.
const BUDGET: usize = 256 << 10;

#[expect(clippy::print_stdout, reason = "what a person at a terminal asked for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(slot), Some(namespace)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: tap_splice TAP SLOT NAMESPACE-FILE".into());
    };
    let config = Config::for_slot(slot.parse()?);
    let tap = std::thread::spawn(move || -> io::Result<_> {
        let file = std::fs::File::open(namespace)?;
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )?;
        tap::open(&name)
    })
    .join()
    .map_err(|_| "the thread that opens the device panicked")??;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stats = LocalSet::new().block_on(&runtime, serve(TapLink::new(tap, 1500), config))?;
    println!("{stats:#?}");
    Ok(())
}

async fn serve(link: TapLink, config: Config) -> io::Result<Stats> {
    let (driver, mut arrivals) = net::start(link, config);
    let counters = driver.counters();
    let mut driver = tokio::task::spawn_local(driver);
    loop {
        tokio::select! {
            ended = &mut driver => {
                ended??;
                return Ok(counters.stats());
            }
            arrival = arrivals.next() => match arrival {
                Some(Arrival::Tcp(incoming)) => drop(tokio::task::spawn_local(relay(incoming))),
                // There is no DNS here.
                Some(Arrival::Datagram(datagram)) => drop(datagram),
                // Nor any other UDP.
                Some(Arrival::Association(association)) => drop(association),
                None => return Ok(counters.stats()),
            },
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                return Ok(counters.stats());
            }
        }
    }
}

async fn relay(incoming: Incoming) {
    let to: IpAddr = match incoming.destination().ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let dial = tokio::net::TcpStream::connect(SocketAddr::new(to, incoming.destination().port()));
    let upstream = tokio::select! {
        dialled = dial => match dialled {
            Ok(upstream) => upstream,
            Err(_) => return incoming.refuse(),
        },
        () = incoming.cancelled() => return,
    };
    if upstream.set_nodelay(true).is_err() {
        return incoming.refuse();
    }
    let mut splice = Splice { guest: incoming.accept(), upstream, up: Half::Open, down: Half::Open };
    if poll_fn(|cx| splice.poll(cx)).await.is_err() {
        splice.guest.abort();
    }
}

struct Splice {
    guest: TcpStream,
    upstream: tokio::net::TcpStream,
    up: Half,
    down: Half,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Half {
    Open,
    Done,
}

impl Splice {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.up == Half::Open && self.poll_up(cx)?.is_ready() {
            self.up = Half::Done;
            let _ = std::pin::pin!(&mut self.upstream).poll_shutdown(cx)?;
        }
        if self.down == Half::Open && self.poll_down(cx)?.is_ready() {
            self.down = Half::Done;
            let _ = std::pin::pin!(&mut self.guest).poll_shutdown(cx)?;
        }
        if (self.up, self.down) == (Half::Done, Half::Done) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut budget = BUDGET;
        while budget > 0 {
            match ready!(self.guest.poll_drain(cx, |octets| self.upstream.try_write(octets))) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(len) => budget = budget.saturating_sub(len),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.upstream.poll_write_ready(cx))?;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut budget = BUDGET;
        while budget > 0 {
            match ready!(self.guest.poll_fill(cx, |room| self.upstream.try_read(room))) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(len) => budget = budget.saturating_sub(len),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.upstream.poll_read_ready(cx))?;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
