//! HTTP/1 on both legs.

use portcullis::http::{Upstream, serve};
use portcullis::tls::Alpn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::spawn_local;

use super::raw_upstream::{self, Record};
use super::{connection, mirror, run};

/// What must become of a form.
pub(crate) enum Fate {
    /// Answered with this status, and nothing went upstream.
    Refused(u16),
    /// Upstream got these requests and no byte more: method, target, body.
    Passed(&'static [(&'static str, &'static str, &'static str)]),
    /// Upstream got a head at most, and its message never ended.
    Broken,
    /// The connection ended without an answer, and nothing went upstream.
    Closed,
}

use Fate::{Broken, Closed, Passed, Refused};

pub(crate) const GET: Fate = Passed(&[("GET", "/x", "")]);
pub(crate) const HELLO: Fate = Passed(&[("POST", "/x", "hello")]);

/// Sends `bytes`, then half-closes; gives all that came back and what upstream got.
async fn exchange(bytes: &[u8]) -> (String, Record) {
    let (mut guest, guest_end) = connection(1 << 20);
    let (upstream_end, upstream) = duplex(1 << 20);
    let record = Record::default();
    spawn_local({
        let record = record.clone();
        async move {
            raw_upstream::serve(upstream, record, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
        }
    });
    let serving = spawn_local(serve(guest_end, Alpn::Http1, Upstream::Plain(upstream_end), mirror()));
    guest.write_all(bytes).await.unwrap();
    guest.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = guest.read_to_end(&mut answer).await;
    serving.await.unwrap();
    tokio::task::yield_now().await;
    (String::from_utf8(answer).unwrap(), record)
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|digits| digits.parse().ok())
}

pub(crate) async fn judge(name: &str, bytes: &[u8], fate: &Fate) {
    let (answer, record) = exchange(bytes).await;
    match fate {
        Refused(code) => {
            assert_eq!(status(&answer), Some(*code), "{name}: {answer}");
            assert!(record.bytes().is_empty(), "{name}: {}", String::from_utf8_lossy(&record.bytes()));
        }
        Closed => {
            assert_eq!(answer, "", "{name}");
            assert!(record.bytes().is_empty(), "{name}: {}", String::from_utf8_lossy(&record.bytes()));
        }
        Passed(requests) => {
            let messages = record.messages();
            let seen: Vec<_> = messages
                .iter()
                .map(|m| (&*m.method, &*m.target, std::str::from_utf8(&m.body).unwrap()))
                .collect();
            assert_eq!(seen, *requests, "{name}: {answer}");
            for message in messages {
                assert_eq!(message.field("host"), ["a.example"], "{name}");
            }
            assert!(record.rest().is_empty(), "{name}: {}", String::from_utf8_lossy(&record.rest()));
            assert_eq!(answer.matches("HTTP/1.").count(), requests.len(), "{name}: {answer}");
            assert_eq!(status(&answer), Some(200), "{name}: {answer}");
        }
        Broken => {
            assert!(record.messages().is_empty(), "{name}: {record:?}");
            assert_ne!(status(&answer), Some(200), "{name}: {answer}");
        }
    }
}

pub(crate) fn judge_all(forms: &[(&str, &[u8], Fate)]) {
    run(async {
        for (name, bytes, fate) in forms {
            judge(name, bytes, fate).await;
        }
    });
}

#[test]
fn one_host_and_it_is_the_origin() {
    judge_all(&[
        ("plain", b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n", GET),
        ("port", b"GET /x HTTP/1.1\r\nHost: a.example:80\r\n\r\n", GET),
        ("case", b"GET /x HTTP/1.1\r\nhOST: A.Example\r\n\r\n", GET),
        ("final dot", b"GET /x HTTP/1.1\r\nHost: a.example.\r\n\r\n", GET),
        ("space around", b"GET /x HTTP/1.1\r\nHost:  \t a.example \t\r\n\r\n", GET),
        ("none", b"GET /x HTTP/1.1\r\n\r\n", Refused(400)),
        ("none in 1.0", b"GET /x HTTP/1.0\r\n\r\n", Refused(400)),
        ("empty", b"GET /x HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
        ("twice the same", b"GET /x HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("twice", b"GET /x HTTP/1.1\r\nHost: a.example\r\nhost: evil.example\r\n\r\n", Refused(400)),
        ("list", b"GET /x HTTP/1.1\r\nHost: a.example, evil.example\r\n\r\n", Refused(400)),
        ("other", b"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", Refused(421)),
        ("below", b"GET /x HTTP/1.1\r\nHost: b.a.example\r\n\r\n", Refused(421)),
        ("other port", b"GET /x HTTP/1.1\r\nHost: a.example:443\r\n\r\n", Refused(421)),
        ("odd port", b"GET /x HTTP/1.1\r\nHost: a.example:080\r\n\r\n", Refused(400)),
        ("empty port", b"GET /x HTTP/1.1\r\nHost: a.example:\r\n\r\n", Refused(400)),
        ("address", b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", Refused(421)),
        ("userinfo", b"GET /x HTTP/1.1\r\nHost: u:p@a.example\r\n\r\n", Refused(400)),
        (
            "userinfo that looks right",
            b"GET /x HTTP/1.1\r\nHost: a.example@evil.example\r\n\r\n",
            Refused(400),
        ),
        ("path in it", b"GET /x HTTP/1.1\r\nHost: a.example/x\r\n\r\n", Refused(400)),
        ("not ASCII", b"GET /x HTTP/1.1\r\nHost: a.ex\xc3\xa4mple\r\n\r\n", Refused(400)),
        ("1.0 with Host", b"GET /x HTTP/1.0\r\nHost: a.example\r\n\r\n", GET),
    ]);
}

#[test]
fn the_target_is_a_path_or_the_origins_own_url() {
    judge_all(&[
        ("absolute", b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", GET),
        (
            "absolute, spelled otherwise",
            b"GET HTTP://A.EXAMPLE:80/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            GET,
        ),
        (
            "absolute without path",
            b"GET http://a.example?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("GET", "/?q=1", "")]),
        ),
        ("absolute, foreign", b"GET http://evil.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(421)),
        (
            "absolute, foreign Host",
            b"GET http://a.example/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            Refused(421),
        ),
        ("absolute, no Host", b"GET http://a.example/x HTTP/1.1\r\n\r\n", Refused(400)),
        ("absolute, userinfo", b"GET http://u@a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        (
            "absolute, other scheme",
            b"GET https://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Refused(421),
        ),
        ("absolute, ftp", b"GET ftp://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("authority only", b"GET a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("a word", b"GET x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", Passed(&[("OPTIONS", "*", "")])),
        ("asterisk with GET", b"GET * HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        (
            "two slashes",
            b"GET //evil.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("GET", "//evil.example/x", "")]),
        ),
        ("fragment", b"GET /x#y HTTP/1.1\r\nHost: a.example\r\n\r\n", GET),
        ("space in it", b"GET /x y HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
    ]);
}

#[test]
fn the_start_line_is_that_of_http_1() {
    judge_all(&[
        ("no version (0.9)", b"GET /x\r\n", Refused(400)),
        ("version 2.0", b"GET /x HTTP/2.0\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("version 1.2", b"GET /x HTTP/1.2\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("lower-case method", b"get /x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        (
            "method of one's own",
            b"PURGE /x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("PURGE", "/x", "")]),
        ),
        ("TRACE", b"TRACE /x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(403)),
        ("CONNECT", b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(403)),
        (
            "CONNECT elsewhere",
            b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            Refused(403),
        ),
        ("empty lines before", b"\r\n\r\nGET /x HTTP/1.1\r\nHost: a.example\r\n\r\n", GET),
        ("bare LF", b"GET /x HTTP/1.1\nHost: a.example\n\n", GET),
        ("bare CR", b"GET /x HTTP/1.1\rHost: a.example\r\r", Refused(400)),
        ("preface of h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Closed),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Refused(400)),
    ]);
}

#[test]
fn fields_are_well_formed_and_bounded() {
    let many: String = (0..99).map(|n| format!("X-{n}: 1\r\n")).collect();
    let most = format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{many}\r\n");
    let too_many = format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{many}X-more: 1\r\n\r\n");
    let huge = format!("GET /x HTTP/1.1\r\nHost: a.example\r\nX-a: {}\r\n\r\n", "a".repeat(70 << 10));
    let endless = format!("GET /x HTTP/1.1\r\nHost: a.example\r\nX-a: {}", "a".repeat(200 << 10));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "a".repeat(70 << 10));
    judge_all(&[
        ("space before colon", b"GET /x HTTP/1.1\r\nHost : a.example\r\n\r\n", Refused(400)),
        ("obs-fold", b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-a: b\r\n c\r\n\r\n", Refused(400)),
        ("fold of Host", b"GET /x HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n", Refused(400)),
        ("NUL", b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-a: b\0c\r\n\r\n", Refused(400)),
        ("CR in a value", b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-a: b\rc\r\n\r\n", Refused(400)),
        ("no colon", b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-a\r\n\r\n", Refused(400)),
        ("no name", b"GET /x HTTP/1.1\r\nHost: a.example\r\n: b\r\n\r\n", Refused(400)),
        ("100 fields", most.as_bytes(), GET),
        ("101 fields", too_many.as_bytes(), Refused(431)),
        ("huge field", huge.as_bytes(), Refused(431)),
        ("endless field", endless.as_bytes(), Refused(431)),
        ("long target", long.as_bytes(), Refused(431)),
    ]);
}

#[test]
fn expectations_other_than_100_continue_fail() {
    judge_all(&[
        (
            "other",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
            Refused(417),
        ),
        (
            "two",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            Refused(417),
        ),
        (
            "refused before it is met",
            b"POST /x HTTP/1.1\r\nHost: evil.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            Refused(421),
        ),
    ]);
}

#[test]
fn a_request_that_waits_for_100_gets_it_from_us_and_upstream_is_not_asked() {
    run(async {
        let (answer, record) = exchange(
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
        let [message] = &record.messages()[..] else { panic!("{record:?}") };
        assert_eq!(message.body, b"hello");
    });
}

#[test]
fn fields_of_one_connection_do_not_go_on() {
    run(async {
        let (_, record) = exchange(
            b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: X-Own, close\r\nX-Own: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\nProxy-Authorization: Basic eDp5\r\nX-Mine: 1\r\n\r\n",
        )
        .await;
        let [message] = &record.messages()[..] else { panic!("{record:?}") };
        let expected = [("host", "a.example"), ("x-mine", "1"), ("te", "trailers"), ("connection", "te")];
        let seen: Vec<_> = message.fields.iter().map(|(n, v)| (n.to_lowercase(), v.as_str())).collect();
        assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value)));
    });
}

#[test]
fn trailers_that_are_none_do_not_go_on() {
    run(async {
        let (_, record) = exchange(
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Host, Content-Length\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: evil.example\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\n",
        )
        .await;
        let [message] = &record.messages()[..] else { panic!("{record:?}") };
        assert_eq!(message.trailers, [("x-sum".to_owned(), "1".to_owned())]);
        assert_eq!(message.field("trailer"), ["X-Sum"]);
    });
}

#[test]
fn a_refusal_says_why_in_one_line_and_in_proxy_status() {
    run(async {
        let (answer, _) = exchange(b"GET /x HTTP/1.1\r\nHost: \"evil\".example\r\n\r\n").await;
        assert!(
            answer.contains("\r\nproxy-status: portcullis; error=http_request_error; details=\""),
            "{answer}"
        );
        let (answer, _) = exchange(b"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{answer}");
        assert!(
            answer
                .ends_with("\r\n\r\nthe request is for evil.example, its connection for http://a.example\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\ncache-control: no-store\r\n"), "{answer}");
    });
}
