//! Bodies that may not go on as they stand.

use std::num::NonZeroU32;

use super::inject::{Line, data, fed, post, spec};
use super::*;
use crate::secret::{Elsewhere, Hand, Loaded, Reaction};

on_both_versions!(
    a_body_with_too_many_secrets_is_refused_and_never_ends,
    a_dead_secret_is_refused_in_the_url_before_anything_is_sent,
    a_dead_secret_is_refused_in_every_place_of_a_body,
    a_dead_secret_that_has_no_place_there_is_text,
    a_strangers_body_is_treated_as_configured,
    plain_http_is_watched_too,
    a_placeholder_in_a_strangers_head_is_treated_as_configured,
    a_coding_that_does_not_come_off_is_refused,
    a_wrong_place_on_the_right_host_is_text,
    an_injection_that_cannot_be_recorded_is_answered_with_503,
);

/// What the guest gets and what reaches the upstream, for a body of these pieces and no announced length.
async fn exchange(
    case: &mut Case,
    kind: (&str, &str),
    pieces: &[&[u8]],
) -> (StatusCode, String, Option<Vec<u8>>) {
    let (feed, body) = fed(None);
    let mut line = Line::open(case, ok).await;
    let mut request = post(case, kind.0, body);
    if !kind.1.is_empty() {
        request.headers_mut().insert("content-encoding", kind.1.parse().unwrap());
    }
    let answer = line.send(request);
    let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    let feeding = spawn_local(async move {
        for piece in pieces {
            if feed.send(Ok(Frame::data(piece))).await.is_err() {
                return;
            }
        }
    });
    let reading = spawn_local(async move {
        let (seen, _hold) = line.seen.recv().await?;
        seen.into_body().collect().await.ok().map(|whole| whole.to_bytes().to_vec())
    });
    let answer = answer.await.unwrap().unwrap();
    let status = answer.status();
    let line = text(answer).await;
    feeding.await.unwrap();
    // The clock jumps once nothing can happen any more: the request never got there.
    let seen = tokio::time::timeout(std::time::Duration::from_secs(1), reading).await;
    (status, line, seen.ok().and_then(|seen| seen.unwrap()))
}

async fn a_body_with_too_many_secrets_is_refused_and_never_ends(alpn: Alpn) {
    for collected in [false, true] {
        let value = if collected { "Canary-9".to_owned() } else { canary() };
        let secret = SecretSpec { max_per_request: NonZeroU32::new(2), ..spec(&value, &["body"]) };
        let mut case = Case::with(alpn, "api.example", vec![secret]);
        let body = case.placeholder.repeat(3);
        let (feed, fed) = fed(collected.then_some(body.len() as u64));
        let mut line = Line::open(&mut case, ok).await;
        let answer = line.send(post(&case, "", fed));
        feed.send(data(&body)).await.unwrap();
        drop(feed);
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(text(answer).await.contains("max_per_request = 2"));
        assert!(line.seen.try_recv().is_err() || !collected, "a collected body never begins");
        let denied = |event: &&Event| matches!(event, Event::Denied { .. });
        assert_eq!(case.events.borrow().iter().filter(denied).count(), 1);
    }
}

/// An end of a secret, and what the guest is told.
type Death = (fn(&Secrets), StatusCode, &'static str);

const ENDS: [Death; 2] = [
    (|secrets| secrets.revoke("TOKEN").unwrap(), StatusCode::FORBIDDEN, "secret TOKEN was revoked"),
    (expire, StatusCode::SERVICE_UNAVAILABLE, "the value of secret TOKEN has expired"),
];

fn expire(secrets: &Secrets) {
    let now = std::time::SystemTime::UNIX_EPOCH;
    let value = SecretValue::new(canary().into()).unwrap();
    secrets.rotate("TOKEN", Loaded { value, expires: Some(now) }, Hand::Source, now).unwrap();
    assert!(secrets.expire("TOKEN", now));
}

async fn a_dead_secret_is_refused_in_the_url_before_anything_is_sent(alpn: Alpn) {
    for (end, status, says) in ENDS {
        for (swap, target) in
            [("path", "/a/{}/b"), ("query", "/?a=1&b={}"), ("query:k", "/?k={}"), ("query:k", "/?k=%2D{}")]
        {
            let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &[swap])]);
            end(&case.secrets);
            let mut request = case.request().body(Empty::new()).unwrap();
            let mut uri = request.uri().clone().into_parts();
            uri.path_and_query = Some(target.replace("{}", &case.placeholder).parse().unwrap());
            *request.uri_mut() = http::Uri::from_parts(uri).unwrap();
            let (answer, seen) = case.exchange(request, ok()).await;
            assert_eq!((answer.status(), seen.is_none()), (status, true), "{target}");
            assert!(text(answer).await.contains(says));
            let events = case.events.borrow();
            assert!(matches!(&events[..], [Event::Denied { .. }]), "{events:?}");
        }
    }
}

async fn a_dead_secret_is_refused_in_every_place_of_a_body(alpn: Alpn) {
    for (end, status, says) in ENDS {
        for (swap, kind, body) in [
            ("body", "text/plain", "<{}>"),
            ("body:json:k", "application/json", "{\"k\":\"{}\"}"),
            ("body:form:k", "application/x-www-form-urlencoded", "a=1&k={}"),
            (
                "body:multipart:k",
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=k\r\n\r\n{}\r\n--b--",
            ),
        ] {
            let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &[swap])]);
            end(&case.secrets);
            let body = body.replace("{}", &case.placeholder);
            let (head, tail) = body.split_at(body.len() / 2);
            let (got, line, upstream) =
                exchange(&mut case, (kind, ""), &[head.as_bytes(), tail.as_bytes()]).await;
            assert_eq!((got, upstream), (status, None), "{swap}: {line}");
            assert!(line.contains(says), "{line}");
        }
    }
    // One that is collected, since its length would have changed, never begins.
    for (end, status, says) in ENDS {
        let mut case = Case::with(alpn, "api.example", vec![spec("Canary-9", &["body"])]);
        end(&case.secrets);
        let (feed, fed) = fed(Some(case.placeholder.len() as u64));
        let mut line = Line::open(&mut case, ok).await;
        let answer = line.send(post(&case, "", fed));
        feed.send(data(&case.placeholder)).await.unwrap();
        drop(feed);
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), status);
        assert!(text(answer).await.contains(says));
        assert!(line.seen.try_recv().is_err());
    }
}

async fn a_dead_secret_that_has_no_place_there_is_text(alpn: Alpn) {
    for (end, ..) in ENDS {
        let elsewhere = Elsewhere::all(Reaction::Terminate);
        let secret = SecretSpec { elsewhere, ..spec(&canary(), &["header:x-key", "body:json:k"]) };
        let mut case = Case::with(alpn, "api.example", vec![secret]);
        end(&case.secrets);
        let body = format!("{{\"other\":\"{}\"}}", case.placeholder);
        let (status, _, got) = exchange(&mut case, ("application/json", ""), &[body.as_bytes()]).await;
        assert_eq!((status, got), (StatusCode::OK, Some(body.into_bytes())));
    }
}

async fn a_strangers_body_is_treated_as_configured(alpn: Alpn) {
    for reaction in [Reaction::Inert, Reaction::Redact, Reaction::Deny, Reaction::Terminate] {
        let elsewhere = Elsewhere { body: reaction, ..Elsewhere::default() };
        let secret = SecretSpec { elsewhere, ..spec(&canary(), &["body"]) };
        let mut case = Case::with(alpn, "other.example", vec![secret]);
        let token = case.placeholder.clone();
        let pieces = [b"<", token.as_bytes(), b">"];
        let (status, line, got) = exchange(&mut case, ("text/plain", ""), &pieces).await;
        match reaction {
            Reaction::Inert => assert_eq!(got.unwrap(), format!("<{token}>").into_bytes()),
            Reaction::Redact => {
                assert_eq!(got.unwrap(), format!("<{}>", "x".repeat(token.len())).into_bytes())
            }
            Reaction::Deny | Reaction::Terminate => {
                assert_eq!(status, StatusCode::FORBIDDEN);
                assert!(line.contains("secret TOKEN (body) may not go there"), "{line}");
                assert_eq!(got, None);
                let events = case.events.borrow();
                let [Event::Denied { refusal, .. }] = &events[..] else { panic!("{events:?}") };
                assert_eq!(refusal.ends_the_sandbox(), reaction == Reaction::Terminate);
            }
        }
    }
}

async fn plain_http_is_watched_too(alpn: Alpn) {
    let elsewhere = Elsewhere::all(Reaction::Deny);
    let secret = SecretSpec { elsewhere, ..spec(&canary(), &["body"]) };
    let mut case = Case::with(alpn, "api.example", vec![secret]).over_plain_http();
    let token = case.placeholder.clone();
    let (status, _, got) = exchange(&mut case, ("", ""), &[token.as_bytes()]).await;
    assert_eq!((status, got), (StatusCode::FORBIDDEN, None));
}

async fn a_placeholder_in_a_strangers_head_is_treated_as_configured(alpn: Alpn) {
    for reaction in [Reaction::Inert, Reaction::Redact, Reaction::Deny, Reaction::Terminate] {
        let secret = SecretSpec { elsewhere: Elsewhere::all(reaction), ..spec(&canary(), &["header"]) };
        let mut case = Case::with(alpn, "other.example", vec![secret]);
        let token = case.placeholder.clone();
        let request = case.request().header("x-key", format!("<{token}>")).body(Empty::new()).unwrap();
        let (answer, seen) = case.exchange(request, ok()).await;
        match (reaction, seen) {
            (Reaction::Inert, Some(seen)) => assert_eq!(seen.headers()["x-key"], format!("<{token}>")),
            (Reaction::Redact, Some(seen)) => {
                assert_eq!(seen.headers()["x-key"], format!("<{}>", "x".repeat(token.len())));
            }
            (Reaction::Deny | Reaction::Terminate, None) => {
                assert_eq!(answer.status(), StatusCode::FORBIDDEN);
                let events = case.events.borrow();
                let [Event::Denied { refusal, .. }] = &events[..] else { panic!("{events:?}") };
                assert_eq!(refusal.ends_the_sandbox(), reaction == Reaction::Terminate);
            }
            (reaction, seen) => panic!("{reaction}: {seen:?}"),
        }
    }
}

async fn a_coding_that_does_not_come_off_is_refused(alpn: Alpn) {
    let zeros = |coding| {
        let mut encoder = crate::coding::Encoder::new(coding);
        let mut out = Vec::new();
        for _ in 0..64 {
            out.extend_from_slice(&encoder.push(vec![0; 1 << 20].into()).unwrap());
        }
        out.extend_from_slice(&encoder.finish().unwrap());
        out
    };
    let bomb = zeros(crate::coding::Coding::Gzip);
    for (coding, body, status) in [
        ("gzip, br", b"x".as_slice(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("compress", b"x", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("gzip", b"no gzip at all", StatusCode::BAD_REQUEST),
        ("gzip", &bomb[..bomb.len() / 100], StatusCode::BAD_REQUEST),
        ("gzip", &bomb, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["body"])]);
        let (got, line, upstream) = exchange(&mut case, ("text/plain", coding), &[body]).await;
        assert_eq!(got, status, "{coding}: {line}");
        assert_eq!(upstream, None, "{coding}: nothing ends as if it were whole");
        let mut case = Case::with(alpn, "api.example", vec![spec(&canary(), &["header", "body:json:k"])]);
        let (_, _, upstream) = exchange(&mut case, ("text/plain", coding), &[body]).await;
        assert_eq!(upstream.unwrap(), body, "where there is no place, it is nobody's business");
    }
}

async fn a_wrong_place_on_the_right_host_is_text(alpn: Alpn) {
    let secret =
        SecretSpec { elsewhere: Elsewhere::all(Reaction::Terminate), ..spec(&canary(), &["header:x-key"]) };
    let mut case = Case::with(alpn, "api.example", vec![secret]);
    let token = case.placeholder.clone();
    let (status, _, got) = exchange(&mut case, ("application/json", ""), &[token.as_bytes()]).await;
    assert_eq!((status, got), (StatusCode::OK, Some(token.clone().into_bytes())));
    let mut case = Case { peer: Some(VerifiedPeer::new(name("api.example"), 443)), ..case };
    let request =
        case.request().header("x-other", &token).header("x-key", &token).body(Empty::new()).unwrap();
    let (_, seen) = case.exchange(request, ok()).await;
    let seen = seen.unwrap();
    assert_eq!(seen.headers()["x-other"], token.as_str());
    assert_eq!(seen.headers()["x-key"], case.canary.as_str());
}

async fn an_injection_that_cannot_be_recorded_is_answered_with_503(alpn: Alpn) {
    for length in [true, false] {
        let mut case = Case::with(alpn, "api.example", vec![spec("Canary-9", &["body"])]);
        case.recording = Rc::new(|hold| hold.until(async { false }));
        let token = case.placeholder.clone();
        let (feed, body) = fed(length.then_some(token.len() as u64));
        let mut line = Line::open(&mut case, ok).await;
        let answer = line.send(post(&case, "", body));
        feed.send(data(&token)).await.unwrap();
        drop(feed);
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        if let Ok((seen, _)) = line.seen.try_recv() {
            assert!(!length && seen.into_body().collect().await.is_err());
        }
    }
}
