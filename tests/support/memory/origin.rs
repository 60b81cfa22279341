//! A scripted upstream on loopback, which counts what reaches it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// A field of the header; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    status: Option<u16>,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
    trailers: HeaderMap,
    ending: Ending,
}

/// What comes after the body.
#[derive(Clone, Copy, Debug, Default)]
enum Ending {
    #[default]
    Clean,
    /// Once it is told to.
    Broken,
}

impl Reply {
    /// 200 with this body, in one piece.
    pub(crate) fn text(body: impl Into<Bytes>) -> Self {
        Self { chunks: vec![body.into()], ..Self::default() }
    }

    /// 200 with this body, in pieces of `size` octets that are sent one by one.
    pub(crate) fn pieces(body: &str, size: usize) -> Self {
        let chunks = body.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        Self { chunks, ..Self::default() }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.headers.append(field_name(name), HeaderValue::try_from(value).unwrap());
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.append(field_name(name), HeaderValue::try_from(value).unwrap());
        self
    }

    /// The connection, or stream, is broken off after the body, at [`Origin::break_off`].
    pub(crate) fn breaking(mut self) -> Self {
        self.ending = Ending::Broken;
        self
    }

    fn into_response(self, state: Rc<State>) -> Response<StreamBody<Pieces>> {
        let mut frames: Vec<_> = self.chunks.into_iter().map(Frame::data).collect();
        if !self.trailers.is_empty() {
            frames.push(Frame::trailers(self.trailers));
        }
        let break_off = Box::pin(async move { state.break_off.notified().await });
        let pieces = Pieces { frames: frames.into_iter(), flushed: false, ending: self.ending, break_off };
        let mut response = Response::new(StreamBody::new(pieces));
        *response.headers_mut() = self.headers;
        *response.status_mut() = self.status.unwrap_or(200).try_into().unwrap();
        response
    }
}

fn field_name(name: &str) -> HeaderName {
    HeaderName::try_from(name).unwrap()
}

/// Frames one by one, each flushed before the next.
struct Pieces {
    frames: std::vec::IntoIter<Frame<Bytes>>,
    flushed: bool,
    ending: Ending,
    break_off: Pin<Box<dyn Future<Output = ()>>>,
}

impl futures_core::Stream for Pieces {
    type Item = io::Result<Frame<Bytes>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.flushed = !self.flushed;
        if self.flushed {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match (self.frames.next(), self.ending) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, Ending::Clean) => Poll::Ready(None),
            (None, Ending::Broken) => {
                ready!(self.break_off.as_mut().poll(cx));
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }
}

/// What an upstream saw of its clients.
#[derive(Default)]
struct State {
    connections: Cell<usize>,
    open: Cell<usize>,
    ended: Notify,
    break_off: Notify,
    handshakes: RefCell<Vec<HandshakeKind>>,
    alpn: RefCell<Vec<Option<Vec<u8>>>>,
    application: RefCell<Vec<u8>>,
    seen: RefCell<Vec<Seen>>,
}

type Answering = dyn Fn(&Seen) -> Reply;

/// A running upstream.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    state: Rc<State>,
}

impl Origin {
    /// Serves HTTP by `answer`, inside TLS where there is a configuration.
    pub(crate) async fn start(tls: Option<ServerConfig>, answer: impl Fn(&Seen) -> Reply + 'static) -> Self {
        let answer: Rc<Answering> = Rc::new(answer);
        Self::serving(tls, move |stream, alpn, state| {
            let answer = Rc::clone(&answer);
            async move { serve(stream, alpn, state, answer).await }
        })
        .await
    }

    /// Has every connection served by `script`, byte by byte.
    pub(crate) async fn raw<F, R>(tls: Option<ServerConfig>, script: F) -> Self
    where
        F: Fn(Box<dyn Duplex>) -> R + 'static,
        R: Future<Output = ()> + 'static,
    {
        Self::serving(tls, move |stream, _, _| script(stream)).await
    }

    async fn serving<F, R>(tls: Option<ServerConfig>, serve: F) -> Self
    where
        F: Fn(Box<dyn Duplex>, Option<Vec<u8>>, Rc<State>) -> R + 'static,
        R: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Rc::new(State::default());
        let (shared, serve) = (Rc::clone(&state), Rc::new(serve));
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.set(shared.connections.get() + 1);
                let open = Open::new(&shared);
                let (serve, tls, state) = (Rc::clone(&serve), tls.clone(), Rc::clone(&shared));
                tokio::task::spawn_local(async move {
                    let _open = open;
                    if let Some((stream, alpn)) = accept(stream, tls, &state).await {
                        serve(stream, alpn, state).await;
                    }
                });
            }
        });
        Self { addr, state }
    }

    /// Breaks off one answer that waits for it, or the next.
    pub(crate) fn break_off(&self) {
        self.state.break_off.notify_one();
    }

    /// TCP connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.get()
    }

    /// How each TLS handshake went.
    pub(crate) fn handshakes(&self) -> Vec<HandshakeKind> {
        self.state.handshakes.borrow().clone()
    }

    /// What each TLS handshake agreed on.
    pub(crate) fn alpn(&self) -> Vec<Option<Vec<u8>>> {
        self.state.alpn.borrow().clone()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.borrow().clone()
    }

    /// The latest request.
    pub(crate) fn latest(&self) -> Seen {
        self.seen().pop().expect("no request has arrived")
    }

    /// Resolves when no connection is open.
    pub(crate) async fn idle(&self) {
        while self.state.open.get() > 0 {
            self.state.ended.notified().await;
        }
    }

    /// Every octet inside of TLS so far.
    pub(crate) fn application(&self) -> Vec<u8> {
        self.state.application.borrow().clone()
    }

    /// The octets that are a request, or part of one: not HTTP/2's preface, settings and the like.
    pub(crate) fn request_octets(&self) -> Vec<u8> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let all = self.application();
        let mut requests = Vec::new();
        let Some(mut rest) = all.strip_prefix(PREFACE) else { return all };
        while let Some((&[a, b, c, kind, ..], _)) = rest.split_first_chunk::<9>() {
            let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            // DATA, HEADERS, CONTINUATION.
            if matches!(kind, 0 | 1 | 9) {
                requests.extend_from_slice(&rest[..length]);
            }
            rest = &rest[length..];
        }
        requests
    }
}

/// Counts a connection while it lives.
struct Open(Rc<State>);

impl Open {
    fn new(state: &Rc<State>) -> Self {
        state.open.set(state.open.get() + 1);
        Self(Rc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.ended.notify_waiters();
    }
}

async fn accept(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    state: &Rc<State>,
) -> Option<(Box<dyn Duplex>, Option<Vec<u8>>)> {
    stream.set_nodelay(true).unwrap();
    let Some(tls) = tls else { return Some((Counted::boxed(stream, state), None)) };
    let stream = tls.accept(stream).await.ok()?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    state.handshakes.borrow_mut().extend(stream.get_ref().1.handshake_kind());
    state.alpn.borrow_mut().push(alpn.clone());
    Some((Counted::boxed(stream, state), alpn))
}

async fn serve(stream: Box<dyn Duplex>, alpn: Option<Vec<u8>>, state: Rc<State>, answer: Rc<Answering>) {
    let service = service_fn(move |request| respond(request, Rc::clone(&state), Rc::clone(&answer)));
    let io = TokioIo::new(stream);
    if alpn.as_deref() == Some(b"h2") {
        let _ = http2::Builder::new(LocalExecutor).serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}

async fn respond(
    request: Request<Incoming>,
    state: Rc<State>,
    answer: Rc<Answering>,
) -> Result<Response<StreamBody<Pieces>>, Infallible> {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        version: parts.version,
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    state.seen.borrow_mut().push(seen.clone());
    Ok(answer(&seen).into_response(state))
}

/// A stream of any kind.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// A stream whose received octets are kept.
struct Counted<S> {
    inner: S,
    state: Rc<State>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Counted<S> {
    fn boxed(inner: S, state: &Rc<State>) -> Box<dyn Duplex> {
        Box::new(Self { inner, state: Rc::clone(state) })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.state.application.borrow_mut().extend_from_slice(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Runs hyper's tasks on the test's own thread.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
