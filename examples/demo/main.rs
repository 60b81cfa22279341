//! Portcullis in twenty seconds: a guest uses a token that it never holds.
//!
//! `cargo run --release --example demo` needs no internet and no configuration. It starts a TLS server, a sandbox
//! and a guest, and tells what each of them had in hands. It exits with 0 only if every claim that it prints was
//! checked. The guest is this program again, in a network namespace of its own; where the machine permits none,
//! or with `-- --memory`, it lives in this process and has a TCP stack of its own.

mod guest;
mod in_memory;
#[cfg(target_os = "linux")]
mod in_namespace;
mod story;
mod upstream;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use portcullis::config::Config;
use portcullis::policy::ConnectTo;
use portcullis::sandbox::{Prepared, Sandbox};
use portcullis::secret::{SecretSpec, SecretValue};

use guest::Report;
use story::Story;

/// The variable that holds the placeholder in the guest.
const TOKEN: &str = "API_TOKEN";
/// The host that may have the secret.
const HOST: &str = "api.example.com";
/// A host that nothing allows.
const OTHER: &str = "other.host";

type Failure = Box<dyn std::error::Error>;

/// Who uses the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    /// A process, where the machine permits it.
    Namespace,
    /// A TCP stack in this process.
    Memory,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demo(Wanted::Namespace),
        ["--memory"] => demo(Wanted::Memory),
        #[cfg(target_os = "linux")]
        [in_namespace::GUEST] => in_namespace::guest().map(|()| true),
        _ => Err("usage: demo [--memory]".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Plays all parts; whether every claim held.
fn demo(wanted: Wanted) -> Result<bool, Failure> {
    let started = tokio::time::Instant::now();
    let secret = random_token()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let upstream = listener.local_addr()?;
    let prepared = prepare(&secret, upstream)?;
    let placeholders = prepared.guest_env().placeholders.clone();

    // The namespaces are made while this process has one thread; the upstream's comes after.
    let stage = Stage::set(wanted, &prepared);
    let seen = upstream::start(listener)?;
    let place = stage.describe();
    let report = stage.play(prepared)?;

    let seen = seen.try_iter().collect();
    let story = Story { place, upstream, secret, placeholders, report, seen };
    Ok(story.tell(&mut std::io::stdout().lock(), started)?)
}

/// A sandbox whose guest may reach [`HOST`], which is `upstream`, with one secret, and nothing else.
fn prepare(secret: &str, upstream: SocketAddr) -> Result<Prepared, Failure> {
    let config = Config {
        connect_to: vec![ConnectTo::parse(&format!("{HOST}:443:{upstream}"))?],
        upstream_ca: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem").into()],
        ..Config::default()
    };
    let value = SecretValue::new(secret.as_bytes().to_vec())?;
    let secret = SecretSpec::new(TOKEN, value, &[HOST])?;
    Ok(Sandbox::builder().config(config).secret(secret).prepare()?)
}

/// A token as providers make them, and never the same twice.
fn random_token() -> Result<String, getrandom::Error> {
    Ok(format!("sk-proj-{:016x}{:08x}", getrandom::u64()?, getrandom::u32()?))
}

/// Where the guest is.
enum Stage {
    /// In namespaces of its own.
    #[cfg(target_os = "linux")]
    Namespace(in_namespace::Guest),
    /// In this process, for this reason.
    Memory(String),
}

impl Stage {
    fn set(wanted: Wanted, prepared: &Prepared) -> Self {
        if wanted == Wanted::Memory {
            return Self::Memory("(not in a network namespace, as asked)".to_owned());
        }
        #[cfg(target_os = "linux")]
        match in_namespace::Guest::spawn(prepared) {
            Ok(guest) => Self::Namespace(guest),
            Err(error) => Self::Memory(format!("(not in a network namespace: {error})")),
        }
        #[cfg(not(target_os = "linux"))]
        Self::Memory("(network namespaces are Linux's)".to_owned())
    }

    /// The guest's place, and why it is not another where that needs a reason.
    fn describe(&self) -> Vec<String> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Namespace(_) => {
                vec!["a process in a network namespace of its own; its only way out is Portcullis".to_owned()]
            }
            Self::Memory(why) => {
                let place = "a TCP stack in this process, on a cable in memory that ends in Portcullis";
                vec![place.to_owned(), why.clone()]
            }
        }
    }

    fn play(self, prepared: Prepared) -> Result<Report, Failure> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Namespace(guest) => guest.play(prepared),
            Self::Memory(_) => in_memory::play(prepared),
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is where a program tells what went wrong")]
fn complain(line: &str) {
    eprintln!("demo: {line}");
}
