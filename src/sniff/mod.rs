//! Which protocol a guest speaks, from its first bytes.
//!
//! It looks no further than needed to tell: one byte for TLS, a method and a space for HTTP/1, the whole
//! preface for HTTP/2. It parses no request and no ClientHello. Invariant: whatever was read is handed back
//! whole, and the answer does not depend on how the bytes were split.
#![warn(clippy::indexing_slicing)]

mod rewind;

pub use rewind::{Rewind, Sniffed, Sniffer, sniff};

/// What a flow turned out to carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// A TLS handshake record ([RFC 8446 §5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)).
    Tls,
    /// A registered method and a space ([RFC 9112 §3](https://www.rfc-editor.org/rfc/rfc9112#section-3)).
    Http1,
    /// The preface of HTTP/2 without TLS ([RFC 9113 §3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).
    Http2PriorKnowledge,
    /// Something else, or a beginning that never became one of the above.
    Unknown,
    /// The guest sent no byte in time: it may wait for the server to speak first.
    Silent,
    /// The guest ended its side without a byte.
    Eof,
}

/// What some first bytes tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Glance {
    /// Every protocol they may begin needs more of them.
    Undecided,
    /// Enough.
    Decided(Protocol),
}

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What every HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The [IANA method registry](https://www.iana.org/assignments/http-methods) but for `*` and `PRI`, which no
/// request may use, and with `QUERY`, which is on its way there.
const METHODS: [&str; 39] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Tells the protocol that begins with `bytes`, if they are enough to tell.
#[must_use]
pub fn glance(bytes: &[u8]) -> Glance {
    let Some(&first) = bytes.first() else { return Glance::Undecided };
    if first == TLS_HANDSHAKE {
        return Glance::Decided(Protocol::Tls);
    }
    if bytes.starts_with(PREFACE) {
        return Glance::Decided(Protocol::Http2PriorKnowledge);
    }
    if PREFACE.starts_with(bytes) {
        return Glance::Undecided;
    }
    match bytes.iter().position(|&byte| byte == b' ') {
        Some(end) if METHODS.iter().any(|method| Some(method.as_bytes()) == bytes.get(..end)) => {
            Glance::Decided(Protocol::Http1)
        }
        None if METHODS.iter().any(|method| method.as_bytes().starts_with(bytes)) => Glance::Undecided,
        Some(_) | None => Glance::Decided(Protocol::Unknown),
    }
}

#[cfg(test)]
mod tests;
