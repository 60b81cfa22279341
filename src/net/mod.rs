//! Frames to byte streams: the guest's Ethernet ends here.
//!
//! [`start`] takes a [`Link`](crate::link::Link) and gives a [`Driver`], to be spawned on the sandbox's thread, and [`Arrivals`]:
//! the guest's new TCP connections, each held at its SYN until it is accepted or refused, its DNS datagrams, and its
//! new UDP and echo associations, each held at its first datagram. An accepted one is a [`TcpStream`] or an
//! [`Association`]. [`Guest`] opens connections and associations the other way, into the guest.
//!
//! This layer has not heard of names, TLS or HTTP, and judges nothing but whether a frame is the guest's own.
//! The core in `stack` is sans-IO; only `driver` and `stream` know tokio. Its invariant: what a packet costs
//! does not grow with the number of flows.
#![warn(clippy::indexing_slicing)]

mod addressing;
mod allowance;
mod arrivals;
mod association;
mod buffers;
mod checksum;
mod config;
mod counters;
mod cut;
mod dhcp;
mod driver;
mod early;
mod egress;
mod emit;
mod fragments;
mod frame;
mod gateway;
mod guest;
mod outbox;
mod rings;
mod router;
mod stack;
mod stream;
mod syn;
mod table;
mod tcp;
mod timers;
mod tombstone;
mod udp;

pub use addressing::{Addressing, AddressingError, Cidr, CidrError, Mac, MacError};
pub use arrivals::{Arrival, Arrivals, Datagram, Incoming};
pub use association::{Association, NewAssociation};
pub use config::Config;
pub(crate) use config::PREFIX_V6;
pub use counters::{Dropped, Stats};
pub use driver::{Counters, Driver, start};
pub use gateway::Unreachable;
pub use guest::Guest;
pub use stream::TcpStream;
pub use udp::Carried;
