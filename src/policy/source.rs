//! Where a rule was written; denials, the audit trail and `check` show it.
//!
//! Invariant: its text leads a person to the rule: a flag as typed, or file and line.

use std::fmt;
use std::path::PathBuf;

/// A line of a configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spot {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Where a rule was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuleSource {
    /// `--allow TEXT`.
    Flag(String),
    /// `--rule TEXT`.
    RuleFlag(String),
    /// `[net] allow[index]` of the file.
    File {
        /// The place.
        spot: Spot,
        /// Place in the list, from 0.
        index: usize,
        /// What stands there.
        text: String,
    },
    /// A `[[rule]]` of the file.
    Table(Spot),
    /// A host of this secret.
    Secret {
        /// The secret's name.
        name: String,
    },
    /// `[net] default` of the file.
    Default(Spot),
    /// `--observe`.
    Observe,
    /// The embedding program, or whoever changed the policy of a running sandbox.
    Owner,
}

impl fmt::Display for RuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(text) => write!(f, "--allow {text}"),
            Self::RuleFlag(text) => write!(f, "--rule '{text}'"),
            Self::File { spot, index, text } => write!(f, "{spot}: [net] allow[{index}] \"{text}\""),
            Self::Table(spot) => write!(f, "{spot}: [[rule]]"),
            Self::Secret { name } => write!(f, "secret {name}"),
            Self::Default(spot) => write!(f, "{spot}: [net] default"),
            Self::Observe => f.write_str("--observe"),
            Self::Owner => f.write_str("the sandbox's owner"),
        }
    }
}
