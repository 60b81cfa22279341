//! Secrets on their way through the mirror, on both versions.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::name::{HostName, Scheme};
use crate::secret::{SecretSpec, SecretValue};

/// A secret of a shape of its own, random so that nothing but the secret can be it.
fn canary() -> String {
    let mut random = [0; 20];
    getrandom::fill(&mut random).unwrap();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("Canary-{hex}")
}

/// A sandbox with one secret for api.example, and the connection a guest has to some origin.
struct Case {
    alpn: Alpn,
    canary: String,
    placeholder: String,
    secrets: Arc<Secrets>,
    origin: Origin,
    peer: Option<VerifiedPeer>,
    events: Rc<RefCell<Vec<Event>>>,
    /// What holds an injection back until it is recorded.
    recording: Rc<dyn Fn(&Hold)>,
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

impl Case {
    fn to(alpn: Alpn, host: &str) -> Self {
        let canary = canary();
        let value = SecretValue::new(canary.clone().into()).unwrap();
        let secret = SecretSpec::new("TOKEN", value, &["api.example"]).unwrap();
        Self { canary, ..Self::with(alpn, host, vec![secret]) }
    }

    fn with(alpn: Alpn, host: &str, secrets: Vec<SecretSpec>) -> Self {
        let canary = String::from_utf8(secrets[0].value.expose().to_vec()).unwrap();
        let secrets = Secrets::new(secrets).unwrap();
        let placeholder = secrets.placeholders()[0].1.to_string();
        let origin = Origin { scheme: Scheme::Https, host: name(host), port: 443 };
        let peer = Some(VerifiedPeer::new(name(host), 443));
        let (events, recording) = (Rc::default(), Rc::new(|_: &Hold| {}));
        Self { alpn, canary, placeholder, secrets, origin, peer, events, recording }
    }

    fn over_plain_http(mut self) -> Self {
        self.origin.scheme = Scheme::Http;
        self.origin.port = 80;
        self.peer = None;
        self
    }

    fn request(&self) -> http::request::Builder {
        let authority = self.origin.authority();
        match self.alpn {
            Alpn::Http1 => Request::get("/").header("host", authority),
            Alpn::H2 => Request::get(format!("{}://{authority}/", self.origin.scheme.as_str()))
                .version(http::Version::HTTP_2),
        }
    }

    /// Serves `guest`'s connection to `upstream`.
    fn serve(&mut self, guest: DuplexStream, upstream: DuplexStream) {
        let (events, recording) = (Rc::clone(&self.events), Rc::clone(&self.recording));
        let mirror = Mirror {
            origin: self.origin.clone(),
            secrets: Arc::clone(&self.secrets),
            limits: Arc::default(),
            can_record: Rc::new(|| true),
            denial_id: Rc::new(|| None),
            judge: Rc::new(|_, _| Ok(crate::http::Leave::default())),
            response_timeout: None,
            events: Rc::new(move |event| {
                if let Event::Injected { hold, .. } = &event {
                    recording(hold);
                }
                events.borrow_mut().push(event);
            }),
        };
        let upstream = match self.peer.take() {
            Some(peer) => Upstream::Verified { stream: upstream, peer },
            None => Upstream::Plain(upstream),
        };
        spawn_local(serve(guest, self.alpn, upstream, mirror));
    }

    /// What the guest gets for `request` of an upstream that answers `answer`, and what that upstream got.
    async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        answer: Response<Pieces>,
    ) -> (Response<Incoming>, Option<Request<Incoming>>) {
        let (guest, guest_end) = duplex(1 << 16);
        let (upstream_end, upstream) = duplex(1 << 16);
        let seen = Rc::new(Cell::new(None));
        let answer = Cell::new(Some(answer));
        let service = service_fn({
            let seen = Rc::clone(&seen);
            move |request| {
                seen.set(Some(request));
                let answer = answer.take().unwrap();
                async { Ok::<_, Infallible>(answer) }
            }
        });
        self.serve(guest_end, upstream_end);
        let io = TokioIo::new(guest);
        let answer = match self.alpn {
            Alpn::Http1 => {
                let serving =
                    server::conn::http1::Builder::new().serve_connection(TokioIo::new(upstream), service);
                spawn_local(async { drop(serving.await) });
                let (mut sender, conn) = client::conn::http1::handshake(io).await.unwrap();
                spawn_local(async { drop(conn.await) });
                sender.send_request(request).await.unwrap()
            }
            Alpn::H2 => {
                let serving = server::conn::http2::Builder::new(Local)
                    .serve_connection(TokioIo::new(upstream), service);
                spawn_local(async { drop(serving.await) });
                let (mut sender, conn) = client::conn::http2::handshake(Local, io).await.unwrap();
                spawn_local(async { drop(conn.await) });
                sender.send_request(request).await.unwrap()
            }
        };
        (answer, seen.take())
    }
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// A body, one frame a poll.
struct Pieces(std::vec::IntoIter<Frame<Bytes>>);

impl Pieces {
    /// `text` octet by octet, then `trailers`.
    fn of(text: &str, trailers: Option<HeaderMap>) -> Self {
        let octets = text.bytes().map(|octet| Frame::data(Bytes::copy_from_slice(&[octet])));
        let frames: Vec<_> = octets.chain(trailers.map(Frame::trailers)).collect();
        Self(frames.into_iter())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

fn ok() -> Response<Pieces> {
    Response::new(Pieces::of("ok", None))
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

macro_rules! on_both_versions {
    ($($name:ident),* $(,)?) => {
        mod h1 { $(#[test] fn $name() { super::run(super::$name(super::Alpn::Http1)); })* }
        mod h2 { $(#[test] fn $name() { super::run(super::$name(super::Alpn::H2)); })* }
    };
}

mod agent;
mod inject;
mod raw;
mod refused;

on_both_versions!(
    a_placeholder_becomes_the_secret_on_its_way_to_a_verified_host,
    no_secret_goes_over_plain_http,
    no_secret_goes_to_another_host,
    no_secret_goes_to_a_peer_verified_for_another_name,
    an_echoed_secret_comes_back_as_the_placeholder_in_every_place,
    an_answer_in_an_unknown_coding_of_a_host_of_secrets_is_refused,
    a_sliced_answer_to_a_request_with_a_secret_is_refused,
    other_hosts_answers_may_be_coded,
);

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

async fn a_placeholder_becomes_the_secret_on_its_way_to_a_verified_host(alpn: Alpn) {
    let mut case = Case::to(alpn, "api.example");
    let bearer = format!("Bearer {}", case.placeholder);
    let request = case.request().header("authorization", bearer).header("accept-encoding", "gzip, br");
    let (answer, seen) = case.exchange(request.body(Empty::new()).unwrap(), ok()).await;
    assert_eq!(text(answer).await, "ok");
    let seen = seen.unwrap();
    assert_eq!(seen.headers()["authorization"], format!("Bearer {}", case.canary));
    assert_eq!(seen.headers()["accept-encoding"], "identity");
    let events = case.events.borrow();
    let [Event::Injected { secret, place, .. }, Event::Request { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&**secret, &**place), ("TOKEN", "header:authorization"));
    assert!(!format!("{events:?}").contains(&case.canary));
}

/// Asks with a placeholder in a header; nothing may go upstream.
async fn is_denied(mut case: Case, because: &str) {
    let bearer = format!("Bearer {}", case.placeholder);
    let request = case.request().header("authorization", bearer);
    let (answer, seen) = case.exchange(request.body(Empty::new()).unwrap(), ok()).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(seen.is_none());
    let line = text(answer).await;
    assert!(line.contains(because), "{line}");
}

async fn no_secret_goes_over_plain_http(alpn: Alpn) {
    is_denied(Case::to(alpn, "api.example").over_plain_http(), "secrets go over HTTPS only").await;
}

async fn no_secret_goes_to_another_host(alpn: Alpn) {
    is_denied(Case::to(alpn, "evil.example"), "allow it with --secret TOKEN@evil.example").await;
}

async fn no_secret_goes_to_a_peer_verified_for_another_name(alpn: Alpn) {
    let mut case = Case::to(alpn, "evil.example");
    case.peer = Some(VerifiedPeer::new(name("api.example"), 443));
    is_denied(case, "may not go to https://evil.example").await;
    let mut case = Case::to(alpn, "api.example");
    case.peer = Some(VerifiedPeer::new(name("evil.example"), 443));
    is_denied(case, "may not go to https://api.example").await;
}

async fn an_echoed_secret_comes_back_as_the_placeholder_in_every_place(alpn: Alpn) {
    let mut case = Case::to(alpn, "api.example");
    let canary = case.canary.clone();
    let echo = format!("your token is {canary}{canary}; again: {canary}, {}", &canary[..20]);
    let trailers = HeaderMap::from_iter([("x-echo".parse().unwrap(), canary.parse().unwrap())]);
    let mut answer = Response::builder()
        .header("x-echo", format!("<{canary}>"))
        .header(canary.to_lowercase(), "1")
        .header("trailer", "x-echo")
        .body(Pieces::of(&echo, Some(trailers)))
        .unwrap();
    let reason = hyper::ext::ReasonPhrase::try_from(canary.clone().into_bytes()).unwrap();
    answer.extensions_mut().insert(reason);
    let request = case.request().header("authorization", &case.placeholder).header("te", "trailers");
    let (answer, _) = case.exchange(request.body(Empty::new()).unwrap(), answer).await;
    assert_eq!(answer.headers()["x-echo"], format!("<{}>", case.placeholder));
    let seen = format!("{answer:?}").to_lowercase();
    assert!(!seen.contains(&canary.to_lowercase()), "{seen}");
    assert!(answer.extensions().get::<hyper::ext::ReasonPhrase>().is_none());
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-echo"], case.placeholder.as_str());
    let text = String::from_utf8(whole.to_bytes().to_vec()).unwrap();
    assert_eq!(text, echo.replace(&canary, &case.placeholder));
}

async fn an_answer_in_an_unknown_coding_of_a_host_of_secrets_is_refused(alpn: Alpn) {
    let mut case = Case::to(alpn, "api.example");
    let request = case.request().body(Empty::new()).unwrap();
    let answer =
        Response::builder().header("content-encoding", "compress").body(Pieces::of("x", None)).unwrap();
    let (answer, _) = case.exchange(request, answer).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let status = answer.headers()["proxy-status"].to_str().unwrap();
    assert!(status.starts_with("portcullis; error=http_response_content_coding; "), "{status}");
}

async fn a_sliced_answer_to_a_request_with_a_secret_is_refused(alpn: Alpn) {
    let mut case = Case::to(alpn, "api.example");
    let request = case.request().header("authorization", &case.placeholder).header("range", "bytes=1-");
    let answer = Response::builder().status(206).body(Pieces::of("x", None)).unwrap();
    let (answer, seen) = case.exchange(request.body(Empty::new()).unwrap(), answer).await;
    assert!(!seen.unwrap().headers().contains_key("range"));
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}

async fn other_hosts_answers_may_be_coded(alpn: Alpn) {
    let mut case = Case::to(alpn, "other.example");
    let request = case.request().header("accept-encoding", "gzip").body(Empty::new()).unwrap();
    let answer = Response::builder().header("content-encoding", "gzip").body(Pieces::of("x", None)).unwrap();
    let (answer, seen) = case.exchange(request, answer).await;
    assert_eq!(seen.unwrap().headers()["accept-encoding"], "gzip");
    assert_eq!(text(answer).await, "x");
}

#[test]
fn an_upgraded_connection_is_scrubbed_and_not_compressed() {
    run(async {
        let mut case = Case::to(Alpn::Http1, "api.example");
        let (mut guest, guest_end) = duplex(1 << 16);
        let (upstream_end, mut upstream) = duplex(1 << 16);
        case.serve(guest_end, upstream_end);
        let asked = format!(
            "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\nAuthorization: {}\r\n\r\n",
            case.placeholder
        );
        guest.write_all(asked.as_bytes()).await.unwrap();
        let head = until(&mut upstream, "\r\n\r\n").await;
        assert!(head.contains(&case.canary) && !head.contains("deflate"), "{head}");
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let said = format!("you are {}", case.canary);
        let length = u8::try_from(said.len()).unwrap();
        let answered = format!("{switched}X-Echo: {}\r\n\r\n", case.canary);
        for octet in answered.bytes().chain([0x81, length]).chain(said.bytes()) {
            upstream.write_all(&[octet]).await.unwrap();
        }
        let got = until(&mut guest, &format!("you are {}", case.placeholder)).await;
        assert!(got.contains(&format!("x-echo: {}\r\n", case.placeholder)), "{got}");
        assert!(!got.contains(&case.canary), "{got}");
    });
}

/// Reads until `end` has come.
async fn until(stream: &mut DuplexStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "{}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
