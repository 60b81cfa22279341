//! A guest behind a Unix stream socket, as `qemu -netdev stream` and its like connect it.
//!
//! Each frame follows its length, 32 bits in network order; there are no offloads. A link that listens serves one
//! guest at a time: a second waits in the socket's queue until the first has left. Invariant: the octets of a
//! frame that was begun all go out before another frame does.
//!
//! The framing: <https://www.qemu.org/docs/master/system/invocation.html> (`-netdev stream`), `net/stream.c`.

mod framing;

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{SocketType, listen};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Sleep, sleep};

use self::framing::{Inbox, Outbox};
use super::late::Late;
use super::socket::SocketFile;
use super::{BindError, Frame, Link, Offload};

/// Guests that may wait for the one that is there to leave.
const BACKLOG: i32 = 8;
/// How long a listener rests that the system has no descriptor for.
const REST: Duration = Duration::from_millis(100);

/// Frames over a stream socket.
#[derive(Debug)]
pub struct StreamLink {
    /// Where guests come from; none where there is only the one.
    door: Option<Door>,
    guest: Option<Guest>,
    mtu: usize,
}

#[derive(Debug)]
struct Door {
    listener: Late<StdListener, UnixListener>,
    rest: Option<Pin<Box<Sleep>>>,
    _file: SocketFile,
}

#[derive(Debug)]
struct Guest {
    stream: Late<StdStream, UnixStream>,
    inbox: Inbox,
    outbox: Outbox,
}

impl StreamLink {
    /// Listens at `path` for one guest after the other; the file is its owner's alone and goes with the link.
    /// `mtu` is what the guest's interface is set to, octets.
    ///
    /// # Errors
    /// Why there can be no socket, with what to do.
    pub fn listen(path: &Path, mtu: usize) -> Result<Self, BindError> {
        let (file, socket) = SocketFile::bind(path, SocketType::STREAM)?;
        listen(&socket, BACKLOG).map_err(|errno| BindError::System(path.to_owned(), errno.into()))?;
        let door = Door { listener: Late::Idle(socket.into()), rest: None, _file: file };
        Ok(Self { door: Some(door), guest: None, mtu })
    }

    /// A guest that is connected already; the link ends with it.
    ///
    /// # Errors
    /// The socket cannot be made nonblocking.
    pub fn connected(stream: StdStream, mtu: usize) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { door: None, guest: Some(Guest::new(Late::Idle(stream))), mtu })
    }

    /// The guest has left, or is not understood.
    fn lose(&mut self, why: &io::Error) -> io::Error {
        self.guest = None;
        tracing::info!(%why, "guest disconnected");
        let again = self.door.is_some();
        if again { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof }.into()
    }
}

impl Link for StreamLink {
    fn offload(&self) -> Offload {
        Offload::None
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(guest) = &mut self.guest else { return Err(io::ErrorKind::WouldBlock.into()) };
        match guest.receive(buf) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(self.lose(&error)),
            result => result,
        }
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let Some(guest) = &mut self.guest else { return Err(io::ErrorKind::NotConnected.into()) };
        guest.send(frame.bytes)
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guest = match (&mut self.guest, &mut self.door) {
            (Some(guest), _) => guest,
            (none, Some(door)) => {
                let stream = ready!(door.poll_accept(cx))?;
                tracing::info!("guest connected");
                none.insert(Guest::new(Late::Registered(stream)))
            }
            (None, None) => return Poll::Ready(Ok(())),
        };
        // Nobody asks whether there is room while no frame is held, so what is left of the last is sent here. That
        // the guest has left is told by the next read.
        let _ = guest.poll_flush(cx);
        if guest.inbox.is_ready() {
            return Poll::Ready(Ok(()));
        }
        guest.stream()?.poll_read_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(guest) = &mut self.guest else { return Poll::Ready(Ok(())) };
        if ready!(guest.poll_flush(cx)).is_err() {
            return Poll::Ready(Ok(()));
        }
        guest.stream()?.poll_write_ready(cx)
    }
}

impl Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(cx));
                self.rest = None;
            }
            match ready!(self.listener.registered(UnixListener::from_std)?.poll_accept(cx)) {
                Ok((stream, _)) => return Poll::Ready(Ok(stream)),
                Err(error) => {
                    tracing::warn!(%error, "a guest cannot be accepted");
                    self.rest = Some(Box::pin(sleep(REST)));
                }
            }
        }
    }
}

impl Guest {
    fn new(stream: Late<StdStream, UnixStream>) -> Self {
        Self { stream, inbox: Inbox::new(), outbox: Outbox::default() }
    }

    fn stream(&mut self) -> io::Result<&mut UnixStream> {
        self.stream.registered(UnixStream::from_std)
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(len) = self.inbox.take(buf)? {
                return Ok(len);
            }
            let stream = self.stream.registered(UnixStream::from_std)?;
            match stream.try_read(self.inbox.room())? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.inbox.filled(len),
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.flush()?;
        let header = framing::header(frame)?;
        let written = self.stream()?.try_write_vectored(&[IoSlice::new(&header), IoSlice::new(frame)])?;
        self.outbox.keep(&header, frame, written);
        Ok(())
    }

    /// Sends what is left of the last frame; `WouldBlock` while some still is.
    fn flush(&mut self) -> io::Result<()> {
        let Self { stream, outbox, .. } = self;
        while !outbox.left().is_empty() {
            let stream = stream.registered(UnixStream::from_std)?;
            let written = stream.try_write(outbox.left())?;
            outbox.advance(written);
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream()?.poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }
}
