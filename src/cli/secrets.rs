//! `portcullis secrets`: the secrets of a running sandbox, and other values for them.
//!
//! A value comes from the secret's source or from standard input, never from an argument. Invariant: no value is ever
//! printed.

use std::io::{self, IsTerminal as _, Read as _, Write};

use clap::Subcommand;
use zeroize::Zeroizing;

use super::OWN_FAILURE;
use crate::audit;
use crate::control::{self, AskError, NewValue, SandboxName};
use crate::secret::{Rotation, SecretState, SecretStatus, moment};

/// Command line of `secrets`.
#[derive(clap::Args, Clone, Debug)]
#[command(subcommand_precedence_over_arg = true)]
pub struct SecretsArgs {
    /// The sandbox; without, the only one that runs
    #[arg(value_name = "NAME")]
    pub name: Option<SandboxName>,
    /// What to do; list where nothing is said.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What to do with them.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List them: their hosts, places, sources, and how it is with them
    List {
        /// Print one JSON object a line for each secret
        #[arg(long)]
        json: bool,
    },
    /// Give SECRET the value that its source has now; requests carry it from then on
    Rotate {
        /// The secret's name
        #[arg(value_name = "SECRET")]
        secret: String,
        /// Read the value from standard input instead, but for one line end
        #[arg(long)]
        stdin: bool,
    },
    /// Take SECRET back: a request that would carry it is refused from then on
    Revoke {
        /// The secret's name
        #[arg(value_name = "SECRET")]
        secret: String,
    },
}

/// Does it; the exit code.
pub fn secrets(args: &SecretsArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match act(args, out) {
        Ok(()) => Ok(0),
        Err(Failure::Out(error)) => Err(error),
        Err(failure) => {
            writeln!(err, "portcullis: {failure}")?;
            Ok(OWN_FAILURE)
        }
    }
}

fn act(args: &SecretsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => only()?,
    };
    match &args.action {
        None => list(&control::secrets(&name)?, false, out)?,
        Some(Action::List { json }) => list(&control::secrets(&name)?, *json, out)?,
        Some(Action::Rotate { secret, stdin }) => {
            let value = stdin.then(read_value).transpose()?;
            match control::rotate(&name, secret, value)? {
                Rotation::Replaced => {
                    writeln!(out, "{}: another value from the next request on", shown(secret))?
                }
                Rotation::Same => writeln!(out, "{}: that is the value it has", shown(secret))?,
            }
        }
        Some(Action::Revoke { secret }) => {
            control::revoke(&name, secret)?;
            writeln!(out, "{}: revoked; requests with its placeholder are refused", shown(secret))?;
        }
    }
    Ok(())
}

/// The only sandbox that runs.
fn only() -> Result<SandboxName, Failure> {
    let names: Vec<SandboxName> = control::list().into_iter().map(|(name, _)| name).collect();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::None),
        several => {
            let names: Vec<&str> = several.iter().map(SandboxName::as_str).collect();
            Err(Failure::Several(names.join(", ")))
        }
    }
}

/// Longest value that is read: longer than the longest secret.
const MOST: usize = 32 << 10;

fn read_value() -> Result<NewValue, Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        return Err(Failure::Terminal);
    }
    // Of the right size at once: a buffer that grows leaves its bytes behind.
    let mut value = Zeroizing::new(Vec::with_capacity(MOST));
    input.lock().take(MOST as u64).read_to_end(&mut value).map_err(Failure::Input)?;
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    Ok(NewValue::new(std::mem::take(&mut *value)))
}

fn list(secrets: &[SecretStatus], json: bool, out: &mut dyn Write) -> io::Result<()> {
    for secret in secrets {
        if json {
            writeln!(out, "{}", serde_json::to_string(secret)?)?;
        } else {
            write_line(secret, out)?;
        }
    }
    Ok(())
}

/// Columns of a name in a list; a longer one makes its line longer.
const NAME: usize = 24;

fn write_line(secret: &SecretStatus, out: &mut dyn Write) -> io::Result<()> {
    let SecretStatus { name, hosts, places, source, state, rotated, expires } = secret;
    let state = match state {
        SecretState::Live => "live",
        SecretState::Expired => "expired",
        SecretState::Revoked => "revoked",
    };
    let source = source.as_deref().unwrap_or("the program's own");
    write!(out, "{:NAME$} {state:8} {}", shown(name), shown(source))?;
    write!(out, ", to {} in {}", shown(&hosts.join(" ")), shown(&places.join(" ")))?;
    for (what, when) in [("rotated", rotated), ("expires", expires)] {
        if let Some(when) = when {
            write!(out, ", {what} {}", moment(*when))?;
        }
    }
    writeln!(out)
}

/// On one line that does nothing to a terminal.
fn shown(text: &str) -> String {
    audit::clip(text)
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("no sandbox is running; start one with `portcullis run` or `portcullis serve`")]
    None,
    #[error("several sandboxes are running; name one of them: {0}")]
    Several(String),
    #[error("standard input is a terminal, which would show the value; pipe it in, as from `op read …`")]
    Terminal,
    #[error("the value cannot be read from standard input: {0}")]
    Input(io::Error),
    #[error(transparent)]
    Out(#[from] io::Error),
}
