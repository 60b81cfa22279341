//! The namespaces of `portcullis run`, seen from inside and from outside.
//!
//! A runner of its own, because the parent of a sandbox must have one thread: each case starts this binary
//! again as such a parent. Every case runs as the user who runs the tests; when that is root, most run as a
//! plain user too. Where the machine makes no namespaces the runner says so and passes; with
//! `PORTCULLIS_REQUIRE_NAMESPACES=1` it fails.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test runner of its own")]
#![expect(clippy::unwrap_used, reason = "every function here is part of a test")]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "../support/canary.rs"]
mod canary;

mod caller;
mod confinement;
mod failures;
mod files;
mod lifecycle;
mod network;
mod spawner;

use std::env;
use std::panic;
use std::process::ExitCode;

use caller::Caller;

/// A case and the name it goes by.
type Case = (&'static str, fn(&Caller));

const REQUIRE: &str = "PORTCULLIS_REQUIRE_NAMESPACES";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let Some((_, command)) = arguments.split_first().filter(|(first, _)| *first == spawner::ARGUMENT) {
        return spawner::main(command.to_vec());
    }
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with("--"));
    let cases: Vec<Case> =
        [network::CASES, confinement::CASES, files::CASES, lifecycle::CASES, failures::CASES].concat();
    let cases =
        cases.into_iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let Err(reason) = caller::available() {
        println!("NAMESPACES ARE NOT TESTED HERE: {reason}");
        let required = env::var(REQUIRE).is_ok_and(|value| value == "1");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let callers = caller::all();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, case) in cases {
        for caller in &callers {
            let outcome = panic::catch_unwind(|| case(caller));
            println!("test {name} ({caller}) ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
            match outcome {
                Ok(()) => passed += 1,
                Err(_) => failed.push(format!("{name} ({caller})")),
            }
        }
    }
    println!("\n{passed} passed, {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
