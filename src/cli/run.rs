//! `portcullis run`: a command in a network of its own.
//!
//! Everything is checked before anything starts; the namespaces are made while this process has one thread;
//! then the sandbox serves the TAP on a thread of its own while this one waits for the command. Invariant: on
//! the command's terminal stands nothing of ours but start-up errors and one line of denials at the end.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::OWN_FAILURE;
use super::options::{Claimed, Naming, Options, control_directories, output_file};
use crate::control::SandboxName;
use crate::link::tap::TapLink;
use crate::namespace::{self, Child, Exit, Spec, environment};
use crate::sandbox::{Prepared, Sandbox, Termination};

/// The variable that says how much is logged, in the form of `RUST_LOG`.
const LOG_FILTER: &str = "PORTCULLIS_LOG";

/// Command line of `run`.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// What the command may reach.
    #[command(flatten)]
    pub options: Options,
    /// What the sandbox is called.
    #[command(flatten)]
    pub naming: Naming,
    /// Append one JSON object a line for each flow, request, injection and denial
    #[arg(long, value_name = "FILE")]
    pub audit: Option<String>,
    /// Append what happens to FILE; the variable PORTCULLIS_LOG says how much
    #[arg(long, value_name = "FILE")]
    pub log: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

type Failure = Box<dyn std::error::Error>;

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
    let config = args.options.load()?;
    let audit = args.audit.as_deref().map(|text| output_file("--audit", text)).transpose()?;
    let log = args.log.as_deref().map(|text| output_file("--log", text)).transpose()?;
    if audit.is_some() && audit == log {
        return Err("--audit and --log name the same file; give each one of its own".into());
    }
    let log_file = log.as_deref().map(open_log).transpose()?;
    let filter = log_filter()?;
    let mut builder = Sandbox::builder().config(config);
    if let Some(audit) = &audit {
        builder = builder.audit(audit);
    }
    let no_control = match args.naming.claim(&SandboxName::parse("run")?)? {
        Claimed::Endpoint(endpoint) => {
            builder = builder.control(endpoint);
            None
        }
        Claimed::Without(why) => Some(why),
    };
    let (ended, termination) = oneshot::channel();
    let prepared = builder.on_termination(move |why| drop(ended.send(why))).prepare()?;
    let hidden = audit.into_iter().chain(log).chain(control_directories()).collect();
    let spec = spec(&prepared, args, hidden);

    let running = namespace::spawn(&spec)?;
    // From here on there may be threads.
    if let Some(file) = log_file {
        start_log(file, filter);
    }
    if let Some(why) = no_control {
        tracing::warn!(%why, "no control socket");
    }
    raise_descriptor_limit();
    refuse_huge_pages();
    let sandbox = prepared.start(TapLink::new(running.tap, namespace::MTU as usize))?;
    let exit = wait(running.child, termination)?;
    let denials = sandbox.denials();
    sandbox.shutdown_blocking();
    if let Some(line) = denials {
        complain(&line);
    }
    Ok(exit.code())
}

/// What the command gets, and what it must not see.
fn spec(prepared: &Prepared, args: &RunArgs, hidden: Vec<PathBuf>) -> Spec {
    let env = prepared.guest_env();
    let secrets = prepared.secrets();
    let mut variables = environment::guest(std::env::vars_os(), &|value| secrets.rewrite(value));
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
        read_only: args.options.config.iter().cloned().collect(),
    }
}

/// Waits for the command; a sandbox that ends before it takes the command along.
fn wait(mut child: Child, termination: oneshot::Receiver<Termination>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        tokio::select! {
            exit = child.wait() => return Ok(exit?),
            why = termination => match why {
                Ok(Termination::Failed(why)) => return Err(format!("the sandbox failed: {why}").into()),
                // The link goes with the last process of the namespace, so the command has ended or soon will.
                Ok(Termination::LinkClosed | Termination::Shutdown) | Err(_) => {}
            },
        }
        Ok(child.wait().await?)
    })
}

fn open_log(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map_err(|error| {
        format!("--log {}: {error}; name a file that can be appended to", path.display()).into()
    })
}

fn log_filter() -> Result<EnvFilter, Failure> {
    let Some(text) = std::env::var_os(LOG_FILTER) else { return Ok(EnvFilter::new("info")) };
    let filter = EnvFilter::try_new(text.to_string_lossy());
    filter.map_err(|error| format!("variable {LOG_FILTER}: {error}; set it as in portcullis=debug").into())
}

fn start_log(file: File, filter: EnvFilter) {
    // A full disk is not to be told on the command's terminal.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    log.with_ansi(false).with_env_filter(filter).with_writer(Mutex::new(file)).init();
}

/// A flow has a descriptor or two; the usual soft limit of 1,024 is far below [`Limits::flows`].
///
/// [`Limits::flows`]: crate::limits::Limits::flows
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the descriptor limit stays as it is");
    }
}

/// Where huge pages are `always` on, one touched octet of a flow's ring would cost 2 MiB. The command was forked
/// before and keeps the caller's setting.
fn refuse_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "huge pages stay as they are, and idle flows may take more memory");
    }
}

/// One line on standard error.
#[expect(clippy::print_stderr, reason = "this is where a command line tells what went wrong")]
fn complain(line: &str) {
    eprintln!("portcullis: {line}");
}
