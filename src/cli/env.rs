//! `portcullis env`: the variables of a running sandbox's guest.
//!
//! Invariant: what it prints sets variables in a shell and does nothing else there.

use std::io::{self, Write};

use super::OWN_FAILURE;
use crate::control::{self, SandboxName};
use crate::sandbox::to_shell;

/// Command line of `env`.
#[derive(clap::Args, Clone, Debug)]
pub struct EnvArgs {
    /// The sandbox
    #[arg(value_name = "NAME")]
    pub name: SandboxName,
}

/// Prints `NAME=value` lines; the exit code.
pub fn env(args: &EnvArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match control::env(&args.name) {
        Ok(variables) => {
            out.write_all(to_shell(&variables).as_bytes())?;
            Ok(0)
        }
        Err(error) => {
            writeln!(err, "portcullis: {error}")?;
            Ok(OWN_FAILURE)
        }
    }
}
