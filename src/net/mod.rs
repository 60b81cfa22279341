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

mod arrivals;
mod checksum;
mod config;
mod counters;
mod driver;
mod early;
mod egress;
mod emit;
mod frame;
mod gateway;
mod rings;
mod stack;
mod stream;
mod syn;
mod table;
mod tcp;
mod timers;
mod tombstone;

pub use arrivals::{Arrival, Arrivals, Datagram, Incoming};
pub use config::Config;
pub use counters::{Dropped, Stats};
pub use driver::{Counters, Driver, start};
pub use stream::TcpStream;
