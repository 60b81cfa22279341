//! The test binary started again as a sandbox's parent: it has one thread, which the test runner has not.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use portcullis::namespace::{self, Addresses, Assignment, NamespaceError, Spec, environment};

/// First argument of a binary that is to be a parent; the rest is the command.
pub(crate) const ARGUMENT: &str = "--as-parent";
/// Variable with a file to hide.
pub(crate) const HIDDEN: &str = "TEST_HIDDEN";
/// Variable with a file never to be seen.
pub(crate) const PRIVATE: &str = "TEST_PRIVATE";
/// Variable with a file to make read-only.
pub(crate) const READ_ONLY: &str = "TEST_READ_ONLY";
/// Variable of the parent whose value the command must not see.
pub(crate) const CANARY: &str = "TEST_CANARY";
/// What the command sees instead.
pub(crate) const PLACEHOLDER: &str = "placeholder-of-the-canary";

pub(crate) const CA: &str = "the sandbox's CA\n";
pub(crate) const BUNDLE: &str = "all the CAs\n";

/// Runs the command as `portcullis run` would.
pub(crate) fn main(command: Vec<OsString>) -> ExitCode {
    match run(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Vec<OsString>) -> Result<u8, NamespaceError> {
    let mut running = namespace::spawn(&spec(command))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Ok(runtime.block_on(running.child.wait())?.code())
}

fn spec(command: Vec<OsString>) -> Spec {
    let canary = env::var(CANARY).unwrap_or_default();
    let rewrite = |value: &[u8]| {
        let holds = !canary.is_empty() && value == canary.as_bytes();
        holds.then(|| PLACEHOLDER.as_bytes().to_vec())
    };
    let path = |name| env::var_os(name).map(PathBuf::from).into_iter().collect();
    Spec {
        command,
        env: environment::guest(env::vars_os(), &rewrite),
        addresses: Addresses {
            mac: [2, 0, 0, 0, 0, 2],
            mtu: 1500,
            v4: Assignment {
                guest: "172.16.0.2".parse().unwrap(),
                prefix: 30,
                gateway: "172.16.0.1".parse().unwrap(),
            },
            v6: Assignment {
                guest: "fd00::2".parse().unwrap(),
                prefix: 64,
                gateway: "fd00::1".parse().unwrap(),
            },
        },
        dns: vec!["172.16.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        ca_pem: CA.to_owned(),
        bundle: BUNDLE.to_owned(),
        hidden: path(HIDDEN),
        private: path(PRIVATE),
        read_only: path(READ_ONLY),
    }
}
