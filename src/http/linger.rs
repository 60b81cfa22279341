//! An upstream that ends its side while a request is still on its way to it.
//!
//! hyper's client takes that for a broken connection, although an answer may be whole by then (RFC 9112 §9.3: a
//! server may answer early) and the rest of the request may still be read. [`Linger`] keeps the end from hyper
//! until the request is sent, or until more of the answer is awaited. It knows no HTTP but what [`Progress`] tells.
//! Invariant: an end that leaves an answer incomplete is told.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Progress;

/// The exchange under way on a connection, if any.
pub(super) type Latest = Rc<RefCell<Option<Rc<Progress>>>>;

/// The stream of an h1 upstream.
pub(super) struct Linger<U> {
    stream: U,
    latest: Latest,
    end: End,
}

/// What is known of the upstream's end.
enum End {
    Unseen,
    Seen,
}

impl<U> Linger<U> {
    pub(super) fn new(stream: U, latest: Latest) -> Self {
        Self { stream, latest, end: End::Unseen }
    }

    pub(super) fn into_inner(self) -> U {
        self.stream
    }

    /// Whether an end seen earlier is to be told now.
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let latest = self.latest.borrow();
        let Some(progress) = latest.as_ref().filter(|progress| progress.is_sending()) else {
            return Poll::Ready(());
        };
        match self.end {
            // Once round, so that whoever reads the answer takes what there is of it.
            End::Unseen => {
                self.end = End::Seen;
                cx.waker().wake_by_ref();
            }
            End::Seen if progress.wants_answer() => return Poll::Ready(()),
            End::Seen => {}
        }
        progress.read_by(cx.waker());
        Poll::Pending
    }
}

impl<U: AsyncRead + Unpin> AsyncRead for Linger<U> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.end, End::Unseen) {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.poll_told(cx));
        Poll::Ready(Ok(()))
    }
}

impl<U: AsyncWrite + Unpin> AsyncWrite for Linger<U> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
