//! The answers of some well-known APIs, as far as their clients need them.

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::upstream::{Body, Seen, text};

/// Answers as the API whose path it is.
pub(crate) async fn answer(seen: &Seen, request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
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
