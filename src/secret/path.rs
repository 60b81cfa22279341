//! A path to strings in a JSON document, as an operator writes it.
//!
//! It reads no document. Invariant: a path has at least one step, and is shown as it was written.

use std::fmt;

/// Which values of a document are meant: `/a/b/0` ([RFC 6901]), or `a.b[0]` with `*` for any step.
///
/// [RFC 6901]: https://www.rfc-editor.org/rfc/rfc6901
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

/// One step into a document.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// The member of an object.
    Name(Vec<u8>),
    /// The element of an array.
    Index(u64),
    /// A member or an element: a pointer does not say which.
    Either(Vec<u8>, u64),
    /// Any member or element.
    Any,
}

/// What a walk through a document has come to.
#[derive(Clone, Copy)]
pub(super) enum Key<'a> {
    /// A member by its name.
    Name(&'a [u8]),
    /// A member whose name no path can mean.
    OtherName,
    /// An element.
    Index(u64),
}

impl JsonPath {
    /// Reads a JSON pointer, or a path with dots and brackets.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let steps = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(pointed).collect(),
            None => dotted(text)?,
        };
        Ok(Self { text: text.to_owned(), steps })
    }

    /// How many steps lead to what is meant.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether the step number `at` leads to `key`.
    pub(super) fn leads(&self, at: usize, key: Key<'_>) -> bool {
        match (self.steps.get(at), key) {
            (Some(Step::Name(own) | Step::Either(own, _)), Key::Name(name)) => own == name,
            (Some(Step::Index(own) | Step::Either(_, own)), Key::Index(index)) => *own == index,
            (Some(Step::Any), _) => true,
            (Some(Step::Name(_) | Step::Index(_) | Step::Either(..)) | None, _) => false,
        }
    }

    /// Length of the longest name in it.
    pub(super) fn longest_name(&self) -> usize {
        let length = |step: &Step| match step {
            Step::Name(name) | Step::Either(name, _) => name.len(),
            Step::Index(_) | Step::Any => 0,
        };
        self.steps.iter().map(length).max().unwrap_or_default()
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no path into JSON; write a pointer as /a/b/0, or a path as a.b[0], with * for any step")]
pub struct PathError;

/// One reference token of a pointer.
fn pointed(token: &str) -> Step {
    let name = token.replace("~1", "/").replace("~0", "~").into_bytes();
    match index(token) {
        Some(index) => Step::Either(name, index),
        None => Step::Name(name),
    }
}

fn dotted(text: &str) -> Result<Vec<Step>, PathError> {
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, brackets) = part.split_at(part.find('[').unwrap_or(part.len()));
        match name {
            "*" => steps.push(Step::Any),
            "" if steps.is_empty() && !brackets.is_empty() => {}
            "" => return Err(PathError),
            name => steps.push(Step::Name(name.into())),
        }
        let mut rest = brackets;
        while !rest.is_empty() {
            let (inside, after) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or(PathError)?;
            steps.push(if inside == "*" { Step::Any } else { Step::Index(index(inside).ok_or(PathError)?) });
            rest = after;
        }
    }
    Ok(steps)
}

/// A plain decimal, as RFC 6901 §4 has it: no sign, no leading zero.
fn index(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        let name = |text: &str| Step::Name(text.into());
        let steps = |text: &str| JsonPath::parse(text).unwrap().steps;
        assert_eq!(steps("a.b[0]"), [name("a"), name("b"), Step::Index(0)]);
        assert_eq!(steps("a.*.b"), [name("a"), Step::Any, name("b")]);
        assert_eq!(steps("[*][12].x"), [Step::Any, Step::Index(12), name("x")]);
        assert_eq!(steps("/a~1b/~01/0"), [name("a/b"), name("~1"), Step::Either("0".into(), 0)]);
        assert_eq!(steps("/"), [name("")]);
        assert_eq!(steps("0.01"), [name("0"), name("01")]);
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[01]", "a[0]b", "a]", "[0].[1]"] {
            let read = JsonPath::parse(text);
            assert!(read.is_err() || text == "a]", "{text}: {read:?}");
        }
    }
}
