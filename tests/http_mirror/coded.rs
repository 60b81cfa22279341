//! Answers in a content coding, of a host that has a secret.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portcullis::coding::{Coding, Encoder};
use portcullis::limits::Limits;
use portcullis::secret::{SecretSpec, SecretValue, Secrets};
use portcullis::tls::Alpn;
use tokio::task::spawn_local;

use crate::http_peers::{Fed, Feed, Setting, fed, get, nothing, request, text};
use crate::on_both_versions;

on_both_versions!(
    a_coded_answer_arrives_as_identity_and_without_the_secret,
    trailers_follow_a_coded_answer,
    a_coding_that_cannot_be_taken_off_is_a_502,
    a_part_of_a_coded_answer_is_a_502,
    what_is_not_in_its_coding_never_ends_well,
    what_is_cut_short_never_ends_well,
    what_becomes_too_much_never_ends_well,
    head_and_get_agree,
    a_304_has_the_tag_it_was_asked_for,
    an_empty_answer_may_be_labelled,
    a_host_without_secrets_is_left_alone,
);

pub(super) const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];
pub(super) const SECRET: &str = "sk-proj-a-canary-that-nobody-may-see-0123";

/// A setting whose origin has the secret, and the secret's placeholder.
pub(super) fn setting(alpn: Alpn) -> (Setting, String) {
    let value = SecretValue::new(SECRET.as_bytes().to_vec()).unwrap();
    let secrets = Secrets::new(vec![
        SecretSpec::new("KEY", value, &["a.example"]).unwrap(),
        crate::canary::Canary::of_test().secret(),
    ])
    .unwrap();
    let placeholder = secrets.placeholders()[0].1.to_string();
    (Setting { secrets, ..Setting::new(alpn) }, placeholder)
}

pub(super) fn encoded(coding: Coding, text: &str) -> Bytes {
    let mut encoder = Encoder::new(coding);
    let begun = encoder.push(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    [begun, encoder.finish().unwrap()].concat().into()
}

/// An answer of `pieces`, then its end.
pub(super) fn answer(coding: &str, pieces: Vec<Bytes>) -> Response<Fed> {
    let (feed, body) = fed();
    spawn_local(async move {
        for piece in pieces {
            if feed.send_bytes(piece).await.is_err() {
                return;
            }
        }
    });
    Response::builder().header("content-encoding", coding).body(body).unwrap()
}

/// What the guest gets for one GET that is answered by `respond`.
pub(super) async fn got(
    setting: &Setting,
    respond: impl Fn() -> Response<Fed> + 'static,
) -> Response<Incoming> {
    let mut guest = setting
        .with(move |_| {
            let response = respond();
            async { response }
        })
        .await;
    guest.send(get(setting.alpn, "/")).await.unwrap()
}

/// A coded answer whose head is there before anything else is.
async fn late(setting: &Setting, coding: Coding) -> (Incoming, Feed) {
    let (feed, body) = fed();
    let body = Cell::new(Some(body));
    let respond = move || {
        let response = Response::builder().header("content-encoding", coding.name());
        response.body(body.take().unwrap()).unwrap()
    };
    (got(setting, respond).await.into_body(), feed)
}

/// All that came of a body that must not come to its end.
async fn broken(mut body: Incoming) -> Vec<u8> {
    let mut came = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => came.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return came,
            None => panic!("a clean end after {} octets", came.len()),
        }
    }
}

async fn a_coded_answer_arrives_as_identity_and_without_the_secret(alpn: Alpn) {
    let (setting, placeholder) = setting(alpn);
    let plain = format!("{{\"key\":\"{SECRET}\",\"again\":\"{SECRET}\"}}");
    for coding in ALL {
        for size in [1, 7, 1_000] {
            let coded = encoded(coding, &plain);
            let respond = move || {
                let pieces = coded.chunks(size).map(Bytes::copy_from_slice).collect();
                let mut response = answer(coding.name(), pieces);
                let fields = response.headers_mut();
                fields.insert("content-length", coded.len().into());
                fields.insert("etag", HeaderValue::from_static("\"v1\""));
                fields.insert("content-digest", HeaderValue::from_static("sha-256=:eA==:"));
                fields.insert("accept-ranges", HeaderValue::from_static("bytes"));
                fields.insert("vary", HeaderValue::from_static("accept-encoding"));
                response
            };
            let answer = got(&setting, respond).await;
            let fields = answer.headers();
            for gone in ["content-encoding", "content-length", "content-digest"] {
                assert!(!fields.contains_key(gone), "{gone}");
            }
            assert_eq!((field(fields, "etag"), field(fields, "accept-ranges")), ("W/\"v1\"", "none"));
            assert_eq!(fields["vary"], "accept-encoding");
            assert_eq!(text(answer.into_body()).await, plain.replace(SECRET, &placeholder), "{coding:?}");
        }
    }
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> &'a str {
    fields[name].to_str().unwrap()
}

async fn trailers_follow_a_coded_answer(alpn: Alpn) {
    let (setting, placeholder) = setting(alpn);
    for coding in ALL {
        let respond = move || {
            let (feed, body) = fed();
            spawn_local(async move {
                feed.send_bytes(encoded(coding, "content that ends in a sk-proj-a-can")).await.unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("x-last", HeaderValue::from_static(SECRET));
                trailers.insert("content-digest", HeaderValue::from_static("sha-256=:eA==:"));
                feed.send_trailers(trailers).await;
            });
            let response = Response::builder().header("content-encoding", coding.name());
            response.header("trailer", "x-last, content-digest").body(body).unwrap()
        };
        let (setting, mut asked) = (setting.clone(), get(alpn, "/"));
        asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let mut guest = setting
            .with(move |_| {
                let response = respond();
                async { response }
            })
            .await;
        let whole = guest.send(asked).await.unwrap().into_body().collect().await.unwrap();
        let trailers = whole.trailers().unwrap().clone();
        assert_eq!(trailers["x-last"], placeholder.as_str());
        assert!(!trailers.contains_key("content-digest"));
        assert_eq!(whole.to_bytes(), "content that ends in a sk-proj-a-can");
    }
}

async fn a_coding_that_cannot_be_taken_off_is_a_502(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    for coding in ["compress", "gzip, br", "gzip, gzip", "dcz", "sk-proj-a-canary-that-nobody-may-see-0123"] {
        let refused = got(&setting, move || answer(coding, vec![Bytes::from_static(b"coded")])).await;
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY, "{coding}");
        let status = refused.headers()["proxy-status"].to_str().unwrap().to_owned();
        assert!(status.starts_with("portcullis; error=http_response_content_coding; "), "{status}");
        assert!(!status.contains("canary"), "{status}");
        assert!(!text(refused.into_body()).await.contains("canary"));
    }
}

async fn a_part_of_a_coded_answer_is_a_502(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    let respond = || {
        let mut response = answer("gzip", vec![encoded(Coding::Gzip, "a part")]);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert("content-range", HeaderValue::from_static("bytes 0-9/99"));
        response
    };
    assert_eq!(got(&setting, respond).await.status(), StatusCode::BAD_GATEWAY);
}

async fn what_is_not_in_its_coding_never_ends_well(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    for coding in ALL {
        let plain = format!("{{\"plain\":\"{SECRET}\"}}");
        // Seen in time, it is told; seen when the head is out, it breaks off.
        let respond = {
            let plain = plain.clone();
            move || answer(coding.name(), vec![plain.clone().into()])
        };
        let told = got(&setting, respond).await;
        assert_eq!(told.status(), StatusCode::BAD_GATEWAY, "{coding:?}");
        assert!(!text(told.into_body()).await.contains(SECRET));
        let (body, feed) = late(&setting, coding).await;
        feed.send_bytes(plain.into()).await.unwrap();
        drop(feed);
        let came = broken(body).await;
        assert!(!String::from_utf8_lossy(&came).contains(SECRET), "{coding:?}");
        // Something after the end is as bad.
        let (body, feed) = late(&setting, coding).await;
        feed.send_bytes(encoded(coding, "content")).await.unwrap();
        feed.send("more\r\n").await;
        let came = broken(body).await;
        assert!(b"content".starts_with(&came), "{coding:?}: {came:?}");
    }
}

async fn what_is_cut_short_never_ends_well(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    for coding in ALL {
        let coded = encoded(coding, &"some content, ".repeat(100));
        for cut in [1, coded.len() / 2, coded.len() - 1] {
            let (body, feed) = late(&setting, coding).await;
            feed.send_bytes(coded.slice(..cut)).await.unwrap();
            drop(feed);
            broken(body).await;
        }
        // Nor before trailers, which would be an end of a kind.
        let (body, feed) = late(&setting, coding).await;
        feed.send_bytes(coded.slice(..coded.len() / 2)).await.unwrap();
        let trailer = ("x-last".parse().unwrap(), HeaderValue::from_static("1"));
        feed.send_trailers(HeaderMap::from_iter([trailer])).await;
        drop(feed);
        broken(body).await;
    }
}

async fn what_becomes_too_much_never_ends_well(alpn: Alpn) {
    const FLOOR: usize = 1 << 20;
    let (mut setting, _) = setting(alpn);
    setting.limits = Limits { decoded_floor: FLOOR as u64, decoded_ratio: 10, ..Limits::default() };
    for coding in ALL {
        let coded = encoded(coding, &"\0".repeat(32 << 20));
        let most = FLOOR.max(coded.len() * 10);
        let respond = move || answer(coding.name(), vec![coded.clone()]);
        let came = broken(got(&setting, respond).await.into_body()).await;
        assert!(came.len() <= most, "{coding:?}: {}", came.len());
    }
}

async fn head_and_get_agree(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let respond = {
        let asked = asked.clone();
        move |request: http::Request<Incoming>| {
            asked.borrow_mut().push(request.method().clone());
            let coded = encoded(Coding::Gzip, "content");
            let response = Response::builder()
                .header("content-encoding", "gzip")
                .header("content-length", coded.len())
                .header("etag", "\"v1\"")
                .header("accept-ranges", "bytes")
                .header("digest", "md5=x")
                .header("date", "now");
            let body = if request.method() == "HEAD" { nothing() } else { one(coded) };
            async { response.body(body).unwrap() }
        }
    };
    let mut guest = setting.with(respond).await;
    let head = guest.send(request(alpn, "HEAD", "/", nothing())).await.unwrap();
    let fields = without_framing(head.headers());
    assert_eq!(text(head.into_body()).await, "");
    let whole = guest.send(get(alpn, "/")).await.unwrap();
    assert_eq!(fields, without_framing(whole.headers()));
    assert!(!fields.contains_key("content-encoding") && !fields.contains_key("content-length"));
    assert_eq!((&fields["etag"], fields.len()), (&HeaderValue::from_static("W/\"v1\""), 3));
    assert_eq!(text(whole.into_body()).await, "content");
    assert_eq!(asked.borrow().len(), 2);
}

/// h1 says of an answer to GET alone that it comes in chunks.
fn without_framing(fields: &HeaderMap) -> HeaderMap {
    let mut fields = fields.clone();
    fields.remove("transfer-encoding");
    fields
}

fn one(piece: Bytes) -> Fed {
    let (feed, body) = fed();
    spawn_local(async move { feed.send_bytes(piece).await });
    body
}

async fn a_304_has_the_tag_it_was_asked_for(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    let respond = |request: http::Request<Incoming>| async move {
        let response = Response::builder().status(304).header("etag", "\"v1\"");
        match request.uri().path() {
            "/coded" => response.header("content-encoding", "gzip").header("content-length", 99),
            _ => response,
        }
        .body(nothing())
        .unwrap()
    };
    let mut guest = setting.with(respond).await;
    for (path, asked, tag) in
        [("/", "W/\"v1\"", "W/\"v1\""), ("/", "\"v1\"", "\"v1\""), ("/coded", "\"v1\"", "W/\"v1\"")]
    {
        let mut request = get(alpn, path);
        request.headers_mut().insert("if-none-match", HeaderValue::from_static(asked));
        let answer = guest.send(request).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["etag"]),
            (304, &HeaderValue::from_static(tag))
        );
        assert!(!answer.headers().contains_key("content-encoding"));
        assert!(!answer.headers().contains_key("content-length"));
        assert_eq!(text(answer.into_body()).await, "");
    }
}

async fn an_empty_answer_may_be_labelled(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    for labelled in [
        || answer("gzip", vec![]),
        || Response::builder().header("content-encoding", "br").body(nothing()).unwrap(),
    ] {
        let answer = got(&setting, labelled).await;
        assert!(!answer.headers().contains_key("content-encoding"));
        assert_eq!(text(answer.into_body()).await, "");
    }
}

async fn a_host_without_secrets_is_left_alone(alpn: Alpn) {
    let coded = encoded(Coding::Br, SECRET);
    let respond = {
        let coded = coded.clone();
        move || answer("br", vec![coded.clone()])
    };
    let answer = got(&Setting::new(alpn), respond).await;
    assert_eq!(answer.headers()["content-encoding"], "br");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), coded);
}
