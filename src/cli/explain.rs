//! `portcullis explain`: what a denial was about, and what to write to allow it.
//!
//! It reads an audit file, or asks the sandboxes that run. Invariant: what it prints to be written parses as a rule, and
//! does nothing to a terminal.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use super::learn::written::Written;
use super::{DENIED, OWN_FAILURE, shown};
use crate::audit::{Reader, Told, is_denial_id};
use crate::control;
use crate::limits::Limits;
use crate::policy::{Rule, RuleSource};

/// Command line of `explain`.
#[derive(clap::Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Look in this audit file; without, the sandboxes that run are asked
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// The denial's id, as in k3f9-17
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Explains a denial; the exit code: 0 explained, 3 where there is none of that id.
pub fn explain(args: &ExplainArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    if !is_denial_id(&args.id) {
        let id = shown(&args.id);
        writeln!(err, "portcullis: '{id}' is no id of a denial; they look like k3f9-17")?;
        return Ok(OWN_FAILURE);
    }
    let found = match &args.audit {
        Some(path) => in_file(path, &args.id).map_err(|error| {
            format!("{}: {error}; give --audit a file that `run --audit` wrote", path.display())
        }),
        None => Ok(in_sandboxes(&args.id, err)?),
    };
    match found {
        Ok(Some(told)) => {
            tell(&told, out)?;
            Ok(0)
        }
        Ok(None) => {
            let place = match &args.audit {
                Some(path) => format!("{} has no denial {}", path.display(), args.id),
                None => format!(
                    "no sandbox that runs remembers the denial {}; give --audit FILE where one was written",
                    args.id
                ),
            };
            writeln!(err, "portcullis: {place}")?;
            Ok(DENIED)
        }
        Err(why) => {
            writeln!(err, "portcullis: {why}")?;
            Ok(OWN_FAILURE)
        }
    }
}

/// The last of that id: a file may be of several runs.
fn in_file(path: &Path, id: &str) -> io::Result<Option<Told>> {
    let mut reader = Reader::new(BufReader::new(File::open(path)?), &Limits::default());
    let mut found = None;
    while let Some(line) = reader.next_line()? {
        if line.id.as_deref() == Some(id) {
            found = line.denial().or(found);
        }
    }
    Ok(found)
}

fn in_sandboxes(id: &str, err: &mut dyn Write) -> io::Result<Option<Told>> {
    let mut silent = Vec::new();
    for (name, _) in control::list() {
        match control::denial(&name, id) {
            Ok(Some(told)) => return Ok(Some(told)),
            Ok(None) => {}
            // It may have ended just now, and another one may know.
            Err(error) => silent.push(error),
        }
    }
    silent.iter().try_for_each(|error| writeln!(err, "portcullis: {error}"))?;
    Ok(None)
}

fn tell(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let Told { id, time, flow, target, reason, rule, hint, observed } = told;
    let what = if *observed { "would be denied" } else { "denied" };
    writeln!(out, "{what} {}", shown(target))?;
    writeln!(out, "id: {}\ntime: {}", shown(id), shown(time))?;
    if let Some(flow) = flow {
        writeln!(out, "flow: {flow}")?;
    }
    writeln!(out, "reason: {}\nrule: {}", shown(reason), shown(rule))?;
    let hint = if hint.is_empty() { "nothing does" } else { hint };
    writeln!(out, "to allow it: {}", shown(hint))?;
    if let Some(written) = rule_of(hint).and_then(|rule| Written::of(&rule)) {
        writeln!(out, "or in the file of --config:\n{written}")?;
    }
    Ok(())
}

/// The rule that a hint's flag makes, where the hint is one of `--allow` or `--rule`.
fn rule_of(hint: &str) -> Option<Rule> {
    if let Some(text) = hint.strip_prefix("--rule '") {
        return Rule::parse(text.strip_suffix('\'')?, RuleSource::Owner).ok();
    }
    let text = hint.strip_prefix("--allow ")?;
    let (text, rest) = text.split_once(", and ").unwrap_or((text, ""));
    // A hint that leaves the host to the reader is no rule yet.
    (rest.is_empty() && !text.starts_with("HOST")).then(|| Rule::allowing(text, RuleSource::Owner).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: &str, hint: &str) -> String {
        serde_json::json!({
            "time": "2026-01-02T03:04:05Z", "event": "denial", "id": id, "flow": 3, "target": "a.example:22",
            "reason": "no rule \u{1b}[31m", "rule": "/x.toml:3: [[rule]]", "hint": hint,
        })
        .to_string()
    }

    fn run(text: &str, id: &str) -> (u8, String, String) {
        let name = format!("portcullis-explain-{}-{id}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ExplainArgs { audit: Some(path.clone()), id: id.to_owned() };
        let code = explain(&args, &mut out, &mut err).unwrap();
        std::fs::remove_file(&path).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_denial_is_told_with_its_rule_and_what_to_write() {
        let text = format!(
            "{}\nnonsense\n{}\n{{\"cut",
            told("k3f9-16", ""),
            told("k3f9-17", "--allow a.example:22")
        );
        let (code, out, err) = run(&text, "k3f9-17");
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(
            out,
            "denied a.example:22\nid: k3f9-17\ntime: 2026-01-02T03:04:05Z\nflow: 3\nreason: no rule \\u{1b}[31m\n\
             rule: /x.toml:3: [[rule]]\nto allow it: --allow a.example:22\nor in the file of --config:\n\
             [net]\nallow = [\"a.example:22\"]\n"
        );
    }

    #[test]
    fn a_request_is_allowed_by_a_table() {
        let (_, out, _) = run(&told("k3f9-2", "--rule 'allow GET a.example /x'"), "k3f9-2");
        let table =
            "[[rule]]\naction = \"allow\"\nhost = \"a.example\"\nmethods = [\"GET\"]\npaths = [\"/x\"]\n";
        assert!(out.ends_with(table), "{out}");
        for hint in ["--allow HOST:22, and let the client use the name", "--rule '';rm -rf'", "let it be"] {
            assert!(!run(&told("k3f9-3", hint), "k3f9-3").1.contains("--config"), "{hint}");
        }
    }

    #[test]
    fn an_unknown_id_ends_with_3_and_one_that_is_none_with_125() {
        let (code, out, err) = run(&told("k3f9-4", ""), "k3f9-5");
        assert_eq!((code, out.as_str()), (3, ""));
        assert!(err.ends_with("has no denial k3f9-5\n"), "{err}");
        assert_eq!(run("", "nonsense").0, 125);
        let args = ExplainArgs { audit: Some("/nonexistent".into()), id: "k3f9-4".into() };
        assert_eq!(explain(&args, &mut Vec::new(), &mut Vec::new()).unwrap(), 125);
    }
}
