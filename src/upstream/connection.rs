//! A connection that leads to what policy allowed, by whatever way.
//!
//! Invariant: it is made of a [`Dialled`] or of a tunnel that was asked for exactly its [`Leave`].

use crate::policy::{Dialled, Leave};

use super::Stream;

/// A connection to an upstream, and what allowed it.
#[derive(Debug)]
pub struct Connection {
    /// The octets.
    pub stream: Stream,
    leave: Leave,
}

impl Connection {
    /// What lies behind a proxy that was asked for what `leave` is for.
    pub(crate) fn through(stream: Stream, leave: Leave) -> Self {
        Self { stream, leave }
    }

    /// What it leads to.
    pub fn leave(&self) -> &Leave {
        &self.leave
    }
}

impl From<Dialled> for Connection {
    fn from(dialled: Dialled) -> Self {
        let (stream, permit) = dialled.into_parts();
        Self { stream: stream.into(), leave: Leave::Address(permit) }
    }
}
