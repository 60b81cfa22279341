//! The opaque token that a guest holds instead of a secret.
//!
//! It tells nothing about the secret but its length and a prefix that every secret of its kind has. It is
//! not a capability: who holds one can do no more than name the secret to Portcullis. Invariant: RFC 3986
//! unreserved characters only, so that percent, JSON, XML and shell quoting leave it alone.

use std::fmt;

use super::kinds;
use super::shape::{Shape, ShapeError};
use super::value::SecretValue;

/// Draws for one shape; a second one is only needed where a secret lies inside a public prefix.
const DRAWS: usize = 4;

/// A placeholder: as long as its secret and with its public prefix where 65 random bits fit beside it,
/// else 40 characters with at least 130.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Placeholder(Box<str>);

impl Placeholder {
    /// Draws a fresh one for `value`, of the `shape` asked for or of its kind's; `clashes` says which texts may not be
    /// taken.
    pub(super) fn for_value(
        value: &SecretValue,
        shape: Option<&Shape>,
        clashes: impl Fn(&str) -> bool,
    ) -> Result<Self, PlaceholderError> {
        let asked = shape.map(|shape| shape.plan(value.expose().len())).transpose()?;
        let of_its_kind = asked.is_none().then(|| kinds::plans(value.expose()));
        for plan in asked.into_iter().chain(of_its_kind.into_iter().flatten()) {
            for _ in 0..DRAWS {
                let text = plan.draw()?;
                if !clashes(&text) {
                    return Ok(Self(text.into()));
                }
            }
        }
        Err(PlaceholderError::NoneFree)
    }

    /// The token, as the guest writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why no placeholder could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaceholderError {
    /// The system has no randomness to give.
    #[error("no randomness from the system: {0}")]
    Random(getrandom::Error),
    /// Every draw contained, or lay within, a secret or another placeholder.
    #[error("no placeholder could be drawn that is free of every secret; give it another shape")]
    NoneFree,
    /// The shape asked for does not do.
    #[error("its shape {0}")]
    Shape(#[from] ShapeError),
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;

    use super::*;

    fn value(text: &str) -> SecretValue {
        SecretValue::new(text.as_bytes().to_vec()).unwrap()
    }

    fn draw(text: &str) -> String {
        Placeholder::for_value(&value(text), None, |_| false).unwrap().to_string()
    }

    #[test]
    fn no_two_draws_are_alike() {
        let drawn: HashSet<_> = (0..1_000).map(|_| draw("0123456789a")).collect();
        assert_eq!(drawn.len(), 1_000);
    }

    #[test]
    fn a_prefix_that_holds_a_secret_is_left_out() {
        let value = value("sk-proj-0123456789abcdef");
        let placeholder = Placeholder::for_value(&value, None, |text| text.contains("sk-proj-")).unwrap();
        assert_eq!(placeholder.as_str().len(), 24);
        assert!(!placeholder.as_str().contains('-'));
    }

    #[test]
    fn a_shape_asked_for_is_kept_or_nothing_is_drawn() {
        let shape = Shape::parse("my-{rand}", None).unwrap();
        let value = value("ghp_0123456789abcdef");
        let drawn = Placeholder::for_value(&value, Some(&shape), |_| false).unwrap();
        assert!(drawn.as_str().starts_with("my-") && drawn.as_str().len() == 20);
        let refused = Placeholder::for_value(&value, Some(&shape), |text| text.contains("my-"));
        assert!(matches!(refused, Err(PlaceholderError::NoneFree)));
        // Enough for a secret of its own length, and for no other.
        let tight = Shape::parse("{rand:22}", None).unwrap();
        assert!(Placeholder::for_value(&value, Some(&tight), |_| false).is_ok());
    }

    #[test]
    fn drawing_ends_where_everything_clashes() {
        let draws = Cell::new(0);
        let outcome = Placeholder::for_value(&value("0123456789abcdef"), None, |_| {
            draws.set(draws.get() + 1);
            true
        });
        assert!(matches!(outcome, Err(PlaceholderError::NoneFree)));
        assert!(draws.get() > 0);
    }
}
