//! `portcullis ca`: the certificate of a running sandbox's CA.
//!
//! Invariant: what it prints is what the sandbox's own process said, or nothing.

use std::io::{self, Write};

use super::OWN_FAILURE;
use crate::control::{self, SandboxName};

/// Command line of `ca`.
#[derive(clap::Args, Clone, Debug)]
pub struct CaArgs {
    /// The sandbox
    #[arg(value_name = "NAME")]
    pub name: SandboxName,
}

/// Prints the certificate as PEM; the exit code.
pub fn ca(args: &CaArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match control::ca(&args.name) {
        Ok(pem) => {
            out.write_all(pem.as_bytes())?;
            Ok(0)
        }
        Err(error) => {
            writeln!(err, "portcullis: {error}")?;
            Ok(OWN_FAILURE)
        }
    }
}
