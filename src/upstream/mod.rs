//! How upstreams are reached and verified where that differs from host to host.
//!
//! [`Upstreams`] says which options count for a host and which proxy leads there; `tunnel` and the handshakes beside it
//! are what is said to a proxy. It judges nothing, dials nothing and reads no clock: policy says whether a host may be
//! reached at all, and the dial in `proxy` does what is said here. Invariant: the first entry that names a host decides
//! all of its options, and a proxy that is named is there.

#![warn(clippy::indexing_slicing)]

mod connect;
mod connection;
mod options;
mod server;
mod socks5;
pub(crate) mod stream;
pub(crate) mod tunnel;

pub use connection::Connection;
pub use options::{ClientCertificate, MinTls, Options, Upstreams, UpstreamsError, Via};
pub(crate) use server::ProxyServer;
pub use server::{Credentials, LoginError, Proxy, ProxyError, Resolve, Scheme};
pub use stream::Stream;

#[cfg(test)]
mod tests;
