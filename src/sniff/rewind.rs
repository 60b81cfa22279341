//! The shell of the sniffer: reading for it, and putting back what was read.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::{Glance, Protocol, glance};
use crate::limits::Limits;

/// Bytes asked for at once: a ClientHello without post-quantum shares, or most request heads, in one read.
const CHUNK: usize = 1024;

/// A protocol, and every byte that was read to tell it.
#[derive(Debug)]
#[must_use = "the bytes are gone from the stream and must be replayed"]
pub struct Sniffed {
    /// What the flow carries.
    pub protocol: Protocol,
    /// What was read, verbatim; may reach beyond what was needed to tell.
    pub bytes: Bytes,
}

/// Tells a flow's protocol within [`Limits::sniff`]; a guest that only shows a beginning is
/// [`Protocol::Unknown`].
///
/// An error is the stream's own, such as a reset.
pub async fn sniff<S>(stream: &mut S, limits: &Limits) -> io::Result<Sniffed>
where
    S: AsyncRead + Unpin,
{
    let mut sniffer = Sniffer::new(limits);
    let protocol = sniffer.run(stream).await?;
    Ok(sniffer.finish(protocol))
}

/// A sniffing under way, for a caller that does something else meanwhile: a server-first protocol gets the
/// server's greeting while its guest is still silent.
#[derive(Debug)]
pub struct Sniffer {
    bytes: BytesMut,
    most: usize,
    deadline: Instant,
}

impl Sniffer {
    /// Starts the clock.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { bytes: BytesMut::new(), most: limits.sniff_bytes, deadline: Instant::now() + limits.sniff }
    }

    /// Reads until the protocol is known or time is up.
    ///
    /// Cancel-safe: bytes already read stay here, and the deadline is that of [`Sniffer::new`].
    pub async fn run<S>(&mut self, stream: &mut S) -> io::Result<Protocol>
    where
        S: AsyncRead + Unpin,
    {
        self.run_beside(stream, |_, _| Poll::Pending).await
    }

    /// The same, while `other` is done with the stream too; what that comes to is the answer if it comes first.
    ///
    /// Neither waits for the other.
    pub async fn run_beside<S, F>(&mut self, stream: &mut S, mut other: F) -> io::Result<Protocol>
    where
        S: AsyncRead + Unpin,
        F: FnMut(&mut Context<'_>, &mut S) -> Poll<io::Result<Protocol>>,
    {
        let deadline = self.deadline;
        let both = poll_fn(|cx| match self.poll(cx, stream) {
            Poll::Pending => other(cx, stream),
            told => told,
        });
        let told = timeout_at(deadline, both).await;
        match told {
            Ok(told) => told,
            Err(_) if self.bytes.is_empty() => Ok(Protocol::Silent),
            Err(_) => Ok(Protocol::Unknown),
        }
    }

    /// Gives back what was read.
    pub fn finish(self, protocol: Protocol) -> Sniffed {
        Sniffed { protocol, bytes: self.bytes.freeze() }
    }

    fn poll<S>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<Protocol>>
    where
        S: AsyncRead + Unpin,
    {
        loop {
            if let Glance::Decided(protocol) = glance(&self.bytes) {
                return Poll::Ready(Ok(protocol));
            }
            let room = self.most.saturating_sub(self.bytes.len()).min(CHUNK);
            if room == 0 {
                return Poll::Ready(Ok(Protocol::Unknown));
            }
            let mut space = [0; CHUNK];
            let mut space = ReadBuf::new(&mut space);
            let mut chunk = space.take(room);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                let protocol = if self.bytes.is_empty() { Protocol::Eof } else { Protocol::Unknown };
                return Poll::Ready(Ok(protocol));
            }
            self.bytes.extend_from_slice(chunk.filled());
        }
    }
}

/// A stream that gives its first bytes once more, then goes on as itself.
#[derive(Debug)]
pub struct Rewind<S> {
    bytes: Bytes,
    stream: S,
}

impl<S> Rewind<S> {
    /// Puts `bytes` in front of what `stream` will give.
    #[must_use]
    pub fn new(stream: S, bytes: Bytes) -> Self {
        Self { bytes, stream }
    }

    /// What was not yet read again, and the stream behind it.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, S) {
        (self.bytes, self.stream)
    }

    /// The stream behind.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream behind; reading from it passes by what is to be replayed.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.bytes.len().min(buf.remaining());
        if let Some(next) = self.bytes.get(..count) {
            buf.put_slice(next);
        }
        self.bytes.advance(count);
        if self.bytes.is_empty() {
            // Lets go of the memory, which a long flow would else hold to its end.
            self.bytes = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
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
