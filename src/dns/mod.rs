//! The guest's DNS, all of it.
//!
//! Questions end here and are answered anew; only a name that a rule allows is asked of anyone else. It knows
//! nothing of frames and flows. Invariant: no byte of a guest's question leaves the host but an allowed
//! name, as A or AAAA, in canonical case. [`Resolver`], its stream, the forwarder and the watched files are the shell;
//! everything else reads no clock and touches no socket.

#![warn(clippy::indexing_slicing)]

mod answer;
mod cache;
mod forwarder;
mod hosts;
mod mapped;
mod names;
mod observe;
mod question;
mod reply;
mod resolver;
mod stats;
mod stream;
mod watched;

pub use forwarder::ForwardError;
pub use mapped::MappedPrefix;
pub use names::{Gateways, Meaning, Names};
pub use reply::Transport;
pub use resolver::{OnDenial, ResolveFailure, Resolver, Setup};
pub use stats::Stats;

use std::net::IpAddr;

/// An address family, as A and AAAA ask for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

impl Family {
    /// The family of `addr`.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

#[cfg(test)]
mod tests;
