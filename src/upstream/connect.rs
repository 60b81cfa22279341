//! A tunnel by HTTP: CONNECT ([RFC 9110 §9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)) over HTTP/1.1.
//!
//! Invariant: the head of an answer is bounded in octets and in fields, and of its text nothing but the status counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use zeroize::Zeroizing;

use super::server::Credentials;
use super::tunnel::{Message, Next, Target, TunnelError};
use crate::limits::Limits;

/// A CONNECT request that waits for its answer.
pub(crate) struct Connect {
    octets: usize,
    fields: usize,
}

impl Connect {
    pub(super) fn begin(
        credentials: Option<&Credentials>,
        target: &Target,
        limits: &Limits,
    ) -> (Self, Message) {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(Credentials { username, password }) = credentials {
            let login = Zeroizing::new([username.as_bytes(), b":", password.expose()].concat());
            let coded = Zeroizing::new(STANDARD.encode(&*login));
            // Grown by hand: what a vector leaves behind as it grows is not wiped.
            let line: [&[u8]; 3] = [b"Proxy-Authorization: Basic ", coded.as_bytes(), b"\r\n"];
            request.reserve_exact(line.iter().map(|part| part.len()).sum::<usize>() + END.len());
            line.into_iter().for_each(|part| request.extend_from_slice(part));
        }
        request.extend_from_slice(END);
        (Self { octets: limits.header_bytes, fields: limits.header_fields }, Zeroizing::new(request))
    }

    pub(super) fn hear(&mut self, heard: &mut BytesMut) -> Result<Next, TunnelError> {
        loop {
            let mut fields = vec![httparse::EMPTY_HEADER; self.fields];
            let mut response = httparse::Response::new(&mut fields);
            let (length, status) = match response.parse(heard) {
                Ok(httparse::Status::Complete(length)) => (length, response.code.unwrap_or_default()),
                Ok(httparse::Status::Partial) if heard.len() >= self.octets => {
                    return Err(TunnelError::TooLarge);
                }
                Ok(httparse::Status::Partial) => return Ok(Next::Read),
                Err(httparse::Error::TooManyHeaders) => return Err(TunnelError::TooLarge),
                Err(_) => return Err(TunnelError::Garbage("HTTP")),
            };
            if length > self.octets {
                return Err(TunnelError::TooLarge);
            }
            match status {
                // Interim (RFC 9110 §15.2); the one that switches protocols was not asked for.
                100 | 102..=199 => {
                    heard.advance(length);
                    self.octets -= length;
                }
                200..=299 => {
                    heard.advance(length);
                    return Ok(Next::Open);
                }
                // 407 is right (RFC 9110 §15.5.8); some proxies say 401 of a wrong password.
                401 | 407 => return Err(TunnelError::Unauthenticated(status)),
                101 | 300..=599 => return Err(TunnelError::Status(status)),
                _ => return Err(TunnelError::Garbage("HTTP")),
            }
        }
    }
}

/// The end of a request's head.
const END: &[u8] = b"\r\n";
