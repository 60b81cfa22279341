//! One HTTP/2 connection of a guest and one of its upstream, stream for stream.
//!
//! hyper and h2 do frames, flow control and header compression; here is only who lives how long. Streams run
//! as tasks of their own, all of them in one set. Invariant: when [`serve`] ends or is dropped, so are they;
//! when the upstream's connection ends, the guest is told to open no more streams.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use hyper::{client, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::exchange::{Answering, Sender, Way};
use super::linger::Latest;
use super::request::RequestBody;
use super::watch::{Progress, Watched};
use super::{Mirror, ServeError, Upstream};
use crate::limits::Limits;
use crate::tls::VerifiedPeer;

type UpstreamConn<U> = client::conn::http2::Connection<TokioIo<U>, RequestBody, Spawner>;

/// Serves until either side is done.
pub(super) async fn serve<G, U>(guest: G, upstream: Upstream<U>, mirror: Mirror) -> Result<(), ServeError>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = mirror.limits.clone();
    let tasks = Rc::new(RefCell::new(JoinSet::new()));
    let spawner = Spawner { tasks: Rc::downgrade(&tasks), starting: Rc::default(), limits: limits.clone() };
    let (way, mut upstream) = match upstream {
        Upstream::Refused(refusal) => (Way::Refused(refusal), Side::Nowhere),
        Upstream::Plain(stream) => open(stream, None, &spawner).await,
        Upstream::Verified { stream, peer } => open(stream, Some(peer), &spawner).await,
    };
    let service = Answering::new(mirror, way, Latest::default())?;
    let exchanges = Rc::clone(&service.exchanges);
    let spawner = Spawner { starting: Rc::clone(&service.latest), ..spawner };
    let mut guest = pin!(builder(spawner, &limits).serve_connection(TokioIo::new(guest), service));
    poll_fn(|cx| {
        while tasks.borrow_mut().try_join_next().is_some() {}
        upstream.poll(cx);
        if matches!(upstream, Side::Ended) && exchanges.may_end() {
            guest.as_mut().graceful_shutdown();
        }
        guest.as_mut().poll(cx)
    })
    .await
    .map_err(ServeError::Guest)
}

/// The upstream's connection.
enum Side<U: AsyncRead + AsyncWrite + Unpin + 'static> {
    /// There is none, and none is needed.
    Nowhere,
    Running(Box<UpstreamConn<U>>),
    /// It takes no more requests.
    Ended,
}

impl<U: AsyncRead + AsyncWrite + Unpin + 'static> Side<U> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        let Self::Running(conn) = self else { return };
        let Poll::Ready(result) = Pin::new(conn.as_mut()).poll(cx) else { return };
        if let Err(error) = result {
            tracing::debug!(%error, "the upstream's connection ended");
        }
        *self = Self::Ended;
    }
}

fn builder(spawner: Spawner, limits: &Limits) -> server::conn::http2::Builder<Spawner> {
    let mut builder = server::conn::http2::Builder::new(spawner);
    builder
        .initial_connection_window_size(limits.h2_connection_window)
        .initial_stream_window_size(limits.h2_stream_window)
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(limits.h2_error_resets)
        .max_pending_accept_reset_streams(limits.h2_pending_resets)
        .max_send_buf_size(limits.h2_send_buffer)
        .timer(TokioTimer::new());
    builder
}

async fn open<U>(stream: U, peer: Option<VerifiedPeer>, spawner: &Spawner) -> (Way, Side<U>)
where
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = &spawner.limits;
    let opened = client::conn::http2::Builder::new(spawner.clone())
        .initial_connection_window_size(limits.h2_connection_window)
        .initial_stream_window_size(limits.h2_stream_window)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(limits.h2_error_resets)
        .max_pending_accept_reset_streams(limits.h2_pending_resets)
        .max_send_buf_size(limits.h2_send_buffer)
        .timer(TokioTimer::new())
        .handshake(TokioIo::new(stream))
        .await;
    match opened {
        Ok((sender, conn)) => (Way::Open { sender: Sender::H2(sender), peer }, Side::Running(Box::new(conn))),
        Err(error) => {
            tracing::debug!(%error, "the upstream's connection ended at once");
            (Way::Gone(peer.and_then(|peer| peer.alert())), Side::Ended)
        }
    }
}

/// Spawns what hyper wants spawned, for as long as the connection lives.
#[derive(Clone)]
struct Spawner {
    /// Weak, since the tasks hold the spawner.
    tasks: Weak<RefCell<JoinSet<()>>>,
    /// The exchange whose stream hyper spawns next: it does so right after it called the service.
    starting: Rc<RefCell<Option<Rc<Progress>>>>,
    limits: Arc<Limits>,
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let Some(tasks) = self.tasks.upgrade() else { return };
        let progress = self.starting.borrow_mut().take();
        let mut tasks = tasks.borrow_mut();
        match progress {
            Some(progress) => tasks.spawn_local(Watched::new(future, progress, self.limits.stalled_body)),
            None => tasks.spawn_local(future),
        };
    }
}
