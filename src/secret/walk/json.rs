//! Walks through JSON (RFC 8259) to the strings at some paths.
//!
//! It is no validator: within numbers, literals and strings that are not names it looks at no more than where
//! they end. Several documents in a row, as in JSON lines, are each a document. Invariant: a place is the inside of
//! a string value; what is deeper than the bound is a fault.

use std::rc::Rc;

use memchr::memchr2;

use super::Cut;
use crate::secret::path::{JsonPath, Key};

/// Most octets one octet of a name is spelled with: `\u00XX`.
const WIDEST: usize = 6;

/// A walk through JSON.
#[derive(Debug)]
pub struct JsonWalk {
    paths: Vec<JsonPath>,
    /// By path: how many of its first steps lead here.
    led: Vec<usize>,
    stack: Vec<Within>,
    deepest: usize,
    state: State,
    /// The name being read, as it is spelled, where a path may mean it.
    name: Vec<u8>,
    longest: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Within {
    Object,
    Array(u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    /// After a value, or before the first document.
    After,
    InName(Escape, Interest),
    InText(Escape, Interest),
    Scalar,
    Fault,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Escape {
    No,
    Begun,
}

/// Whether any path may mean what is being read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Interest {
    None,
    Some,
}

impl JsonWalk {
    /// Begins a walk to `paths`, no deeper than `deepest` arrays and objects.
    #[must_use]
    pub fn new(paths: Vec<JsonPath>, deepest: usize) -> Self {
        let longest = paths.iter().map(JsonPath::longest_name).max().unwrap_or_default() * WIDEST;
        let led = vec![0; paths.len()];
        Self { paths, led, stack: Vec::new(), deepest, state: State::After, name: Vec::new(), longest }
    }

    pub(super) fn walk(&mut self, text: &[u8], cuts: &mut Vec<Cut>) {
        let mut at = 0;
        while let Some(rest @ [byte, ..]) = text.get(at..) {
            at += match self.state {
                State::Fault => return,
                State::InText(escape, interest) => self.text(rest, (escape, interest), at, cuts),
                State::InName(escape, interest) => self.in_name(rest, (escape, interest)),
                State::Scalar => self.scalar(rest),
                State::Value
                | State::ValueOrEnd
                | State::Name
                | State::NameOrEnd
                | State::Colon
                | State::After => {
                    self.token(*byte, at, cuts);
                    1
                }
            };
        }
    }

    fn token(&mut self, byte: u8, at: usize, cuts: &mut Vec<Cut>) {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            return;
        }
        let top = self.stack.last().copied();
        self.state = match (self.state, byte) {
            (State::Name | State::NameOrEnd, b'"') => {
                self.name.clear();
                State::InName(Escape::No, self.interest_in_name())
            }
            (State::Colon, b':') => State::Value,
            (State::NameOrEnd, b'}') | (State::ValueOrEnd, b']') => self.leave(),
            (State::After, b'}') if top == Some(Within::Object) => self.leave(),
            (State::After, b']') if matches!(top, Some(Within::Array(_))) => self.leave(),
            (State::After, b',') => match top {
                Some(Within::Object) => State::Name,
                Some(Within::Array(index)) => {
                    self.stack.pop();
                    let next = index.saturating_add(1);
                    self.stack.push(Within::Array(next));
                    self.lead(Key::Index(next));
                    State::Value
                }
                None => State::Fault,
            },
            (State::After, _) if top.is_some() => State::Fault,
            (State::Value | State::ValueOrEnd | State::After, byte) => self.value(byte, at, cuts),
            _ => State::Fault,
        };
    }

    fn value(&mut self, byte: u8, at: usize, cuts: &mut Vec<Cut>) -> State {
        match byte {
            b'{' | b'[' if self.stack.len() == self.deepest => State::Fault,
            b'{' => {
                self.stack.push(Within::Object);
                State::NameOrEnd
            }
            b'[' => {
                self.stack.push(Within::Array(0));
                self.lead(Key::Index(0));
                State::ValueOrEnd
            }
            b'"' => {
                let places = self.places();
                let interest = if places.is_empty() { Interest::None } else { Interest::Some };
                if interest == Interest::Some {
                    cuts.push(Cut { at: at + 1, places });
                }
                State::InText(Escape::No, interest)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => State::Scalar,
            _ => State::Fault,
        }
    }

    fn leave(&mut self) -> State {
        self.stack.pop();
        State::After
    }

    /// Notes that the next value is at `key` of the innermost array or object.
    fn lead(&mut self, key: Key<'_>) {
        let before = self.stack.len().saturating_sub(1);
        for (path, led) in self.paths.iter().zip(&mut self.led) {
            *led = if *led >= before && path.leads(before, key) { before + 1 } else { before.min(*led) };
        }
    }

    /// The paths that lead to the value that begins here.
    fn places(&self) -> Rc<[usize]> {
        let depth = self.stack.len();
        let here = |(path, led): (&JsonPath, &usize)| path.len() == depth && *led == depth;
        let paths = self.paths.iter().zip(&self.led).enumerate();
        paths.filter(|(_, pair)| here(*pair)).map(|(index, _)| index).collect()
    }

    fn interest_in_name(&self) -> Interest {
        let before = self.stack.len().saturating_sub(1);
        let wants = |(path, led): (&JsonPath, &usize)| *led >= before && path.len() > before;
        if self.paths.iter().zip(&self.led).any(wants) { Interest::Some } else { Interest::None }
    }

    fn in_name(&mut self, rest: &[u8], (escape, interest): (Escape, Interest)) -> usize {
        let (length, end) = string(rest, escape);
        if interest == Interest::Some {
            let room = (self.longest + 1).saturating_sub(self.name.len());
            self.name.extend_from_slice(rest.get(..length.min(room)).unwrap_or_default());
        }
        self.state = match end {
            None => State::InName(carried(rest, escape), interest),
            Some(()) => self.named(interest),
        };
        length + usize::from(end.is_some())
    }

    /// What follows a name that is read to its end.
    fn named(&mut self, interest: Interest) -> State {
        if interest == Interest::None || self.name.len() > self.longest {
            self.lead(Key::OtherName);
            return State::Colon;
        }
        let quoted = [b"\"", self.name.as_slice(), b"\""].concat();
        let Ok(name) = serde_json::from_slice::<String>(&quoted) else { return State::Fault };
        self.lead(Key::Name(name.as_bytes()));
        State::Colon
    }

    fn text(
        &mut self,
        rest: &[u8],
        (escape, interest): (Escape, Interest),
        at: usize,
        cuts: &mut Vec<Cut>,
    ) -> usize {
        let (length, end) = string(rest, escape);
        match end {
            None => self.state = State::InText(carried(rest, escape), interest),
            Some(()) => {
                self.state = State::After;
                if interest == Interest::Some {
                    cuts.push(Cut { at: at + length, places: Rc::default() });
                }
            }
        }
        length + usize::from(end.is_some())
    }

    fn scalar(&mut self, rest: &[u8]) -> usize {
        let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        match rest.iter().position(|byte| !goes_on(byte)) {
            Some(end) => {
                self.state = State::After;
                end
            }
            None => rest.len(),
        }
    }
}

/// How much of `rest` is inside the string it continues, and whether the string ends there.
fn string(rest: &[u8], escape: Escape) -> (usize, Option<()>) {
    let mut at = if escape == Escape::Begun { 1 } else { 0 };
    while let Some(found) = rest.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if rest.get(at) == Some(&b'"') {
            return (at, Some(()));
        }
        at += 2;
    }
    (rest.len(), None)
}

/// Whether a string that goes on past `rest` goes on in the middle of an escape.
fn carried(rest: &[u8], escape: Escape) -> Escape {
    let slashes = rest.iter().rev().take_while(|byte| **byte == b'\\').count();
    // One begun before ends with the first octet, be it a backslash.
    let begun_before = slashes == rest.len() && escape == Escape::Begun;
    let odd = (slashes + usize::from(begun_before)) % 2 == 1;
    if odd { Escape::Begun } else { Escape::No }
}
