//! Where a secret's value comes from.
//!
//! Always from the host, never from an argument: arguments are world-readable. This is the one file of the
//! module that looks outside the process. Invariant: an error names the source, never what was in it.

use std::env;
use std::ffi::OsString;
use std::fmt;

use super::value::{SecretValue, ValueError};

/// A place on the host that holds a secret's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// `env://NAME`: the environment variable of that name.
    Env(String),
}

impl Source {
    /// Reads `env://NAME`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let name = text.strip_prefix("env://").ok_or(SourceError::Scheme)?;
        if is_variable(name) { Ok(Self::Env(name.to_owned())) } else { Err(SourceError::Name) }
    }

    /// Reads the value.
    pub fn load(&self) -> Result<SecretValue, SourceError> {
        self.load_with(|name| env::var_os(name))
    }

    fn load_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<SecretValue, SourceError> {
        match self {
            Self::Env(name) => {
                if !is_variable(name) {
                    return Err(SourceError::Name);
                }
                let value = variable(name).ok_or_else(|| SourceError::Unset { name: name.clone() })?;
                SecretValue::new(value.into_encoded_bytes())
                    .map_err(|cause| SourceError::Value { origin: self.clone(), cause })
            }
        }
    }
}

/// Whether `name` can be an environment variable's: letters, digits and `_`, no digit first.
///
/// That keeps most secrets, given in place of their names, out of error texts.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env://{name}"),
        }
    }
}

/// Why a source gave no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// Not a scheme we read. The text is not repeated: it may be the secret itself, pasted in the wrong place.
    #[error("is no source of a secret; write env://NAME for the host's variable NAME")]
    Scheme,
    /// No variable's name.
    #[error("names no environment variable; a name is letters, digits and '_', as in env://API_TOKEN")]
    Name,
    /// The variable does not exist.
    #[error("the host's environment variable {name} is not set; export it before you start")]
    Unset {
        /// The variable.
        name: String,
    },
    /// There is a value, but it cannot be a secret.
    #[error("the value of {origin} {cause}")]
    Value {
        /// Where it was read.
        origin: Source,
        /// What is wrong with it.
        cause: ValueError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_and_read() {
        let source = Source::parse("env://TOKEN").unwrap();
        assert_eq!(source, Source::Env("TOKEN".into()));
        assert_eq!(source.to_string(), "env://TOKEN");
        let value = source.load_with(|name| (name == "TOKEN").then(|| "0123456789".into())).unwrap();
        assert_eq!(value.expose(), b"0123456789");
    }

    #[test]
    fn a_missing_or_unfit_variable_is_told_without_its_value() {
        let source = Source::Env("TOKEN".into());
        let text =
            |value: Option<&str>| source.load_with(|_| value.map(Into::into)).err().unwrap().to_string();
        assert!(text(None).contains("TOKEN is not set"));
        assert_eq!(
            text(Some("hunter2")),
            "the value of env://TOKEN is shorter than 8 bytes and would be found in text by chance; use a longer one"
        );
        assert!(!text(Some("canary\ncanary")).contains("canary"));
        let unset = Source::Env("PORTCULLIS_TEST_VARIABLE_THAT_IS_NOT_SET".into());
        assert!(matches!(unset.load(), Err(SourceError::Unset { .. })));
    }

    #[test]
    fn what_is_no_source_is_refused_without_being_repeated() {
        for text in ["", "TOKEN", "file:///x", "ENV://X", "hunter2hunter2"] {
            assert_eq!(Source::parse(text), Err(SourceError::Scheme));
        }
        for name in ["", "A=B", "1A", "sk-hunter2hunter2", "A B"] {
            assert_eq!(Source::parse(&format!("env://{name}")), Err(SourceError::Name));
            let error = Source::Env(name.into()).load().err().unwrap();
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(!SourceError::Scheme.to_string().contains("hunter2"));
    }
}
