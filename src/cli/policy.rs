//! `portcullis policy`: the rules of a running sandbox, and changes of them.
//!
//! What it changes holds until the sandbox ends or its files are read again; no file is written. Invariant: the floor
//! is shown and never changed.

use std::io::{self, Write};

use clap::Subcommand;

use super::OWN_FAILURE;
use crate::audit;
use crate::control::{self, AskError, SandboxName};
use crate::sandbox::{Edit, PolicyChanged, PolicyRule};

/// Command line of `policy`.
#[derive(clap::Args, Clone, Debug)]
pub struct PolicyArgs {
    /// The sandbox
    #[arg(value_name = "NAME")]
    pub name: SandboxName,
    /// What to do; show where nothing is said.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What to do with the rules.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Show them in their order, the platform's first, each with where it was written
    Show {
        /// Print one JSON object a line for each rule
        #[arg(long)]
        json: bool,
    },
    /// Allow RULE before all other rules, as in 'pypi.org:443' or 'GET api.github.com /repos/acme/**'; it is written as
    /// for --rule, without the action
    Allow {
        /// What to allow
        #[arg(required = true, value_name = "RULE")]
        rule: Vec<String>,
    },
    /// Deny RULE before all other rules; flows that it is about end
    Deny {
        /// What to deny
        #[arg(required = true, value_name = "RULE")]
        rule: Vec<String>,
    },
    /// Drop the rule of this number
    Remove {
        /// Its number, as shown
        #[arg(value_name = "NUMBER")]
        number: usize,
    },
    /// Read the configuration file and the floor again; what was changed by hand since is gone
    Reload,
}

impl Action {
    /// What it changes; none where it only shows.
    fn edit(&self) -> Option<Edit> {
        match self {
            Self::Show { .. } => None,
            Self::Allow { rule } => Some(Edit::Allow(rule.join(" "))),
            Self::Deny { rule } => Some(Edit::Deny(rule.join(" "))),
            Self::Remove { number } => Some(Edit::Remove(*number)),
            Self::Reload => Some(Edit::Reload),
        }
    }
}

/// Does it; the exit code.
pub fn policy(args: &PolicyArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match act(args) {
        Ok(Told::Rules(rules)) => {
            let json = matches!(args.action, Some(Action::Show { json: true }));
            rules.iter().try_for_each(|rule| write_rule(rule, json, out))?;
            Ok(0)
        }
        Ok(Told::Changed(changed)) => {
            write_change(&changed, out, err)?;
            Ok(0)
        }
        Err(error) => {
            writeln!(err, "portcullis: {error}")?;
            Ok(OWN_FAILURE)
        }
    }
}

enum Told {
    Rules(Vec<PolicyRule>),
    Changed(PolicyChanged),
}

fn act(args: &PolicyArgs) -> Result<Told, AskError> {
    match args.action.as_ref().and_then(Action::edit) {
        None => control::policy(&args.name).map(Told::Rules),
        Some(edit) => control::change_policy(&args.name, edit).map(Told::Changed),
    }
}

/// Columns of a rule in a list; a longer one makes its line longer.
const RULE: usize = 40;

fn write_rule(rule: &PolicyRule, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string(rule)?);
    }
    let PolicyRule { number, rule, source } = rule;
    let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    writeln!(out, "{number:>4}  {:RULE$}  {}", shown(rule), shown(source))
}

fn write_change(changed: &PolicyChanged, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let PolicyChanged { what, rules, ended, warnings, .. } = changed;
    for warning in warnings {
        writeln!(err, "portcullis: warning: {}", super::shown(warning))?;
    }
    let (rule, flow) =
        (if *rules == 1 { "rule" } else { "rules" }, if *ended == 1 { "flow" } else { "flows" });
    writeln!(out, "{}; {rules} {rule}, {ended} {flow} ended", shown(what))
}

/// On one line that does nothing to a terminal.
fn shown(text: &str) -> String {
    audit::clip(text)
}
