//! A real upstream for tests: HTTP/1.1 and HTTP/2 over TLS (or plain), on loopback, on a thread of its own.
//!
//! It records every request as it saw it, echoes it, streams, uploads, upgrades, and serves git repositories.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use super::{apis, git, websocket};

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// One request as the upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    /// The values of one field, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<usize>,
    acknowledged: Notify,
    git_root: Option<PathBuf>,
}

impl Upstream {
    /// Serves TLS with `tls`, or plain HTTP where there is none; `git_root` holds bare repositories.
    pub(crate) fn start(tls: Option<Arc<rustls::ServerConfig>>, git_root: Option<PathBuf>) -> Self {
        Self::on(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), tls, git_root)
    }

    /// The same on a listener that is there already.
    pub(crate) fn on(
        listener: std::net::TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        git_root: Option<PathBuf>,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            seen: Mutex::default(),
            connections: Mutex::default(),
            acknowledged: Notify::new(),
            git_root,
        });
        let shared = Arc::clone(&state);
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async move {
                accept(TcpListener::from_std(listener).unwrap(), tls, shared).await;
            });
        });
        Self { addr, state }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// TCP connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, state: Arc<State>) {
    let tls = tls.map(tokio_rustls::TlsAcceptor::from);
    while let Ok((stream, _)) = listener.accept().await {
        *state.connections.lock().unwrap() += 1;
        stream.set_nodelay(true).unwrap();
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        spawn(async move {
            let Some(tls) = tls else { return serve_h1(stream, state).await };
            let Ok(stream) = tls.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                serve_h2(stream, state).await;
            } else {
                serve_h1(stream, state).await;
            }
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "the upstream is another machine, with threads of its own")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn serve_h1<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, state: Arc<State>) {
    let service = service_fn(move |request| respond(request, Arc::clone(&state)));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn serve_h2<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, state: Arc<State>) {
    let service = service_fn(move |request| respond(request, Arc::clone(&state)));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    let seen = Seen {
        version: request.version(),
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
    };
    state.seen.lock().unwrap().push(seen.clone());
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/echo" => echo(&seen, request).await,
        "/sse" => sse(&state),
        "/ack" => {
            state.acknowledged.notify_one();
            text("acknowledged\n")
        }
        "/ws" => websocket::upgrade(request, websocket::Talk::Echo),
        "/bot" => websocket::upgrade(request, websocket::Talk::Bot),
        "/upload" => upload(request).await,
        _ if path.starts_with("/big/") => big(path["/big/".len()..].parse().unwrap_or(0)),
        _ if path.starts_with("/git/") => git::serve(request, state.git_root.clone()).await,
        "/" if seen.method == "POST" => apis::answer(&seen, request).await,
        _ if path.starts_with("/v1/") || path.starts_with("/bucket/") => apis::answer(&seen, request).await,
        "/coded" => apis::coded(&seen, request).await,
        _ if path.starts_with("/api/") => apis::slack(&seen, request).await,
        "/trailers" => trailers(&seen),
        "/gzip" => {
            let mut response = text("not really gzip");
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            response
        }
        _ => text("hello\n"),
    })
}

/// The request as text: request line, fields, an empty line, the body.
async fn echo(seen: &Seen, request: Request<Incoming>) -> Response<Body> {
    let mut out = format!("{} {} {:?}\n", seen.method, seen.target, seen.version);
    for (name, value) in &seen.headers {
        out += &format!("{name}: {value}\n");
    }
    out.push('\n');
    let mut out = BytesMut::from(out.as_bytes());
    if let Ok(body) = request.into_body().collect().await {
        out.extend_from_slice(&body.to_bytes());
    }
    let mut response = Response::new(full(out.freeze()));
    if let Some((_, value)) = seen.headers.iter().find(|(name, _)| name == "authorization") {
        response.headers_mut().insert("x-echo-authorization", value.parse().unwrap());
    }
    response
}

/// A first event, and a second only after somebody asked for `/ack`.
fn sse(state: &Arc<State>) -> Response<Body> {
    let (events, body) = channel();
    let state = Arc::clone(state);
    spawn(async move {
        let _ = events.send(Frame::data(Bytes::from_static(b"data: first\n\n"))).await;
        state.acknowledged.notified().await;
        let _ = events.send(Frame::data(Bytes::from_static(b"data: second\n\n"))).await;
    });
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}

/// `length` bytes of [`pattern`].
fn big(length: u64) -> Response<Body> {
    let (chunks, body) = channel();
    spawn(async move {
        let mut offset = 0;
        while offset < length {
            let chunk = pattern(offset, (length - offset).min(64 << 10) as usize);
            offset += chunk.len() as u64;
            if chunks.send(Frame::data(chunk)).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(body);
    response.headers_mut().insert("content-length", length.into());
    response
}

/// Answers with the length of the body if it is [`pattern`] from 0, else with 400 and where it is not.
async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut offset = 0u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return status(StatusCode::BAD_REQUEST, "body ended badly\n".into()) };
        let Some(data) = frame.data_ref() else { continue };
        if *data != pattern(offset, data.len()) {
            return status(StatusCode::BAD_REQUEST, format!("differs after {offset}\n"));
        }
        offset += data.len() as u64;
    }
    text(&format!("{offset}\n"))
}

fn trailers(seen: &Seen) -> Response<Body> {
    let (frames, body) = channel();
    let secret =
        seen.headers.iter().find(|(n, _)| n == "authorization").map(|(_, v)| v.clone()).unwrap_or_default();
    spawn(async move {
        let _ = frames.send(Frame::data(Bytes::from_static(b"body\n"))).await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-trailer", secret.parse().unwrap());
        let _ = frames.send(Frame::trailers(trailers)).await;
    });
    let mut response = Response::new(body);
    response.headers_mut().insert("trailer", "x-trailer".parse().unwrap());
    response
}

/// Bytes that differ at every offset of a long period, so that a lost, doubled or moved byte shows.
pub(crate) fn pattern(offset: u64, length: usize) -> Bytes {
    const PERIOD: usize = 65_521;
    static TABLE: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let once: Vec<u8> = std::iter::repeat_with(next).take(PERIOD).collect();
        once.repeat(34).into()
    });
    let start = (offset % PERIOD as u64) as usize;
    assert!(start + length <= TABLE.len());
    TABLE.slice(start..start + length)
}

pub(crate) fn channel() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, mut receiver) = mpsc::channel::<Frame<Bytes>>(4);
    let frames = futures_stream(move |cx| receiver.poll_recv(cx).map(|frame| frame.map(Ok::<_, Infallible>)));
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

fn futures_stream<T>(
    poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
) -> impl futures_core::Stream<Item = T> {
    struct PollFn<F>(F);
    impl<T, F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin> futures_core::Stream
        for PollFn<F>
    {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            (self.0)(cx)
        }
    }
    PollFn(poll)
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    BodyExt::boxed(Full::new(bytes.into()))
}

pub(crate) fn text(line: &str) -> Response<Body> {
    Response::new(full(line.to_owned()))
}

pub(crate) fn status(code: StatusCode, line: String) -> Response<Body> {
    let mut response = Response::new(full(line));
    *response.status_mut() = code;
    response
}
