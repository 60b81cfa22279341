//! `portcullis learn`: the least policy that would have allowed what an audit file tells of.
//!
//! What a guest was let by to do counts, by a rule or by `--observe`; what it was denied, only where that is asked for.
//! Invariant: what is printed is a configuration that can be read back, whatever texts the guest chose.

mod seen;
pub(super) mod written;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use self::seen::{Count, Denied, Seen, request_rule};
use self::written::{listed, quoted, table};
use super::{OWN_FAILURE, shown};
use crate::audit::Reader;
use crate::config::Config;
use crate::limits::Limits;
use crate::policy::{Rule, RuleSource};

/// Command line of `learn`.
#[derive(clap::Args, Clone, Debug)]
pub struct LearnArgs {
    /// Allow what was denied too
    #[arg(long)]
    pub denied: bool,
    /// Allow only the methods and paths that were seen, where HTTP was read
    #[arg(long)]
    pub requests: bool,
    /// The file that `run --observe --audit FILE` wrote
    #[arg(value_name = "AUDIT")]
    pub audit: PathBuf,
}

/// Prints the policy; the exit code.
pub fn learn(args: &LearnArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match read(args) {
        Ok((seen, unread)) => {
            tell_unread(unread, err)?;
            let text = policy(&seen, args.requests);
            if let Err(error) = Config::parse(&text) {
                writeln!(err, "portcullis: what was learnt is no configuration: {error}; report this")?;
                return Ok(OWN_FAILURE);
            }
            out.write_all(text.as_bytes())?;
            Ok(0)
        }
        Err(error) => {
            let path = args.audit.display();
            writeln!(err, "portcullis: {path}: {error}; name a file that `run --audit` wrote")?;
            Ok(OWN_FAILURE)
        }
    }
}

/// Says how many lines of an audit file were no whole records.
pub(super) fn tell_unread(unread: u64, err: &mut dyn Write) -> io::Result<()> {
    match unread {
        0 => Ok(()),
        1 => writeln!(err, "portcullis: warning: 1 line is no whole record and was left out"),
        _ => writeln!(err, "portcullis: warning: {unread} lines are no whole records and were left out"),
    }
}

fn read(args: &LearnArgs) -> io::Result<(Seen, u64)> {
    let limits = Limits::default();
    let mut reader = Reader::new(BufReader::new(File::open(&args.audit)?), &limits);
    let mut seen = Seen::new(&limits);
    let denied = if args.denied { Denied::All } else { Denied::Observed };
    while let Some(line) = reader.next_line()? {
        seen.take(line, denied);
    }
    Ok((seen, reader.unread()))
}

/// The configuration, sorted so that the same audit gives the same text.
fn policy(seen: &Seen, by_requests: bool) -> String {
    let narrowed = |flow: &str| by_requests && seen.requests.contains_key(flow);
    let mut text = String::from("# The least that allows what the audit file tells of.\n");
    let whole: Vec<_> = seen.flows.iter().filter(|(flow, _)| !narrowed(flow)).collect();
    if !whole.is_empty() {
        text += "\n[net]\nallow = [\n";
        for (flow, count) in whole {
            if let Some(listed) = Rule::allowing(flow, RuleSource::Owner).ok().as_ref().and_then(listed) {
                text += &format!("    {}, # {}\n", quoted(&listed), times(count.total()));
            }
        }
        text += "]\n";
    }
    if !seen.passed_through.is_empty() {
        let hosts: Vec<String> = seen.passed_through.keys().map(|host| quoted(host)).collect();
        text += &format!("\n[tls]\npassthrough = [{}]\n", hosts.join(", "));
    }
    for flow in seen.flows.keys().filter(|flow| narrowed(flow)) {
        if let Some(requests) = seen.requests.get(flow) {
            tables(flow, requests, &mut text);
        }
    }
    for (what, count) in &seen.unwritten {
        text += &format!("\n# Not allowed here, {}: {}", times(count.total()), shown(what));
    }
    if seen.left_out > 0 {
        text += &format!("\n# {} more were left out, as too many to tell apart.", seen.left_out);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A rule for each method of a host.
fn tables(flow: &str, requests: &BTreeMap<(String, String), Count>, text: &mut String) {
    let mut by_method: BTreeMap<&str, (Vec<&str>, Count)> = BTreeMap::new();
    for ((method, path), count) in requests {
        let (paths, counts) = by_method.entry(method).or_default();
        paths.push(path);
        *counts = counts.and(*count);
    }
    for (method, (paths, count)) in by_method {
        let rule = request_rule(flow, method, paths);
        if let Some(table) = rule.ok().as_ref().and_then(table) {
            *text += &format!("\n# {}\n{table}", times(count.total()));
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests;
