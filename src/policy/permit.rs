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
    machine: Machine,
}

/// Whether an address may be one of this machine's own.
///
/// Which those are only the host knows, at the moment of the dial. Who is let to a name, or to whatever is public, is
/// not let to this machine's services by that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Machine {
    /// Somebody named the very address, or meant this machine.
    Meant,
    /// It has to be another machine.
    Other,
}

impl Permit {
    /// Made by a verdict and by nothing else.
    pub(super) fn new(addr: SocketAddr, host: Option<HostName>, machine: Machine) -> Self {
        Self { addr, host, machine }
    }

    /// Whether the address may be one of this machine's own.
    pub(crate) fn machine(&self) -> Machine {
        self.machine
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
    machine: Machine,
}

/// Leave to exchange UDP datagrams with one address and port.
pub type UdpPermit = DatagramPermit<SocketAddr>;
/// Leave to send echo requests to one address.
pub type EchoPermit = DatagramPermit<IpAddr>;

impl<A: Copy> DatagramPermit<A> {
    /// Made by a verdict and by nothing else.
    pub(super) fn new(addr: A, host: Option<HostName>, rule: Arc<Rule>, machine: Machine) -> Self {
        Self { addr, host, rule, machine }
    }

    /// Whether the address may be one of this machine's own.
    pub(crate) fn machine(&self) -> Machine {
        self.machine
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
