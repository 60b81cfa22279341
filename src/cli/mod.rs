//! The command line: one file a subcommand.
//!
//! It turns flags into a [`Config`](crate::config::Config) and an end into an exit status, and does nothing that
//! a user of the library could not do. Invariant: a wrong command line is told and ends with [`OWN_FAILURE`].

pub mod ca;
pub mod check;
pub mod env;
pub mod explain;
pub mod learn;
pub mod log;
pub mod options;
pub mod policy;
mod process;
mod reload;
#[cfg(target_os = "linux")]
pub mod run;
pub mod secrets;
#[cfg(target_os = "linux")]
pub mod serve;
pub mod status;
pub mod test;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

/// Exit code of our own failures, wrong usage among them.
pub const OWN_FAILURE: u8 = 125;
/// Exit code for what is denied, or not there to be explained.
pub const DENIED: u8 = 3;

/// Why a subcommand does not start: an error that says in one line what to do.
pub type Failure = Box<dyn std::error::Error>;

/// The one guarded way out of an agent sandbox.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, max_term_width = 100)]
enum Arguments {
    /// Run a command in a network of its own, where only allowed hosts exist
    #[cfg(target_os = "linux")]
    Run(run::RunArgs),
    /// Be the network of a virtual machine, or of whatever else speaks Ethernet
    #[cfg(target_os = "linux")]
    Serve(serve::ServeArgs),
    /// Say what would happen to a request, without sending it
    Check(check::CheckArgs),
    /// Say what a denial was about, and what to write to allow it
    Explain(explain::ExplainArgs),
    /// Print the least policy that would have allowed what an audit file tells of
    Learn(learn::LearnArgs),
    /// Print an audit file for people
    Log(log::LogArgs),
    /// Judge the cases in the files of a directory
    Test(test::TestArgs),
    /// Say which sandboxes run, or what one of them has counted
    Status(status::StatusArgs),
    /// Print the variables of a running sandbox's guest, as a shell reads them
    Env(env::EnvArgs),
    /// List the secrets of a running sandbox, give one another value, or take one back
    Secrets(secrets::SecretsArgs),
    /// Show the rules of a running sandbox, or change them
    Policy(policy::PolicyArgs),
    /// Print the certificate of a running sandbox's CA
    Ca(ca::CaArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed terminal is no reason to fail otherwise.
            let asked_for = error.exit_code() == 0;
            let _ = if asked_for || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                error.print()
            } else {
                writeln!(io::stderr(), "portcullis: {}", one_line(&error.to_string()))
            };
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(OWN_FAILURE) };
        }
    };
    // What the others say, they say here.
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let code = match arguments {
        #[cfg(target_os = "linux")]
        Arguments::Run(arguments) => {
            drop((out, err));
            return run::run(&arguments);
        }
        #[cfg(target_os = "linux")]
        Arguments::Serve(arguments) => {
            drop((out, err));
            return serve::serve(&arguments);
        }
        Arguments::Check(arguments) => check::check(&arguments, &mut out, &mut err),
        Arguments::Explain(arguments) => explain::explain(&arguments, &mut out, &mut err),
        Arguments::Learn(arguments) => learn::learn(&arguments, &mut out, &mut err),
        Arguments::Log(arguments) => log::log(&arguments, &mut out, &mut err),
        Arguments::Test(arguments) => test::test(&arguments, &mut out, &mut err),
        Arguments::Status(arguments) => status::status(&arguments, &mut out, &mut err),
        Arguments::Env(arguments) => env::env(&arguments, &mut out, &mut err),
        Arguments::Secrets(arguments) => secrets::secrets(&arguments, &mut out, &mut err),
        Arguments::Policy(arguments) => policy::policy(&arguments, &mut out, &mut err),
        Arguments::Ca(arguments) => ca::ca(&arguments, &mut out, &mut err),
    };
    ExitCode::from(code.unwrap_or(OWN_FAILURE))
}

/// Foreign text on one line that does nothing to a terminal.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' '..='~' => out.push(char),
            other => out.extend(other.escape_unicode()),
        }
    }
    out
}

/// What clap says over several lines: the cause, a similar flag where there is one, and the usage.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // This one is about flags in a place where any text may stand, which none of ours is.
    let lines = lines.filter(|line| !line.starts_with("tip: to pass") && !line.starts_with("For more"));
    let told: Vec<&str> = lines.map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect();
    let told = told.join(" ").replace(" tip: ", "; ").replace(" Usage: ", "; usage: ");
    if told.contains("; usage: ") { told } else { told + "; see portcullis --help" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let told = |words: &[&str]| {
            let error = Arguments::try_parse_from(words).unwrap_err();
            one_line(&error.to_string())
        };
        assert_eq!(
            told(&["portcullis", "check", "--alow", "a.example", "https://a.example/"]),
            "unexpected argument '--alow' found; a similar argument exists: '--allow'; \
             usage: portcullis check --allow <HOST[:PORT][/PROTOCOL]> <[METHOD] URL>..."
        );
        assert_eq!(
            told(&["portcullis", "check", "--allow"]),
            "a value is required for '--allow <HOST[:PORT][/PROTOCOL]>' but none was supplied; see portcullis --help"
        );
        assert!(told(&["portcullis", "check", "x\ny", "a", "b"]).starts_with("unexpected value"));
        for words in [["portcullis", "fly\nhigh"], ["portcullis", "check"]] {
            assert!(!told(&words).contains('\n'));
        }
    }
}
