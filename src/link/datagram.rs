//! A guest behind a Unix datagram socket, one frame a datagram, as libkrun, vfkit and krunkit connect it.
//!
//! The guest binds a socket of its own and connects it to ours; its first datagram says where it is. That one may
//! be a greeting of four octets and no frame. A datagram socket does not say that its peer has left, so a guest
//! that comes takes the place of the one that is there. Invariant: the socket at the path is never connected; a
//! connected one would turn the next guest away.
//!
//! What the peers do: <https://github.com/containers/libkrun/blob/main/src/devices/src/virtio/net/unixgram.rs>,
//! <https://github.com/crc-org/vfkit/blob/main/doc/usage.md> (`unixSocketPath`),
//! <https://github.com/containers/gvisor-tap-vsock/blob/main/pkg/transport/unixgram_unix.go>; unix(7).

use std::future::Future as _;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType, connect, sockopt};
use tokio::net::UnixDatagram;
use tokio::net::unix::SocketAddr;
use tokio::time::{Sleep, sleep};

use super::late::Late;
use super::socket::SocketFile;
use super::{BindError, Frame, Link, Offload};

/// What vfkit says first, and libkrun where it is told to (`NET_FLAG_VFKIT`).
const GREETING: &[u8] = b"VFKT";
/// Octets asked for in each direction: what libkrun asks for too. The system may give less.
const BUFFER: usize = 7 << 20;
/// How often it is asked whether the guest's socket is still there.
const PROBE: Duration = Duration::from_secs(5);

/// Frames over a datagram socket.
#[derive(Debug)]
pub struct DatagramLink {
    /// Where guests come from; none where there is only the one.
    door: Option<Door>,
    guest: Option<Guest>,
    /// The first datagram of a guest that took another's place.
    first: Option<Vec<u8>>,
    /// Whom to tell that sending found the guest gone.
    receiver: Option<Waker>,
    mtu: usize,
}

type Socket = Late<StdDatagram, UnixDatagram>;

#[derive(Debug)]
struct Door {
    file: SocketFile,
    socket: Socket,
}

#[derive(Debug)]
struct Guest {
    socket: Socket,
    /// Where it is; none for one that came connected.
    address: Option<SocketAddrUnix>,
    probe: Option<Pin<Box<Sleep>>>,
    kind: SocketType,
    gone: bool,
}

impl DatagramLink {
    /// Waits at `path` for one guest after the other; the file is its owner's alone and goes with the link.
    /// `mtu` is what the guest's interface is set to, octets.
    ///
    /// # Errors
    /// Why there can be no socket, with what to do.
    pub fn bind(path: &Path, mtu: usize) -> Result<Self, BindError> {
        Ok(Self { door: Some(Door::open(path)?), guest: None, first: None, receiver: None, mtu })
    }

    /// A guest that is connected already, by `SOCK_DGRAM` or `SOCK_SEQPACKET`; the link ends with it.
    ///
    /// # Errors
    /// The socket cannot be made nonblocking, or is of another type.
    pub fn connected(socket: StdDatagram, mtu: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let kind = sockopt::socket_type(&socket)?;
        if ![SocketType::DGRAM, SocketType::SEQPACKET].contains(&kind) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        widen(&socket);
        let guest = Guest { socket: Late::Idle(socket), address: None, probe: None, kind, gone: false };
        Ok(Self { door: None, guest: Some(guest), first: None, receiver: None, mtu })
    }

    /// Lets in who stands at the door; its first datagram is in `buf` or, where it took another's place, kept.
    fn admit(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(door) = &mut self.door else { return Err(io::ErrorKind::WouldBlock.into()) };
        loop {
            let (len, from) = door.socket.registered(UnixDatagram::from_std)?.try_recv_from(buf)?;
            let Some(address) = reachable(&from) else {
                tracing::warn!("a datagram of a socket without an address, which cannot be answered");
                continue;
            };
            let socket = door.socket.registered(UnixDatagram::from_std)?;
            if let Err(error) = connect(socket.as_fd(), &address) {
                tracing::warn!(from = ?from, %error, "the guest's own socket cannot be reached");
                continue;
            }
            tracing::info!(from = ?from, "guest connected");
            let guest = Guest {
                socket: door.replace()?,
                address: Some(address),
                probe: None,
                kind: SocketType::DGRAM,
                gone: false,
            };
            if self.guest.replace(guest).is_none() {
                return Ok(len);
            }
            self.first = Some(buf.get(..len).unwrap_or_default().to_vec());
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }

    /// The guest has left.
    fn lose(&mut self) -> io::Error {
        self.guest = None;
        tracing::info!("guest disconnected");
        let again = self.door.is_some();
        if again { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof }.into()
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.admit(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            admitted => return admitted,
        }
        if let Some(first) = self.first.take() {
            let len = first.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..len), first.get(..len)) {
                to.copy_from_slice(from);
            }
            return Ok(len);
        }
        let Some(guest) = &mut self.guest else { return Err(io::ErrorKind::WouldBlock.into()) };
        if guest.gone {
            return Err(self.lose());
        }
        match guest.socket()?.try_recv(buf) {
            Ok(0) if guest.kind == SocketType::SEQPACKET => Err(self.lose()),
            Err(error) if is_gone(&error) => Err(self.lose()),
            result => result,
        }
    }
}

impl Link for DatagramLink {
    fn offload(&self) -> Offload {
        Offload::None
    }

    /// libkrun offers its guests offloads by default (`COMPAT_NET_FEATURES`) and drops the `virtio_net_hdr` that
    /// says which checksum is left to finish.
    fn is_trusted(&self) -> bool {
        true
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.receive(buf)?;
            if buf.get(..len) != Some(GREETING) {
                return Ok(len);
            }
        }
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let Some(guest) = self.guest.as_mut().filter(|guest| !guest.gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match guest.socket()?.try_send(frame.bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => {
                if is_gone(&error) {
                    guest.gone = true;
                    if let Some(receiver) = self.receiver.take() {
                        receiver.wake();
                    }
                }
                Err(error)
            }
        }
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.receiver = Some(cx.waker().clone());
        if let Some(door) = &mut self.door
            && door.socket.registered(UnixDatagram::from_std)?.poll_recv_ready(cx)?.is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        let Some(guest) = &mut self.guest else { return Poll::Pending };
        if self.first.is_some() || guest.poll_gone(cx) {
            return Poll::Ready(Ok(()));
        }
        guest.socket()?.poll_recv_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.guest {
            Some(guest) if !guest.gone => guest.socket()?.poll_send_ready(cx),
            Some(_) | None => Poll::Ready(Ok(())),
        }
    }
}

impl Door {
    fn open(path: &Path) -> Result<Self, BindError> {
        let (file, socket) = SocketFile::bind(path, SocketType::DGRAM)?;
        widen(&socket);
        Ok(Self { file, socket: Late::Idle(socket.into()) })
    }

    /// Gives the socket away and puts a new one in its place.
    fn replace(&mut self) -> io::Result<Socket> {
        let path = self.file.path().to_owned();
        self.file.remove();
        let next = Self::open(&path).map_err(io::Error::other)?;
        Ok(std::mem::replace(self, next).socket)
    }
}

impl Guest {
    fn socket(&mut self) -> io::Result<&mut UnixDatagram> {
        self.socket.registered(UnixDatagram::from_std)
    }

    /// Whether the guest is known to be gone. To connect to where it is already connected changes nothing, and
    /// says so where nobody is.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(address) = self.address.as_ref().filter(|_| !self.gone) {
            let probe = self.probe.get_or_insert_with(|| Box::pin(sleep(PROBE)));
            if probe.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.probe = None;
            if let Late::Registered(socket) = &self.socket {
                self.gone = connect(socket.as_fd(), address) == Err(Errno::CONNREFUSED);
            }
        }
        self.gone
    }
}

/// Asks for large buffers; smaller ones work too.
fn widen(socket: &impl AsFd) {
    let sizes = [
        sockopt::set_socket_send_buffer_size(socket, BUFFER),
        sockopt::set_socket_recv_buffer_size(socket, BUFFER),
    ];
    for errno in sizes.into_iter().filter_map(Result::err) {
        tracing::debug!(%errno, "the buffers of the guest's socket stay as they are");
    }
}

/// The address of a socket that has one.
fn reachable(from: &SocketAddr) -> Option<SocketAddrUnix> {
    if let Some(path) = from.as_pathname() {
        return SocketAddrUnix::new(path).ok();
    }
    let from = std::os::unix::net::SocketAddr::from(from.clone());
    SocketAddrUnix::new_abstract_name(from.as_abstract_name()?).ok()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
    )
}
