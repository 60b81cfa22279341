//! A guest with a TCP stack of its own at the far end of a link, for tests that need whole connections.
//!
//! Its TCP is smoltcp's, its Ethernet and UDP are written out here. It lives on the test's own thread, beside
//! the sandbox, and works in paused time. Not fast and not bounded: a test opens few connections.

#[path = "card.rs"]
mod card;
#[path = "packet.rs"]
pub(crate) mod packet;
#[path = "raw.rs"]
mod raw;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use portcullis::link::Link;
use portcullis::net::Config;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpListenEndpoint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use card::Card;
pub(crate) use card::{Frozen, datagram};

/// Octets of a ring that a scaled window may leave out.
const UNTOLD: usize = 16;
/// Octets of each of the guest's rings.
const RING: usize = 256 << 10;

/// The guest; clones are the same guest.
#[derive(Clone)]
pub(crate) struct Guest(Rc<RefCell<Inner>>);

struct Inner {
    interface: Interface,
    card: Card,
    sockets: SocketSet<'static>,
    waiting: Vec<Waker>,
    exchanges: HashMap<u16, Option<io::Result<Vec<u8>>>>,
    next_port: u16,
    config: Config,
    started: tokio::time::Instant,
    task: Option<Waker>,
}

impl Guest {
    /// Plugs a guest into the far end of a link and starts it on the current `LocalSet`.
    pub(crate) fn new<L: Link + 'static>(link: L, config: &Config) -> Self {
        Self::seeded(link, config, 7)
    }

    /// The same, with a seed for its initial sequence numbers.
    pub(crate) fn seeded<L: Link + 'static>(link: L, config: &Config, seed: u64) -> Self {
        let mut card = Card::new(link, config);
        let mut settings = smoltcp::iface::Config::new(HardwareAddress::Ip);
        settings.random_seed = seed;
        let mut interface = Interface::new(settings, &mut card, Instant::ZERO);
        interface.set_any_ip(true);
        let inner = Inner {
            interface,
            card,
            sockets: SocketSet::new(Vec::new()),
            waiting: Vec::new(),
            exchanges: HashMap::new(),
            next_port: 40_000,
            config: config.clone(),
            started: tokio::time::Instant::now(),
            task: None,
        };
        let guest = Self(Rc::new(RefCell::new(inner)));
        let weak = Rc::downgrade(&guest.0);
        tokio::task::spawn_local(async move {
            let mut sleep = Box::pin(tokio::time::sleep_until(tokio::time::Instant::now()));
            poll_fn(move |cx| {
                let Some(inner) = weak.upgrade() else { return Poll::Ready(()) };
                let Poll::Ready(woken) = inner.borrow_mut().turn(cx, &mut sleep) else {
                    return Poll::Ready(());
                };
                for waker in woken {
                    waker.wake();
                }
                Poll::Pending
            })
            .await;
        });
        guest
    }

    /// Opens a TCP connection.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<GuestStream> {
        let port = self.port();
        self.connect_from(port, to).await
    }

    /// Opens a TCP connection from a port of choice.
    pub(crate) async fn connect_from(&self, port: u16, to: SocketAddr) -> io::Result<GuestStream> {
        let stream = self.begin(port, to);
        poll_fn(|cx| {
            let mut inner = self.0.borrow_mut();
            let state = inner.socket(stream.handle).state();
            if matches!(state, tcp::State::SynSent | tcp::State::SynReceived) {
                inner.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            Poll::Ready(if state == tcp::State::Closed { Err(refused()) } else { Ok(()) })
        })
        .await?;
        Ok(stream)
    }

    /// Sends a SYN and does not wait for the answer.
    pub(crate) fn begin(&self, port: u16, to: SocketAddr) -> GuestStream {
        let mut inner = self.0.borrow_mut();
        let ring = || tcp::SocketBuffer::new(vec![0; RING]);
        let mut socket = tcp::Socket::new(ring(), ring());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let from = IpListenEndpoint { addr: Some(inner.address(to.ip()).into()), port };
        socket.connect(inner.interface.context(), IpEndpoint::from(to), from).unwrap();
        let handle = inner.sockets.add(socket);
        inner.kick();
        drop(inner);
        GuestStream { guest: self.clone(), handle, forgotten: Cell::new(false) }
    }

    /// Listens at a port, for one connection.
    pub(crate) fn listen(&self, port: u16) -> GuestStream {
        let mut inner = self.0.borrow_mut();
        let ring = || tcp::SocketBuffer::new(vec![0; RING]);
        let mut socket = tcp::Socket::new(ring(), ring());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.listen(port).unwrap();
        let handle = inner.sockets.add(socket);
        drop(inner);
        GuestStream { guest: self.clone(), handle, forgotten: Cell::new(false) }
    }

    /// Sends a datagram and waits for the reply; `ConnectionRefused` for an ICMP "port unreachable".
    pub(crate) async fn udp_exchange(&self, to: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
        let port = self.port();
        {
            let mut inner = self.0.borrow_mut();
            inner.exchanges.insert(port, None);
            let from = SocketAddr::new(inner.address(to.ip()), port);
            let packet = datagram(from, to, payload);
            inner.card.outbox.push_back(packet);
            inner.kick();
        }
        poll_fn(|cx| {
            let mut inner = self.0.borrow_mut();
            if let Some(Some(_)) = inner.exchanges.get(&port) {
                return Poll::Ready(inner.exchanges.remove(&port).flatten().unwrap());
            }
            inner.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// A port no connection of this guest has used lately.
    pub(crate) fn port(&self) -> u16 {
        let mut inner = self.0.borrow_mut();
        inner.next_port = inner.next_port.checked_add(1).unwrap_or(40_000);
        inner.next_port
    }

    /// The guest stops taking frames from the link, or goes on.
    pub(crate) fn freeze(&self, frozen: Frozen) {
        let mut inner = self.0.borrow_mut();
        inner.card.frozen = frozen;
        inner.kick();
    }
}

impl Inner {
    fn address(&self, like: IpAddr) -> IpAddr {
        if like.is_ipv4() { self.config.guest_v4.into() } else { self.config.guest_v6.into() }
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn kick(&mut self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, sleep: &mut Pin<Box<tokio::time::Sleep>>) -> Poll<Vec<Waker>> {
        self.task = Some(cx.waker().clone());
        let now = Instant::from_micros(self.started.elapsed().as_micros() as i64);
        if self.card.receive(cx).is_err() {
            return Poll::Pending;
        }
        while let Some((port, result)) = self.card.replies.pop_front() {
            if let Some(slot) = self.exchanges.get_mut(&port) {
                *slot = Some(result);
            }
        }
        self.interface.poll(now, &mut self.card, &mut self.sockets);
        if self.card.flush(cx) {
            cx.waker().wake_by_ref();
        }
        if let Some(at) = self.interface.poll_at(now, &self.sockets) {
            let after = at.total_micros().saturating_sub(now.total_micros()).max(1_000);
            let after = std::time::Duration::from_micros(after as u64);
            sleep.as_mut().reset(tokio::time::Instant::now() + after);
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(std::mem::take(&mut self.waiting))
    }
}

/// The guest's end of a TCP connection; dropping it is closing it.
pub(crate) struct GuestStream {
    guest: Guest,
    handle: SocketHandle,
    forgotten: Cell<bool>,
}

impl GuestStream {
    /// Sends RST.
    pub(crate) fn reset(&self) {
        let mut inner = self.guest.0.borrow_mut();
        inner.socket(self.handle).abort();
        inner.kick();
    }

    /// Resolves when somebody has connected; who, as the guest sees it.
    pub(crate) async fn accepted(&self) -> SocketAddr {
        poll_fn(|cx| {
            let mut inner = self.guest.0.borrow_mut();
            let socket = inner.socket(self.handle);
            if socket.may_recv() {
                let remote = socket.remote_endpoint().unwrap();
                return Poll::Ready(SocketAddr::new(remote.addr.into(), remote.port));
            }
            inner.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Leaves the connection open when this is dropped, as a process that hangs does.
    pub(crate) fn forget(&self) {
        self.forgotten.set(true);
    }

    /// Resolves when the window is closed: less is free than can be told of a window that is scaled.
    pub(crate) async fn full(&self) {
        poll_fn(|cx| {
            let mut inner = self.guest.0.borrow_mut();
            let socket = inner.socket(self.handle);
            if socket.recv_capacity() - socket.recv_queue() < UNTOLD {
                return Poll::Ready(());
            }
            inner.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Resolves when the connection is over or in TIME-WAIT.
    pub(crate) async fn closed(&self) -> tcp::State {
        poll_fn(|cx| {
            let mut inner = self.guest.0.borrow_mut();
            let state = inner.socket(self.handle).state();
            if matches!(state, tcp::State::Closed | tcp::State::TimeWait) {
                return Poll::Ready(state);
            }
            inner.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl AsyncRead for GuestStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.guest.0.borrow_mut();
        let socket = inner.socket(self.handle);
        if socket.can_recv() {
            socket
                .recv(|octets| {
                    let len = octets.len().min(buf.remaining());
                    buf.put_slice(&octets[..len]);
                    (len, ())
                })
                .unwrap();
            inner.kick();
            return Poll::Ready(Ok(()));
        }
        match socket.recv(|_| (0, ())) {
            Err(tcp::RecvError::Finished) => {
                return Poll::Ready(Ok(()));
            }
            Err(tcp::RecvError::InvalidState) if socket.state() == tcp::State::Closed => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Ok(()) | Err(tcp::RecvError::InvalidState) => {}
        }
        inner.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for GuestStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.guest.0.borrow_mut();
        let socket = inner.socket(self.handle);
        if socket.can_send() {
            let sent = socket.send_slice(buf).unwrap();
            inner.kick();
            return Poll::Ready(Ok(sent));
        }
        if !socket.may_send() {
            let closed = socket.state() == tcp::State::Closed;
            let kind = if closed { io::ErrorKind::ConnectionReset } else { io::ErrorKind::BrokenPipe };
            return Poll::Ready(Err(kind.into()));
        }
        inner.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.guest.0.borrow_mut();
        inner.socket(self.handle).close();
        inner.kick();
        Poll::Ready(Ok(()))
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        if self.forgotten.get() {
            return;
        }
        let mut inner = self.guest.0.borrow_mut();
        inner.socket(self.handle).close();
        inner.kick();
    }
}
