//! Where in a body the named places are, told while it streams by.
//!
//! It reads structure only, copies nothing but names, and knows no secret. Invariant: however a body is cut
//! into pieces, the places told are the same; from the first fault of its structure on there are none; and no
//! input makes it panic, recurse, or hold more than its bounds.

mod form;
mod json;
mod multipart;

use std::rc::Rc;

pub use form::FormWalk;
pub use json::JsonWalk;
pub use multipart::MultipartWalk;
pub(super) use multipart::parameter;

/// A body that has named places, of one type.
#[derive(Debug)]
pub enum Walk {
    /// None of these: it has no named places.
    Whole,
    /// JSON documents.
    Json(JsonWalk),
    /// `application/x-www-form-urlencoded`, or the query of a URL.
    Form(FormWalk),
    /// `multipart/form-data`.
    Multipart(MultipartWalk),
}

/// A spot where other places begin, or none do any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cut {
    /// The spot, in the piece of text walked.
    pub at: usize,
    /// The places from here on, by the index they were given with.
    pub places: Rc<[usize]>,
}

impl Walk {
    /// Takes the next piece of the body and appends what begins and ends in it.
    pub fn walk(&mut self, text: &[u8], cuts: &mut Vec<Cut>) {
        match self {
            Self::Whole => {}
            Self::Json(walk) => walk.walk(text, cuts),
            Self::Form(walk) => walk.walk(text, cuts),
            Self::Multipart(walk) => walk.walk(text, cuts),
        }
    }
}

/// The indices of the names that are `name`.
fn meant(names: &[Vec<u8>], name: &[u8]) -> Rc<[usize]> {
    names.iter().enumerate().filter(|(_, own)| *own == name).map(|(index, _)| index).collect()
}
