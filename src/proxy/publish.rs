//! Ports of the host's that lead into the guest.
//!
//! They are bound while the sandbox is prepared, so that one that cannot be had is told before the guest runs,
//! and served on the sandbox's own thread. Invariant: nobody is connected to the guest without an
//! [`Admission`], and who is not served is reset.

mod datagrams;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use super::ground::Ground;
use super::refusals;
use super::splice::splice;
use super::standing::Stand;
use crate::audit::{Event, FlowKind};
use crate::link::Family;
use crate::net::{self, Guest};
use crate::policy::{Admission, Denial, Publish, Transport, Verdict};
use crate::upstream::Stream;

/// How long the guest's IPv4 address is given to answer before its IPv6 address is tried too: as RFC 8305 §5.
const HEAD_START: Duration = Duration::from_millis(250);
/// After a failure to accept, which is a lack of descriptors or memory, others get this long to give some back.
const RETRY: Duration = Duration::from_millis(100);

/// A published port, as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Published {
    /// The address and port of the host it is bound to.
    pub address: SocketAddr,
    /// The guest's port.
    pub guest_port: u16,
    /// What it carries.
    pub transport: Transport,
}

/// A published port that is bound and not yet served.
#[derive(Debug)]
pub(crate) struct Port {
    publish: Publish,
    published: Published,
    socket: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Port {
    /// Binds what is to be published. Peers that connect before it is served wait.
    pub(crate) fn bind(publish: Publish) -> Result<Self, BindError> {
        Self::try_bind(publish.clone()).map_err(|source| BindError { publish, source })
    }

    fn try_bind(publish: Publish) -> io::Result<Self> {
        let (guest_port, transport) = (publish.guest_port(), publish.transport());
        let (socket, address) = match transport {
            Transport::Tcp => {
                let listener = TcpListener::bind(publish.bind())?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                (Bound::Tcp(listener), address)
            }
            Transport::Udp => {
                let socket = UdpSocket::bind(publish.bind())?;
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                (Bound::Udp(socket), address)
            }
        };
        Ok(Self { publish, published: Published { address, guest_port, transport }, socket })
    }

    /// Where it is.
    pub(crate) fn published(&self) -> Published {
        self.published
    }
}

/// Why a port cannot be published.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish {publish}: {source}; {}", remedy(.source))]
pub struct BindError {
    publish: Publish,
    source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "publish another port of the host, or 0 for any free one"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "publish a port from 1024 on"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "name an address of this machine"
    } else {
        "publish another port or address"
    }
}

/// Serves published ports until it is dropped; connections that were accepted by then go on.
pub(crate) async fn serve(context: Rc<Context>, guest: Guest, ports: Vec<Port>) {
    let mut listeners = JoinSet::new();
    for Port { publish, published, socket } in ports {
        let Published { address, guest_port, transport } = published;
        tracing::info!(%address, guest_port, ?transport, "published");
        context.audit.record(Event::Published { address, guest_port, transport });
        let door = Door { context: Rc::clone(&context), guest: guest.clone(), publish: Rc::new(publish) };
        match socket {
            Bound::Tcp(listener) => listeners.spawn_local(door.listen(listener)),
            Bound::Udp(socket) => listeners.spawn_local(datagrams::serve(door, socket)),
        };
    }
    while listeners.join_next().await.is_some() {}
}

/// One published port, and what it leads to.
#[derive(Clone)]
struct Door {
    context: Rc<Context>,
    guest: Guest,
    publish: Rc<Publish>,
}

/// One peer's connection or association, for the record.
struct Visit {
    id: u64,
    started: Instant,
    admission: Admission,
    /// The guest's end.
    inside: SocketAddr,
}

impl Door {
    async fn listen(self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(publish = %self.publish, %error, "cannot be served"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => drop(tokio::task::spawn_local(self.clone().connection(stream, peer))),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(publish = %self.publish, %error, "cannot accept");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Serves one connection of a peer to its end, or until a new policy ends it.
    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        let id = self.context.audit.next_flow();
        let admission = match self.context.policy.current().at_peer(&self.publish, peer) {
            Verdict::Allow(admission) => admission,
            Verdict::Deny(denial) => {
                self.deny(id, &denial);
                return reset(&stream);
            }
        };
        let stand = Stand::new(Rc::clone(&self.context), id);
        if let Err(denial) = stand.on(Ground::Peer { publish: Rc::clone(&self.publish), peer }) {
            self.deny(id, &denial);
            return reset(&stream);
        }
        let started = Instant::now();
        let inside = match stand.hold(self.enter(&stream, &admission)).await {
            Some(Ok(inside)) => inside,
            Some(Err(error)) => {
                tracing::debug!(flow = id, %peer, publish = %self.publish, %error, "not connected");
                return reset(&stream);
            }
            None => return reset(&stream),
        };
        let visit = Visit { id, started, admission, inside: inside.source() };
        let mut stream = Stream::from(stream);
        match stand.hold(self.relay(inside, &mut stream)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(flow = id, %error, "relay ended"),
            // A socket that is broken already can refuse this.
            None => drop(stream.reset_on_drop()),
        }
        self.record(visit);
    }

    /// Connects to the guest while the peer waits.
    async fn enter(&self, stream: &TcpStream, admission: &Admission) -> io::Result<net::TcpStream> {
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(stream, true)?;
        tokio::select! {
            connected = self.connect(admission) => connected,
            _ = stream.ready(Interest::ERROR) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn deny(&self, id: u64, denial: &Denial) {
        refusals::record(&self.context, Some(id), denial);
    }

    fn record(&self, visit: Visit) {
        self.context.audit.record(Event::Flow {
            flow: visit.id,
            kind: FlowKind::Published,
            destination: visit.inside,
            peer: Some(visit.admission.peer()),
            host: None,
            upstream: None,
            rule: Some(format!("publish {}", self.publish)),
            millis: u64::try_from(visit.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Connects to the guest's port at the first of its addresses that answers, IPv4 first.
    async fn connect(&self, _: &Admission) -> io::Result<net::TcpStream> {
        let first_answer = async {
            let port = self.publish.guest_port();
            let mut v4 = pin!(self.guest.connect(Family::V4, port));
            match timeout(HEAD_START, &mut v4).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
                Ok(Err(_)) => return self.guest.connect(Family::V6, port).await,
                Err(_) => {}
            }
            let mut v6 = pin!(self.guest.connect(Family::V6, port));
            tokio::select! {
                Ok(stream) = &mut v4 => Ok(stream),
                Ok(stream) = &mut v6 => Ok(stream),
                else => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        };
        timeout(self.context.limits.dial, first_answer).await?
    }

    async fn relay(&self, inside: net::TcpStream, stream: &mut Stream) -> io::Result<()> {
        splice(inside, stream, self.context.limits.bytes_per_turn).await
    }
}

/// Has it closed with RST, as the guest would if the peer had connected to it.
fn reset(stream: &TcpStream) {
    // A socket that is broken already can refuse this.
    let _ = stream.set_zero_linger();
}
