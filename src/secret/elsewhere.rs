//! What becomes of a placeholder on its way to where its secret has no business.
//!
//! It decides and does nothing. Toward a host that may have the secret a placeholder in another place is always
//! inert text; this is about all others. Invariant: nothing here makes a placeholder a secret.

use std::fmt;

/// What is done about a placeholder toward a host that may not have its secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reaction {
    /// `inert`: it goes on as text, which is worth nothing.
    Inert,
    /// `redact`: it goes on with its characters replaced by `x`.
    Redact,
    /// `deny`: the request is refused.
    Deny,
    /// `terminate`: the request is refused and the sandbox ends.
    Terminate,
}

impl Reaction {
    /// Reads `inert`, `redact`, `deny` or `terminate`.
    pub fn parse(text: &str) -> Result<Self, ReactionError> {
        match text {
            "inert" => Ok(Self::Inert),
            "redact" => Ok(Self::Redact),
            "deny" => Ok(Self::Deny),
            "terminate" => Ok(Self::Terminate),
            _ => Err(ReactionError),
        }
    }
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inert => "inert",
            Self::Redact => "redact",
            Self::Deny => "deny",
            Self::Terminate => "terminate",
        })
    }
}

/// A text that is no reaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is nothing to do about a placeholder; there are inert, redact, deny and terminate")]
pub struct ReactionError;

/// What is done about a secret's placeholder elsewhere, by the kind of place it stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Elsewhere {
    /// In a body.
    pub body: Reaction,
    /// In a header field.
    pub header: Reaction,
    /// In the URL, the host name with it.
    pub url: Reaction,
}

impl Elsewhere {
    /// The same wherever it stands.
    #[must_use]
    pub fn all(reaction: Reaction) -> Self {
        Self { body: reaction, header: reaction, url: reaction }
    }
}

impl Default for Elsewhere {
    /// A transcript full of placeholders must not kill a session; in a header or a URL one is a mistake or an
    /// attempt.
    fn default() -> Self {
        Self { body: Reaction::Inert, header: Reaction::Deny, url: Reaction::Deny }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_back() {
        for text in ["inert", "redact", "deny", "terminate"] {
            assert_eq!(Reaction::parse(text).unwrap().to_string(), text);
        }
        assert!(
            Reaction::parse("Deny").unwrap_err().to_string().contains("inert, redact, deny and terminate")
        );
    }
}
