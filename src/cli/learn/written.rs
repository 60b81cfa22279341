//! Rules as they stand in a configuration file.
//!
//! Invariant: what is written here is read as the very rule it was made of.

use std::fmt;

use crate::policy::{Destination, Ports, Rule};

/// One rule in the form of the file.
#[derive(Debug)]
pub(in crate::cli) enum Written {
    /// A text of `[net] allow`.
    Listed(String),
    /// A `[[rule]]`.
    Table(String),
}

impl Written {
    /// Leave as a file says it; `None` for what only a flag can say.
    pub(in crate::cli) fn of(rule: &Rule) -> Option<Self> {
        match rule.requests() {
            None => listed(rule).map(Self::Listed),
            Some(_) => table(rule).map(Self::Table),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(text) => write!(f, "[net]\nallow = [{}]", quoted(text)),
            Self::Table(table) => f.write_str(table.trim_end()),
        }
    }
}

/// The short form of leave that is not about requests.
pub(super) fn listed(rule: &Rule) -> Option<String> {
    let text = rule.to_string();
    let text = text.strip_prefix("allow ")?;
    let text = text.strip_suffix("/tcp").unwrap_or(text);
    Some(text.strip_suffix(":80,443").unwrap_or(text).to_owned())
}

/// The long form of leave for requests to a host.
pub(super) fn table(rule: &Rule) -> Option<String> {
    let (Destination::Host(pattern), Some(requests)) = (rule.destination(), rule.requests()) else {
        return None;
    };
    let mut lines = format!("[[rule]]\naction = \"allow\"\nhost = {}\n", quoted(&pattern.to_string()));
    let ports = rule.services().ports();
    if *ports != Ports::web() {
        lines += &format!("ports = [{}]\n", quoted(&ports.to_string()));
    }
    let methods: Vec<&str> = requests.methods().iter().map(String::as_str).collect();
    for (key, values) in [("methods", methods), ("paths", requests.paths().collect())] {
        if !values.is_empty() {
            let values: Vec<String> = values.into_iter().map(quoted).collect();
            lines += &format!("{key} = [{}]\n", values.join(", "));
        }
    }
    Some(lines)
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
