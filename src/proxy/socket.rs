//! The host's end of an association: a connected UDP socket, or an unprivileged ping socket.
//!
//! It is connected by spending a permit, so the kernel lets nothing else in or out. What the world says of a
//! datagram (nobody there, too large for the path) comes back as a [`Fault`]. Invariant: a guest's datagram goes out
//! as that payload and nothing more; of an echo the guest chooses neither type, code nor identifier.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvAncillaryBuffer, RecvFlags, SocketFlags, SocketType, ipproto, sockopt,
};
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;

use super::machine;
use crate::net::Unreachable;
use crate::policy::{EchoPermit, Machine, UdpPermit};
use crate::sys;

/// Octets of an ICMP echo before its sequence number: type, code, checksum, identifier
/// ([RFC 792](https://www.rfc-editor.org/rfc/rfc792), RFC 4443 §4).
const ECHO_HEAD: usize = 6;
/// Room that a buffer has before the payload, for what a socket writes there.
pub(super) const HEADROOM: usize = ECHO_HEAD;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// A permit of either kind.
#[derive(Debug)]
pub(super) enum Permitted {
    Udp(UdpPermit),
    Echo(EchoPermit),
}

impl Permitted {
    /// The only address a socket is connected to; the port of an echo is 0.
    pub(super) fn addr(&self) -> SocketAddr {
        match self {
            Self::Udp(permit) => permit.addr(),
            Self::Echo(permit) => SocketAddr::new(permit.addr(), 0),
        }
    }

    fn machine(&self) -> Machine {
        match self {
            Self::Udp(permit) => permit.machine(),
            Self::Echo(permit) => permit.machine(),
        }
    }
}

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The world, or this host's routes, said so.
    Unreachable(Unreachable),
    /// It is larger than the path takes: octets of payload that fit in one packet.
    TooBig(usize),
    /// This host lost it.
    Lost,
}

/// Whether a datagram that is larger than the path takes may be sent in fragments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fragmenting {
    /// The kernel cuts it to what it knows of the path, as the guest's own would have.
    Allowed,
    /// It is refused with [`Fault::TooBig`].
    Forbidden,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Udp,
    Echo { request: u8, reply: u8 },
}

/// A connected socket of the host's.
pub(super) struct HostSocket {
    socket: Rc<UdpSocket>,
    kind: Kind,
    peer: IpAddr,
    fragmenting: Fragmenting,
    /// Resolves at the next error: the kernel reports one apart from what can be read and written.
    error: Pin<Box<dyn Future<Output = ()>>>,
    /// Once there was an error, tokio takes the socket for one that can always be written.
    erred: bool,
}

impl HostSocket {
    /// Connects a socket where the permit says.
    ///
    /// # Errors
    /// `PermissionDenied` where `net.ipv4.ping_group_range` forbids ping sockets; else what the system says of the
    /// route, or that it has no descriptor left.
    pub(super) fn connect(permit: Permitted) -> io::Result<Self> {
        let addr = permit.addr();
        machine::refuse_own(addr.ip(), permit.machine())?;
        let (protocol, kind) = match (permit, addr.ip()) {
            (Permitted::Udp(_), _) => (ipproto::UDP, Kind::Udp),
            (Permitted::Echo(_), IpAddr::V4(_)) => {
                (ipproto::ICMP, Kind::Echo { request: ECHO_REQUEST, reply: ECHO_REPLY })
            }
            (Permitted::Echo(_), IpAddr::V6(_)) => {
                (ipproto::ICMPV6, Kind::Echo { request: ECHO_REQUEST_V6, reply: ECHO_REPLY_V6 })
            }
        };
        let socket = open(addr.ip(), protocol)?;
        rustix::net::connect(&socket, &addr)?;
        let socket = Rc::new(UdpSocket::from_std(socket.into())?);
        let error = next_error(Rc::clone(&socket));
        let fragmenting = Fragmenting::Allowed;
        let own = Self { socket, kind, peer: addr.ip(), fragmenting, error, erred: false };
        own.discover(fragmenting)?;
        Ok(own)
    }

    /// Sends the payload behind the first [`HEADROOM`] octets of `datagram`.
    ///
    /// An error of an earlier datagram is told in place of this one's fate; the caller may send this one again.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &mut [u8],
        fragmenting: Fragmenting,
    ) -> Poll<Result<(), Fault>> {
        if fragmenting != self.fragmenting {
            // Where it cannot be set the kernel goes on as before, which harms one datagram at most.
            let _ = self.discover(fragmenting);
            self.fragmenting = fragmenting;
        }
        let octets = match self.kind {
            Kind::Udp => datagram.get(HEADROOM..),
            Kind::Echo { request, .. } => {
                // The kernel fills in checksum and identifier.
                if let Some(head) = datagram.get_mut(..ECHO_HEAD) {
                    head.fill(0);
                    head.iter_mut().take(1).for_each(|kind| *kind = request);
                }
                Some(&*datagram)
            }
        };
        let octets = octets.unwrap_or_default();
        let sent =
            if self.erred { self.socket.try_send(octets) } else { ready!(self.socket.poll_send(cx, octets)) };
        Poll::Ready(sent.map(drop).map_err(|error| self.fault(&error)))
    }

    /// The next error that the kernel reports by itself.
    fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        loop {
            ready!(self.error.as_mut().poll(cx));
            self.erred = true;
            let error = self.socket.take_error();
            // Finding the queue empty makes the next error news again.
            let _ = self.socket.try_io(Interest::ERROR, || self.empty_error_queue());
            self.error = next_error(Rc::clone(&self.socket));
            if let Ok(Some(error)) = error {
                return Poll::Ready(self.fault(&error));
            }
        }
    }

    /// Takes away what the kernel has queued, which says no more than the error itself; never succeeds.
    fn empty_error_queue(&self) -> io::Result<()> {
        let mut control = RecvAncillaryBuffer::default();
        loop {
            rustix::net::recvmsg(&self.socket, &mut [], &mut control, RecvFlags::ERRQUEUE)?;
        }
    }

    /// Receives one datagram into `buffer` and gives its payload; none of what is no answer to an echo.
    pub(super) fn poll_receive<'a>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'a mut [u8],
    ) -> Poll<Result<Option<&'a [u8]>, Fault>> {
        if let Poll::Ready(fault) = self.poll_error(cx) {
            return Poll::Ready(Err(fault));
        }
        let mut read = ReadBuf::new(buffer);
        if let Err(error) = ready!(self.socket.poll_recv(cx, &mut read)) {
            return Poll::Ready(Err(self.fault(&error)));
        }
        let length = read.filled().len();
        let octets = buffer.get(..length).unwrap_or_default();
        Poll::Ready(Ok(match self.kind {
            Kind::Udp => Some(octets),
            Kind::Echo { reply, .. } if octets.first() == Some(&reply) => octets.get(ECHO_HEAD..),
            Kind::Echo { .. } => None,
        }))
    }

    /// What an error means.
    fn fault(&self, error: &io::Error) -> Fault {
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Fault::Unreachable(Unreachable::Port),
            Some(Errno::MSGSIZE) => self.room().map_or(Fault::Lost, Fault::TooBig),
            Some(Errno::NETUNREACH | Errno::NETDOWN) => Fault::Unreachable(Unreachable::Network),
            Some(Errno::ACCESS | Errno::PERM) => Fault::Unreachable(Unreachable::Prohibited),
            Some(Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NONET) => {
                Fault::Unreachable(Unreachable::Host)
            }
            Some(Errno::NOPROTOOPT) => Fault::Unreachable(Unreachable::Protocol),
            Some(_) | None => Fault::Lost,
        }
    }

    /// Octets of payload that the path takes in one packet, as far as the kernel knows.
    fn room(&self) -> Option<usize> {
        let (mtu, header) = match self.peer {
            IpAddr::V4(_) => (sockopt::ip_mtu(&self.socket), IP_HEADER),
            IpAddr::V6(_) => (sockopt::ipv6_mtu(&self.socket), IPV6_HEADER),
        };
        usize::try_from(mtu.ok()?).ok()?.checked_sub(header + TRANSPORT_HEADER)
    }

    /// Sets "don't fragment" where the guest has, and has the kernel learn the path's MTU either way.
    fn discover(&self, fragmenting: Fragmenting) -> io::Result<()> {
        use sockopt::{Ipv4PathMtuDiscovery as V4, Ipv6PathMtuDiscovery as V6};
        let (v4, v6) = match fragmenting {
            Fragmenting::Allowed => (V4::WANT, V6::WANT),
            Fragmenting::Forbidden => (V4::DO, V6::DO),
        };
        match self.peer {
            IpAddr::V4(_) => sockopt::set_ip_mtu_discover(&self.socket, v4)?,
            IpAddr::V6(_) => sockopt::set_ipv6_mtu_discover(&self.socket, v6)?,
        }
        Ok(())
    }
}

fn next_error(socket: Rc<UdpSocket>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        // It fails only where the runtime ends, and then nobody polls it.
        let _ = socket.ready(Interest::ERROR).await;
    })
}

/// Octets of an IPv4 header without options.
pub(super) const IP_HEADER: usize = 20;
/// Octets of an IPv6 header.
pub(super) const IPV6_HEADER: usize = 40;
/// Octets of a UDP header, and of an echo's with its sequence number.
pub(super) const TRANSPORT_HEADER: usize = 8;

/// A socket that is told of errors that TCP would take for passing, too: no host, no network.
fn open(peer: IpAddr, protocol: Protocol) -> io::Result<OwnedFd> {
    let family = if peer.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    sys::receive_errors(&socket, peer)?;
    Ok(socket)
}
