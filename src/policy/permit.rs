//! Proof that policy allowed exactly one destination.
//!
//! Only `policy` makes a [`Permit`], and only a [`Permit`] can be dialled.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

use crate::name::HostName;

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
}

/// A dial under way; it lives on the sandbox's own thread.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Dialled>> + 'a>>;

/// The world's edge: how a permitted address is reached.
pub trait Dial {
    /// Connects to [`Permit::addr`], and to nothing else.
    fn dial(&self, permit: Permit) -> Dialling<'_>;
}
