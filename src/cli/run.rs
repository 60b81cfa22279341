//! `portcullis run`: a command in a network of its own.
//!
//! Everything is checked before anything starts; the namespaces are made while this process has one thread;
//! then the sandbox serves the TAP on a thread of its own while this one waits for the command. Invariant: on
//! the command's terminal stands nothing of ours but start-up errors and, at the end, one line of denials and one of what was only observed.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use super::options::{Loaded, Reader, SandboxArgs};
use super::process::{complain, raise_descriptor_limit, refuse_huge_pages};
use super::{Failure, OWN_FAILURE};
use crate::link::tap::TapLink;
use crate::namespace::{self, Child, Exit, Spec, environment};
use crate::sandbox::{Prepared, Sandbox, Termination};

/// Command line of `run`.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// What the command may reach.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Runs the command to its end; its exit code, or ours.
#[must_use]
pub fn run(args: &RunArgs) -> ExitCode {
    match start(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error.to_string());
            let code =
                error.downcast_ref::<namespace::NamespaceError>().map(namespace::NamespaceError::exit_code);
            ExitCode::from(code.unwrap_or(OWN_FAILURE))
        }
    }
}

fn start(args: &RunArgs) -> Result<u8, Failure> {
    let Loaded { builder, log, hidden, private } = args.sandbox.load("run", Reader::Command)?;
    let (ended, termination) = oneshot::channel();
    let prepared = builder.on_termination(move |why| drop(ended.send(why))).prepare()?;
    let spec = spec(&prepared, args, (hidden, private));

    let running = namespace::spawn(&spec)?;
    // From here on there may be threads.
    log.start();
    raise_descriptor_limit();
    refuse_huge_pages();
    let mtu = prepared.guest_env().mtu;
    let sandbox = prepared.start(TapLink::new(running.tap, mtu.into()))?;
    let mut child = running.child;
    let reloads = Rc::new(Notify::new());
    if args.sandbox.options.has_file() {
        let reloads = Rc::clone(&reloads);
        child.on_hangup(move || reloads.notify_one());
    }
    let exit = wait(child, termination, (&sandbox, &reloads))?;
    let told = [sandbox.denials(), sandbox.observed()];
    sandbox.shutdown_blocking();
    told.iter().flatten().for_each(|line| complain(line));
    Ok(exit.code())
}

/// What the command gets, and what it must not see.
fn spec(prepared: &Prepared, args: &RunArgs, (hidden, private): (Vec<PathBuf>, Vec<PathBuf>)) -> Spec {
    let env = prepared.guest_env();
    let secrets = prepared.secrets();
    let mut variables = environment::guest(std::env::vars_os(), &|value| secrets.rewrite(value));
    variables.retain(|(_, value)| !prepared.holds_a_password(value.as_bytes()));
    for (name, placeholder) in &env.placeholders {
        variables.retain(|(own, _)| own != name.as_str());
        variables.push((name.into(), OsString::from_vec(placeholder.clone().into_bytes())));
    }
    Spec {
        command: args.command.clone(),
        env: variables,
        addresses: env.addresses(),
        dns: env.dns.clone(),
        ca_pem: prepared.ca_cert_pem().to_owned(),
        bundle: prepared.bundle_pem(),
        hidden,
        private,
        read_only: args.sandbox.options.files().map(Path::to_owned).collect(),
    }
}

/// Waits for the command; a sandbox that ends before it takes the command along.
///
/// Meanwhile the files are read again whenever somebody asks for it; what came of it is in the log.
fn wait(
    mut child: Child,
    termination: oneshot::Receiver<Termination>,
    (sandbox, reloads): (&Sandbox, &Notify),
) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let reloading = async {
            loop {
                reloads.notified().await;
                // The sandbox tells of it.
                let _ = sandbox.reload().await;
            }
        };
        tokio::select! {
            exit = child.wait() => return Ok(exit?),
            () = reloading => {}
            why = termination => match why {
                Ok(Termination::Failed(why)) => return Err(format!("the sandbox failed: {why}").into()),
                Ok(Termination::Misuse(why)) => return Err(format!("the sandbox was ended: {why}").into()),
                // The link goes with the last process of the namespace, so the command has ended or soon will.
                Ok(Termination::LinkClosed | Termination::Shutdown) | Err(_) => {}
            },
        }
        Ok(child.wait().await?)
    })
}
