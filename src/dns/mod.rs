//! The guest's DNS, all of it.
//!
//! Questions end here and are answered anew; only a name that a rule allows is asked of anyone else. It knows
//! nothing of frames and flows. Invariant: no byte of a guest's question leaves the host but an allowed name and the
//! type of a record that may be asked for it, in letters of our own choice of case. [`Resolver`] and its stream, the
//! forwarder with its exchanges, sockets and flights, the watched files and the interfaces are the shell; everything else reads no clock and
//! touches no socket.

#![warn(clippy::indexing_slicing)]

mod answer;
mod cache;
mod exchange;
mod flights;
mod forwarder;
mod framing;
mod hosts;
mod lookup;
mod mapped;
mod names;
mod nameserver;
mod observe;
mod question;
mod reply;
mod resolver;
mod reverse;
mod room;
mod sockets;
mod standing;
mod stats;
mod stream;
mod watched;
mod weight;
mod zone;

pub use forwarder::ForwardError;
pub use lookup::ResolveFailure;
pub use mapped::MappedPrefix;
pub use names::{Gateways, Meaning, Names};
pub use nameserver::Nameserver;
pub use reply::Transport;
pub use resolver::{OnDenial, Resolver, Setup};
pub use stats::Stats;

use std::net::IpAddr;

use hickory_proto::rr::RecordType;

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

    fn asks_for(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }

    fn asked_by(wanted: RecordType) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|family| family.asks_for() == wanted)
    }
}

#[cfg(test)]
mod tests;
