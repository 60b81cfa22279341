//! The guest's h1 connection, shared between hyper and the one who watches whether the guest is still there.
//!
//! With half-closing guests allowed, hyper reads nothing while a response is due, and would not see a reset
//! until it writes. [`Wire`] reads ahead in that time, a bounded bit. It knows no HTTP. Invariant: hyper gets
//! every byte once, in order.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Octets read ahead: enough to notice an end, few enough to hold for a guest that pipelines.
const AHEAD: usize = 1024;

/// One end of the shared connection; hyper owns one, the watcher another.
#[derive(Debug)]
pub(super) struct Wire<T>(Rc<RefCell<Line<T>>>);

#[derive(Debug)]
struct Line<T> {
    io: TokioIo<T>,
    ahead: BytesMut,
    ended: bool,
}

impl<T> Wire<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Rc::new(RefCell::new(Line { io: TokioIo::new(io), ahead: BytesMut::new(), ended: false })))
    }

    /// Another handle of the same connection.
    pub(super) fn share(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    /// The stream and what was read of it and not taken, if this is the last handle.
    pub(super) fn into_inner(self) -> Option<(T, Bytes)> {
        let line = Rc::try_unwrap(self.0).ok()?.into_inner();
        Some((line.io.into_inner(), line.ahead.freeze()))
    }
}

impl<T: AsyncRead + Unpin> Wire<T> {
    /// Ready when the connection broke. An orderly end is no break: the guest may still read.
    ///
    /// To be called only while hyper does not read.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let line = &mut *self.0.borrow_mut();
        if line.ended || !line.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut space = [0; AHEAD];
        let mut buf = ReadBuf::new(&mut space);
        match ready!(Pin::new(line.io.inner_mut()).poll_read(cx, &mut buf)) {
            Err(error) => return Poll::Ready(error),
            Ok(()) if buf.filled().is_empty() => line.ended = true,
            Ok(()) => line.ahead.extend_from_slice(buf.filled()),
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> Read for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let line = &mut *self.0.borrow_mut();
        if !line.ahead.is_empty() {
            let piece = line.ahead.split_to(line.ahead.remaining().min(buf.remaining()));
            buf.put_slice(&piece);
            return Poll::Ready(Ok(()));
        }
        if line.ended {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut line.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> Write for Wire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_write_vectored(cx, bufs)
    }
}
