//! The alert by which a verified upstream ends its TLS.
//!
//! With TLS 1.3 a server judges its client's certificate after the handshake, so that what it says of it comes where an
//! answer is awaited. HTTP sees a connection that ended; the reason stays here. Invariant: octets pass unchanged.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::rustls_cause;

/// What an upstream said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Farewell(Rc<Cell<Option<AlertDescription>>>);

impl Farewell {
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.0.get()
    }

    /// The same stream, listened to.
    pub(super) fn hear<S>(&self, stream: S) -> Heard<S> {
        Heard { stream, farewell: self.clone() }
    }

    fn note(&self, error: &io::Error) {
        if let Some(rustls::Error::AlertReceived(alert)) = rustls_cause(error) {
            self.0.set(Some(alert));
        }
    }
}

/// A stream of TLS whose last alert its [`VerifiedPeer`](super::VerifiedPeer) knows.
#[derive(Debug)]
pub struct Heard<S> {
    stream: S,
    farewell: Farewell,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            self.farewell.note(error);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
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
