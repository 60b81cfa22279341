//! The name of a sandbox: what its socket is called, and what people type.
//!
//! Invariant: a [`SandboxName`] is safe as a file name, in a terminal and in a shell.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most characters of a name: with the longest directory it still fits a socket address.
const LONGEST: usize = 48;

/// The name of a sandbox: a letter or digit, then letters, digits, `-`, `_` and `.`; lower case, 48 at most.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxName(String);

/// A text that is no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a sandbox's name has 1 to {LONGEST} of the characters a-z, 0-9, '-', '_' and '.', and begins with a letter or digit"
)]
pub struct NameError;

impl SandboxName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let begins = text.starts_with(plain);
        if begins && text.len() <= LONGEST && text.chars().all(|c| plain(c) || "-_.".contains(c)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }

    /// The name of a sandbox that nobody named: what made it, and our process.
    #[must_use]
    pub fn of_process(maker: &Self) -> Self {
        Self(format!("{maker}-{}", std::process::id()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SandboxName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SandboxName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<SandboxName> for String {
    fn from(name: SandboxName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_everywhere() {
        for name in ["a", "run-4711", "0", "a.b_c-d", &"x".repeat(LONGEST)] {
            assert_eq!(SandboxName::parse(name).unwrap().as_str(), name);
        }
        for none in
            ["", ".", "..", "-a", "_a", ".a", "A", "a/b", "a b", "a\n", "é", "a\0", &"x".repeat(LONGEST + 1)]
        {
            assert_eq!(SandboxName::parse(none), Err(NameError), "{none:?}");
        }
    }
}
