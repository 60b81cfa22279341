//! The octets to and from an upstream, by whatever way they go.
//!
//! Invariant: what a proxy sent behind its last word of the handshake is read first, and once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection to an upstream.
#[derive(Debug)]
pub struct Stream(Way);

#[derive(Debug)]
enum Way {
    Direct(TcpStream),
    /// Boxed: most are direct, and small.
    Tunnel(Box<Tunnel>),
}

/// The inside of a tunnel.
#[derive(Debug)]
struct Tunnel {
    /// What came in one piece with the proxy's last word.
    ahead: Bytes,
    wire: Wire,
}

/// The connection to a proxy.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self(Way::Direct(stream))
    }
}

impl Stream {
    /// What lies behind a proxy that opened its tunnel; `ahead` was read of it by then.
    pub(crate) fn tunnel(wire: Wire, ahead: Bytes) -> Self {
        match wire {
            Wire::Plain(stream) if ahead.is_empty() => stream.into(),
            wire @ (Wire::Plain(_) | Wire::Tls(_)) => Self(Way::Tunnel(Box::new(Tunnel { ahead, wire }))),
        }
    }

    /// Reads what is there into `room`. [`io::ErrorKind::WouldBlock`] means that `cx` is woken for more.
    pub(crate) fn try_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(room);
        match Pin::new(self).poll_read(cx, &mut buf) {
            Poll::Ready(read) => read.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes what there is room for. [`io::ErrorKind::WouldBlock`] means that `cx` is woken when there is some.
    pub(crate) fn try_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> io::Result<usize> {
        match Pin::new(self).poll_write(cx, octets) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Reads what the system has by now, whether the runtime has heard of it or not; nothing where a proxy's TLS stands
    /// between.
    pub(crate) fn read_now(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let is_plain = match &self.0 {
            Way::Direct(_) => true,
            Way::Tunnel(tunnel) => tunnel.ahead.is_empty() && matches!(tunnel.wire, Wire::Plain(_)),
        };
        if !is_plain {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(rustix::net::recv(self.socket(), room, RecvFlags::DONTWAIT)?.0)
    }

    /// Has the drop of it end in a reset.
    pub(crate) fn reset_on_drop(&self) -> io::Result<()> {
        self.socket().set_zero_linger()
    }

    fn socket(&self) -> &TcpStream {
        match &self.0 {
            Way::Direct(stream) => stream,
            Way::Tunnel(tunnel) => match &tunnel.wire {
                Wire::Plain(stream) => stream,
                Wire::Tls(stream) => stream.get_ref().0,
            },
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tunnel = match &mut self.get_mut().0 {
            Way::Direct(stream) => return Pin::new(stream).poll_read(cx, buf),
            Way::Tunnel(tunnel) => tunnel.as_mut(),
        };
        if !tunnel.ahead.is_empty() {
            let length = tunnel.ahead.len().min(buf.remaining());
            buf.put_slice(tunnel.ahead.get(..length).unwrap_or_default());
            tunnel.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut tunnel.wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Way::Direct(stream) => Pin::new(stream).poll_write(cx, buf),
            Way::Tunnel(tunnel) => Pin::new(&mut tunnel.wire).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Way::Direct(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Way::Tunnel(tunnel) => Pin::new(&mut tunnel.wire).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Way::Direct(stream) => stream.is_write_vectored(),
            Way::Tunnel(tunnel) => tunnel.wire.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Way::Direct(stream) => Pin::new(stream).poll_flush(cx),
            Way::Tunnel(tunnel) => Pin::new(&mut tunnel.wire).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Way::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
            Way::Tunnel(tunnel) => Pin::new(&mut tunnel.wire).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
