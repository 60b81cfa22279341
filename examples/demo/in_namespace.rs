//! The guest as a process: this program again, in a network namespace with nothing in it but Portcullis' TAP.
//!
//! The same steps as `portcullis run`. What the guest reports comes through its standard output.

use std::io::{PipeReader, PipeWriter, Read, Write};

use portcullis::link::tap::TapLink;
use portcullis::namespace::{self, Running, Spec, environment};
use portcullis::sandbox::Prepared;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::guest::{Report, tour};
use crate::{Failure, TOKEN};

/// The argument that makes this program the guest.
pub(crate) const GUEST: &str = "guest";

/// A guest whose process has started, and whose network nobody serves yet.
pub(crate) struct Guest {
    running: Running,
    output: PipeReader,
}

impl Guest {
    /// Starts the process. Nothing in this one may have started a thread before.
    pub(crate) fn spawn(prepared: &Prepared) -> Result<Self, Failure> {
        let env = prepared.guest_env();
        let mut variables =
            environment::guest(std::env::vars_os(), &|value| prepared.secrets().rewrite(value));
        variables.extend(env.placeholders.iter().map(|(name, value)| (name.into(), value.into())));
        let spec = Spec {
            command: vec![std::env::current_exe()?.into(), GUEST.into()],
            env: variables,
            addresses: env.addresses(),
            dns: env.dns.clone(),
            ca_pem: prepared.ca_cert_pem().to_owned(),
            bundle: prepared.bundle_pem(),
            hidden: Vec::new(),
            private: Vec::new(),
            read_only: Vec::new(),
        };
        let (output, input) = std::io::pipe()?;
        let running = with_stdout(&input, || namespace::spawn(&spec))??;
        Ok(Self { running, output })
    }

    /// Serves the guest's network until the process ends.
    pub(crate) fn play(self, prepared: Prepared) -> Result<Report, Failure> {
        let Self { running: Running { tap, mut child }, mut output } = self;
        let mtu = prepared.guest_env().mtu;
        let sandbox = prepared.start(TapLink::new(tap, mtu.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let exit = runtime.block_on(child.wait())?;
        sandbox.shutdown_blocking();
        let mut report = String::new();
        output.read_to_string(&mut report)?;
        match exit.code() {
            0 => Ok(serde_json::from_str(&report)?),
            code => Err(format!("the guest failed with status {code}").into()),
        }
    }
}

/// Runs `start` while standard output is `pipe`, which a child started meanwhile inherits.
fn with_stdout<T>(pipe: &PipeWriter, start: impl FnOnce() -> T) -> std::io::Result<T> {
    let ours = rustix::io::dup(std::io::stdout())?;
    rustix::stdio::dup2_stdout(pipe)?;
    let started = start();
    rustix::stdio::dup2_stdout(&ours)?;
    Ok(started)
}

/// The guest's own `main`.
pub(crate) fn guest() -> Result<(), Failure> {
    let token = std::env::var(TOKEN)?;
    let trust = std::fs::read_to_string(std::env::var("SSL_CERT_FILE")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The name goes to the nameserver of /etc/resolv.conf, which is Portcullis here.
    let connect = async |host: &str| TcpStream::connect((host, 443)).await;
    let report = LocalSet::new().block_on(&runtime, tour(connect, &trust, &token))?;
    std::io::stdout().write_all(serde_json::to_string(&report)?.as_bytes())?;
    Ok(())
}
