//! A tunnel by SOCKS 5 ([RFC 1928](https://www.rfc-editor.org/rfc/rfc1928)), with user and password
//! ([RFC 1929](https://www.rfc-editor.org/rfc/rfc1929)) where there are some.
//!
//! Invariant: exactly the octets of a reply are taken, however they are split.

use std::fmt;
use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use zeroize::Zeroizing;

use super::server::Credentials;
use super::tunnel::{Message, Next, Target, TunnelError};

const VERSION: u8 = 5;
/// "NO AUTHENTICATION REQUIRED".
const NO_LOGIN: u8 = 0;
/// "USERNAME/PASSWORD".
const LOGIN: u8 = 2;
/// "NO ACCEPTABLE METHODS".
const NO_METHOD: u8 = 0xff;
/// The version of the login's own messages (RFC 1929 §2).
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;
/// What a failed answer is called.
const SOCKS: &str = "SOCKS 5";

/// A conversation with a SOCKS proxy.
pub(crate) struct Socks5 {
    login: Option<Message>,
    request: Vec<u8>,
    awaits: Awaits,
}

/// What the proxy is to say next.
#[derive(Clone, Copy, Debug)]
enum Awaits {
    Method,
    Login,
    Reply,
}

impl Socks5 {
    pub(super) fn begin(credentials: Option<&Credentials>, target: &Target) -> (Self, Message) {
        let methods: &[u8] =
            if credentials.is_some() { &[VERSION, 2, NO_LOGIN, LOGIN] } else { &[VERSION, 1, NO_LOGIN] };
        let first = Zeroizing::new(methods.to_vec());
        (Self { login: credentials.map(login), request: request(target), awaits: Awaits::Method }, first)
    }

    pub(super) fn hear(&mut self, heard: &mut BytesMut) -> Result<Next, TunnelError> {
        match (self.awaits, heard.as_ref()) {
            (Awaits::Method, [first, ..]) if *first != VERSION => Err(TunnelError::Garbage(SOCKS)),
            (Awaits::Method, [_, method, ..]) => {
                let method = *method;
                heard.advance(2);
                self.method(method)
            }
            // Some servers repeat 5 where RFC 1929 has 1; the status is what counts.
            (Awaits::Login, [LOGIN_VERSION | VERSION, 0, ..]) => {
                heard.advance(2);
                Ok(self.ask())
            }
            (Awaits::Login, [_, _, ..]) => Err(TunnelError::BadLogin),
            (Awaits::Reply, [first, ..]) if *first != VERSION => Err(TunnelError::Garbage(SOCKS)),
            (Awaits::Reply, [_, code, ..]) if *code != 0 => Err(TunnelError::Refused(Reply(*code))),
            (Awaits::Reply, [_, _, _, kind, rest @ ..]) => {
                let Some(length) = bound_length(*kind, rest)? else { return Ok(Next::Read) };
                if rest.len() < length {
                    return Ok(Next::Read);
                }
                heard.advance(REPLY + length);
                Ok(Next::Open)
            }
            (Awaits::Method | Awaits::Login | Awaits::Reply, _) => Ok(Next::Read),
        }
    }

    fn method(&mut self, method: u8) -> Result<Next, TunnelError> {
        match (method, self.login.take()) {
            (NO_LOGIN, _) => Ok(self.ask()),
            (LOGIN, Some(login)) => {
                self.awaits = Awaits::Login;
                Ok(Next::Send(login))
            }
            (NO_METHOD, _) => Err(TunnelError::NoMethod),
            (_, _) => Err(TunnelError::Garbage(SOCKS)),
        }
    }

    fn ask(&mut self) -> Next {
        self.awaits = Awaits::Reply;
        Next::Send(Zeroizing::new(std::mem::take(&mut self.request)))
    }
}

/// Octets of a reply before its address.
const REPLY: usize = 4;
/// Octets of a port.
const PORT: usize = 2;

/// Octets of a reply's address and port; none where more must be read to know.
fn bound_length(kind: u8, rest: &[u8]) -> Result<Option<usize>, TunnelError> {
    match (kind, rest) {
        (V4, _) => Ok(Some(4 + PORT)),
        (V6, _) => Ok(Some(16 + PORT)),
        (NAME, [length, ..]) => Ok(Some(1 + usize::from(*length) + PORT)),
        (NAME, []) => Ok(None),
        (_, _) => Err(TunnelError::Garbage(SOCKS)),
    }
}

fn login(Credentials { username, password }: &Credentials) -> Message {
    let mut message = Zeroizing::new(Vec::with_capacity(3 + username.len() + password.expose().len()));
    message.push(LOGIN_VERSION);
    push_counted(&mut message, username.as_bytes());
    push_counted(&mut message, password.expose());
    message
}

fn request(target: &Target) -> Vec<u8> {
    let mut message = vec![VERSION, CONNECT, 0];
    let port = match target {
        Target::Address(SocketAddr::V4(addr)) => {
            message.push(V4);
            message.extend(addr.ip().octets());
            addr.port()
        }
        Target::Address(SocketAddr::V6(addr)) => {
            message.push(V6);
            message.extend(addr.ip().octets());
            addr.port()
        }
        Target::Name(host, port) => {
            message.push(NAME);
            push_counted(&mut message, host.as_str().as_bytes());
            *port
        }
    };
    message.extend(port.to_be_bytes());
    message
}

/// A text of at most 255 octets, behind its length; names and logins are no longer.
fn push_counted(message: &mut Vec<u8>, text: &[u8]) {
    message.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    message.extend(text.iter().take(usize::from(u8::MAX)));
}

/// A code other than success (RFC 1928 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reply(pub(super) u8);

impl Reply {
    pub(super) fn is_of_the_address(self) -> bool {
        matches!(self.0, 1 | 3..=6 | 8)
    }

    pub(super) fn proxy_status(self) -> &'static str {
        match self.0 {
            2 => "destination_ip_prohibited",
            3 | 4 | 6 => "destination_ip_unroutable",
            5 => "connection_refused",
            7 | 8 => "proxy_configuration_error",
            _ => "destination_unavailable",
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("failed to connect to it"),
            2 => f.write_str("does not allow it by its rules"),
            3 => f.write_str("finds its network unreachable"),
            4 => f.write_str("finds it unreachable"),
            5 => f.write_str("was refused the connection by it"),
            6 => f.write_str("got no answer from it in time"),
            7 => f.write_str("knows no CONNECT"),
            8 => f.write_str("knows no such kind of address"),
            code => write!(f, "refused it with code {code}"),
        }
    }
}
