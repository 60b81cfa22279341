//! The answers of some well-known APIs, as far as their clients need them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::upstream::{Body, Seen, full, status, text};
use super::websocket::sha256;

/// Answers as the API whose path it is.
pub(crate) async fn answer(seen: &Seen, request: Request<Incoming>) -> Response<Body> {
    let body = whole(request).await;
    // Each repeats the key it got, as a careless server would.
    let key = match seen.header("x-api-key")[..] {
        [] => seen.header("authorization").join(" "),
        [key, ..] => key.to_owned(),
    };
    let path = seen.target.split('?').next().unwrap_or_default();
    let line = match (seen.method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
        ("POST", "completions") => format!(
            r#"{{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"finish_reason":"stop",
            "message":{{"role":"assistant","content":"{key}"}}}}]}}"#
        ),
        ("POST", "messages") => format!(
            r#"{{"id":"1","type":"message","role":"assistant","model":"m","stop_reason":"end_turn","stop_sequence":null,
            "usage":{{"input_tokens":1,"output_tokens":1}},"content":[{{"type":"text","text":"{key}"}}]}}"#
        ),
        ("PUT", "key") => String::new(),
        ("GET", "key") => "the object".to_owned(),
        _ => format!(r#"{{"TableNames":["{}"]}}"#, body.len()),
    };
    let mut response = text(&line);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response.headers_mut().insert("etag", HeaderValue::from_static("\"tag\""));
    response
}

async fn whole(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default()
}

/// Answers as Slack, with the token it got and what that is to the last bit.
pub(crate) async fn slack(seen: &Seen, request: Request<Incoming>) -> Response<Body> {
    let body = whole(request).await;
    let field = seen.header("authorization").join(" ");
    let token = match seen.target.as_str() {
        "/api/chat.postMessage" => field.strip_prefix("Bearer ").map(str::to_owned),
        "/api/auth.test" => form(&body, "token"),
        "/api/oauth.v2.access" => field.strip_prefix("Basic ").and_then(|coded| {
            let user = String::from_utf8(STANDARD.decode(coded).ok()?).ok()?;
            user.split_once(':').map(|(_, password)| password.to_owned())
        }),
        _ => None,
    };
    let said = match token {
        Some(token) => json!({ "ok": true, "digest": sha256(&token), "token": token }),
        None => json!({ "ok": false, "error": "not_authed" }),
    };
    let mut response = text(&said.to_string());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// The value of a form's field.
fn form(body: &[u8], name: &str) -> Option<String> {
    let mut pairs = std::str::from_utf8(body).ok()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, coded) = pairs.find(|(own, _)| *own == name)?;
    let mut value = Vec::new();
    let mut octets = coded.bytes();
    while let Some(octet) = octets.next() {
        value.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = [octets.next()?, octets.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(value).ok()
}

/// Takes JSON in zstd and nothing else, and gives it back in zstd, whether that was asked for or not; the digest of its
/// token stands in a field.
pub(crate) async fn coded(seen: &Seen, request: Request<Incoming>) -> Response<Body> {
    const MOST: usize = 1 << 20;
    let refused = |why: &str| status(StatusCode::BAD_REQUEST, format!("{why}\n"));
    if seen.header("content-encoding") != ["zstd"] {
        return refused("no zstd");
    }
    let body = whole(request).await;
    let mut plain = Vec::with_capacity(MOST);
    if zstd_safe::decompress(&mut plain, &body).is_err() {
        return refused("not whole frames of zstd");
    }
    let said: Value = serde_json::from_slice(&plain).unwrap_or_default();
    let Some(token) = said["token"].as_str() else { return refused("no JSON with a token") };
    let mut again = Vec::with_capacity(MOST);
    zstd_safe::compress(&mut again, &plain, 3).unwrap();
    let mut response = Response::new(full(again));
    let fields = response.headers_mut();
    fields.insert("content-encoding", HeaderValue::from_static("zstd"));
    fields.insert("x-digest", sha256(token).parse().unwrap());
    response
}
