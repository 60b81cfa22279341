//! HTTP/2 on both legs.

use std::time::Duration;

use portcullis::http::{Upstream, serve};
use portcullis::tls::Alpn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::h2_frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, frames, status,
};
use super::h2_upstream::{self, Record};
use super::{connection, mirror, run};

/// What must become of a form.
enum Fate {
    /// Answered with this status, and nothing went upstream.
    Refused(u16),
    /// The stream was reset, and nothing went upstream.
    Reset,
    /// The connection was ended, and nothing went upstream.
    Gone,
    /// Upstream got this one request: method, path and query, body.
    Passed(&'static str, &'static str, &'static str),
    /// Upstream got a head, and its message never ended.
    Broken,
}

use Fate::{Broken, Gone, Passed, Refused, Reset};

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const POST: Field = (":method", "POST");
const SCHEME: Field = (":scheme", "http");
const AUTHORITY: Field = (":authority", "a.example");
const PATH: Field = (":path", "/x");
const GET: Fate = Passed("GET", "/x", "");

fn fields(fields: &[Field]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    block(&fields)
}

/// A whole request on stream 1.
fn head(all: &[Field]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(all))
}

/// A request with a body, as the frames after its head are.
fn with_body(all: &[Field], rest: &[Vec<u8>]) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, 1, &fields(all)), rest.concat()].concat()
}

fn data(text: &str, flags: u8) -> Vec<u8> {
    frame(DATA, flags, 1, text.as_bytes())
}

/// Sends `parts` after a preface, each when nothing more happens after the one before; gives the frames that
/// came, and what upstream got.
async fn exchange(parts: &[&[u8]]) -> (Vec<Frame>, Record) {
    let (mut guest, guest_end) = connection(8 << 20);
    let (upstream_end, upstream) = duplex(1 << 20);
    let record = Record::default();
    spawn_local(h2_upstream::serve(upstream, record.clone()));
    let serving = spawn_local(serve(guest_end, Alpn::H2, Upstream::Plain(upstream_end), mirror()));
    let settings = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat();
    guest.write_all(&[PREFACE, &settings].concat()).await.unwrap();
    let mut answer = Vec::new();
    for part in parts {
        let _ = guest.write_all(part).await;
        while let Ok(Ok(1..)) = timeout(Duration::from_secs(1), guest.read_buf(&mut answer)).await {}
    }
    serving.abort();
    (frames(&answer), record)
}

fn answered(frames: &[Frame]) -> Option<u16> {
    frames.iter().find(|frame| frame.kind == HEADERS && frame.stream == 1).map(|frame| status(&frame.payload))
}

fn has(frames: &[Frame], kind: u8) -> bool {
    frames.iter().any(|frame| frame.kind == kind)
}

async fn judge(name: &str, bytes: &[u8], fate: &Fate) {
    // Where the body is at fault, the head goes first and alone, so that it gets upstream.
    let head = 9 + (usize::from(bytes[1]) << 8 | usize::from(bytes[2]));
    let parts = match fate {
        Broken => [&bytes[..head], &bytes[head..]],
        Refused(_) | Reset | Gone | Passed(..) => [bytes, &[]],
    };
    let (frames, record) = exchange(&parts).await;
    let record = record.borrow();
    match fate {
        Refused(code) => assert_eq!(answered(&frames), Some(*code), "{name}: {frames:?}"),
        Reset => assert!(has(&frames, RST_STREAM) && answered(&frames).is_none(), "{name}: {frames:?}"),
        Gone => assert!(has(&frames, GOAWAY) && answered(&frames).is_none(), "{name}: {frames:?}"),
        Passed(method, path, body) => {
            let [seen] = &record[..] else { panic!("{name}: {record:?}") };
            assert_eq!(seen.head.method, *method, "{name}");
            assert_eq!(seen.head.uri.authority().unwrap(), "a.example", "{name}");
            assert_eq!(seen.head.uri.path_and_query().unwrap(), *path, "{name}");
            assert!(!seen.head.headers.contains_key("host"), "{name}: {seen:?}");
            assert_eq!((seen.body.as_slice(), seen.is_whole), (body.as_bytes(), true), "{name}");
            assert_eq!(answered(&frames), Some(200), "{name}: {frames:?}");
            return;
        }
        Broken => {
            let [seen] = &record[..] else { panic!("{name}: {record:?}") };
            assert!(!seen.is_whole, "{name}: {seen:?}");
            assert_ne!(answered(&frames), Some(200), "{name}: {frames:?}");
            return;
        }
    }
    assert!(record.is_empty(), "{name}: {record:?}");
}

fn judge_all(forms: &[(&str, Vec<u8>, Fate)]) {
    run(async {
        for (name, bytes, fate) in forms {
            judge(name, bytes, fate).await;
        }
    });
}

#[test]
fn one_authority_and_it_is_the_origin() {
    let authority = |text| head(&[METHOD, SCHEME, (":authority", text), PATH]);
    let with_host = |text| head(&[METHOD, SCHEME, AUTHORITY, PATH, ("host", text)]);
    let host_only = |text| head(&[METHOD, SCHEME, PATH, ("host", text)]);
    judge_all(&[
        ("plain", head(&[METHOD, SCHEME, AUTHORITY, PATH]), GET),
        ("port", authority("a.example:80"), GET),
        ("case and final dot", authority("A.Example."), GET),
        ("foreign", authority("evil.example"), Refused(421)),
        ("other port", authority("a.example:443"), Refused(421)),
        ("userinfo", authority("u:p@a.example"), Refused(400)),
        ("userinfo that looks right", authority("a.example@evil.example"), Refused(400)),
        ("empty", authority(""), Reset),
        ("a space", authority("a.example evil.example"), Reset),
        ("host that agrees", with_host("a.example"), GET),
        ("host spelled otherwise", with_host("A.EXAMPLE:80"), GET),
        ("host that differs", with_host("evil.example"), Refused(400)),
        ("host with userinfo", with_host("u@a.example"), Refused(400)),
        ("empty host", with_host(""), Refused(400)),
        ("host alone", host_only("a.example"), GET),
        ("foreign host alone", host_only("evil.example"), Refused(421)),
        ("neither", head(&[METHOD, SCHEME, PATH]), Refused(400)),
        (
            "two hosts",
            head(&[METHOD, SCHEME, AUTHORITY, PATH, ("host", "a.example"), ("host", "a.example")]),
            Refused(400),
        ),
    ]);
}

#[test]
fn pseudo_fields_are_those_of_a_request() {
    let path = |text| head(&[METHOD, SCHEME, AUTHORITY, (":path", text)]);
    judge_all(&[
        ("no path", head(&[METHOD, SCHEME, AUTHORITY]), Reset),
        ("empty path", path(""), Reset),
        ("no slash", path("x"), Reset),
        ("a URL for a path", path("http://evil.example/x"), Reset),
        ("space in the path", path("/x HTTP/1.1"), Reset),
        ("CR LF in the path", path("/x\r\nHost: evil.example"), Reset),
        (
            "asterisk",
            head(&[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")]),
            Passed("OPTIONS", "*", ""),
        ),
        ("asterisk with GET", path("*"), Refused(400)),
        ("two slashes", path("//evil.example/x"), Passed("GET", "//evil.example/x", "")),
        ("no method", head(&[SCHEME, AUTHORITY, PATH]), Reset),
        ("no scheme", head(&[METHOD, AUTHORITY, PATH]), Reset),
        ("other scheme", head(&[METHOD, (":scheme", "https"), AUTHORITY, PATH]), Refused(421)),
        ("unknown scheme", head(&[METHOD, (":scheme", "gopher"), AUTHORITY, PATH]), Refused(400)),
        ("two paths", head(&[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/y")]), Reset),
        ("two authorities", head(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]), Reset),
        ("a response's", head(&[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]), Reset),
        ("after a field", head(&[METHOD, SCHEME, AUTHORITY, ("x-a", "1"), PATH]), Reset),
        ("unknown", head(&[METHOD, SCHEME, AUTHORITY, PATH, (":x", "1")]), Gone),
        ("lower-case method", head(&[(":method", "get"), SCHEME, AUTHORITY, PATH]), Refused(400)),
        ("method with a space", head(&[(":method", "GET /y"), SCHEME, AUTHORITY, PATH]), Gone),
        ("TRACE", head(&[(":method", "TRACE"), SCHEME, AUTHORITY, PATH]), Refused(403)),
        ("CONNECT", head(&[(":method", "CONNECT"), ("a", "b"), AUTHORITY]), Reset),
        (
            "CONNECT, as it should be",
            head(&[(":method", "CONNECT"), (":authority", "a.example:80")]),
            Refused(403),
        ),
        (
            "extended CONNECT",
            head(&[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, AUTHORITY, PATH]),
            Reset,
        ),
    ]);
}

#[test]
fn fields_are_well_formed_and_bounded() {
    let field = |name, value| head(&[METHOD, SCHEME, AUTHORITY, PATH, (name, value)]);
    let mut many = vec![METHOD, SCHEME, AUTHORITY, PATH];
    many.extend([("x-a", "1"); 100]);
    let most = head(&many);
    many.push(("x-a", "1"));
    judge_all(&[
        ("upper-case name", field("X-a", "1"), Gone),
        ("CR LF in a value", field("x-a", "1\r\nhost: evil.example"), Gone),
        ("LF in a value", field("x-a", "1\nb"), Gone),
        ("NUL in a value", field("x-a", "1\0b"), Gone),
        ("space in a name", field("x a", "1"), Gone),
        ("colon in a name", field("x:a", "1"), Gone),
        ("connection", field("connection", "close"), Reset),
        ("keep-alive", field("keep-alive", "5"), Reset),
        ("proxy-connection", field("proxy-connection", "close"), Reset),
        ("upgrade", field("upgrade", "h2c"), Reset),
        ("transfer-encoding", field("transfer-encoding", "chunked"), Reset),
        ("te: gzip", field("te", "gzip"), Reset),
        ("te: trailers", field("te", "trailers"), GET),
        ("expect", field("expect", "200-ok"), Refused(417)),
        ("100 fields", most, GET),
        ("101 fields", head(&many), Refused(431)),
    ]);
}

#[test]
fn a_header_bomb_is_refused() {
    let value = "a".repeat(15 << 10);
    let first = frame(HEADERS, END_STREAM, 1, &fields(&[METHOD, SCHEME, AUTHORITY, PATH]));
    let more = frame(CONTINUATION, 0, 1, &block(&[(b"x-a", value.as_bytes())]));
    let last = frame(CONTINUATION, END_HEADERS, 1, &block(&[(b"x-a", value.as_bytes())]));
    let large = [first.clone(), more.repeat(4), last].concat();
    let endless = [first, more.repeat(400)].concat();
    // One indexed octet stands for a whole field, again and again.
    let mut indexed = fields(&[METHOD, SCHEME, AUTHORITY, PATH]);
    indexed.extend([0x40, 3, b'x', b'-', b'b', 127, 0x81, 0x1e]);
    indexed.extend([b'b'; 4096 - 64 - 128]);
    indexed.extend([0xbe; 8 << 10]);
    let indexed = frame(HEADERS, END_STREAM | END_HEADERS, 1, &indexed);
    run(async {
        judge("large", &large, &Refused(431)).await;
        judge("endless", &endless, &Gone).await;
        let (frames, record) = exchange(&[&indexed]).await;
        assert!(record.borrow().is_empty());
        assert!(has(&frames, GOAWAY) || answered(&frames) == Some(431), "{frames:?}");
    });
}

#[test]
fn a_body_has_the_length_it_said() {
    let length = |text| [POST, SCHEME, AUTHORITY, PATH, ("content-length", text)];
    let hello = || [data("hello", END_STREAM)];
    judge_all(&[
        (
            "no length",
            with_body(&[POST, SCHEME, AUTHORITY, PATH], &[data("hel", 0), data("lo", END_STREAM)]),
            Passed("POST", "/x", "hello"),
        ),
        ("length", with_body(&length("5"), &hello()), Passed("POST", "/x", "hello")),
        ("zeros", with_body(&length("005"), &hello()), Refused(400)),
        ("list", with_body(&length("5, 5"), &hello()), Reset),
        ("sign", with_body(&length("+5"), &hello()), Reset),
        ("too short", with_body(&length("4"), &[data("hello", 0)]), Broken),
        ("too long", with_body(&length("6"), &hello()), Broken),
        ("length without body", head(&length("5")), Reset),
        (
            "two lengths",
            with_body(
                &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "5"), ("content-length", "6")],
                &hello(),
            ),
            Reset,
        ),
    ]);
}

#[test]
fn a_broken_body_is_a_message_that_never_ends() {
    let open = [POST, SCHEME, AUTHORITY, PATH];
    let trailers = |all: &[Field]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(all));
    judge_all(&[
        ("reset", with_body(&open, &[data("hel", 0), frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())]), Broken),
        (
            // h2 drops it, so nobody after us reads it.
            "pseudo-field in trailers",
            with_body(&open, &[data("hel", 0), trailers(&[(":path", "/y")])]),
            Passed("POST", "/x", "hel"),
        ),
        (
            "trailers that do not end it",
            with_body(&open, &[data("hel", 0), frame(HEADERS, END_HEADERS, 1, &fields(&[("x-a", "1")]))]),
            Broken,
        ),
    ]);
}

#[test]
fn trailers_that_are_none_do_not_go_on() {
    run(async {
        let trailers = fields(&[("x-sum", "1"), ("host", "evil.example"), ("authorization", "x")]);
        let request = with_body(
            &[POST, SCHEME, AUTHORITY, PATH],
            &[data("hello", 0), frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers)],
        );
        let (_, record) = exchange(&[&request]).await;
        let record = record.borrow();
        let [seen] = &record[..] else { panic!("{record:?}") };
        assert_eq!(seen.trailers.len(), 1, "{seen:?}");
        assert_eq!(seen.trailers["x-sum"], "1");
    });
}

#[test]
fn streams_reset_in_rapid_succession_end_the_connection() {
    run(async {
        let mut bytes = Vec::new();
        for stream in (1..2000).step_by(2) {
            bytes.extend(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &fields(&[METHOD, SCHEME, AUTHORITY, PATH]),
            ));
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        let (frames, record) = exchange(&[&bytes]).await;
        assert!(has(&frames, GOAWAY), "{frames:?}");
        assert!(record.borrow().len() < 200, "{}", record.borrow().len());
    });
}

#[test]
fn more_streams_than_allowed_are_refused() {
    run(async {
        let mut bytes = Vec::new();
        for stream in (1..600).step_by(2) {
            bytes.extend(frame(HEADERS, END_HEADERS, stream, &fields(&[POST, SCHEME, AUTHORITY, PATH])));
        }
        let (frames, record) = exchange(&[&bytes]).await;
        assert!(record.borrow().len() <= 128, "{}", record.borrow().len());
        assert!(has(&frames, RST_STREAM) || has(&frames, GOAWAY));
    });
}

#[test]
fn a_window_that_overflows_ends_only_its_stream() {
    let overflow = frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes());
    let request = with_body(&[POST, SCHEME, AUTHORITY, PATH], &[data("hel", 0), overflow]);
    judge_all(&[("overflow", request, Broken)]);
}
