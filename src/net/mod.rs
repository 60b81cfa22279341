//! Frames to byte streams: the guest's Ethernet ends here.
//!
//! [`start`] takes a [`Link`](crate::link::Link) and gives a [`Driver`], to be spawned on the sandbox's thread, and [`Arrivals`]:
//! the guest's new TCP connections, each held at its SYN until it is accepted or refused, and its DNS datagrams.
//! An accepted one is a [`TcpStream`].
//!
//! This layer has not heard of names, TLS or HTTP, and judges nothing but whether a frame is the guest's own.
//! The core in `stack` is sans-IO; only `driver` and `stream` know tokio. Its invariant: what a packet costs
//! does not grow with the number of flows.
#![warn(clippy::indexing_slicing)]

mod addressing;
mod arrivals;
mod checksum;
mod config;
mod counters;
mod dhcp;
mod driver;
mod egress;
mod emit;
mod frame;
mod gateway;
mod rings;
mod router;
mod stack;
mod stream;
mod syn;
mod table;
mod tcp;
mod timers;
mod tombstone;

pub use addressing::{Addressing, AddressingError, Cidr, CidrError, Mac, MacError};
pub use arrivals::{Arrival, Arrivals, Datagram, Incoming};
pub use config::Config;
pub(crate) use config::PREFIX_V6;
pub use counters::{Dropped, Stats};
pub use driver::{Counters, Driver, start};
pub use stream::TcpStream;
