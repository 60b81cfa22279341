//! One HTTP/1 connection of a guest and one of its upstream, driven as one.
//!
//! hyper parses and frames both; here is only who lives how long. Both connections are parts of one future,
//! so one cannot outlive the other. Invariant: when the upstream's connection ends, the guest's ends after the
//! answer under way, and a guest that is gone takes its upstream along.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::{client, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::{Answering, Sender, Way};
use super::framed::{self, Socket};
use super::linger::{Latest, Linger};
use super::request::RequestBody;
use super::upgrade::{Stage, Upgraded, relay};
use super::watch::{Progress, Stall};
use super::wire::Wire;
use super::{Mirror, ServeError, Upstream};
use crate::limits::Limits;
use crate::tls::VerifiedPeer;

type GuestConn<G> = server::conn::http1::Connection<Wire<G>, Answering>;
type UpstreamConn<U> = client::conn::http1::Connection<TokioIo<Linger<U>>, RequestBody>;

/// Serves until either side is done.
pub(super) async fn serve<G, U>(guest: G, upstream: Upstream<U>, mirror: Mirror) -> Result<(), ServeError>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = mirror.limits.clone();
    let latest = Latest::default();
    let (way, upstream) = match upstream {
        Upstream::Refused(refusal) => (Way::Refused(refusal), None),
        Upstream::Plain(stream) => open(Linger::new(stream, Rc::clone(&latest)), None, &limits).await?,
        Upstream::Verified { stream, peer } => {
            open(Linger::new(stream, Rc::clone(&latest)), Some(peer), &limits).await?
        }
    };
    let service = Answering::new(mirror, way, latest)?;
    let wire = Wire::new(guest);
    let mut pair = Pair {
        guest: builder(&limits).serve_connection(wire.share(), service.clone()),
        upstream,
        guest_state: State::Running,
        upstream_state: State::Running,
        wire,
        service,
        watched: None,
        limits,
    };
    match poll_fn(|cx| pair.poll(cx)).await? {
        Parting::Closed => Ok(()),
        Parting::Upgraded => pair.relay().await,
    }
}

fn builder(limits: &Limits) -> server::conn::http1::Builder {
    let mut builder = server::conn::http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(limits.request_head)
        .max_buf_size(limits.h1_buffer)
        .max_header_size(limits.header_bytes)
        .max_headers(limits.header_fields)
        .preserve_header_case(true)
        .timer(TokioTimer::new());
    builder
}

async fn open<U>(
    stream: Linger<U>,
    peer: Option<VerifiedPeer>,
    limits: &Limits,
) -> Result<(Way, Option<UpstreamConn<U>>), ServeError>
where
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, conn) = client::conn::http1::Builder::new()
        .max_buf_size(limits.h1_buffer)
        .max_header_size(limits.header_bytes)
        .max_headers(limits.header_fields)
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ServeError::Upstream)?;
    Ok((Way::Open { sender: Sender::H1(RefCell::new(sender)), peer }, Some(conn)))
}

/// Both connections.
struct Pair<G, U>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    guest: GuestConn<G>,
    upstream: Option<UpstreamConn<U>>,
    guest_state: State,
    upstream_state: State,
    wire: Wire<G>,
    service: Answering,
    watched: Option<(Rc<Progress>, Stall)>,
    limits: Arc<Limits>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Running,
    Ended,
}

/// How two connections came apart without fault.
enum Parting {
    Closed,
    Upgraded,
}

impl<G, U> Pair<G, U>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parting, ServeError>> {
        loop {
            let before = self.is_ending();
            self.poll_upstream(cx);
            if self.is_ending() {
                Pin::new(&mut self.guest).graceful_shutdown();
            }
            if let Poll::Ready(result) = self.poll_guest(cx) {
                return Poll::Ready(result);
            }
            // The guest may have sent a request, and the upstream may have ended.
            self.poll_upstream(cx);
            if before == self.is_ending() {
                break;
            }
        }
        self.poll_watch(cx).map(Err)
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) {
        let Some(upstream) = &mut self.upstream else { return };
        if self.upstream_state == State::Running
            && let Poll::Ready(result) = upstream.poll_without_shutdown(cx)
        {
            self.upstream_state = State::Ended;
            if let Err(error) = result {
                tracing::debug!(%error, "the upstream's connection ended");
            }
        }
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parting, ServeError>> {
        if self.guest_state == State::Running {
            ready!(Pin::new(&mut self.guest).poll(cx)).map_err(ServeError::Guest)?;
            self.guest_state = State::Ended;
        }
        if self.service.exchanges.switch.stage() == Stage::Agreed {
            return match self.upstream_state {
                State::Running => Poll::Pending,
                State::Ended => Poll::Ready(Ok(Parting::Upgraded)),
            };
        }
        if self.service.exchanges.switch.was_seen() {
            // hyper left the stream open and unflushed for an upgrade that did not come. Polled again, it
            // ends the connection as any other.
            ready!(Pin::new(&mut self.guest).poll(cx)).map_err(ServeError::Guest)?;
        }
        Poll::Ready(Ok(Parting::Closed))
    }

    /// Ready when an exchange stalled or the guest is gone, which hyper does not see by itself.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<ServeError> {
        let Some(latest) = self.service.latest.borrow().clone() else { return Poll::Pending };
        let limit = self.limits.stalled_body;
        let (watched, stall) = self.watched.get_or_insert_with(|| (Rc::clone(&latest), Stall::new(limit)));
        if !Rc::ptr_eq(watched, &latest) {
            *watched = latest;
            *stall = Stall::new(limit);
        }
        if stall.poll(watched, cx).is_ready() {
            return Poll::Ready(ServeError::Stalled);
        }
        if watched.only_answers() {
            return self.wire.poll_broken(cx).map(ServeError::Reset);
        }
        Poll::Pending
    }

    /// Whether the guest's connection is to end after the answer under way.
    fn is_ending(&self) -> bool {
        self.upstream_state == State::Ended && self.service.exchanges.may_end()
    }

    /// Relays what comes after the heads of an upgrade.
    async fn relay(self) -> Result<(), ServeError> {
        let exchanges = Rc::clone(&self.service.exchanges);
        let (Some(upstream), parts) = (self.upstream, self.guest.into_parts()) else { return Ok(()) };
        drop((parts.io, parts.service));
        let Some((guest, ahead)) = self.wire.into_inner() else { return Ok(()) };
        let read = if ahead.is_empty() { parts.read_buf } else { [parts.read_buf, ahead].concat().into() };
        let guest = Upgraded { stream: guest, read };
        let upstream = upstream.into_parts();
        let upstream = Upgraded { stream: upstream.io.into_inner().into_inner(), read: upstream.read_buf };
        match exchanges.switch.take_framed() {
            None => relay(guest, upstream, &self.limits).await.map_err(ServeError::Relay),
            Some(asked) => framed::relay(guest, upstream, Socket::new(exchanges, asked)).await,
        }
    }
}
