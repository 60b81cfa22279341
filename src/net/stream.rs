//! An accepted flow, or one into the guest, as a byte stream.
//!
//! Reads and writes move octets between the caller and the flow's own rings, with no queue between them: the
//! guest's window is the backpressure. The two directions never wait for each other.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::arrivals::Handle;
use super::stack::Stack;
use super::table::FlowId;
use super::tcp;

/// A TCP connection with the guest.
///
/// Shutting it down sends FIN after what was written, and reading goes on. Dropped after a shutdown it drains
/// by itself: what is queued is sent as long as the guest takes it, what still comes is thrown away, and after
/// `Limits::drain` without progress the guest gets an RST. Dropped without a shutdown it is reset.
///
/// Reads of a connection the guest reset fail with `ConnectionReset`, as do writes; a write after a shutdown
/// fails with `BrokenPipe`.
pub struct TcpStream {
    handle: Option<Handle>,
    source: SocketAddr,
    destination: SocketAddr,
}

impl TcpStream {
    pub(super) fn new(handle: Option<Handle>, source: SocketAddr, destination: SocketAddr) -> Self {
        Self { handle, source, destination }
    }

    /// The guest's end.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// The address and port the guest chose, or those of the gateway that a connection into the guest comes from.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Resolves when the guest has reset the connection, or is gone.
    ///
    /// For a time in which nobody reads: a read that waits is not woken while this is polled, nor the other way round.
    pub fn lost(&self) -> impl Future<Output = ()> + 'static {
        let handle = self.handle.as_ref().map(|Handle { shell, id }| (Rc::clone(shell), *id));
        poll_fn(move |cx| match &handle {
            Some((shell, id)) => shell.with(|stack| stack.poll_lost(*id, cx.waker())),
            None => Poll::Ready(()),
        })
    }

    /// Resets the connection: an RST goes to the guest, and what is queued is dropped.
    pub fn abort(mut self) {
        if let Some(Handle { shell, id }) = self.handle.take() {
            shell.with(|stack| stack.abort(id));
        }
    }

    /// Lends `f` the free part of the ring toward the guest; what it says it filled is sent.
    ///
    /// Pending, without calling `f`, while the ring is full or the handshake is not done. The slice is the
    /// longest in one piece and never empty; `f` may fill any part of it from the start, or fail, and its
    /// result is passed on. It runs inside the network: it must not touch a stream of this sandbox.
    ///
    /// # Errors
    /// What `f` returned; `ConnectionReset` and `BrokenPipe` as for a write.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        f: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |stack, id, waker| stack.poll_fill(id, waker, f))
    }

    /// Lends `f` what the guest has sent; what it says it took is gone and opens the guest's window.
    ///
    /// Pending, without calling `f`, while there is nothing. Ready with 0 at the guest's FIN, also without
    /// calling it. The slice is the longest in one piece and never empty; `f` may take any part of it from the
    /// start, or fail, and its result is passed on. It runs inside the network: it must not touch a stream of
    /// this sandbox.
    ///
    /// # Errors
    /// What `f` returned; `ConnectionReset` as for a read.
    pub fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        f: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |stack, id, waker| stack.poll_drain(id, waker, f))
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        f: impl FnOnce(&mut Stack, FlowId, &Waker) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let Some(Handle { shell, id }) = &self.handle else { return Poll::Ready(Err(tcp::reset())) };
        shell.with(|stack| f(stack, *id, cx.waker()))
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx, |octets| {
            let part = octets.get(..octets.len().min(buf.remaining())).unwrap_or_default();
            buf.put_slice(part);
            Ok(part.len())
        }))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_fill(cx, |room| Ok(gather(room, bufs)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, |stack, id, _| Poll::Ready(stack.finish(id)))
    }
}

/// Copies as much of `bufs` into `room` as fits.
fn gather(mut room: &mut [u8], bufs: &[IoSlice<'_>]) -> usize {
    let mut copied = 0;
    for buf in bufs {
        let len = buf.len().min(room.len());
        let Some((to, rest)) = room.split_at_mut_checked(len) else { break };
        to.copy_from_slice(buf.get(..len).unwrap_or_default());
        copied += len;
        room = rest;
    }
    copied
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if let Some(Handle { shell, id }) = self.handle.take() {
            shell.with(|stack| stack.release(id));
        }
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}
