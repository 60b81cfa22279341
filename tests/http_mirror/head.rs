//! Heads both ways, refusals, and what events tell.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use portcullis::http::{Answered, Event, Refusal, Upstream};
use portcullis::tls::Alpn;
use tokio::io::DuplexStream;

use crate::http_peers::{Fed, Guest, Setting, fed, get, nothing, request, text, whole};
use crate::on_both_versions;

on_both_versions!(
    a_request_goes_on_with_the_origin_and_its_own_fields,
    an_answer_comes_back_without_what_belongs_to_the_other_leg,
    answers_without_content_keep_their_length,
    a_refused_upstream_is_told_to_every_request,
    a_refusal_does_not_wait_for_the_body_it_refuses,
    a_refused_request_leaves_the_connection_to_the_next,
    events_tell_what_was_asked_and_answered,
);

/// A guest of an upstream that answers every request with `answer`, and the requests it got.
async fn guest(
    setting: &Setting,
    answer: impl Fn() -> Response<Fed> + 'static,
) -> (Guest, Rc<RefCell<Vec<Request<Incoming>>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let guest = setting.with({
        let seen = seen.clone();
        move |request| {
            seen.borrow_mut().push(request);
            let answer = answer();
            async { answer }
        }
    });
    (guest.await, seen)
}

fn ok() -> Response<Fed> {
    Response::new(whole("ok"))
}

async fn a_request_goes_on_with_the_origin_and_its_own_fields(alpn: Alpn) {
    let (mut guest, seen) = guest(&Setting::new(alpn), ok).await;
    let mut asked = get(alpn, "/a/b?c=%20d&e");
    asked.headers_mut().append("x-a", "1".parse().unwrap());
    asked.headers_mut().append("x-a", "2".parse().unwrap());
    asked.headers_mut().insert("proxy-authorization", "Basic eDp5".parse().unwrap());
    assert_eq!(text(guest.send(asked).await.unwrap().into_body()).await, "ok");
    let seen = seen.borrow();
    let [request] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(request.uri().path_and_query().unwrap(), "/a/b?c=%20d&e");
    assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(!request.headers().contains_key("proxy-authorization"));
    match alpn {
        Alpn::Http1 => assert_eq!(request.headers()["host"], "a.example"),
        Alpn::H2 => assert_eq!(request.uri().authority().unwrap(), "a.example"),
    }
}

async fn an_answer_comes_back_without_what_belongs_to_the_other_leg(alpn: Alpn) {
    let answer = || {
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("alt-svc", "h3=\":443\"")
            .header("proxy-authenticate", "Basic")
            .header("connection", "x-own")
            .header("x-own", "1")
            .header("x-mine", "1")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .body(whole("short and stout"))
            .unwrap()
    };
    let (mut guest, _) = guest(&Setting::new(alpn), answer).await;
    let answer = guest.send(get(alpn, "/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    for gone in ["alt-svc", "proxy-authenticate", "x-own", "connection"] {
        assert!(!answer.headers().contains_key(gone), "{gone}: {answer:?}");
    }
    assert_eq!(answer.headers()["x-mine"], "1");
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(text(answer.into_body()).await, "short and stout");
}

async fn answers_without_content_keep_their_length(alpn: Alpn) {
    let answer = |status: u16| move || Response::builder().status(status).body(nothing()).unwrap();
    for status in [200, 204, 304] {
        let (mut guest, _) = guest(&Setting::new(alpn), answer(status)).await;
        let answer = guest.send(get(alpn, "/")).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(text(answer.into_body()).await, "");
    }
    let long = || Response::builder().header("content-length", "12345").body(nothing()).unwrap();
    let (mut guest, _) = self::guest(&Setting::new(alpn), long).await;
    let head = guest.send(request(alpn, "HEAD", "/", nothing())).await.unwrap();
    assert_eq!(head.headers()["content-length"], "12345");
    assert_eq!(text(head.into_body()).await, "");
}

async fn a_refused_upstream_is_told_to_every_request(alpn: Alpn) {
    let refusal = Refusal::denied("a.example is not allowed by any rule; --allow a.example would allow it");
    let mut guest = Setting::new(alpn).connect(Upstream::<DuplexStream>::Refused(refusal)).await;
    for _ in 0..3 {
        let answer = guest.send(get(alpn, "/")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(
            answer.headers()["proxy-status"],
            "portcullis; error=http_request_denied; details=\"a.example is not allowed by any rule; --allow a.example would allow it\""
        );
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let line = "a.example is not allowed by any rule; --allow a.example would allow it\n";
        assert_eq!(text(answer.into_body()).await, line);
    }
    let head = guest.send(request(alpn, "HEAD", "/", nothing())).await.unwrap();
    assert_eq!(head.status(), StatusCode::FORBIDDEN);
    let odd = guest.send(request(alpn, "TRACE", "/", nothing())).await.unwrap();
    // Why nothing goes upstream is worth more than what is wrong with a request that would not.
    assert!(!odd.headers()["proxy-status"].to_str().unwrap().contains("TRACE"));
}

async fn a_refusal_does_not_wait_for_the_body_it_refuses(alpn: Alpn) {
    let refusal = Refusal::denied("no");
    let mut guest = Setting::new(alpn).connect(Upstream::<DuplexStream>::Refused(refusal)).await;
    let (feed, body) = fed();
    let answer = guest.begin(request(alpn, "POST", "/", body));
    feed.send("the first of much").await;
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    // On h2 the stream is reset while the body is unread; only NO_ERROR leaves the answer whole for a client.
    assert_eq!(text(answer.into_body()).await, "no\n");
    feed.dropped().await;
}

async fn a_refused_request_leaves_the_connection_to_the_next(alpn: Alpn) {
    let (mut guest, seen) = guest(&Setting::new(alpn), ok).await;
    let mut foreign = get(alpn, "/");
    match alpn {
        Alpn::Http1 => drop(foreign.headers_mut().insert("host", "evil.example".parse().unwrap())),
        Alpn::H2 => *foreign.uri_mut() = "http://evil.example/".parse().unwrap(),
    }
    let refused = guest.send(foreign).await.unwrap();
    assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
    drop(text(refused.into_body()).await);
    assert!(seen.borrow().is_empty());
    assert_eq!(guest.send(get(alpn, "/")).await.unwrap().status(), StatusCode::OK);
}

async fn events_tell_what_was_asked_and_answered(alpn: Alpn) {
    let told = Rc::new(RefCell::new(Vec::new()));
    let mut setting = Setting::new(alpn);
    setting.events = Rc::new({
        let told = told.clone();
        move |event| told.borrow_mut().push(event)
    });
    setting.limits.quoted_text = 8;
    let (mut guest, _) = guest(&setting, ok).await;
    drop(text(guest.send(get(alpn, "/path?query")).await.unwrap().into_body()).await);
    drop(guest.send(request(alpn, "TRACE", "/", nothing())).await.unwrap());
    let told = told.borrow();
    let [
        Event::Request { subject, status },
        Event::Denied { subject: denied, refusal, answered: Answered::ByRefusal },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        (subject.method.as_str(), subject.path.as_str(), *status),
        ("GET", "/path?qu", StatusCode::OK)
    );
    assert_eq!((denied.method.as_str(), refusal.status()), ("TRACE", StatusCode::FORBIDDEN));
}
