//! WebSocket handshakes and what follows them, and upstreams that switch or answer out of turn, on HTTP/1.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "support/canary.rs"]
mod canary;

use std::{rc::Rc, sync::Arc, time::Duration};

use canary::{Canary, Tapped};
use portcullis::http::{Leave, Mirror, Upstream, serve};
use portcullis::limits::Limits;
use portcullis::name::{HostName, Origin, Scheme};
use portcullis::secret::{SecretSpec, SecretValue, Secrets};
use portcullis::tls::Alpn;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, timeout};

const ASKED: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A secret of the host, which every answer is searched for.
const SECRET: &str = "seven-seas-are-a-secret";

/// A mirror with the secret, of which a silence lets the first octets go.
fn scrubbing() -> Mirror {
    let value = SecretValue::new(SECRET.into());
    let secret = SecretSpec::new("TOKEN", value.unwrap(), &["a.example"]).unwrap();
    Mirror { secrets: Secrets::new(vec![secret, Canary::of_test().secret()]).unwrap(), ..mirror() }
}

fn mirror() -> Mirror {
    Mirror {
        origin: Origin { scheme: Scheme::Http, host: HostName::parse("a.example").unwrap(), port: 80 },
        secrets: Secrets::new(vec![Canary::of_test().secret()]).unwrap(),
        limits: Arc::new(Limits::default()),
        response_timeout: None,
        events: Rc::new(|_| {}),
        can_record: Rc::new(|| true),
        denial_id: Rc::new(|| None),
        judge: Rc::new(|_, _| Ok(Leave::default())),
    }
}

/// A guest, an upstream, and the mirror between them; `room` octets fit into a stream.
fn connect(room: usize) -> (Tapped<DuplexStream>, DuplexStream, JoinHandle<()>) {
    connect_by(mirror(), room)
}

fn connect_by(mirror: Mirror, room: usize) -> (Tapped<DuplexStream>, DuplexStream, JoinHandle<()>) {
    let (guest, guest_end) = duplex(room);
    let (end, upstream) = duplex(room);
    let serving = spawn_local(serve(guest_end, Alpn::Http1, Upstream::Plain(end), mirror));
    (Canary::of_test().tapped("the guest's connection", guest), upstream, serving)
}

/// What comes until nothing more does.
async fn all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while let Ok(Ok(1..)) = timeout(Duration::from_secs(1), stream.read_buf(&mut bytes)).await {}
    String::from_utf8(bytes).unwrap()
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    canary::over(|| LocalSet::new().block_on(&runtime, test));
}

#[test]
fn an_agreed_upgrade_relays_both_ways_and_each_end_on_its_own() {
    run(async {
        let (mut guest, mut upstream, serving) = connect(1 << 16);
        guest.write_all(ASKED.as_bytes()).await.unwrap();
        let head = all(&mut upstream).await;
        assert!(head.starts_with("GET /chat HTTP/1.1\r\nHost: a.example\r\n"), "{head}");
        assert_eq!(head.to_lowercase().matches("upgrade: websocket\r\n").count(), 1, "{head}");
        assert!(head.contains("Connection: upgrade\r\n"), "{head}");
        upstream.write_all(format!("{SWITCHED}and at once").as_bytes()).await.unwrap();
        let answer = all(&mut guest).await;
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nupgrade: websocket\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nand at once"), "{answer}");
        guest.write_all(b"GET is no request here").await.unwrap();
        assert_eq!(all(&mut upstream).await, "GET is no request here");
        guest.shutdown().await.unwrap();
        assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
        upstream.write_all(b"still there").await.unwrap();
        assert_eq!(all(&mut guest).await, "still there");
        upstream.shutdown().await.unwrap();
        assert_eq!(guest.read(&mut [0]).await.unwrap(), 0);
        serving.await.unwrap();
    });
}

#[test]
fn leave_for_a_request_lasts_as_long_as_what_it_was_upgraded_to() {
    run(async {
        let kept = Rc::new(());
        let leaves = Rc::downgrade(&kept);
        let judge = Rc::new(move |_: &_, _: &_| Ok(Leave::keeping(Rc::clone(&kept))));
        let (mut guest, mut upstream, serving) = connect_by(Mirror { judge, ..mirror() }, 1 << 16);
        let under_way = || leaves.strong_count() - 1;
        guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        all(&mut upstream).await;
        for (answer, left) in [("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nn", 1), ("o", 0)] {
            assert_eq!(under_way(), 1);
            upstream.write_all(answer.as_bytes()).await.unwrap();
            all(&mut guest).await;
            assert_eq!(under_way(), left);
        }
        guest.write_all(ASKED.as_bytes()).await.unwrap();
        all(&mut upstream).await;
        upstream.write_all(SWITCHED.as_bytes()).await.unwrap();
        all(&mut guest).await;
        assert_eq!(under_way(), 1);
        drop((guest, upstream));
        serving.await.unwrap();
        assert_eq!(leaves.strong_count(), 0);
    });
}

#[test]
fn a_piece_of_a_body_that_ends_as_a_secret_begins_comes_whole() {
    for head in ["Transfer-Encoding: chunked\r\n\r\n3\r\n", "Content-Length: 9\r\n\r\n"] {
        run(async {
            let (mut guest, mut upstream, _serving) = connect_by(scrubbing(), 1 << 16);
            guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            all(&mut upstream).await;
            upstream.write_all(format!("HTTP/1.1 200 OK\r\n{head}yes").as_bytes()).await.unwrap();
            let heard = all(&mut guest).await;
            // Sizes of chunks are digits.
            let body = heard.split_once("\r\n\r\n").unwrap().1;
            let body: String = body.chars().filter(char::is_ascii_lowercase).collect();
            assert_eq!(body, "yes", "{heard}");
        });
    }
}

#[test]
fn what_a_guest_sends_early_waits_for_the_upstreams_consent() {
    run(async {
        let (mut guest, mut upstream, _serving) = connect(1 << 16);
        guest.write_all(format!("{ASKED}{}", "early".repeat(1000)).as_bytes()).await.unwrap();
        let head = all(&mut upstream).await;
        assert!(!head.contains("early"), "{head}");
        upstream.write_all(SWITCHED.as_bytes()).await.unwrap();
        assert_eq!(all(&mut upstream).await, "early".repeat(1000));
    });
}

#[test]
fn a_switch_that_was_not_asked_for_or_is_answered_wrongly_is_a_502() {
    let plain = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let old = ASKED.replace(": 13", ": 8");
    let short = ASKED.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=");
    let wrong = SWITCHED.replace("s3pP", "AAAA");
    let other = SWITCHED.replace("Upgrade: websocket", "Upgrade: h2c");
    let extended = SWITCHED.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    for (asked, answered) in [
        (plain, SWITCHED),
        (&*old, SWITCHED),
        (&*short, SWITCHED),
        (ASKED, &*wrong),
        (ASKED, &*other),
        (ASKED, &*extended),
        (ASKED, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ] {
        run(async {
            let (mut guest, mut upstream, serving) = connect(1 << 16);
            guest.write_all(asked.as_bytes()).await.unwrap();
            assert!(all(&mut upstream).await.starts_with("GET "));
            upstream.write_all(format!("{answered}smuggled").as_bytes()).await.unwrap();
            let answer = all(&mut guest).await;
            assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{asked} {answered}: {answer}");
            assert!(answer.contains("error=http_upgrade_failed"), "{answer}");
            assert!(!answer.contains("smuggled"), "{answer}");
            serving.await.unwrap();
        });
    }
}

#[test]
fn a_host_of_secrets_is_offered_no_extension_and_may_not_use_one() {
    run(async {
        let (mut guest, mut upstream, _serving) = connect_by(scrubbing(), 1 << 16);
        let extension = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        guest.write_all(ASKED.replace("\r\n\r\n", extension).as_bytes()).await.unwrap();
        let head = all(&mut upstream).await.to_lowercase();
        assert!(head.starts_with("get ") && !head.contains("extensions"), "{head}");
        upstream.write_all(SWITCHED.replace("\r\n\r\n", extension).as_bytes()).await.unwrap();
        let answer = all(&mut guest).await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("deflate"), "{answer}");
    });
}

#[test]
fn an_upgrade_to_anything_else_is_served_as_plain_http() {
    let two = ASKED.replace("Upgrade: WebSocket", "Upgrade: websocket\r\nUpgrade: h2c");
    let post = ASKED.replace("GET", "POST");
    let unconnected = ASKED.replace("keep-alive, Upgrade", "keep-alive");
    for asked in [two, post, unconnected] {
        run(async {
            let (mut guest, mut upstream, _serving) = connect(1 << 16);
            guest.write_all(asked.as_bytes()).await.unwrap();
            let head = all(&mut upstream).await.to_lowercase();
            assert!(!head.contains("upgrade: ") && !head.contains("connection: "), "{head}");
            upstream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            assert!(all(&mut guest).await.starts_with("HTTP/1.1 426 "));
        });
    }
}

#[test]
fn an_upgrade_that_did_not_come_loses_nothing_of_the_answer() {
    run(async {
        // hyper takes the end of such a connection for an upgrade, and leaves what it has not written.
        let (mut guest, mut upstream, serving) = connect(512);
        let asked = ASKED.replace("keep-alive, Upgrade", "close, Upgrade");
        guest.write_all(asked.as_bytes()).await.unwrap();
        guest.shutdown().await.unwrap();
        assert!(all(&mut upstream).await.starts_with("GET "));
        let body = "x".repeat(100_000);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        spawn_local(async move { upstream.write_all(answer.as_bytes()).await.unwrap() });
        assert!(all(&mut guest).await.ends_with(&format!("\r\n\r\n{body}")));
        serving.await.unwrap();
    });
}

#[test]
fn an_answer_nobody_asked_for_reaches_nobody() {
    run(async {
        let (mut guest, mut upstream, serving) = connect(1 << 16);
        guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        assert!(all(&mut upstream).await.starts_with("GET "));
        let two =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        upstream.write_all(two).await.unwrap();
        let answer = all(&mut guest).await;
        assert!(answer.ends_with("ok") && !answer.contains("evil"), "{answer}");
        serving.await.unwrap();
    });
}

#[test]
fn an_answer_is_written_anew_too() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "content-length: 2\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "content-length: 2\r\n"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n",
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "connection: close\r\n"),
    ];
    for (sent, expected) in cases {
        run(async {
            let (mut guest, mut upstream, _serving) = connect(1 << 16);
            guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            assert!(all(&mut upstream).await.starts_with("GET "));
            upstream.write_all(sent.as_bytes()).await.unwrap();
            let answer = all(&mut guest).await;
            let lower = answer.to_lowercase();
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && lower.contains(expected),
                "{sent}: {answer}"
            );
            let lengths =
                lower.matches("content-length").count() + lower.matches("transfer-encoding").count();
            assert_eq!(lengths, 1, "{sent}: {answer}");
        });
    }
}

#[test]
fn an_answer_that_is_no_http_is_a_502() {
    for (sent, error) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "http_protocol_error"),
        ("", "connection_terminated"),
        ("HTTP/1.1 200 OK\r\nX-a: ", "connection_terminated"),
    ] {
        run(async {
            let (mut guest, mut upstream, _serving) = connect(1 << 16);
            guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            assert!(all(&mut upstream).await.starts_with("GET "));
            upstream.write_all(sent.as_bytes()).await.unwrap();
            upstream.shutdown().await.unwrap();
            let answer = all(&mut guest).await;
            assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(error), "{sent}: {answer}");
        });
    }
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    run(async {
        let (mut guest, mut upstream, serving) = connect(1 << 16);
        guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nX-").await.unwrap();
        let since = Instant::now();
        serving.await.unwrap();
        assert_eq!(since.elapsed().as_secs(), Limits::default().request_head.as_secs());
        assert_eq!(all(&mut upstream).await, "");
    });
}

#[test]
fn the_spelling_of_field_names_is_kept() {
    run(async {
        let (mut guest, mut upstream, _serving) = connect(1 << 16);
        guest
            .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nX-OddCase: 1\r\nx-lower: 2\r\n\r\n")
            .await
            .unwrap();
        let head = all(&mut upstream).await;
        assert!(head.contains("\r\nX-OddCase: 1\r\nx-lower: 2\r\n"), "{head}");
        upstream.write_all(b"HTTP/1.1 200 Fine\r\nETag: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let answer = all(&mut guest).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 Fine\r\n") && answer.contains("\r\nETag: x\r\n"),
            "{answer}"
        );
    });
}

#[test]
fn a_guest_that_resets_its_connection_cancels_its_request() {
    // A real socket and a real clock: only those reset.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut guest = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (guest_end, _) = listener.accept().await.unwrap();
        let (upstream_end, mut upstream) = duplex(1 << 16);
        let serving = spawn_local(serve(guest_end, Alpn::Http1, Upstream::Plain(upstream_end), mirror()));
        guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        assert_ne!(upstream.read(&mut [0; 1024]).await.unwrap(), 0);
        guest.set_zero_linger().unwrap();
        drop(guest);
        assert_eq!(upstream.read(&mut [0; 1024]).await.unwrap(), 0, "the upstream's connection is closed");
        serving.await.unwrap();
    });
}

#[test]
fn an_upstream_that_answers_early_and_ends_still_gets_the_rest_of_the_request() {
    run(async {
        let (mut guest, mut upstream, _serving) = connect(1 << 16);
        guest
            .write_all(b"PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nfirst")
            .await
            .unwrap();
        assert!(all(&mut upstream).await.ends_with("\r\n\r\nfirst"));
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        upstream.shutdown().await.unwrap();
        let answer = all(&mut guest).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
        guest.write_all(b"other").await.unwrap();
        assert_eq!(all(&mut upstream).await, "other");
        assert_eq!(guest.read(&mut [0]).await.unwrap(), 0, "there is no upstream for another request");
    });
}

#[test]
fn an_early_answer_that_breaks_off_never_ends() {
    run(async {
        let (mut guest, mut upstream, _serving) = connect(1 << 16);
        guest
            .write_all(b"PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nfirst")
            .await
            .unwrap();
        all(&mut upstream).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf of it").await.unwrap();
        upstream.shutdown().await.unwrap();
        let answer = all(&mut guest).await;
        assert!(answer.ends_with("half of it"), "{answer}");
        assert_eq!(guest.read(&mut [0]).await.unwrap_or(0), 0, "the connection ends, the message does not");
    });
}

#[test]
fn an_upstream_that_ends_before_it_answers_is_a_502_even_during_an_upload() {
    run(async {
        let (mut guest, mut upstream, _serving) = connect(1 << 16);
        guest
            .write_all(b"PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nfirst")
            .await
            .unwrap();
        all(&mut upstream).await;
        upstream.shutdown().await.unwrap();
        let answer = all(&mut guest).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    });
}
