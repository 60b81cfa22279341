//! A socket that is opened on one thread and served on another.
//!
//! Invariant: it is registered with the runtime of the thread that first uses it, once.

use std::io;

/// A socket `S` of the standard library, then tokio's `T`.
#[derive(Debug)]
pub(super) enum Late<S, T> {
    Idle(S),
    Registered(T),
    /// Registration failed and took the descriptor with it.
    Lost,
}

impl<S, T> Late<S, T> {
    /// The socket, registered by `register` if it is not yet.
    pub(super) fn registered(&mut self, register: fn(S) -> io::Result<T>) -> io::Result<&mut T> {
        if let Self::Idle(_) = self
            && let Self::Idle(socket) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Registered(register(socket)?);
        }
        match self {
            Self::Registered(socket) => Ok(socket),
            Self::Idle(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
