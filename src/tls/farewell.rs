//! The alert by which a verified upstream ends its TLS.
//!
//! With TLS 1.3 a server judges its client's certificate after the handshake, so that what it says of it comes where an
//! answer is awaited, or where a request is still written. HTTP sees a connection that ended; the reason stays here.
//! Invariant: octets pass unchanged.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::failure::rustls_cause;
use crate::upstream::Stream;

/// What an upstream said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Farewell(Rc<Cell<Option<AlertDescription>>>);

impl Farewell {
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.0.get()
    }

    /// The same stream, listened to.
    pub(super) fn hear(&self, stream: TlsStream<Stream>) -> Heard {
        Heard { stream, farewell: self.clone() }
    }

    fn note(&self, error: Option<rustls::Error>) {
        if let Some(rustls::Error::AlertReceived(alert)) = error {
            self.0.set(Some(alert));
        }
    }
}

/// A stream of TLS whose last alert its [`VerifiedPeer`](super::VerifiedPeer) knows.
#[derive(Debug)]
pub struct Heard {
    stream: TlsStream<Stream>,
    farewell: Farewell,
}

impl Heard {
    /// Looks for an alert where nothing more can be written: the upstream may have closed right behind it.
    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_))) {
            let (stream, session) = self.stream.get_mut();
            let mut incoming = Incoming(stream);
            // No octet of an answer is taken: those wait in the session, which then wants no more.
            while session.wants_read() && session.read_tls(&mut incoming).is_ok_and(|count| count > 0) {
                if let Err(error) = session.process_new_packets() {
                    self.farewell.note(Some(error));
                    break;
                }
            }
        }
        written
    }
}

/// What has arrived, and no more.
struct Incoming<'a>(&'a mut Stream);

impl io::Read for Incoming<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(room)
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            self.farewell.note(rustls_cause(error));
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(shut)
    }
}
