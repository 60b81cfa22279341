//! Smart HTTP for git, by `git http-backend` as a CGI ([RFC 3875](https://www.rfc-editor.org/rfc/rfc3875)).
//!
//! Whatever is asked for needs Basic credentials, those in the file `credentials` beside the repositories.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::upstream::{Body, channel, spawn, status};

pub(crate) async fn serve(request: Request<Incoming>, root: Option<PathBuf>) -> Response<Body> {
    let Some(root) = root else { return status(StatusCode::NOT_FOUND, "no repositories here\n".into()) };
    let known =
        std::fs::read(root.join("credentials")).map(|known| format!("Basic {}", STANDARD.encode(known)));
    let said = request.headers().get("authorization").map(|said| said.as_bytes());
    if !known.is_ok_and(|known| said == Some(known.as_bytes())) {
        let mut response = status(StatusCode::UNAUTHORIZED, "who are you?\n".into());
        response.headers_mut().insert("www-authenticate", "Basic realm=\"git\"".parse().unwrap());
        return response;
    }
    let field = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "tester")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", &request.uri().path()["/git".len()..])
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", field("content-type"))
        .env("HTTP_CONTENT_ENCODING", field("content-encoding"))
        .env("GIT_PROTOCOL", field("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut body = request.into_body();
    spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            if stdin.write_all(data).await.is_err() {
                return;
            }
        }
    });
    answer(BufReader::new(stdout), child).await
}

async fn answer(
    mut stdout: BufReader<tokio::process::ChildStdout>,
    mut child: tokio::process::Child,
) -> Response<Body> {
    let (chunks, body) = channel();
    let mut response = Response::new(body);
    let mut line = String::new();
    while stdout.read_line(&mut line).await.is_ok_and(|n| n > 0) {
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = value[..3].parse().unwrap();
        } else {
            response.headers_mut().append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        line.clear();
    }
    spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
            if chunks.send(Frame::data(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                break;
            }
        }
        let _ = child.wait().await;
    });
    response
}
