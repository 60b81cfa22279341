//! Requests a second and MiB a second through a whole sandbox, beside the same client and upstream without one.
//!
//! Guest, TCP, TLS twice, HTTP, injection and scrubbing over the in-memory link; the upstream is on loopback, on
//! a thread of its own. The guest's TCP is the tests', with neither offload nor speed, and is part of every figure
//! but the direct ones. Each figure is the median of several rounds.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal"
)]

#[expect(dead_code, reason = "the guest is shared with the tests of the network")]
#[path = "../tests/support/guest.rs"]
mod guest;
#[path = "../tests/support/pki.rs"]
mod pki;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis::config::Config;
use portcullis::link::memory;
use portcullis::net;
use portcullis::policy::ConnectTo;
use portcullis::sandbox::Sandbox;
use portcullis::secret::{SecretSpec, SecretValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HOST: &str = "api.example.com";
const SECRET: &str = "sk-bench-0123456789abcdef0123456789abcdef";
/// Octets of one piece of a large body.
const PIECE: usize = 64 << 10;

fn main() {
    // `cargo bench` says so; anything else only makes sure that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let plan = if quick {
        Plan { rounds: 1, requests: 64, pieces: 16 }
    } else {
        Plan { rounds: 7, requests: 2_000, pieces: 1_024 }
    };
    let upstream = upstream();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let sandboxed = Sandboxed::start(upstream);
        println!("{:<28}{:>12}{:>12}{:>8}", "", "direct", "sandboxed", "ratio");
        for work in [
            Work::Requests(Http::One, 1),
            Work::Requests(Http::Two, 1),
            Work::Requests(Http::Two, 32),
            Work::Bulk(Http::One),
            Work::Bulk(Http::Two),
        ] {
            let mut direct = Vec::new();
            let mut through = Vec::new();
            // In turns, so that a noisy neighbour disturbs both.
            for _ in 0..plan.rounds {
                direct.push(plan.measure(&work, connect_directly(upstream, work.http()).await, SECRET).await);
                let client = sandboxed.connect(work.http()).await;
                through.push(plan.measure(&work, client, &sandboxed.placeholder).await);
            }
            let (direct, through) = (median(direct), median(through));
            println!("{:<28}{direct:>12.0}{through:>12.0}{:>8.2}", work.name(), through / direct);
        }
        sandboxed.sandbox.shutdown().await;
    });
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[derive(Clone, Copy)]
enum Http {
    One,
    Two,
}

impl Http {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::One => b"http/1.1",
            Self::Two => b"h2",
        }
    }
}

/// What is measured.
enum Work {
    /// Small requests on one connection, so many at once.
    Requests(Http, usize),
    /// One large answer.
    Bulk(Http),
}

impl Work {
    fn http(&self) -> Http {
        match self {
            Self::Requests(http, _) | Self::Bulk(http) => *http,
        }
    }

    fn name(&self) -> String {
        let version = if let Http::One = self.http() { "h1" } else { "h2" };
        match self {
            Self::Requests(_, at_once) => format!("{version} requests/s, {at_once} at once"),
            Self::Bulk(_) => format!("{version} MiB/s down"),
        }
    }
}

/// How much is done for a figure.
struct Plan {
    rounds: usize,
    requests: usize,
    pieces: usize,
}

impl Plan {
    async fn measure(&self, work: &Work, mut client: Client, token: &str) -> f64 {
        // What a connection pays once is not measured.
        assert_eq!(client.get("/1", token).await, PIECE);
        let started = Instant::now();
        match work {
            Work::Requests(_, 1) => {
                for _ in 0..self.requests {
                    assert_eq!(client.get("/0", token).await, 0);
                }
                self.requests as f64 / started.elapsed().as_secs_f64()
            }
            Work::Requests(_, at_once) => {
                let mut tasks = JoinSet::new();
                for _ in 0..*at_once {
                    let (mut client, token, share) =
                        (client.fork(), token.to_owned(), self.requests / at_once);
                    tasks.spawn_local(async move {
                        for _ in 0..share {
                            assert_eq!(client.get("/0", &token).await, 0);
                        }
                    });
                }
                tasks.join_all().await;
                (self.requests / at_once * at_once) as f64 / started.elapsed().as_secs_f64()
            }
            Work::Bulk(_) => {
                let length = client.get(&format!("/{}", self.pieces), token).await;
                assert_eq!(length, self.pieces * PIECE);
                length as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
            }
        }
    }
}

/// One connection.
enum Client {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    async fn new<S>(http: Http, stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        match http {
            Http::One => {
                let (sender, conn) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::task::spawn_local(conn);
                Self::One(sender)
            }
            Http::Two => {
                let mut builder = http2::Builder::new(Local);
                builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
                let (sender, conn) = builder.handshake(TokioIo::new(stream)).await.unwrap();
                tokio::task::spawn_local(conn);
                Self::Two(sender)
            }
        }
    }

    /// Another handle of an h2 connection.
    fn fork(&self) -> Self {
        match self {
            Self::One(_) => panic!("HTTP/1 has one request at a time"),
            Self::Two(sender) => Self::Two(sender.clone()),
        }
    }

    /// The length of an answer.
    async fn get(&mut self, path: &str, token: &str) -> usize {
        let request = Request::builder().header("authorization", format!("Bearer {token}"));
        let response = match self {
            Self::One(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request.uri(path).header("host", HOST).body(Empty::new()).unwrap()).await
            }
            Self::Two(sender) => {
                sender.ready().await.unwrap();
                let uri = format!("https://{HOST}{path}");
                sender.send_request(request.uri(uri).body(Empty::new()).unwrap()).await
            }
        };
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        let (mut body, mut length) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        length
    }
}

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn tls<S>(stream: S, http: Http, pem: &[u8]) -> tokio_rustls::client::TlsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![http.alpn().to_vec()];
    let name = ServerName::try_from(HOST).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

async fn connect_directly(upstream: SocketAddr, http: Http) -> Client {
    let stream = TcpStream::connect(upstream).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let authority = std::fs::read(pki::path("ca.pem")).unwrap();
    Client::new(http, tls(stream, http, &authority).await).await
}

/// A sandbox with a guest.
struct Sandboxed {
    sandbox: Sandbox,
    guest: guest::Guest,
    gateway: IpAddr,
    placeholder: String,
}

impl Sandboxed {
    fn start(upstream: SocketAddr) -> Self {
        let config = Config {
            upstream_ca: vec![pki::path("ca.pem")],
            connect_to: vec![ConnectTo::parse(&format!("{HOST}:443:{upstream}")).unwrap()],
            ..Config::default()
        };
        let value = SecretValue::new(SECRET.into()).unwrap();
        let secret = SecretSpec::new("TOKEN", value, &[HOST]).unwrap();
        let prepared = Sandbox::builder().config(config).secret(secret).prepare().unwrap();
        let (_, placeholder) = prepared.guest_env().placeholders[0].clone();
        let (ours, theirs) = memory::pair(1_024, 1_500);
        let network = net::Config::for_slot(0);
        let sandbox = prepared.start(ours).unwrap();
        let guest = guest::Guest::new(theirs, &network);
        Self { sandbox, guest, gateway: network.gateway_v4.into(), placeholder }
    }

    async fn connect(&self, http: Http) -> Client {
        let mut question = Message::new(1, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from_ascii(format!("{HOST}.")).unwrap(), RecordType::A));
        let nameserver = SocketAddr::new(self.gateway, 53);
        let answer = self.guest.udp_exchange(nameserver, &question.to_vec().unwrap()).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        let RData::A(addr) = answer.answers[0].data else { panic!("no address: {answer:?}") };
        let stream = self.guest.connect(SocketAddr::new(addr.0.into(), 443)).await.unwrap();
        Client::new(http, tls(stream, http, self.sandbox.ca_cert_pem().as_bytes()).await).await
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// Answers `/N` with N pieces to whoever has the secret, on a thread of its own.
fn upstream() -> SocketAddr {
    let (ready, addr) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            let config = pki::server_config("good", ALL_VERSIONS, &[b"h2", b"http/1.1"]);
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(serve(stream, acceptor.clone()));
            }
        });
    });
    addr.recv_timeout(Duration::from_secs(10)).expect("the upstream starts")
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor) {
    stream.set_nodelay(true).unwrap();
    let stream = acceptor.accept(stream).await.unwrap();
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(&request)) });
    // How a measured connection ends is of no interest.
    if is_h2 {
        let _ = hyper::server::conn::http2::Builder::new(Local)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    } else {
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

fn respond(request: &Request<Incoming>) -> Response<Body> {
    assert_eq!(request.headers()["authorization"], format!("Bearer {SECRET}"));
    let pieces = request.uri().path()[1..].parse().unwrap();
    if pieces == 0 {
        return Response::new(Full::default().boxed());
    }
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(Pieces(pieces))));
    response.headers_mut().insert("content-length", (pieces * PIECE).into());
    response
}

/// So many pieces, as fast as they are taken.
struct Pieces(usize);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        static PIECE_OF_TEXT: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| {
            b"The quick brown fox jumps over the lazy dog. ".repeat(PIECE / 45 + 1)[..PIECE].to_vec().into()
        });
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or_default();
        std::task::Poll::Ready(left.map(|_| Ok(Frame::data(PIECE_OF_TEXT.clone()))))
    }
}
