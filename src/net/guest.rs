//! The guest as something to connect to.
//!
//! It opens TCP connections and UDP associations into the guest, from the gateway's address. It listens to nothing and judges nobody:
//! who may connect is said elsewhere. Its invariant: a connection that is given up leaves nothing behind.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use super::arrivals::Handle;
use super::association::{self, Association};
use super::driver::Shell;
use super::stream::TcpStream;
use crate::link::Family;

/// A handle to connect to the guest with; clones are the same guest.
#[derive(Clone)]
pub struct Guest {
    shell: Rc<Shell>,
}

impl Guest {
    pub(super) fn new(shell: Rc<Shell>) -> Self {
        Self { shell }
    }

    /// Connects to a port of the guest's address of one family.
    ///
    /// Resolves when the guest has answered, which may be never: the wait is the caller's to bound. Dropping
    /// the future gives the connection up, and an answer that still comes is reset. The stream's
    /// [`source`](TcpStream::source) is the guest's end, its [`destination`](TcpStream::destination) the
    /// gateway's.
    ///
    /// # Errors
    /// `ConnectionRefused` when the guest says so; `QuotaExceeded` over `Limits::flows`,
    /// `Limits::published_connections` or `Limits::ring_memory`; `NetworkDown` when the link has ended.
    pub async fn connect(&self, family: Family, port: u16) -> io::Result<TcpStream> {
        let (id, addresses) = self.shell.with(|stack| {
            let id = stack.connect(family, port)?;
            let addresses = stack.addresses(id).ok_or(io::ErrorKind::AddrNotAvailable)?;
            io::Result::Ok((id, addresses))
        })?;
        let (source, destination) = addresses;
        let handle = Handle { shell: Rc::clone(&self.shell), id };
        let stream = TcpStream::new(Some(handle), source, destination);
        poll_fn(|cx| self.shell.with(|stack| stack.poll_connected(id, cx.waker()))).await?;
        Ok(stream)
    }

    /// Begins a UDP association with a port of the guest's address of one family.
    ///
    /// Its [`destination`](Association::destination) is the gateway's end, from which the guest sees datagrams
    /// come. Over `Limits::associations` the least recently used one ends for it.
    ///
    /// # Errors
    /// `NetworkDown` when the link has ended; `AddrNotAvailable` when the gateway has no port left.
    pub fn associate(&self, family: Family, port: u16) -> io::Result<Association> {
        self.shell.with(|stack| {
            let id = stack.associate(family, port)?;
            let (source, destination) = stack.association_ends(id);
            let shell = Rc::clone(&self.shell);
            Ok(Association(association::Handle { shell, id, source, destination }))
        })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}
