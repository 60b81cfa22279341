//! Linux namespaces for one command: a network with nothing in it but our TAP, and no way round it.
//!
//! ```text
//! parent ── user, network, mount, pid, ipc namespace ── pid 1 ── second user and mount namespace ── command
//!   has the TAP's other end, forwards signals   owns network and mounts            owns nothing
//! ```
//!
//! It confines the network and not the files. It knows nothing of policy, TLS or secrets: it is handed a
//! finished environment and finished certificates. Invariant: a command runs confined or not at all.

mod child;
mod command;
pub mod environment;
mod error;
mod ids;
mod init;
mod link;
mod message;
mod mounts;
mod netlink;
mod parent;
mod seccomp;
mod terminal;
pub mod trust;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

pub use child::{Child, Exit};
pub use error::{Errno, Forbidden, NamespaceError};
pub use link::{Addresses, Assignment};
pub use parent::{Running, spawn};
pub(crate) use terminal::Terminal;

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program and its arguments; the program is looked up in the PATH of `env`.
    pub command: Vec<OsString>,
    /// The whole environment, as [`environment::guest`] makes it.
    pub env: Vec<(OsString, OsString)>,
    /// The guest's link.
    pub addresses: Addresses,
    /// Nameservers, usually the gateways.
    pub dns: Vec<IpAddr>,
    /// The sandbox's CA, PEM.
    pub ca_pem: String,
    /// The system's CAs and the sandbox's, PEM.
    pub bundle: String,
    /// Our own files and directories that the command must not see; each must exist.
    pub hidden: Vec<PathBuf>,
    /// Files that the command must never see, also where another file takes the place of one; each must exist. Their
    /// whole directories are hidden.
    pub private: Vec<PathBuf>,
    /// Our own files that the command may read and not change; each must exist.
    pub read_only: Vec<PathBuf>,
}
