//! Walks through `name=value&…` to the values of some names.
//!
//! Invariant: a place is what stands between the first `=` of a pair and its end.

use std::rc::Rc;

use memchr::{memchr, memchr2};

use super::{Cut, meant};
use crate::secret::spelling::percent_decoded;

/// Most octets one octet of a name is spelled with: `%XX`.
const WIDEST: usize = 3;

/// A walk through a form or a query.
#[derive(Debug)]
pub struct FormWalk {
    names: Vec<Vec<u8>>,
    longest: usize,
    /// The name being read, as it is spelled, as far as it can be one that is meant.
    name: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Name,
    /// Of a name that is not meant.
    Value,
    /// Of one that is.
    Place,
}

impl FormWalk {
    /// Begins a walk to the values of `names`.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let names: Vec<Vec<u8>> = names.iter().map(|name| name.clone().into_bytes()).collect();
        let longest = names.iter().map(Vec::len).max().unwrap_or_default() * WIDEST;
        Self { names, longest, name: Vec::new(), state: State::Name }
    }

    pub(super) fn walk(&mut self, text: &[u8], cuts: &mut Vec<Cut>) {
        let mut at = 0;
        while let Some(rest @ [_, ..]) = text.get(at..) {
            at += match self.state {
                State::Name => self.in_name(rest, at, cuts),
                State::Value | State::Place => self.value(rest, at, cuts),
            };
        }
    }

    fn in_name(&mut self, rest: &[u8], at: usize, cuts: &mut Vec<Cut>) -> usize {
        let end = memchr2(b'=', b'&', rest);
        let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let room = (self.longest + 1).saturating_sub(self.name.len());
        self.name.extend_from_slice(part.get(..part.len().min(room)).unwrap_or(part));
        let Some(end) = end else { return rest.len() };
        if rest.get(end) == Some(&b'=') {
            let places = self.places();
            self.state = if places.is_empty() { State::Value } else { State::Place };
            if !places.is_empty() {
                cuts.push(Cut { at: at + end + 1, places });
            }
        }
        self.name.clear();
        end + 1
    }

    fn places(&mut self) -> Rc<[usize]> {
        if self.name.len() > self.longest {
            return Rc::default();
        }
        for byte in &mut self.name {
            if *byte == b'+' {
                *byte = b' ';
            }
        }
        meant(&self.names, &percent_decoded(&self.name))
    }

    fn value(&mut self, rest: &[u8], at: usize, cuts: &mut Vec<Cut>) -> usize {
        let Some(end) = memchr(b'&', rest) else { return rest.len() };
        if matches!(self.state, State::Place) {
            cuts.push(Cut { at: at + end, places: Rc::default() });
        }
        self.state = State::Name;
        end + 1
    }
}
