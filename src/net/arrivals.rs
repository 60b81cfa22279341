//! New flows and datagrams, handed to whoever judges them.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use super::association::{self, NewAssociation};
use super::driver::Shell;
use super::stack::{Event, Payload};
use super::stream::TcpStream;
use super::table::FlowId;

/// What the guest begins; dropping it refuses all that comes.
pub struct Arrivals {
    shell: Rc<Shell>,
}

/// Something the guest began.
#[derive(Debug)]
pub enum Arrival {
    /// A TCP connection, held at its SYN.
    Tcp(Incoming),
    /// A UDP datagram to port 53 of any address.
    Datagram(Datagram),
    /// The first of other UDP datagrams, or of echo requests, from one port or identifier to one destination.
    Association(NewAssociation),
}

impl Arrivals {
    pub(super) fn new(shell: Rc<Shell>) -> Self {
        Self { shell }
    }

    /// The next arrival; none once the link has ended.
    pub async fn next(&mut self) -> Option<Arrival> {
        poll_fn(|cx| {
            let shell = &self.shell;
            shell.with(|stack| match stack.next_event(cx.waker()) {
                Some(Event::Flow(id)) => {
                    let addresses = stack.addresses(id);
                    Poll::Ready(addresses.map(|(source, destination)| {
                        let handle = Handle { shell: Rc::clone(shell), id };
                        Arrival::Tcp(Incoming { handle: Some(handle), source, destination })
                    }))
                }
                Some(Event::Datagram(payload)) => {
                    Poll::Ready(Some(Arrival::Datagram(Datagram { shell: Rc::clone(shell), payload })))
                }
                Some(Event::Association(id)) => {
                    let (source, destination) = stack.association_ends(id);
                    let handle = association::Handle { shell: Rc::clone(shell), id, source, destination };
                    Poll::Ready(Some(Arrival::Association(NewAssociation(handle))))
                }
                None if stack.is_over() => Poll::Ready(None),
                None => Poll::Pending,
            })
        })
        .await
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.shell.with(super::stack::Stack::close_arrivals);
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

/// A flow and the shell it lives in.
pub(super) struct Handle {
    pub(super) shell: Rc<Shell>,
    pub(super) id: FlowId,
}

/// A TCP connection the guest asks for; its SYN is not answered yet.
///
/// Dropping it is refusing it.
#[must_use = "dropping a connection refuses it"]
pub struct Incoming {
    handle: Option<Handle>,
    source: SocketAddr,
    destination: SocketAddr,
}

impl Incoming {
    /// The guest's end.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// The address and port the guest chose.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Resolves when the guest gives up, or is gone, while its SYN is held.
    pub async fn cancelled(&self) {
        let Some(Handle { shell, id }) = &self.handle else { return };
        poll_fn(|cx| shell.with(|stack| stack.poll_cancelled(*id, cx.waker()))).await;
    }

    /// Has the SYN answered.
    ///
    /// Of a connection that was cancelled this makes a stream that was reset.
    pub fn accept(mut self) -> TcpStream {
        if let Some(Handle { shell, id }) = &self.handle {
            shell.with(|stack| stack.accept(*id));
        }
        TcpStream::new(self.handle.take(), self.source, self.destination)
    }

    /// Has the SYN answered with RST.
    pub fn refuse(self) {
        drop(self);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(Handle { shell, id }) = self.handle.take() {
            shell.with(|stack| stack.refuse(id));
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

/// A UDP datagram of the guest, to be answered once.
pub struct Datagram {
    shell: Rc<Shell>,
    payload: Payload,
}

impl Datagram {
    /// The guest's end.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.payload.source
    }

    /// The address and port the guest sent it to.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.payload.destination
    }

    /// Its octets, behind the UDP header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload.octets
    }

    /// How many octets a reply may have to fit the guest's MTU in one piece.
    #[must_use]
    pub fn reply_capacity(&self) -> usize {
        self.shell.stack.borrow().reply_capacity(&self.payload)
    }

    /// Sends octets back, as from the address the guest sent to.
    ///
    /// A reply longer than [`Datagram::reply_capacity`] is fragmented. One longer than IP can say, or over
    /// `Limits::egress_frames` or `Limits::egress_bytes` not yet taken by the link, is lost and counted.
    pub fn reply(self, octets: &[u8]) {
        self.shell.with(|stack| stack.reply(&self.payload, octets));
    }
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("len", &self.payload.octets.len())
            .finish_non_exhaustive()
    }
}
