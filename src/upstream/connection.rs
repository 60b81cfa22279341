//! A connection that leads to what policy allowed, by whatever way.
//!
//! Invariant: it is made of a [`Dialled`] or of a tunnel that was asked for exactly its [`Destination`].

use crate::policy::{Destination, Dialled};

use super::Stream;

/// A connection to an upstream, and what allowed it.
#[derive(Debug)]
pub struct Connection {
    /// The octets.
    pub stream: Stream,
    destination: Destination,
}

impl Connection {
    /// What lies behind a proxy that was asked for `destination`.
    pub(crate) fn through(stream: Stream, destination: Destination) -> Self {
        Self { stream, destination }
    }

    /// What it leads to.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }
}

impl From<Dialled> for Connection {
    fn from(dialled: Dialled) -> Self {
        let (stream, permit) = dialled.into_parts();
        Self { stream: stream.into(), destination: Destination::Address(permit) }
    }
}
