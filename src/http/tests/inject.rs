//! Secrets in request bodies on their way upstream: every place, length, coding and end of a body.

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::coding::{Coding, Decoder, Encoder};
use crate::secret::Location;

type Piece = Result<Frame<Bytes>, std::io::Error>;

/// A body that a test feeds; without an end it breaks off.
pub(super) struct Fed {
    pieces: mpsc::Receiver<Piece>,
    length: Option<u64>,
}

/// Feeds a [`Fed`]; dropped, it ends the body.
pub(super) type Feed = mpsc::Sender<Piece>;

pub(super) fn fed(length: Option<u64>) -> (Feed, Fed) {
    let (feed, pieces) = mpsc::channel(1);
    (feed, Fed { pieces, length })
}

impl Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.pieces.poll_recv(cx)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.length.map_or_else(hyper::body::SizeHint::default, hyper::body::SizeHint::with_exact)
    }
}

/// A connection of a guest's, and the requests that reach its upstream.
pub(super) struct Line {
    sender: Sender,
    /// What reaches the upstream, and what holds its answer back until it is dropped.
    pub(super) seen: mpsc::Receiver<(Request<Incoming>, oneshot::Sender<()>)>,
}

enum Sender {
    H1(client::conn::http1::SendRequest<Fed>),
    H2(client::conn::http2::SendRequest<Fed>),
}

impl Line {
    /// Connects; the upstream answers each request with what `answer` makes of it.
    pub(super) async fn open(case: &mut Case, answer: fn() -> Response<Pieces>) -> Self {
        let (guest, guest_end) = duplex(1 << 16);
        let (upstream_end, upstream) = duplex(1 << 16);
        let (tell, seen) = mpsc::channel(8);
        let service = service_fn(move |request: Request<Incoming>| {
            let tell = tell.clone();
            async move {
                let (hold, dropped) = oneshot::channel();
                tell.send((request, hold)).await.unwrap();
                let _ = dropped.await;
                Ok::<_, Infallible>(answer())
            }
        });
        case.serve(guest_end, upstream_end);
        let (guest, upstream) = (TokioIo::new(guest), TokioIo::new(upstream));
        let sender = match case.alpn {
            Alpn::Http1 => {
                let serving = server::conn::http1::Builder::new().serve_connection(upstream, service);
                spawn_local(async { drop(serving.await) });
                let (sender, conn) = client::conn::http1::handshake(guest).await.unwrap();
                spawn_local(async { drop(conn.await) });
                Sender::H1(sender)
            }
            Alpn::H2 => {
                let serving = server::conn::http2::Builder::new(Local).serve_connection(upstream, service);
                spawn_local(async { drop(serving.await) });
                let (sender, conn) = client::conn::http2::handshake(Local, guest).await.unwrap();
                spawn_local(async { drop(conn.await) });
                Sender::H2(sender)
            }
        };
        Self { sender, seen }
    }

    /// Begins a request; its answer is to be waited for.
    pub(super) fn send(
        &mut self,
        request: Request<Fed>,
    ) -> tokio::task::JoinHandle<hyper::Result<Response<Incoming>>> {
        match &mut self.sender {
            Sender::H1(sender) => spawn_local(sender.send_request(request)),
            Sender::H2(sender) => spawn_local(sender.send_request(request)),
        }
    }
}

/// The secret `TOKEN` for api.example at `swap`.
pub(super) fn spec(value: &str, swap: &[&str]) -> SecretSpec {
    let value = SecretValue::new(value.into()).unwrap();
    let swap = swap.iter().map(|word| Location::parse(word).unwrap()).collect();
    SecretSpec { swap, ..SecretSpec::new("TOKEN", value, &["api.example"]).unwrap() }
}

pub(super) fn post(case: &Case, kind: &str, body: Fed) -> Request<Fed> {
    case.request().method("POST").header("content-type", kind).body(body).unwrap()
}

pub(super) fn data(text: &str) -> Piece {
    Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

on_both_versions!(
    every_place_is_written_whatever_frames_and_codes_the_body,
    a_large_body_streams_at_its_own_length,
    a_large_body_of_another_length_streams_without_one,
    the_piece_with_the_secret_waits_for_its_record,
    trailers_follow_what_was_written,
    a_body_that_breaks_off_never_ends,
    a_coded_body_goes_on_while_its_sender_pauses,
    a_body_that_may_hold_a_secret_loses_its_range,
    a_message_that_ends_as_a_placeholder_begins_goes_on,
);

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=b";
const CODINGS: [Option<Coding>; 5] =
    [None, Some(Coding::Gzip), Some(Coding::Deflate), Some(Coding::Br), Some(Coding::Zstd)];

fn coded(coding: Coding, text: &str) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    let head = encoder.push(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    [head, encoder.finish().unwrap()].concat()
}

fn decoded(coding: Coding, octets: Bytes) -> String {
    let mut decoder = Decoder::new(coding, &Limits::default());
    let mut out = decoder.push(octets).unwrap().to_vec();
    loop {
        let more = decoder.finish().unwrap();
        if more.is_empty() {
            return String::from_utf8(out).unwrap();
        }
        out.extend_from_slice(&more);
    }
}

async fn every_place_is_written_whatever_frames_and_codes_the_body(alpn: Alpn) {
    let equal = format!("{}a", canary());
    let longer = format!("{}/\"long enough to need escapes\"", canary());
    let json = |value: &str| format!(r#"{{"k":["x",{}],"t":"{{}}"}}"#, serde_json::Value::from(value));
    let form = |value: &str| {
        format!("k={}&t={{}}", value.replace('/', "%2F").replace('"', "%22").replace(' ', "%20"))
    };
    let part = |value: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=k\r\n\r\n{value}\r\n--b\r\nX: {{}}\r\n\r\n\r\n--b--\r\n"
        )
    };
    for value in [equal, longer] {
        for (swap, kind, before, after) in [
            ("body", "text/plain", "a {} b".to_owned(), format!("a {value} b")),
            ("body:json:k[1]", JSON, json("{}"), json(&value)),
            ("body:form:k", FORM, form("{}"), form(&value)),
            ("body:multipart:k", PARTS, part("{}"), part(&value)),
        ] {
            for (coding, known) in CODINGS.into_iter().flat_map(|coding| [(coding, true), (coding, false)]) {
                let mut case = Case::with(alpn, "api.example", vec![spec(&value, &[swap])]);
                let [before, after] = [&before, &after].map(|text| text.replace("{}", &case.placeholder));
                let octets =
                    coding.map_or_else(|| before.clone().into_bytes(), |coding| coded(coding, &before));
                let (feed, body) = fed(known.then_some(octets.len() as u64));
                let mut line = Line::open(&mut case, ok).await;
                let mut request = post(&case, kind, body);
                if let Some(coding) = coding {
                    request.headers_mut().insert("content-encoding", coding.name().parse().unwrap());
                }
                let answer = line.send(request);
                let feeding = spawn_local(async move {
                    for piece in octets.chunks(7) {
                        feed.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).await.unwrap();
                    }
                });
                let (seen, hold) = line.seen.recv().await.unwrap();
                let (parts, body) = seen.into_parts();
                let got = body.collect().await.unwrap().to_bytes();
                drop(hold);
                feeding.await.unwrap();
                assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
                let told =
                    parts.headers.get("content-length").map(|length| length.to_str().unwrap().to_owned());
                assert_eq!(told, known.then(|| got.len().to_string()), "{swap} {coding:?}");
                let got = match coding {
                    Some(coding) => decoded(coding, got),
                    None => String::from_utf8(got.to_vec()).unwrap(),
                };
                assert_eq!(got, after, "{swap} {coding:?}");
                let events = case.events.borrow();
                assert!(
                    matches!(&events[..], [Event::Injected { place, .. }, Event::Request { .. }] if place == swap)
                );
            }
        }
    }
}

/// Sends 64 MiB with a placeholder in every 64 KiB; gives the announced length and how much was under way at most.
async fn large(alpn: Alpn, value: &str) -> (Option<String>, u64) {
    let mut case = Case::with(alpn, "api.example", vec![spec(value, &["body"])]);
    let (feed, body) = fed(Some(64 << 20));
    let mut line = Line::open(&mut case, ok).await;
    let answer = line.send(post(&case, "application/octet-stream", body));
    let sent = Rc::new(Cell::new(0_u64));
    let mut unit = vec![b'.'; 64 << 10];
    unit[..case.placeholder.len()].copy_from_slice(case.placeholder.as_bytes());
    spawn_local({
        let sent = Rc::clone(&sent);
        async move {
            for _ in 0..1024 {
                feed.send(Ok(Frame::data(Bytes::from(unit.clone())))).await.unwrap();
                sent.set(sent.get() + (64 << 10));
            }
        }
    });
    let (seen, hold) = line.seen.recv().await.unwrap();
    let (parts, mut body) = seen.into_parts();
    let (mut got, mut held) = (0_u64, 0);
    while let Some(frame) = body.frame().await {
        got += frame.unwrap().into_data().unwrap().len() as u64;
        held = held.max(sent.get().saturating_sub(got));
    }
    drop(hold);
    assert_eq!(got, (64 << 20) - 1024 * (case.placeholder.len() - value.len()) as u64);
    assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
    (parts.headers.get("content-length").map(|length| length.to_str().unwrap().to_owned()), held)
}

async fn a_large_body_streams_at_its_own_length(alpn: Alpn) {
    let (length, held) = large(alpn, &canary()).await;
    assert_eq!(length.as_deref(), Some("67108864"));
    assert!(held < 8 << 20, "{held} octets between guest and upstream");
}

async fn a_large_body_of_another_length_streams_without_one(alpn: Alpn) {
    // Too short for a placeholder of its own length.
    let (length, held) = large(alpn, "Canary-9").await;
    assert_eq!(length, None);
    assert!(held < 8 << 20, "{held} octets between guest and upstream");
}

async fn the_piece_with_the_secret_waits_for_its_record(alpn: Alpn) {
    for recorded in [true, false] {
        let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["body"])]);
        let (record, wait) = oneshot::channel();
        let wait = RefCell::new(Some(wait));
        case.recording = Rc::new(move |hold| {
            let wait = wait.borrow_mut().take().unwrap();
            hold.until(async { wait.await.unwrap() });
        });
        let (feed, body) = fed(None);
        let mut line = Line::open(&mut case, ok).await;
        let answer = line.send(post(&case, "text/plain", body));
        feed.send(data("before ")).await.unwrap();
        let (seen, hold) = line.seen.recv().await.unwrap();
        let mut body = seen.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "before ");
        feed.send(data(&format!("{}.", case.placeholder))).await.unwrap();
        feed.send(data("after")).await.unwrap();
        let quiet = tokio::time::timeout(std::time::Duration::from_secs(5), body.frame()).await;
        assert!(quiet.is_err(), "nothing goes on before it is on record");
        record.send(recorded).unwrap();
        drop(feed);
        let rest = body.collect().await;
        drop(hold);
        if recorded {
            assert_eq!(rest.unwrap().to_bytes(), format!("{}.after", case.canary));
            assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
        } else {
            assert!(rest.is_err(), "the upstream never sees the end");
        }
    }
}

async fn trailers_follow_what_was_written(alpn: Alpn) {
    let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["body"])]);
    let (feed, body) = fed(None);
    let mut line = Line::open(&mut case, ok).await;
    let mut request = post(&case, "text/plain", body);
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    let answer = line.send(request);
    let placeholder = case.placeholder.clone();
    spawn_local(async move {
        for octet in placeholder.bytes() {
            feed.send(Ok(Frame::data(Bytes::copy_from_slice(&[octet])))).await.unwrap();
        }
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), placeholder.parse().unwrap())]);
        feed.send(Ok(Frame::trailers(trailers))).await.unwrap();
    });
    let (seen, hold) = line.seen.recv().await.unwrap();
    let whole = seen.into_body().collect().await.unwrap();
    drop(hold);
    assert_eq!(whole.trailers().unwrap()["x-sum"], case.placeholder.as_str(), "trailers are no place");
    assert_eq!(whole.to_bytes(), case.canary);
    assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
}

async fn a_body_that_breaks_off_never_ends(alpn: Alpn) {
    for (value, length) in [(canary(), None), ("Canary-9".into(), None), (canary(), Some(1_000))] {
        let mut case = Case::with(alpn, "api.example", vec![spec(&value, &["body"])]);
        let (feed, body) = fed(length);
        let mut line = Line::open(&mut case, ok).await;
        let _answer = line.send(post(&case, "text/plain", body));
        feed.send(data(&format!("<{}>", case.placeholder))).await.unwrap();
        let (seen, hold) = line.seen.recv().await.unwrap();
        let mut body = seen.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, format!("<{value}>"));
        feed.send(Err(std::io::Error::other("broken off"))).await.unwrap();
        assert!(body.collect().await.is_err());
        drop(hold);
    }
}

async fn a_coded_body_goes_on_while_its_sender_pauses(alpn: Alpn) {
    for coding in CODINGS.into_iter().flatten() {
        let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["body"])]);
        let (feed, body) = fed(None);
        let mut line = Line::open(&mut case, ok).await;
        let mut request = post(&case, "text/plain", body);
        request.headers_mut().insert("content-encoding", coding.name().parse().unwrap());
        let answer = line.send(request);
        let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding, &Limits::default()));
        let mut upstream = None;
        for turn in 0..3 {
            let message = Bytes::from(format!("{turn}: {}\n", case.placeholder));
            let piece = [encoder.push(message).unwrap(), encoder.flush().unwrap()].concat();
            feed.send(Ok(Frame::data(piece.into()))).await.unwrap();
            if upstream.is_none() {
                upstream = Some(line.seen.recv().await.map(|(seen, hold)| (seen.into_body(), hold)).unwrap());
            }
            let ((body, _), mut got) = (upstream.as_mut().unwrap(), Vec::new());
            while !got.ends_with(b"\n") {
                let octets = body.frame().await.unwrap().unwrap().into_data().unwrap();
                got.extend_from_slice(&decoder.push(octets).unwrap());
            }
            assert_eq!(String::from_utf8(got).unwrap(), format!("{turn}: {}\n", case.canary), "{coding:?}");
        }
        feed.send(Ok(Frame::data(encoder.finish().unwrap()))).await.unwrap();
        drop(feed);
        let rest = upstream.unwrap().0.collect().await.unwrap().to_bytes();
        assert!(decoder.push(rest).unwrap().is_empty() && decoder.finish().unwrap().is_empty());
        assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
    }
}

async fn a_body_that_may_hold_a_secret_loses_its_range(alpn: Alpn) {
    let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["body"])]);
    let (feed, body) = fed(None);
    let sliced = || Response::builder().status(206).body(Pieces::of("x", None)).unwrap();
    let mut line = Line::open(&mut case, sliced).await;
    let mut request = post(&case, "text/plain", body);
    request.headers_mut().insert("range", "bytes=0-".parse().unwrap());
    let answer = line.send(request);
    feed.send(data("nothing")).await.unwrap();
    drop(feed);
    let (seen, hold) = line.seen.recv().await.unwrap();
    assert!(!seen.headers().contains_key("range"));
    drop(seen.into_body().collect().await);
    drop(hold);
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::BAD_GATEWAY);
}

async fn a_message_that_ends_as_a_placeholder_begins_goes_on(alpn: Alpn) {
    let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["body"])]);
    let (feed, body) = fed(None);
    let mut line = Line::open(&mut case, ok).await;
    let _answer = line.send(post(&case, "application/grpc", body));
    let begun = format!("<{}", &case.placeholder[..2]);
    feed.send(data(&begun)).await.unwrap();
    let (seen, _hold) = line.seen.recv().await.unwrap();
    let (mut body, mut got) = (seen.into_body(), Vec::new());
    while got.len() < begun.len() {
        got.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(got, begun.as_bytes());
}
