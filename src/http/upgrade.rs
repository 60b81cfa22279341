//! The way from HTTP to WebSocket, on h1 ([RFC 6455 §4]).
//!
//! Nothing else is upgraded to; another `Upgrade` field is dropped and its request served as what it is. It
//! reads no WebSocket frames: [`super::framed`] does, where there are secrets. Invariant: no byte passes either way before the upstream has rightly answered a
//! handshake the guest rightly asked for.
//!
//! [RFC 6455 §4]: https://www.rfc-editor.org/rfc/rfc6455#section-4

use std::cell::Cell;
use std::io;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Request, Version, request};
use hyper::body::{Body as _, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Subject;
use super::gate::lists;
use crate::limits::Limits;
use crate::secret::{Scrubber, Uses};

/// What RFC 6455 §1.3 has a server add to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Octets of a key, decoded (RFC 6455 §4.1).
const KEY_LENGTH: usize = 16;

/// A rightly asked-for WebSocket.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
    asked: Asked,
    extensions: Extensions,
}

/// The request that a WebSocket comes from.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) subject: Subject,
    /// How often each secret was put into it; the messages count on.
    pub(super) uses: Uses,
}

/// What the guest offered beyond the base protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extensions {
    Offered,
    NotOffered,
}

impl Handshake {
    /// The handshake that a request asks for, if it is one in every respect.
    pub(super) fn asked(parts: &request::Parts, body: &Incoming, subject: &Subject) -> Option<Self> {
        let fields = &parts.headers;
        let is_asked = parts.version == Version::HTTP_11
            && parts.method == Method::GET
            && body.is_end_stream()
            && lists(fields, &CONNECTION, "upgrade")
            && only(fields, &UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket")
            && only(fields, &SEC_WEBSOCKET_VERSION)?.as_bytes() == b"13";
        let key = only(fields, &SEC_WEBSOCKET_KEY)?.to_str().ok()?;
        let is_key = STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_LENGTH);
        (is_asked && is_key).then(|| Self {
            accept: accept(key),
            asked: Asked { subject: subject.clone(), uses: Uses::default() },
            extensions: Extensions::NotOffered,
        })
    }

    /// Writes the handshake into a request with these secrets; where answers are scrubbed, without extensions that
    /// would hide them.
    pub(super) fn ask(&mut self, fields: &mut HeaderMap, scrubber: Option<&Scrubber>, uses: Uses) {
        self.asked.uses = uses;
        if scrubber.is_some() {
            fields.remove(SEC_WEBSOCKET_EXTENSIONS);
        }
        if fields.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            self.extensions = Extensions::Offered;
        }
        self.confirm(fields);
    }

    /// Whether a 101 with these fields answers it.
    pub(super) fn is_answered_by(&self, fields: &HeaderMap) -> bool {
        let says = |name, text: &[u8]| {
            only(fields, name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(text))
        };
        let extended = fields.contains_key(SEC_WEBSOCKET_EXTENSIONS);
        says(&UPGRADE, b"websocket")
            && lists(fields, &CONNECTION, "upgrade")
            && only(fields, &SEC_WEBSOCKET_ACCEPT)
                .is_some_and(|value| value.as_bytes() == self.accept.as_bytes())
            && (self.extensions == Extensions::Offered || !extended)
    }

    /// What was asked.
    pub(super) fn into_asked(self) -> Asked {
        self.asked
    }

    /// Writes what both the request and the 101 say.
    pub(super) fn confirm(&self, fields: &mut HeaderMap) {
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// The one value of `name`; none if there are more.
fn only<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Option<&'f HeaderValue> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn accept(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

/// Whether a connection is about to stop being HTTP.
#[derive(Default)]
pub(super) struct Switch {
    stage: Cell<Stage>,
    seen: Cell<bool>,
    framed: Cell<Option<Asked>>,
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Stage {
    /// The connection is HTTP and nobody asked for more.
    #[default]
    Http,
    /// A handshake is under way.
    Asked,
    /// Both sides agreed; what comes after the heads is not HTTP.
    Agreed,
}

impl Switch {
    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Notes whether `request` made hyper expect an upgrade, of whatever kind.
    pub(super) fn saw<B>(&self, request: &Request<B>) {
        if request.headers().contains_key(UPGRADE) {
            self.seen.set(true);
        }
    }

    /// Whether hyper may believe, at the end of the connection, that it was upgraded.
    pub(super) fn was_seen(&self) -> bool {
        self.seen.get()
    }

    pub(super) fn ask(&self) {
        self.stage.set(Stage::Asked);
    }

    pub(super) fn forget(&self) {
        self.stage.set(Stage::Http);
    }

    /// From here on it is a WebSocket, whose frames are looked into if `framed` says for what they were asked.
    pub(super) fn agree(&self, framed: Option<Asked>) {
        self.framed.set(framed);
        self.stage.set(Stage::Agreed);
    }

    pub(super) fn take_framed(&self) -> Option<Asked> {
        self.framed.take()
    }
}

/// A stream that stopped being HTTP, and what was read of it by then.
pub(super) struct Upgraded<T> {
    pub(super) stream: T,
    pub(super) read: Bytes,
}

/// Relays octets both ways until both have ended; an end on one side is passed on to the other.
pub(super) async fn relay<G, U>(guest: Upgraded<G>, upstream: Upgraded<U>, limits: &Limits) -> io::Result<()>
where
    G: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (guest_reads, guest_writes) = tokio::io::split(guest.stream);
    let (upstream_reads, upstream_writes) = tokio::io::split(upstream.stream);
    let buffer = limits.h1_buffer;
    let out = pump(Upgraded { stream: guest_reads, read: guest.read }, upstream_writes, buffer);
    let back = pump(Upgraded { stream: upstream_reads, read: upstream.read }, guest_writes, buffer);
    tokio::try_join!(out, back)?;
    Ok(())
}

/// One direction: what is read is written and flushed before more is read.
async fn pump<R, W>(from: Upgraded<R>, mut to: W, buffer: usize) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Upgraded { stream: mut from, read: mut piece } = from;
    let mut space = BytesMut::new();
    loop {
        if !piece.is_empty() {
            to.write_all(&piece).await?;
            to.flush().await?;
        }
        drop(piece);
        space.reserve(buffer);
        if from.read_buf(&mut space).await? == 0 {
            return to.shutdown().await;
        }
        piece = space.split().freeze();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_that_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
