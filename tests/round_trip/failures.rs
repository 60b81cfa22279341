//! Upstreams that cannot be reached, or break off.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use portcullis::policy::{Dial, Dialling, Permit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::memory::{End, HOST, Http, Origin, Plan, Reply};
use crate::pki;

on_h1_and_h2!(
    a_refused_dial_is_told,
    a_dial_that_hangs_is_told_in_time,
    a_handshake_that_hangs_is_told_in_time,
    an_upstream_that_breaks_off_leaves_no_clean_end,
    an_upstream_that_says_nothing_is_told,
);

/// An address of this machine where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn a_refused_dial_is_told(http: Http) {
    let bed = Plan::new().connect(HOST, 443, nobody().await).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    answer.assert_refused(502, "connection_refused", HOST);
    bed.finish().await;
}

/// Never gets anywhere.
struct Nowhere;

impl Dial for Nowhere {
    fn dial(&self, _: Permit) -> Dialling<'_> {
        Box::pin(std::future::pending())
    }
}

async fn a_dial_that_hangs_is_told_in_time(http: Http) {
    let plan = Plan::new().connect(HOST, 443, nobody().await).dial(Nowhere);
    let bed = plan.limits(|limits| limits.dial = Duration::from_millis(20)).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    answer.assert_refused(504, "connection_timeout", HOST);
    bed.finish().await;
}

async fn a_handshake_that_hangs_is_told_in_time(http: Http) {
    // Accepts by the kernel alone.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = Plan::new().connect(HOST, 443, listener.local_addr().unwrap());
    // The guest's own handshake has as long; it takes a few milliseconds.
    let bed = plan.limits(|limits| limits.handshake = Duration::from_millis(500)).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    answer.assert_refused(504, "connection_timeout", "handshake");
    bed.finish().await;
}

async fn an_upstream_that_breaks_off_leaves_no_clean_end(http: Http) {
    let origin = Origin::start(Some(crate::good()), |seen| {
        let reply = Reply::pieces(&"half of it".repeat(100), 100).breaking();
        if seen.target.ends_with("/length") { reply.field("content-length", "2000") } else { reply }
    })
    .await;
    let bed = Plan::new().to(&origin).start();
    for path in ["/chunked", "/length"] {
        for fields in [&[][..], &[("x-api-key", &*bed.token())]] {
            let mut client = bed.https(http, HOST).await;
            let head = client.begin("GET", (HOST, path), fields, Bytes::new()).await.unwrap();
            origin.break_off();
            let answer = client.finish(head).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.end, End::Broken, "{path}: {answer:?}");
            assert!("half of it".repeat(100).as_bytes().starts_with(&answer.body));
        }
    }
    bed.finish().await;
}

async fn an_upstream_that_says_nothing_is_told(http: Http) {
    let config = pki::server_config("good", rustls::ALL_VERSIONS, &[http.alpn()]);
    let origin = Origin::raw(Some(config), |mut stream| async move {
        let _ = stream.read(&mut [0; 1000]).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let bed = Plan::new().to(&origin).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    answer.assert_refused(502, "connection_terminated", HOST);
    bed.finish().await;
}

/// A body without a length, that ends with the connection, is over only if close_notify says so.
#[test]
fn a_body_to_the_end_of_the_connection_that_is_cut_has_no_clean_end() {
    crate::memory::run(async {
        for cut in [false, true] {
            let config = pki::server_config("good", rustls::ALL_VERSIONS, &[b"http/1.1"]);
            let go = Rc::new(Notify::new());
            let gone = Rc::clone(&go);
            let origin = Origin::raw(Some(config), move |mut stream| {
                let go = Rc::clone(&gone);
                async move {
                    let _ = stream.read(&mut [0; 1000]).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall there is").await.unwrap();
                    stream.flush().await.unwrap();
                    go.notified().await;
                    if !cut {
                        stream.shutdown().await.unwrap();
                    }
                }
            })
            .await;
            let bed = Plan::new().to(&origin).start();
            let mut client = bed.https(Http::One, HOST).await;
            let head = client.begin("GET", (HOST, "/"), &[], Bytes::new()).await.unwrap();
            go.notify_one();
            let answer = client.finish(head).await;
            assert_eq!(answer.end == End::Broken, cut, "{answer:?}");
            assert!(cut || answer.text() == "all there is");
            bed.finish().await;
        }
    });
}

#[test]
fn a_request_whose_body_stalls_is_ended() {
    crate::memory::run(async {
        let origin = Origin::start(Some(crate::good()), |_| Reply::text("never")).await;
        let plan = Plan::new().to(&origin);
        let bed = plan.limits(|limits| limits.stalled_body = Duration::from_millis(50)).start();
        let mut stream = bed.tls(HOST, bed.offer()).await.unwrap();
        let request = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nhalf ");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It ends, by an answer or without one.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
        origin.idle().await;
        assert!(origin.seen().iter().all(|seen| seen.body.is_empty()));
        bed.finish().await;
    });
}
