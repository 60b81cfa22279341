//! Walks through `multipart/form-data` ([RFC 7578]) to the parts of some names.
//!
//! A part that says it is coded (`Content-Transfer-Encoding`) is no place. Invariant: a place is the content of
//! a part, and at most the delimiter that ends it.
//!
//! [RFC 7578]: https://www.rfc-editor.org/rfc/rfc7578

use std::rc::Rc;

use memchr::memchr;

use super::{Cut, meant};

/// A walk through the parts of a form.
#[derive(Debug)]
pub struct MultipartWalk {
    names: Vec<Vec<u8>>,
    /// CRLF, two dashes, the boundary.
    delimiter: Vec<u8>,
    /// How much of the delimiter the text before ended in.
    matched: usize,
    /// The fields of the part being read.
    head: Vec<u8>,
    longest_head: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the first delimiter, or in a part that is not meant.
    Other,
    /// In one that is.
    Place,
    /// Between a delimiter and the content.
    Head,
    /// After the last delimiter, or what is no multipart.
    Over,
}

impl MultipartWalk {
    /// Begins a walk to the parts called `names`, whose fields are no longer than `longest_head`.
    #[must_use]
    pub fn new(boundary: &[u8], names: &[String], longest_head: usize) -> Self {
        let names = names.iter().map(|name| name.clone().into_bytes()).collect();
        let delimiter = [b"\r\n--", boundary].concat();
        // The first delimiter needs no CRLF before it.
        Self { names, delimiter, matched: 2, head: Vec::new(), longest_head, state: State::Other }
    }

    pub(super) fn walk(&mut self, text: &[u8], cuts: &mut Vec<Cut>) {
        let mut at = 0;
        while let Some(rest @ [byte, ..]) = text.get(at..) {
            at += match self.state {
                State::Other | State::Place => self.content(rest, at, cuts),
                State::Head => {
                    self.in_head(*byte, at, cuts);
                    1
                }
                State::Over => return,
            };
        }
    }

    /// Goes on to the end of the next delimiter.
    fn content(&mut self, rest: &[u8], at: usize, cuts: &mut Vec<Cut>) -> usize {
        let mut taken = 0;
        while let Some(byte) = rest.get(taken) {
            if self.matched == 0 {
                let Some(found) = rest.get(taken..).and_then(|rest| memchr(b'\r', rest)) else { break };
                taken += found + 1;
                self.matched = 1;
                continue;
            }
            taken += 1;
            // CR begins the delimiter and is nowhere else in it.
            self.matched = match self.delimiter.get(self.matched) {
                Some(own) if own == byte => self.matched + 1,
                _ => usize::from(*byte == b'\r'),
            };
            if self.matched == self.delimiter.len() {
                if self.state == State::Place {
                    cuts.push(Cut { at: at + taken, places: Rc::default() });
                }
                self.matched = 0;
                self.head.clear();
                self.state = State::Head;
                return taken;
            }
        }
        rest.len()
    }

    fn in_head(&mut self, byte: u8, at: usize, cuts: &mut Vec<Cut>) {
        self.head.push(byte);
        if self.head.starts_with(b"--") || self.head.len() > self.longest_head {
            self.state = State::Over;
        } else if self.head.ends_with(b"\r\n\r\n") {
            let places = name(&self.head).map(|name| meant(&self.names, &name)).unwrap_or_default();
            // An empty content's delimiter begins with the line end of the head.
            self.matched = 2;
            self.state = if places.is_empty() { State::Other } else { State::Place };
            if !places.is_empty() {
                cuts.push(Cut { at: at + 1, places });
            }
        }
    }
}

/// The name of the part with these fields; `None` where it has none, more than one, or is coded.
fn name(head: &[u8]) -> Option<Vec<u8>> {
    let mut name = None;
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        let Some(colon) = memchr(b':', line) else { continue };
        let (field, value) = line.split_at_checked(colon)?;
        let value = value.get(1..)?.trim_ascii();
        if field.eq_ignore_ascii_case(b"content-disposition") {
            if name.is_some() {
                return None;
            }
            name = Some(parameter(value, b"name")?);
        } else if field.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let plain = [b"7bit".as_slice(), b"8bit", b"binary"];
            if !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                return None;
            }
        }
    }
    name
}

/// The parameter `name` of a field's value such as `form-data; name="a"`.
pub(crate) fn parameter(value: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut found) = (value.get(memchr(b';', value)?..)?, None);
    while let [b';', after @ ..] = rest {
        let after = after.trim_ascii_start();
        let Some(equals) = memchr(b'=', after) else { break };
        let (own, after) = after.split_at_checked(equals)?;
        let (text, after) = value_of(after.get(1..)?.trim_ascii_start())?;
        if own.trim_ascii().eq_ignore_ascii_case(name) {
            if found.is_some() {
                return None;
            }
            found = Some(text);
        }
        rest = after.trim_ascii_start();
    }
    found
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let [b'"', quoted @ ..] = text else {
        let end = memchr(b';', text).unwrap_or(text.len());
        let (token, rest) = text.split_at_checked(end)?;
        return Some((token.trim_ascii().to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some((value, rest)),
            [b'\\', escaped @ (b'"' | b'\\'), rest @ ..] | [escaped, rest @ ..] => {
                value.push(*escaped);
                rest
            }
            [] => return None,
        };
    }
}
