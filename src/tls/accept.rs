//! The leg toward the guest.
//!
//! First the ClientHello alone, so that the name and the protocols in it can be judged and an upstream
//! dialled; then the handshake with a leaf, or a fatal alert. It chooses no leaf. Invariant: nothing is
//! written to the guest before [`Hello::accept`] or [`Hello::refuse`], but an alert for a broken ClientHello.
//!
//! A clean end of what the guest sends is its close_notify; without one, reading ends in
//! [`io::ErrorKind::UnexpectedEof`]. Shutting the stream down sends ours.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustls::server::Acceptor;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::Alpn;
use super::failure::rustls_cause;
use crate::limits::Limits;
use crate::name::{HostName, NameError};
use crate::sniff::Rewind;

/// Whom the guest asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sni {
    /// A host name.
    Name(HostName),
    /// None; rustls reads an address, which has no place there, as none.
    Absent,
    /// Something that is no host name.
    Odd(NameError),
}

/// A ClientHello that waits for an answer.
#[must_use = "a ClientHello is accepted or refused"]
pub struct Hello<S> {
    /// Whom the guest asks for.
    pub sni: Sni,
    /// The protocols of ours that it offers, in its order, each once.
    pub alpn: Vec<Alpn>,
    /// Whether it offers protocols besides. With an empty `alpn`: true where none can be agreed upon,
    /// false where the guest has no ALPN and HTTP/1 is meant.
    pub other_alpn: bool,
    start: StartHandshake<Rewind<S>>,
    /// Everything that was read of the stream, for a guest that is passed through.
    read: BytesMut,
    left: Duration,
}

/// Reads a ClientHello of at most [`Limits::sniff_bytes`], within [`Limits::handshake`].
///
/// A broken one is answered with an alert.
pub async fn hello<S>(stream: Rewind<S>, limits: &Limits) -> Result<Hello<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + limits.handshake;
    let bounded = Bounded { stream, left: limits.sniff_bytes, read: BytesMut::new() };
    let mut reading = LazyConfigAcceptor::new(Acceptor::default(), bounded);
    let read = timeout_at(deadline, &mut reading).await.map_err(|_| AcceptError::Timeout)?;
    let started = match read {
        Ok(started) => started,
        Err(error) => {
            let Some(Bounded { stream, .. }) = reading.take_io() else { return Err(error.into()) };
            if error.kind() != TOO_LARGE {
                return Err(error.into());
            }
            // Best effort, and the guest's own fault where it fails.
            let _unsent = timeout_at(deadline, alert(stream, AlertDescription::DecodeError)).await;
            return Err(AcceptError::TooLarge);
        }
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let Bounded { stream, read, .. } = started.io;
    Ok(Hello::new(StartHandshake::from_parts(started.accepted, stream), read, left))
}

impl<S> Hello<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn new(start: StartHandshake<Rewind<S>>, read: BytesMut, left: Duration) -> Self {
        let client = start.client_hello();
        let sni = match client.server_name().map(HostName::parse) {
            Some(Ok(name)) => Sni::Name(name),
            Some(Err(error)) => Sni::Odd(error),
            None => Sni::Absent,
        };
        let (mut alpn, mut other_alpn) = (Vec::new(), false);
        for identifier in client.alpn().into_iter().flatten() {
            match Alpn::from_wire(identifier) {
                Some(known) if alpn.contains(&known) => {}
                Some(known) => alpn.push(known),
                None => other_alpn = true,
            }
        }
        Self { sni, alpn, other_alpn, start, read, left }
    }

    /// Ends the handshake with a leaf, in what the ClientHello left of [`Limits::handshake`]; the time in
    /// between, when an upstream is dialled, does not count.
    pub async fn accept(self, config: Arc<ServerConfig>) -> Result<TlsStream<Rewind<S>>, AcceptError> {
        match timeout(self.left, self.start.into_stream(config)).await {
            Ok(accepted) => Ok(accepted?),
            Err(_) => Err(AcceptError::Timeout),
        }
    }

    /// The stream as if nothing had been read, for a host that is passed through.
    pub fn into_unread(self) -> Rewind<S> {
        let Self { start, mut read, .. } = self;
        let (unread, stream) = start.io.into_parts();
        read.extend_from_slice(&unread);
        Rewind::new(stream, read.freeze())
    }

    /// Answers with a fatal alert and ends our side: `unrecognized_name` without a usable name,
    /// `access_denied` for one that may not be reached, `no_application_protocol` where none is shared.
    pub async fn refuse(self, description: AlertDescription) -> Result<(), AcceptError> {
        match timeout(self.left, alert(self.start.io, description)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(AcceptError::Timeout),
        }
    }
}

/// Sends a fatal alert before any key is agreed upon, and shuts down
/// ([RFC 8446 §6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
async fn alert<S>(mut stream: Rewind<S>, description: AlertDescription) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    stream.write_all(&[ALERT, 3, 3, 0, 2, FATAL, description.into()]).await?;
    stream.shutdown().await
}

/// Why a guest's handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It took longer than [`Limits::handshake`].
    #[error("the guest did not finish the TLS handshake in time")]
    Timeout,
    /// The ClientHello is larger than [`Limits::sniff_bytes`].
    #[error("the guest's ClientHello is too large")]
    TooLarge,
    /// The guest closed the connection.
    #[error("the guest closed the connection during the TLS handshake")]
    Closed,
    /// The guest sent an alert; `unknown_ca` and `bad_certificate` say that it does not trust our leaf.
    #[error("the guest ended the TLS handshake with the alert {0:?}")]
    Alert(AlertDescription),
    /// The guest broke the protocol, or shares no version, cipher suite or protocol with us; it was told.
    #[error("the TLS handshake with the guest failed: {0}")]
    Protocol(rustls::Error),
    /// The flow failed.
    #[error("the guest's flow failed during the TLS handshake: {0}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        match rustls_cause(&error) {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(alert),
            Some(cause) => Self::Protocol(cause),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error.kind()),
        }
    }
}

/// What [`Bounded`] fails with, and no flow does.
const TOO_LARGE: io::ErrorKind = io::ErrorKind::FileTooLarge;

/// A stream that fails once `left` bytes were read and more are asked for. One read may reach over it, but
/// never beyond rustls' own buffer.
struct Bounded<S> {
    stream: Rewind<S>,
    left: usize,
    read: BytesMut,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(TOO_LARGE.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        self.left = self.left.saturating_sub(read.len());
        self.read.extend_from_slice(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
