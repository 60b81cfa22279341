//! A guest and an upstream that speak either version, with bodies a test feeds and reads piece by piece.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::TokioIo;
use portcullis::http::{Event, Leave, Mirror, Upstream, serve};
use portcullis::limits::Limits;
use portcullis::name::{HostName, Origin, Scheme};
use portcullis::secret::Secrets;
use portcullis::tls::Alpn;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::canary::{self, Canary};

/// A body fed by a test.
pub(crate) struct Fed(mpsc::Receiver<Piece>);

type Piece = Result<Frame<Bytes>, Broken>;

/// What a body breaks off with.
#[derive(Debug, thiserror::Error)]
#[error("broken off by the test")]
pub(crate) struct Broken;

/// Feeds a [`Fed`]; dropped, it ends the body.
#[derive(Clone)]
pub(crate) struct Feed(mpsc::Sender<Piece>);

pub(crate) fn fed() -> (Feed, Fed) {
    let (feed, fed) = mpsc::channel(1);
    (Feed(feed), Fed(fed))
}

/// A body that is over before it began.
pub(crate) fn nothing() -> Fed {
    fed().1
}

/// A body of one piece.
pub(crate) fn whole(text: &'static str) -> Fed {
    let (feed, fed) = fed();
    feed.0.try_send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).unwrap();
    fed
}

impl Feed {
    pub(crate) async fn send(&self, text: &'static str) {
        self.send_bytes(Bytes::from_static(text.as_bytes())).await.unwrap();
    }

    /// Fails when the body is not read any more.
    pub(crate) async fn send_bytes(&self, bytes: Bytes) -> Result<(), ()> {
        self.0.send(Ok(Frame::data(bytes))).await.map_err(drop)
    }

    pub(crate) async fn send_trailers(&self, trailers: HeaderMap) {
        self.0.send(Ok(Frame::trailers(trailers))).await.unwrap();
    }

    pub(crate) async fn break_off(&self) {
        self.0.send(Err(Broken)).await.unwrap();
    }

    /// Until nobody reads the body any more.
    pub(crate) async fn dropped(&self) {
        self.0.closed().await;
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// The guest's side of a connection through [`serve`].
pub(crate) struct Guest {
    sender: Sender,
    conn: JoinHandle<()>,
    pub(crate) serving: JoinHandle<()>,
}

enum Sender {
    H1(client::conn::http1::SendRequest<Fed>),
    H2(client::conn::http2::SendRequest<Fed>),
}

impl Guest {
    /// Sends `request` and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Fed>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends `request` in a task of its own; only on h2 can another be sent before it is answered.
    pub(crate) fn begin(&mut self, request: Request<Fed>) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        match &mut self.sender {
            Sender::H1(sender) => spawn_local(sender.send_request(request)),
            Sender::H2(sender) => spawn_local(sender.send_request(request)),
        }
    }

    /// Drops the connection without a word.
    pub(crate) fn vanish(self) {
        self.conn.abort();
    }

    /// Until the connection is closed from the other side.
    pub(crate) async fn closed(self) {
        let Self { sender, conn, serving } = self;
        conn.await.unwrap();
        serving.await.unwrap();
        drop(sender);
    }
}

/// A request for `path`, as each version writes it.
pub(crate) fn request(alpn: Alpn, method: &str, path: &str, body: Fed) -> Request<Fed> {
    let request = Request::builder().method(method);
    match alpn {
        Alpn::Http1 => request.uri(path).header("host", "a.example"),
        Alpn::H2 => request.uri(format!("http://a.example{path}")).version(http::Version::HTTP_2),
    }
    .body(body)
    .unwrap()
}

pub(crate) fn get(alpn: Alpn, path: &str) -> Request<Fed> {
    request(alpn, "GET", path, nothing())
}

/// What runs between a guest and an upstream.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) alpn: Alpn,
    pub(crate) limits: Limits,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) events: Rc<dyn Fn(Event)>,
}

impl Setting {
    pub(crate) fn new(alpn: Alpn) -> Self {
        let secrets = Secrets::new(vec![Canary::of_test().secret()]).unwrap();
        Self { alpn, limits: Limits::default(), secrets, events: Rc::new(|_| {}) }
    }

    /// A guest whose requests go to `upstream`.
    pub(crate) async fn connect(&self, upstream: Upstream<DuplexStream>) -> Guest {
        let (guest, guest_end) = duplex(64 << 10);
        let mirror = Mirror {
            origin: Origin { scheme: Scheme::Http, host: HostName::parse("a.example").unwrap(), port: 80 },
            secrets: self.secrets.clone(),
            limits: Arc::new(self.limits.clone()),
            response_timeout: None,
            events: self.events.clone(),
            can_record: Rc::new(|| true),
            denial_id: Rc::new(|| None),
            judge: Rc::new(|_, _| Ok(Leave::default())),
        };
        let serving = spawn_local(serve(guest_end, self.alpn, upstream, mirror));
        let io = TokioIo::new(Canary::of_test().tapped("the guest's connection", guest));
        let (sender, conn) = match self.alpn {
            Alpn::Http1 => {
                let (sender, conn) = client::conn::http1::Builder::new()
                    .preserve_header_case(true)
                    .handshake(io)
                    .await
                    .unwrap();
                (Sender::H1(sender), spawn_local(async { drop(conn.await) }))
            }
            Alpn::H2 => {
                let (sender, conn) = client::conn::http2::handshake(Local, io).await.unwrap();
                (Sender::H2(sender), spawn_local(async { drop(conn.await) }))
            }
        };
        Guest { sender, conn, serving }
    }

    /// A guest whose requests are answered by `handler`.
    pub(crate) async fn with<F>(&self, handler: impl Fn(Request<Incoming>) -> F + 'static) -> Guest
    where
        F: Future<Output = Response<Fed>> + 'static,
    {
        let (upstream_end, upstream) = duplex(64 << 10);
        let io = TokioIo::new(upstream);
        let handler = Rc::new(handler);
        let service = service_fn(move |request| {
            let answer = handler(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        match self.alpn {
            Alpn::Http1 => {
                let conn = server::conn::http1::Builder::new()
                    .preserve_header_case(true)
                    .serve_connection(io, service);
                spawn_local(async { drop(conn.await) })
            }
            Alpn::H2 => {
                let conn = server::conn::http2::Builder::new(Local).serve_connection(io, service);
                spawn_local(async { drop(conn.await) })
            }
        };
        self.connect(Upstream::Plain(upstream_end)).await
    }
}

#[derive(Clone)]
pub(crate) struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// The next piece of a body, as text.
pub(crate) async fn piece(body: &mut Incoming) -> String {
    let frame = body.frame().await.expect("another frame").expect("a body that goes on");
    String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap()
}

/// All of a body, as text.
pub(crate) async fn text(body: Incoming) -> String {
    String::from_utf8(body.collect().await.expect("a whole body").to_bytes().to_vec()).unwrap()
}

/// Runs `test` as a sandbox runs: one thread, with a clock that jumps when nothing else can happen.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    canary::over(|| LocalSet::new().block_on(&runtime, test));
}
