//! What one side sees when the other fails, stalls or leaves.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portcullis::http::Upstream;
use portcullis::tls::Alpn;
use tokio::io::{AsyncReadExt as _, duplex};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::http_peers::{Feed, Guest, Setting, fed, get, nothing, piece, request, text, whole};
use crate::on_both_versions;

on_both_versions!(
    an_upstream_that_closes_before_it_answers_is_a_502,
    an_upstream_that_is_gone_before_the_first_request_is_a_502,
    an_answer_that_breaks_off_never_ends,
    a_request_that_breaks_off_never_ends,
    a_guest_that_leaves_before_the_answer_cancels_its_request,
    a_guest_that_leaves_during_the_answer_cancels_it,
    an_answer_may_take_any_time_to_begin,
    an_answer_may_be_silent_as_long_as_it_likes,
    a_request_without_a_length_may_be_silent_too,
    a_request_that_stalls_is_ended,
    a_guest_that_stops_reading_is_ended,
    slow_bodies_are_not_stalled_ones,
    whoever_drops_the_future_ends_both_connections,
    an_upstream_that_closes_closes_the_guest,
);

/// A guest of an upstream whose first answer's body the test feeds.
async fn fed_guest(setting: &Setting) -> (Guest, Feed) {
    let (feed, body) = fed();
    let body = Cell::new(Some(body));
    let answer = move |_| {
        let body = body.take().unwrap();
        async { Response::new(body) }
    };
    (setting.with(answer).await, feed)
}

/// Tells when it is dropped.
struct Alive(Option<oneshot::Sender<()>>);

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

/// A guest of an upstream that never answers its first request, and what tells when that is cancelled.
async fn unanswered_guest(setting: &Setting) -> (Guest, oneshot::Receiver<()>) {
    let (alive, ended) = oneshot::channel();
    let alive = Cell::new(Some(Alive(Some(alive))));
    let answer = move |request: Request<Incoming>| {
        let alive = alive.take();
        async move {
            let _alive = alive;
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return Response::new(nothing());
                }
            }
            std::future::pending().await
        }
    };
    (setting.with(answer).await, ended)
}

async fn an_upstream_that_closes_before_it_answers_is_a_502(alpn: Alpn) {
    let (upstream_end, mut upstream) = duplex(64 << 10);
    spawn_local(async move {
        // Enough of it to have the request.
        let _ = upstream.read(&mut [0; 24]).await;
        sleep(Duration::from_secs(1)).await;
    });
    let mut guest = Setting::new(alpn).connect(Upstream::Plain(upstream_end)).await;
    let answer = guest.send(get(alpn, "/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        answer.headers()["proxy-status"],
        "portcullis; error=connection_terminated; details=\"a.example closed the connection before it answered\""
    );
    drop(answer);
    guest.closed().await;
}

async fn an_upstream_that_is_gone_before_the_first_request_is_a_502(alpn: Alpn) {
    let (upstream_end, upstream) = duplex(64 << 10);
    drop(upstream);
    let mut guest = Setting::new(alpn).connect(Upstream::Plain(upstream_end)).await;
    sleep(Duration::from_secs(1)).await;
    let answer = guest.send(get(alpn, "/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    drop(answer);
    guest.closed().await;
}

async fn an_answer_that_breaks_off_never_ends(alpn: Alpn) {
    let (mut guest, feed) = fed_guest(&Setting::new(alpn)).await;
    let mut body = guest.send(get(alpn, "/")).await.unwrap().into_body();
    feed.send("half").await;
    assert_eq!(piece(&mut body).await, "half");
    feed.break_off().await;
    assert!(body.frame().await.unwrap().is_err());
}

async fn a_request_that_breaks_off_never_ends(alpn: Alpn) {
    let (told, tell) = oneshot::channel();
    let told = Cell::new(Some(told));
    let answer = move |request: Request<Incoming>| {
        let told = told.take().unwrap();
        async move {
            told.send(request.into_body().collect().await.is_err()).unwrap();
            Response::new(nothing())
        }
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let (feed, body) = fed();
    let _answer = guest.begin(request(alpn, "POST", "/", body));
    feed.send("half").await;
    feed.break_off().await;
    assert!(tell.await.unwrap(), "the body ended as if it were whole");
}

async fn a_guest_that_leaves_before_the_answer_cancels_its_request(alpn: Alpn) {
    let (mut guest, ended) = unanswered_guest(&Setting::new(alpn)).await;
    let answer = guest.begin(get(alpn, "/"));
    sleep(Duration::from_secs(1)).await;
    match alpn {
        // A duplex stream has no reset: its end is an end, and a guest may half-close.
        Alpn::Http1 => guest.serving.abort(),
        Alpn::H2 => answer.abort(),
    }
    ended.await.unwrap();
}

async fn a_guest_that_leaves_during_the_answer_cancels_it(alpn: Alpn) {
    let (mut guest, feed) = fed_guest(&Setting::new(alpn)).await;
    let mut body = guest.send(get(alpn, "/")).await.unwrap().into_body();
    feed.send("half").await;
    assert_eq!(piece(&mut body).await, "half");
    guest.vanish();
    drop(body);
    while feed.send_bytes(Bytes::from_static(&[0; 4096])).await.is_ok() {}
}

async fn an_answer_may_take_any_time_to_begin(alpn: Alpn) {
    let answer = |_| async {
        sleep(Duration::from_secs(24 * 3600)).await;
        Response::new(whole("at last"))
    };
    let mut guest = Setting::new(alpn).with(answer).await;
    let answer = guest.send(request(alpn, "POST", "/", whole("a body that ended long ago"))).await.unwrap();
    assert_eq!(text(answer.into_body()).await, "at last");
}

async fn an_answer_may_be_silent_as_long_as_it_likes(alpn: Alpn) {
    let setting = Setting::new(alpn);
    let (mut guest, feed) = fed_guest(&setting).await;
    let mut body = guest.send(get(alpn, "/")).await.unwrap().into_body();
    feed.send("half").await;
    assert_eq!(piece(&mut body).await, "half");
    sleep(setting.limits.stalled_body * 60).await;
    feed.send("the rest").await;
    assert_eq!(piece(&mut body).await, "the rest");
}

async fn a_request_without_a_length_may_be_silent_too(alpn: Alpn) {
    let setting = Setting::new(alpn);
    let (mut guest, mut ended) = unanswered_guest(&setting).await;
    let (feed, body) = fed();
    let _answer = guest.begin(request(alpn, "POST", "/", body));
    feed.send("half").await;
    sleep(setting.limits.stalled_body * 60).await;
    assert!(ended.try_recv().is_err());
}

async fn a_request_that_stalls_is_ended(alpn: Alpn) {
    let setting = Setting::new(alpn);
    let (mut guest, ended) = unanswered_guest(&setting).await;
    let (feed, body) = fed();
    let mut post = request(alpn, "POST", "/", body);
    post.headers_mut().insert(http::header::CONTENT_LENGTH, 100.into());
    let _answer = guest.begin(post);
    feed.send("half").await;
    let since = Instant::now();
    ended.await.unwrap();
    assert!((1..=2).contains(&(since.elapsed().as_secs() / setting.limits.stalled_body.as_secs())));
    feed.dropped().await;
}

async fn a_guest_that_stops_reading_is_ended(alpn: Alpn) {
    let (mut guest, feed) = fed_guest(&Setting::new(alpn)).await;
    let _unread = guest.send(get(alpn, "/")).await.unwrap();
    while feed.send_bytes(Bytes::from_static(&[0; 64 << 10])).await.is_ok() {}
}

async fn slow_bodies_are_not_stalled_ones(alpn: Alpn) {
    let setting = Setting::new(alpn);
    let (mut guest, feed) = fed_guest(&setting).await;
    let mut body = guest.send(get(alpn, "/")).await.unwrap().into_body();
    for _ in 0..10 {
        sleep(setting.limits.stalled_body - Duration::from_secs(1)).await;
        feed.send("tick").await;
        assert_eq!(piece(&mut body).await, "tick");
    }
    drop(feed);
    assert_eq!(text(body).await, "");
}

async fn whoever_drops_the_future_ends_both_connections(alpn: Alpn) {
    let (mut guest, ended) = unanswered_guest(&Setting::new(alpn)).await;
    let answer = guest.begin(get(alpn, "/"));
    sleep(Duration::from_secs(1)).await;
    guest.serving.abort();
    ended.await.unwrap();
    assert!(answer.await.unwrap().is_err());
}

async fn an_upstream_that_closes_closes_the_guest(alpn: Alpn) {
    let (upstream_end, upstream) = duplex(64 << 10);
    let upstream = spawn_local(async move {
        let io = hyper_util::rt::TokioIo::new(upstream);
        let served = Rc::new(Cell::new(0));
        let answer = hyper::service::service_fn(move |_| {
            served.set(served.get() + 1);
            async { Ok::<_, std::convert::Infallible>(Response::new(whole("ok"))) }
        });
        match alpn {
            Alpn::Http1 => {
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .keep_alive(false)
                        .serve_connection(io, answer)
                        .await,
                );
            }
            Alpn::H2 => {
                let builder = hyper::server::conn::http2::Builder::new(crate::http_peers::Local);
                let mut conn = std::pin::pin!(builder.serve_connection(io, answer));
                tokio::select! {
                    _ = conn.as_mut() => {}
                    () = sleep(Duration::from_secs(1)) => {
                        conn.as_mut().graceful_shutdown();
                        drop(conn.await);
                    }
                }
            }
        }
    });
    let mut guest = Setting::new(alpn).connect(Upstream::Plain(upstream_end)).await;
    let answer = guest.send(get(alpn, "/")).await.unwrap();
    if alpn == Alpn::Http1 {
        assert_eq!(answer.headers()["connection"], "close");
    }
    assert_eq!(text(answer.into_body()).await, "ok");
    guest.closed().await;
    upstream.await.unwrap();
}
