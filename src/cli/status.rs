//! `portcullis status`: which sandboxes run, and what one of them has counted.
//!
//! What it shows of counters is what their JSON has, key by key, so none can be forgotten here. Invariant: a line of
//! a terminal for each sandbox, or for each counter of one.

use std::io::{self, Write};

use super::OWN_FAILURE;
use crate::control::{self, AskError, SandboxName, Status};

mod counters;

/// Command line of `status`.
#[derive(clap::Args, Clone, Debug)]
pub struct StatusArgs {
    /// The sandbox; without, all that run are listed
    #[arg(value_name = "NAME")]
    pub name: Option<SandboxName>,
    /// Print one JSON object a line for each sandbox
    #[arg(long)]
    pub json: bool,
}

/// Prints what runs; the exit code.
pub fn status(args: &StatusArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let found: Vec<Result<Status, AskError>> = match &args.name {
        Some(name) => vec![control::status(name)],
        None => control::list().into_iter().map(|(_, status)| status).collect(),
    };
    let mut code = 0;
    for status in found {
        match status {
            Ok(status) if args.json => writeln!(out, "{}", serde_json::to_string(&status)?)?,
            Ok(status) if args.name.is_some() => write_counters(&status, out)?,
            Ok(status) => write_line(&status, out)?,
            Err(error) => {
                writeln!(err, "portcullis: {error}")?;
                code = OWN_FAILURE;
            }
        }
    }
    Ok(code)
}

/// Columns of a name in a list; a longer one makes its line longer.
const NAME: usize = 20;

fn write_line(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let Status { name, pid, stats, .. } = status;
    let up = duration(status.up_seconds);
    let (flows, opened) = (stats.net.flows, stats.net.flows_opened);
    let events = &stats.events;
    writeln!(
        out,
        "{name:NAME$} pid {pid:<8} up {up:<12} flows {flows} of {opened}, requests {}, injections {}, denials {}",
        events.requests,
        events.injections,
        events.denials,
        name = name.as_str(),
    )
}

fn write_counters(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let Status { name, pid, program, up_seconds, stats } = status;
    let mut lines = vec![
        ("name".to_owned(), name.to_string()),
        ("pid".to_owned(), pid.to_string()),
        ("program".to_owned(), crate::audit::clip(program)),
        ("up".to_owned(), duration(*up_seconds)),
    ];
    lines.extend(counters::of(stats)?);
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in lines {
        writeln!(out, "{key:width$}  {value}")?;
    }
    Ok(())
}

/// `1h 2m 3s`, without what is zero before the first that is not.
fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds}s"),
        (_, _) => format!("{hours}h {minutes}m {seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let told: Vec<String> = [0, 59, 60, 3_599, 3_600, 90_061].map(duration).to_vec();
        assert_eq!(told, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m 0s", "25h 1m 1s"]);
    }
}
