//! A file of cases.
//!
//! Invariant: rules of a configuration within it keep their lines.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Config, Flags};

/// A configuration and what is asked of it.
pub(super) struct Fixture {
    pub(super) config: Config,
    pub(super) cases: Vec<Case>,
}

/// One question with its answer.
pub(super) struct Case {
    /// Of its header, from 1.
    pub(super) line: usize,
    /// As it stands in the file.
    pub(super) what: String,
    pub(super) words: Vec<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) is_allowed: bool,
    pub(super) rule: Option<String>,
}

/// The file's own form, the tables of its configuration left aside.
#[derive(Deserialize)]
pub(super) struct Fixtures {
    config: Option<PathBuf>,
    #[serde(default)]
    case: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    request: Option<String>,
    to: Option<String>,
    address: Option<IpAddr>,
    expect: Expect,
    rule: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Allow,
    Deny,
}

const HEADER: &str = "[[case]]";

impl Fixtures {
    /// Reads a file; an error says where and why.
    pub(super) fn read(path: &Path) -> Result<Fixture, String> {
        let at = |line: usize, why: &str| format!("{}:{line}: {why}", path.display());
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: Self = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            at(line, &error.message().lines().collect::<Vec<_>>().join(", "))
        })?;
        let (rest, lines) = without_cases(&text);
        if lines.len() != file.case.len() {
            return Err(at(1, "write each case as a table of its own under [[case]]"));
        }
        if lines.is_empty() {
            return Err(at(1, "it has no [[case]]; write one, with request or to, and expect"));
        }
        let config = match &file.config {
            Some(other) => {
                if rest.lines().any(|line| line.trim_start().starts_with('[')) {
                    return Err(at(1, "it names a config and has one in itself; leave one out"));
                }
                let directory = path.parent().unwrap_or(Path::new(""));
                Config::load(Some(&directory.join(other)), Flags::default())
            }
            None => Config::parse_as(path, &rest),
        };
        let config = config.map_err(|error| error.to_string())?;
        let cases = file.case.into_iter().zip(lines).map(|(table, line)| {
            table.case(line).ok_or_else(|| at(line, "a case needs either request or to"))
        });
        Ok(Fixture { config, cases: cases.collect::<Result<_, _>>()? })
    }
}

impl Table {
    fn case(self, line: usize) -> Option<Case> {
        let Self { request, to, address, expect, rule } = self;
        let (what, words) = match (request, to) {
            (Some(request), None) => {
                (request.clone(), request.split_whitespace().map(str::to_owned).collect())
            }
            (None, Some(to)) => (to.clone(), vec![to]),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        Some(Case { line, what, words, address, is_allowed: expect == Expect::Allow, rule })
    }
}

/// The text with its cases blanked, and the lines of their headers.
fn without_cases(text: &str) -> (String, Vec<usize>) {
    let (mut rest, mut lines, mut is_case) = (String::with_capacity(text.len()), Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if start.starts_with('[') {
            is_case = start.starts_with(HEADER);
            if is_case {
                lines.push(index + 1);
            }
        }
        if !is_case {
            rest.push_str(line);
        }
        rest.push('\n');
    }
    (rest, lines)
}
