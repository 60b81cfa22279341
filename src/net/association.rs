//! UDP and echo associations, handed to whoever judges and relays them.
//!
//! Handles only: the table is in `udp`, and what is written is written by the stack. Nothing here waits but
//! [`Association::receive`].

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::driver::Shell;
use super::gateway::{Problem, Unreachable};
use super::udp::{AssociationId, Carried};

/// An association and the shell it lives in; dropping it ends the association.
pub(super) struct Handle {
    pub(super) shell: Rc<Shell>,
    pub(super) id: AssociationId,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shell.with(|stack| stack.release_association(self.id));
    }
}

impl Handle {
    fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("carried", &self.id.key.carried)
            .field("source", &self.source)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

/// The guest's first datagram to a destination, held until it is judged; later ones queue behind it.
///
/// Dropping it is refusing it with [`Unreachable::Port`].
#[must_use = "dropping an association refuses it"]
pub struct NewAssociation(pub(super) Handle);

impl NewAssociation {
    /// UDP, or echo requests.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.0.id.key.carried
    }

    /// The guest's end; the port of echo requests is their identifier.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.0.source
    }

    /// The address and port the guest sent to; the port of echo requests is 0.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.0.destination
    }

    /// Lets the datagrams be read, the held one first.
    ///
    /// Over `Limits::associations` the least recently used one ends for it.
    pub fn accept(self) -> Association {
        let Handle { shell, id, .. } = &self.0;
        shell.with(|stack| stack.accept_association(*id));
        Association(self.0)
    }

    /// Tells the guest why with an ICMP error about its first datagram.
    pub fn refuse(self, why: Unreachable) {
        let Handle { shell, id, .. } = &self.0;
        shell.with(|stack| stack.refuse_association(*id, why));
    }
}

impl fmt::Debug for NewAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("NewAssociation", f)
    }
}

/// Datagrams between one port of the guest and one destination, or echo requests of one identifier and their
/// replies.
///
/// A payload of UDP is what follows the UDP header. A payload of echo is the sequence number, two octets in
/// network order, and the data behind it.
///
/// Dropping it ends it without a word to the guest, whose next datagram begins a new one.
pub struct Association(pub(super) Handle);

impl Association {
    /// UDP, or echo requests.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.0.id.key.carried
    }

    /// The guest's end; the port of echo requests is their identifier.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.0.source
    }

    /// The address and port the guest sends to; the port of echo requests is 0.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.0.destination
    }

    /// Copies the payload of the guest's next datagram into `buf` and says how long it is.
    ///
    /// What does not fit is cut off, as by recv(2); 65,535 octets hold any. Ready with none once the association
    /// was ended for others (`Limits::associations`), or the link is gone.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Option<usize>> {
        let Handle { shell, id, .. } = &self.0;
        shell.with(|stack| stack.poll_receive(*id, cx.waker(), buf))
    }

    /// The async form of [`Association::poll_receive`]; dropping the future loses no datagram.
    pub async fn receive(&mut self, buf: &mut [u8]) -> Option<usize> {
        poll_fn(|cx| self.poll_receive(cx, buf)).await
    }

    /// Whether the guest's last datagram may be fragmented on its way: IPv4 without "don't fragment", or what the
    /// guest must have fragmented itself to send it at all.
    #[must_use]
    pub fn may_fragment(&self) -> bool {
        let Handle { shell, id, .. } = &self.0;
        shell.stack.borrow().may_fragment(*id)
    }

    /// Sends a payload to the guest, as from the destination, fragmented to the guest's MTU.
    ///
    /// Never waits. False if it is lost, which is counted: the association is over, the payload is longer than
    /// IP can say or, of echo, has no sequence number, or there are `Limits::egress_frames` or
    /// `Limits::egress_bytes` that the link has not taken yet.
    pub fn send(&mut self, octets: &[u8]) -> bool {
        let Handle { shell, id, .. } = &self.0;
        shell.with(|stack| stack.send_datagram(*id, octets))
    }

    /// Tells the guest that its last datagram did not arrive, and why.
    pub fn unreachable(&mut self, why: Unreachable) {
        let Handle { shell, id, .. } = &self.0;
        shell.with(|stack| stack.tell(*id, Problem::Unreachable(why)));
    }

    /// Tells the guest that its last datagram is larger than the path takes, which is `mtu` octets of IP.
    pub fn too_big(&mut self, mtu: u16) {
        let Handle { shell, id, .. } = &self.0;
        shell.with(|stack| stack.tell(*id, Problem::TooBig(mtu)));
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("Association", f)
    }
}
