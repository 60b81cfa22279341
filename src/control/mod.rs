//! The control socket: how a running sandbox is asked about itself, by the user who runs it.
//!
//! A Unix stream socket `NAME.sock` in a directory that only its owner can enter. One request a connection: a line of
//! JSON in, a line of JSON out, then the end.
//!
//! ```text
//! {"version":1,"request":"status"}
//! {"version":1,"answer":{"status":{"name":"run-4711","pid":4711,…}}}
//! ```
//!
//! It carries questions to the sandbox and decides nothing. An embedder's sandbox has none unless
//! [`Builder::control`](crate::sandbox::Builder::control) is given an [`Endpoint`]. Invariant: neither end says
//! anything to a process of another user but root, nor to one inside a sandbox: `run` hides the directory from its
//! guest, and both ends look whom they talk to.

mod client;
mod directory;
mod endpoint;
mod name;
mod peer;
mod protocol;
mod server;
mod value;

pub use client::{
    AskError, ask, ca, change_policy, denial, env, list, policy, revoke, rotate, secrets, status,
};
pub use directory::{Directory, DirectoryError, places};
pub use endpoint::{ClaimError, Endpoint};
pub use name::{NameError, SandboxName};
pub use peer::Stranger;
pub use protocol::{Answer, Request, Status, VERSION};
pub use value::NewValue;

pub(crate) use server::serve;
