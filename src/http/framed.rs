//! A WebSocket with a host of secrets, relayed frame by frame.
//!
//! Secrets in what the upstream says become placeholders, and placeholders in the guest's text become secrets for a
//! verified upstream; [`crate::websocket`] does both, here is who reads, who waits and who is told. Invariant: no
//! octet of a secret goes upstream before the injection is on record, and after an error no frame goes either way but
//! one that closes.

use std::io;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::exchange::Exchanges;
use super::upgrade::{Asked, Upgraded};
use super::{Answered, Event, Hold, Refusal, ServeError, content};
use crate::secret::{InjectError, Injector, Moment};
use crate::websocket::{Change, CloseCode, FrameError, Output, Reframer, Speaker, close_frame};

/// Why a WebSocket ended otherwise than by its ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the guest's frames: {0}")]
    Guest(#[source] FrameError),
    #[error("the upstream's frames: {0}")]
    Upstream(#[source] FrameError),
    #[error("our frames: {0}")]
    Ours(#[source] FrameError),
    #[error("an injection could not be recorded")]
    Unrecorded,
    #[error("the guest's text: {0}")]
    Refused(#[source] InjectError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Fault {
    fn of(error: FrameError, speaker: Speaker) -> Self {
        match (error, speaker) {
            (FrameError::Secret(error), _) => Self::Refused(error),
            (error, _) if !error.is_senders() => Self::Ours(error),
            (error, Speaker::Client) => Self::Guest(error),
            (error, Speaker::Server) => Self::Upstream(error),
        }
    }

    /// What the guest and the upstream are told; nothing, where a connection is gone.
    fn codes(&self) -> Option<(CloseCode, CloseCode)> {
        match self {
            Self::Guest(_) => Some((CloseCode::ProtocolError, CloseCode::GoingAway)),
            Self::Upstream(_) => Some((CloseCode::BadGateway, CloseCode::ProtocolError)),
            Self::Ours(_) | Self::Unrecorded => Some((CloseCode::InternalError, CloseCode::InternalError)),
            Self::Refused(_) => Some((CloseCode::PolicyViolation, CloseCode::GoingAway)),
            Self::Io(_) => None,
        }
    }

    /// What the guest is told besides.
    fn reason(&self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Guest(_) | Self::Upstream(_) | Self::Ours(_) | Self::Unrecorded | Self::Io(_) => {
                String::new()
            }
        }
    }
}

/// What both directions of one WebSocket share.
pub(super) struct Socket {
    exchanges: Rc<Exchanges>,
    /// The request it came from.
    asked: Asked,
}

impl Socket {
    pub(super) fn new(exchanges: Rc<Exchanges>, asked: Asked) -> Self {
        Self { exchanges, asked }
    }

    /// What is done, by the secrets of now, to what `speaker` says.
    fn change(&self, speaker: Speaker) -> Change {
        let mirror = &self.exchanges.mirror;
        match speaker {
            Speaker::Client => {
                let injector = |peer| mirror.secrets.injector(peer).after(self.asked.uses.clone());
                let injector = self.exchanges.peer().map(injector);
                injector.as_ref().and_then(Injector::websocket).map_or(Change::Nothing, Change::Inject)
            }
            Speaker::Server => {
                let scrubber = mirror.secrets.scrubber(&mirror.origin.host);
                scrubber.map_or(Change::Nothing, |scrubber| Change::Scrub(Arc::new(scrubber)))
            }
        }
    }

    /// Waits until it is on record that these secrets go.
    async fn record(&self, injected: Vec<String>) -> Result<(), Fault> {
        if injected.is_empty() {
            return Ok(());
        }
        let mirror = &self.exchanges.mirror;
        let hold = Hold::default();
        if (mirror.can_record)() {
            for secret in injected {
                let (subject, place) = (self.asked.subject.clone(), "websocket".to_owned());
                (mirror.events)(Event::Injected { subject, secret, place, hold: hold.clone() });
            }
            if hold.released().await {
                return Ok(());
            }
        }
        let text = "the audit trail cannot be written, so no secret is sent";
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error", text);
        self.deny(refusal);
        Err(Fault::Unrecorded)
    }

    fn deny(&self, refusal: Refusal) {
        let mirror = &self.exchanges.mirror;
        let refusal = refusal.named(&*mirror.denial_id);
        let subject = self.asked.subject.clone();
        (mirror.events)(Event::Denied { subject, refusal, answered: Answered::Already });
    }
}

/// Relays both ways until both have ended; an end on one side is passed on to the other.
pub(super) async fn relay<G, U>(
    guest: Upgraded<G>,
    upstream: Upgraded<U>,
    socket: Socket,
) -> Result<(), ServeError>
where
    G: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (guest_reads, guest_writes) = tokio::io::split(guest.stream);
    let (upstream_reads, upstream_writes) = tokio::io::split(upstream.stream);
    let guest = Upgraded { stream: guest_reads, read: guest.read };
    let upstream = Upgraded { stream: upstream_reads, read: upstream.read };
    let mut out = Direction::new(Speaker::Client, guest, upstream_writes, &socket);
    let mut back = Direction::new(Speaker::Server, upstream, guest_writes, &socket);
    let Err(fault) = tokio::try_join!(out.pump(), back.pump()) else { return Ok(()) };
    if let Fault::Refused(error) = &fault {
        socket.deny(content::refusal(error));
    }
    if let Some((to_guest, to_upstream)) = fault.codes() {
        let reason = fault.reason();
        let told = async { tokio::join!(back.close(to_guest, &reason), out.close(to_upstream, "")) };
        // Who does not listen is not told.
        let _ = timeout(socket.exchanges.mirror.limits.websocket_close, told).await;
    }
    Err(fault.into())
}

/// One direction.
struct Direction<'a, R, W> {
    speaker: Speaker,
    from: R,
    read: BytesMut,
    reframer: Reframer,
    /// The secrets that the reframer's change was made of.
    moment: Moment,
    /// What the reframer wrote and nobody has recorded yet.
    output: Output,
    unsent: Unsent<W>,
    socket: &'a Socket,
}

impl<'a, R, W> Direction<'a, R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    fn new(speaker: Speaker, from: Upgraded<R>, to: W, socket: &'a Socket) -> Self {
        let mirror = &socket.exchanges.mirror;
        // The moment first: should the secrets change in between, they are taken again.
        let moment = mirror.secrets.moment();
        let reframer = Reframer::new(speaker, socket.change(speaker), mirror.limits.websocket_frame);
        let unsent = Unsent { to, octets: Zeroizing::default(), sent: 0, may_close: true };
        let read = from.read.into();
        Self { speaker, from: from.stream, read, reframer, moment, output: Output::default(), unsent, socket }
    }

    /// What is read is written and flushed before more is read.
    async fn pump(&mut self) -> Result<(), Fault> {
        loop {
            let pushed = self.reframe();
            self.socket.record(mem::take(&mut self.output.injected)).await?;
            self.unsent.octets = mem::take(&mut self.output.octets);
            self.unsent.may_close = self.reframer.is_between_frames();
            self.unsent.send().await?;
            pushed.map_err(|error| Fault::of(error, self.speaker))?;
            self.read.reserve(self.socket.exchanges.mirror.limits.h1_buffer);
            if self.from.read_buf(&mut self.read).await? == 0 {
                return Ok(self.unsent.to.shutdown().await?);
            }
        }
    }

    fn reframe(&mut self) -> Result<(), FrameError> {
        let moment = self.socket.exchanges.mirror.secrets.moment();
        if moment != self.moment {
            self.moment = moment;
            self.reframer.change_to(self.socket.change(self.speaker));
        }
        self.reframer.push(self.read.split(), &mut self.output)
    }

    /// Ends it with the reason, where that can still be said.
    async fn close(&mut self, code: CloseCode, reason: &str) -> io::Result<()> {
        self.unsent.send().await?;
        if self.unsent.may_close
            && let Ok(frame) = close_frame(self.speaker, code, reason)
        {
            self.unsent.octets = Zeroizing::new(frame);
            self.unsent.send().await?;
        }
        self.unsent.to.shutdown().await
    }
}

/// Octets on their way out; sending them may be broken off and taken up again.
struct Unsent<W> {
    to: W,
    /// Wiped when all are sent.
    octets: Zeroizing<Vec<u8>>,
    sent: usize,
    /// Whether a close frame may follow them.
    may_close: bool,
}

impl<W: AsyncWrite + Unpin> Unsent<W> {
    async fn send(&mut self) -> io::Result<()> {
        if self.octets.is_empty() {
            return Ok(());
        }
        while let Some(rest @ [_, ..]) = self.octets.get(self.sent..) {
            match self.to.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.sent += count,
            }
        }
        self.to.flush().await?;
        self.octets = Zeroizing::default();
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
