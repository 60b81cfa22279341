//! Bodies and trailers, while they are under way.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use portcullis::tls::Alpn;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use crate::http_peers::{Setting, fed, get, nothing, piece, request, text};
use crate::on_both_versions;

on_both_versions!(
    an_answer_arrives_piece_by_piece_before_the_next_is_sent,
    a_request_arrives_piece_by_piece_before_the_next_is_sent,
    both_directions_move_at_once,
    trailers_pass_both_ways,
    a_guest_that_does_not_read_holds_its_upstream_back,
    an_upstream_that_does_not_read_holds_its_guest_back,
    a_large_body_passes_each_way_with_little_in_between,
);

async fn an_answer_arrives_piece_by_piece_before_the_next_is_sent(alpn: Alpn) {
    let (feed, body) = fed();
    let body = Cell::new(Some(body));
    let answer = move |_| {
        let body = body.take().unwrap();
        async { Response::builder().header("content-type", "text/event-stream").body(body).unwrap() }
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let mut body = guest.send(get(alpn, "/events")).await.unwrap().into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        feed.send(event).await;
        assert_eq!(piece(&mut body).await, event);
    }
    drop(feed);
    assert_eq!(text(body).await, "");
}

async fn a_request_arrives_piece_by_piece_before_the_next_is_sent(alpn: Alpn) {
    let (told, mut tell) = tokio::sync::mpsc::channel(8);
    let answer = move |request: http::Request<hyper::body::Incoming>| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                told.send(frame.into_data().unwrap()).await.unwrap();
            }
            Response::new(nothing())
        }
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let (feed, body) = fed();
    let answer = guest.begin(request(alpn, "POST", "/", body));
    for text in ["one", "two", "three"] {
        feed.send(text).await;
        assert_eq!(tell.recv().await.unwrap(), text);
    }
    drop(feed);
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
}

async fn both_directions_move_at_once(alpn: Alpn) {
    let answer = |request: http::Request<hyper::body::Incoming>| async {
        let (feed, answer) = fed();
        spawn_local(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                feed.send_bytes(frame.into_data().unwrap()).await.unwrap();
            }
        });
        Response::new(answer)
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let (feed, body) = fed();
    let mut answer = guest.begin(request(alpn, "POST", "/", body)).await.unwrap().unwrap().into_body();
    for word in ["ping", "pong"] {
        feed.send(word).await;
        assert_eq!(piece(&mut answer).await, word);
    }
    drop(feed);
    assert_eq!(text(answer).await, "");
}

async fn trailers_pass_both_ways(alpn: Alpn) {
    let (told, tell) = oneshot::channel();
    let told = Cell::new(Some(told));
    let answer = move |request: http::Request<hyper::body::Incoming>| {
        let told = told.take().unwrap();
        async move {
            let trailers = request.into_body().collect().await.unwrap().trailers().cloned();
            told.send(trailers.unwrap()).unwrap();
            let (feed, body) = fed();
            spawn_local(async move {
                feed.send("x").await;
                feed.send_trailers(trailers_of("grpc-status", "0")).await;
            });
            Response::builder().header("trailer", "grpc-status, set-cookie").body(body).unwrap()
        }
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let (feed, body) = fed();
    let mut asked = request(alpn, "POST", "/", body);
    asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    asked.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    let answer = guest.begin(asked);
    feed.send("hello").await;
    feed.send_trailers(trailers_of("x-sum", "1")).await;
    assert_eq!(tell.await.unwrap(), trailers_of("x-sum", "1"));
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.headers()["trailer"], "grpc-status");
    let got = answer.into_body().collect().await.unwrap().trailers().cloned();
    assert_eq!(got.unwrap(), trailers_of("grpc-status", "0"));
}

/// A trailer that may be one, and one that may not.
fn trailers_of(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
}

/// Octets that may be under way at once: both legs' windows and buffers.
const UNDER_WAY: usize = 12 << 20;
const PIECE: usize = 64 << 10;

async fn a_guest_that_does_not_read_holds_its_upstream_back(alpn: Alpn) {
    let sent = Rc::new(Cell::new(0));
    let answer = {
        let sent = sent.clone();
        move |_| {
            let (feed, body) = fed();
            let sent = sent.clone();
            spawn_local(async move {
                while feed.send_bytes(Bytes::from_static(&[0; PIECE])).await.is_ok() {
                    sent.set(sent.get() + PIECE);
                }
            });
            async { Response::new(body) }
        }
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let answer = guest.send(get(alpn, "/")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(sent.get() < UNDER_WAY, "{}", sent.get());
    drop(answer);
}

async fn an_upstream_that_does_not_read_holds_its_guest_back(alpn: Alpn) {
    let answer = |request| async {
        let _held: http::Request<hyper::body::Incoming> = request;
        std::future::pending().await
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let (feed, body) = fed();
    let _answer = guest.begin(request(alpn, "POST", "/", body));
    let mut sent = 0;
    let send = async {
        while feed.send_bytes(Bytes::from_static(&[0; PIECE])).await.is_ok() {
            sent += PIECE;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), send).await;
    assert!(sent < UNDER_WAY, "{sent}");
}

async fn a_large_body_passes_each_way_with_little_in_between(alpn: Alpn) {
    const WHOLE: usize = 256 << 20;
    let answer = |request: http::Request<hyper::body::Incoming>| async {
        let (feed, answer) = fed();
        spawn_local(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                feed.send_bytes(frame.into_data().unwrap()).await.unwrap();
            }
        });
        Response::new(answer)
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let (feed, body) = fed();
    let mut asked = request(alpn, "PUT", "/", body);
    asked.headers_mut().insert("content-length", WHOLE.into());
    let sent = Rc::new(Cell::new(0));
    spawn_local({
        let sent = sent.clone();
        async move {
            while sent.get() < WHOLE {
                feed.send_bytes(Bytes::from_static(&[7; PIECE])).await.unwrap();
                sent.set(sent.get() + PIECE);
            }
        }
    });
    let mut answer = guest.send(asked).await.unwrap().into_body();
    assert_eq!(answer.size_hint().exact(), None);
    let (mut got, mut most) = (0, 0);
    while let Some(frame) = answer.frame().await {
        got += frame.unwrap().data_ref().unwrap().len();
        most = most.max(sent.get().saturating_sub(got));
    }
    assert_eq!(got, WHOLE);
    assert!(most < 2 * UNDER_WAY, "{most}");
}
