//! `portcullis serve`: the network of a guest that somebody else starts.
//!
//! Everything is checked, the link opened and the guest's files written before the first frame; then one line says
//! that it is ready, and the sandbox serves until a signal, or until the link ends for good. Invariant: what
//! `serve` made on the way (its socket) goes with it, however it ends by itself.

mod files;
mod link;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::oneshot;

use self::link::Wanted;
use super::options::{Loaded, Reader, SandboxArgs};
use super::process::{complain, ignores_hangups, raise_descriptor_limit, refuse_huge_pages};
use super::{Failure, OWN_FAILURE};
use crate::namespace::Terminal;
use crate::sandbox::{GuestEnv, Sandbox, Termination};
use crate::sys;

/// Command line of `serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct ServeArgs {
    /// What the guest may reach.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// Where the guest is: qemu:PATH and krun:PATH listen there, tap:NAME is a device, fd:N was passed
    #[arg(long, required = true, value_name = "LINK")]
    pub link: String,
    /// Write ca.pem, bundle.pem and guest.env for the guest into DIR
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Serves to the end; the exit code.
#[must_use]
pub fn serve(args: &ServeArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(OWN_FAILURE)
        }
    }
}

fn start(args: &ServeArgs) -> Result<(), Failure> {
    // First: a descriptor of ours might get the number that was not passed.
    let wanted = Wanted::take(&args.link)?;
    let Loaded { builder, log, .. } = args.sandbox.load("serve", Reader::Nobody)?;
    let (ended, termination) = oneshot::channel();
    let prepared = builder.on_termination(move |why| drop(ended.send(why))).prepare()?;
    // Before there is a socket to remove, and before there are threads to inherit it.
    let signals = sys::divert_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
    let link = wanted.open(prepared.guest_env().mtu.into())?;
    if let Some(dir) = &args.out {
        files::write(dir, &prepared)?;
    }
    log.start();
    raise_descriptor_limit();
    refuse_huge_pages();
    let ready = ready(&args.link, prepared.guest_env());
    let sandbox = link.start(prepared)?;
    complain(&ready);
    let reloaded = args.sandbox.options.has_file().then_some(&sandbox);
    let why = wait(&signals, termination, reloaded)?;
    let told = [sandbox.denials(), sandbox.observed()];
    sandbox.shutdown_blocking();
    told.iter().flatten().for_each(|line| complain(line));
    match why {
        Some(Termination::Failed(why)) => Err(format!("the sandbox failed: {why}").into()),
        Some(Termination::Misuse(why)) => Err(format!("the sandbox was ended: {why}").into()),
        Some(Termination::LinkClosed | Termination::Shutdown) | None => Ok(()),
    }
}

/// The line that says so, with what the guest's network card has to be set to.
fn ready(link: &str, guest: &GuestEnv) -> String {
    format!("listening at {}; the guest's MAC address is {}", link.escape_debug(), files::mac(guest.mac))
}

/// Waits for a signal that ends it, or for the sandbox to end by itself and say why.
///
/// Where there is a file to be read again, SIGHUP asks for that; without, or when the terminal has hung up, it ends us,
/// unless we were started to ignore it.
fn wait(
    signals: &OwnedFd,
    mut termination: oneshot::Receiver<Termination>,
    reloaded: Option<&Sandbox>,
) -> Result<Option<Termination>, Failure> {
    let terminal = Terminal::of_caller();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let watched = sys::watch(signals.as_fd())?;
        loop {
            let mut ready = tokio::select! {
                signalled = watched.readable() => signalled?,
                why = &mut termination => return Ok(why.ok()),
            };
            let diverted = match sys::read_signal(signals) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    continue;
                }
                read => read?,
            };
            if diverted.signal != libc::SIGHUP {
                return Ok(None);
            }
            let sent_by_process = diverted.code <= 0;
            match reloaded {
                Some(sandbox) if sent_by_process && !terminal.is_gone() => {
                    // The sandbox logs it; whoever sent the signal may see this terminal and no log.
                    if let Err(error) = sandbox.reload().await {
                        complain(&format!("not reloaded, the policy stays as it was: {error}"));
                    }
                }
                Some(_) | None if ignores_hangups() => {}
                Some(_) | None => return Ok(None),
            }
        }
    })
}
