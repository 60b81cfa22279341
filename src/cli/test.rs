//! `portcullis test`: judges cases that stand in files, and says which come out otherwise than expected.
//!
//! A file has its configuration in itself, or names one by `config`; its `[[case]]` tables are what is asked. It
//! resolves nothing and starts nothing. Invariant: a file that cannot be read whole passes nothing.

mod fixture;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use self::fixture::{Case, Fixture, Fixtures};
use super::check::asked::{Asked, Unreadable};
use super::check::judged::{Judged, judge};
use super::check::warn;
use super::{OWN_FAILURE, shown};
use crate::config::Config;

/// Exit code where a case came out otherwise than expected.
const FAILED: u8 = 1;

/// Command line of `test`.
#[derive(clap::Args, Clone, Debug)]
pub struct TestArgs {
    /// Where the cases are: each file *.toml there is a configuration with tables named case, of which each has
    /// request = "GET URL" or to = "HOST:PORT", expect = "allow" or "deny", and address and rule where they matter.
    /// The exit status is 0 where all come out as expected, 1 where some do not, 125 where a file cannot be read
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Judges all cases; the exit code: 0 all as expected, 1 some not, 125 a file that cannot be read.
pub fn test(args: &TestArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let (mut passed, mut failed) = (0_u64, 0_u64);
    let files = match files(&args.directory) {
        Ok(files) => files,
        Err(why) => {
            writeln!(err, "portcullis: {}: {why}", args.directory.display())?;
            return Ok(OWN_FAILURE);
        }
    };
    for path in files {
        let Fixture { config, cases } = match Fixtures::read(&path) {
            Ok(fixture) => fixture,
            Err(why) => {
                writeln!(err, "portcullis: {why}")?;
                return Ok(OWN_FAILURE);
            }
        };
        warn(&config, err)?;
        for case in cases {
            match judged(&config, &case) {
                Ok(None) => passed += 1,
                Ok(Some(why)) => {
                    writeln!(out, "{}:{}: {}: {why}", path.display(), case.line, shown(&case.what))?;
                    failed += 1;
                }
                Err(usage) => {
                    writeln!(err, "portcullis: {}:{}: {usage}", path.display(), case.line)?;
                    return Ok(OWN_FAILURE);
                }
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 { 0 } else { FAILED })
}

/// Those of a directory, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let hint = "name a directory with *.toml files";
    let entries = fs::read_dir(directory).map_err(|error| format!("{error}; {hint}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(format!("nothing to test; {hint}")) } else { Ok(files) }
}

/// `None` where it is as expected; else what is not.
fn judged(config: &Config, case: &Case) -> Result<Option<String>, String> {
    let judged = match Asked::parse(&case.words) {
        Ok(asked) => judge(config, &asked, case.address),
        Err(Unreadable::Refused(refused)) => Judged::refused(&refused),
        Err(Unreadable::Usage(usage)) => return Err(usage.to_string()),
    };
    let is_allowed = judged.is_allowed();
    let word = if is_allowed { "allowed" } else { "denied" };
    let rule = judged.rule();
    if is_allowed != case.is_allowed {
        return Ok(Some(format!("is {word} by rule: {rule}")));
    }
    Ok(match &case.rule {
        Some(part) if !rule.contains(part.as_str()) => {
            Some(format!("is {word} as expected, but by rule: {rule}, where '{}' is expected", shown(part)))
        }
        Some(_) | None => None,
    })
}

#[cfg(test)]
mod tests;
