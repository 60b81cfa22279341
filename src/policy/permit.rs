//! Proof that policy allowed exactly one destination.
//!
//! Only `policy` makes a [`Permit`] or a [`DatagramPermit`], and nothing else can be dialled.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::name::HostName;

use super::rule::Rule;
use super::source::RuleSource;

/// Leave to connect to one address, once.
#[derive(Debug)]
#[must_use = "a permit that is not dialled is a decision thrown away"]
pub struct Permit {
    addr: SocketAddr,
    host: Option<HostName>,
}

impl Permit {
    /// Made by a verdict and by nothing else.
    pub(super) fn new(addr: SocketAddr, host: Option<HostName>) -> Self {
        Self { addr, host }
    }

    /// The address that was judged, and the only one that may be dialled.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The name it was judged for; none for a flow allowed by its address alone.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        self.host.as_ref()
    }
}

/// Leave to exchange datagrams with one address; never leave to connect to it by TCP.
///
/// Its address is an [`IpAddr`] for echo requests, and has a port for UDP, so that neither stands for the other.
#[derive(Debug)]
#[must_use = "a permit that is not dialled is a decision thrown away"]
pub struct DatagramPermit<A> {
    addr: A,
    host: Option<HostName>,
    rule: Arc<Rule>,
}

/// Leave to exchange UDP datagrams with one address and port.
pub type UdpPermit = DatagramPermit<SocketAddr>;
/// Leave to send echo requests to one address.
pub type EchoPermit = DatagramPermit<IpAddr>;

impl<A: Copy> DatagramPermit<A> {
    /// Made by a verdict and by nothing else.
    pub(super) fn new(addr: A, host: Option<HostName>, rule: Arc<Rule>) -> Self {
        Self { addr, host, rule }
    }

    /// The address that was judged, and the only one a socket may be connected to.
    #[must_use]
    pub fn addr(&self) -> A {
        self.addr
    }

    /// The name it was judged for; none for one allowed by its address alone.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        self.host.as_ref()
    }

    /// Where the rule was written.
    #[must_use]
    pub fn rule(&self) -> &RuleSource {
        self.rule.source()
    }
}

/// A connection that a [`Permit`] was spent on.
#[derive(Debug)]
pub struct Dialled {
    /// The connected socket.
    pub stream: TcpStream,
    permit: Permit,
}

impl Dialled {
    /// Joins a connected socket with the permit it was dialled under.
    #[must_use]
    pub fn new(stream: TcpStream, permit: Permit) -> Self {
        Self { stream, permit }
    }

    /// What allowed it.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The socket, and what allowed it.
    pub(crate) fn into_parts(self) -> (TcpStream, Permit) {
        (self.stream, self.permit)
    }
}

/// A dial under way; it lives on the sandbox's own thread.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Dialled>> + 'a>>;

/// The world's edge: how a permitted address is reached.
pub trait Dial {
    /// Connects to [`Permit::addr`], and to nothing else.
    fn dial(&self, permit: Permit) -> Dialling<'_>;
}
