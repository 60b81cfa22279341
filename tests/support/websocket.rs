//! A WebSocket echo and the other end of a bot ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)), enough of it
//! for a test's upstream.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::upstream::{Body, full, status};

/// What is spoken after the 101.
#[derive(Clone, Copy)]
pub(crate) enum Talk {
    /// Every frame comes back, unmasked, until a close frame.
    Echo,
    /// A bot's: see [`bot`].
    Bot,
}

/// Answers an upgrade with 101.
pub(crate) fn upgrade(mut request: Request<Incoming>, talk: Talk) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        return status(StatusCode::UPGRADE_REQUIRED, "not a WebSocket handshake\n".into());
    };
    let extensions = request.headers().contains_key("sec-websocket-extensions");
    let upgrade = hyper::upgrade::on(&mut request);
    super::upstream::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let stream = TokioIo::new(upgraded);
            let _ = match talk {
                Talk::Echo => echo(stream).await,
                Talk::Bot => bot(stream).await,
            };
        }
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("upgrade", "websocket".parse().unwrap());
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("sec-websocket-accept", accept_key(key.as_bytes()).parse().unwrap());
    headers.insert("x-saw-extensions", extensions.to_string().parse().unwrap());
    response
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finish())
}

async fn echo(mut stream: Stream) -> std::io::Result<()> {
    loop {
        let (first, payload) = receive(&mut stream).await?;
        send(&mut stream, first, &payload).await?;
        if first & 0x0f == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// Takes `{"token": …}`, tells that token's SHA-256 and, over three fragments with a ping among them, the token.
async fn bot(mut stream: Stream) -> std::io::Result<()> {
    loop {
        let (first, payload) = receive(&mut stream).await?;
        match first & 0x0f {
            TEXT => {
                let said: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                let token = said["token"].as_str().unwrap();
                let (head, tail) = token.split_at(token.len() / 2);
                send(&mut stream, TEXT, format!("{{\"digest\":\"{}\",", sha256(token)).as_bytes()).await?;
                send(&mut stream, 0, format!("\"token\":\"{head}").as_bytes()).await?;
                send(&mut stream, FIN | PING, b"are you there").await?;
                send(&mut stream, FIN, format!("{tail}\"}}").as_bytes()).await?;
            }
            CLOSE => {
                send(&mut stream, first, &payload).await?;
                return stream.shutdown().await;
            }
            _ => {}
        }
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

type Stream = TokioIo<hyper::upgrade::Upgraded>;

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// The next frame: its first octet and its payload.
async fn receive(stream: &mut Stream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let length = match head[1] & 0x7f {
        126 => usize::from(stream.read_u16().await?),
        127 => usize::try_from(stream.read_u64().await?).unwrap(),
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0], payload))
}

async fn send(stream: &mut Stream, first: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..65_536 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}
