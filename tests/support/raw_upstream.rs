//! An upstream that records every byte and reads it with a parser of its own, strict where RFC 9112 is lenient.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// A request as an unforgiving server reads it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| &**v).collect()
    }
}

/// What the bytes so far are.
#[derive(Debug)]
pub(crate) enum Read {
    /// One message and its length in bytes.
    Whole(Message, usize),
    Partial,
}

/// Reads one canonical request; anything else panics with what is wrong.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let Some(head_end) = find(bytes, b"\r\n\r\n") else { return Read::Partial };
    let head = std::str::from_utf8(&bytes[..head_end]).expect("a head in UTF-8");
    let mut lines = head.split("\r\n");
    let start: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let [method, target, "HTTP/1.1"] = start[..] else { panic!("start line {start:?}") };
    assert!(!method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'), "{method}");
    assert!(target == "*" || target.starts_with('/'), "target {target}");
    let mut message =
        Message { method: method.into(), target: target.into(), fields: fields(lines), ..Message::default() };
    assert_eq!(message.field("host").len(), 1, "one Host: {message:?}");
    let hop = ["keep-alive", "proxy-connection", "expect", "proxy-authorization", "http2-settings"];
    for name in hop {
        assert!(message.field(name).is_empty(), "{name} went on: {message:?}");
    }
    let (lengths, codings) = (message.field("content-length"), message.field("transfer-encoding"));
    let rest = &bytes[head_end + 4..];
    let length = match (&lengths[..], &codings[..]) {
        ([], []) => 0,
        ([length], []) => {
            let length: usize = plain(length, 10);
            let Some(body) = rest.get(..length) else { return Read::Partial };
            message.body = body.to_vec();
            length
        }
        ([], ["chunked"]) => {
            let Some(length) = chunks(rest, &mut message) else { return Read::Partial };
            length
        }
        other => panic!("length told in {other:?}"),
    };
    Read::Whole(message, head_end + 4 + length)
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("field {line:?}"));
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b)),
                "{name:?}"
            );
            assert!(!value.bytes().any(|b| b < b' ' && b != b'\t'), "{value:?}");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn chunks(bytes: &[u8], message: &mut Message) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size: usize = plain(std::str::from_utf8(&bytes[at..at + line]).unwrap(), 16);
        at += line + 2;
        if size == 0 {
            break;
        }
        message.body.extend_from_slice(bytes.get(at..at + size)?);
        assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n", "end of a chunk");
        at += size + 2;
    }
    if bytes.get(at..at + 2)? == b"\r\n" {
        return Some(at + 2);
    }
    let end = find(&bytes[at..], b"\r\n\r\n")?;
    message.trailers = fields(std::str::from_utf8(&bytes[at..at + end]).unwrap().split("\r\n"));
    Some(at + end + 4)
}

fn plain(digits: &str, radix: u32) -> usize {
    assert!(digits.chars().all(|c| c.is_digit(radix)), "number {digits:?}");
    assert!(digits == "0" || !digits.starts_with('0'), "number {digits:?}");
    usize::from_str_radix(digits, radix).unwrap()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// What came, and what of it were whole requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Rc<RefCell<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    /// Octets of `bytes` that `messages` are.
    read: usize,
}

impl Record {
    /// Everything that came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    /// The whole requests in it.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.0.borrow().messages.clone()
    }

    /// What came after the last whole request.
    pub(crate) fn rest(&self) -> Vec<u8> {
        let recorded = self.0.borrow();
        recorded.bytes[recorded.read..].to_vec()
    }

    fn take_message(&self) -> bool {
        let recorded = &mut *self.0.borrow_mut();
        match read(&recorded.bytes[recorded.read..]) {
            Read::Whole(message, length) => {
                recorded.messages.push(message);
                recorded.read += length;
                true
            }
            Read::Partial => false,
        }
    }
}

/// Answers each whole request with `answer` until the connection ends.
pub(crate) async fn serve(mut stream: DuplexStream, record: Record, answer: &[u8]) {
    let mut space = vec![0; 16 << 10];
    loop {
        let Ok(read) = stream.read(&mut space).await else { return };
        if read == 0 {
            return;
        }
        record.0.borrow_mut().bytes.extend_from_slice(&space[..read]);
        while record.take_message() {
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}
