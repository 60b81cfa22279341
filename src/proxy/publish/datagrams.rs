//! A published UDP port: one association for each peer, over one socket of the host's.
//!
//! A datagram goes to the guest's address of the family the port is bound in: unlike a connection, it cannot be
//! refused at one address and tried at the other. Invariant: a peer that is quiet, or one of too many, takes no
//! memory with it, and what cannot be passed on at once is lost, as on any road.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::task::{Context, Poll};

use lru::LruCache;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Door, RETRY, Visit};
use crate::link::Family;
use crate::net::Association;
use crate::policy::{Admission, Verdict};
use crate::proxy::ground::Ground;
use crate::proxy::standing::Stand;

/// The longest payload of a datagram, octets.
const DATAGRAM: usize = 65_535;

/// Serves one published UDP port until it is dropped.
pub(super) async fn serve(door: Door, socket: std::net::UdpSocket) {
    let peers = NonZeroUsize::new(door.context.limits.published_peers).unwrap_or(NonZeroUsize::MIN);
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(publish = %door.publish, %error, "cannot be served"),
    };
    let hall = Hall {
        door,
        socket,
        sessions: RefCell::new(LruCache::new(peers)),
        refused: RefCell::new(LruCache::new(peers)),
        replies: RefCell::new(vec![0; DATAGRAM].into_boxed_slice()),
    };
    Rc::new(hall).receive().await;
}

/// One published port with its peers.
struct Hall {
    door: Door,
    socket: UdpSocket,
    sessions: RefCell<LruCache<SocketAddr, Rc<Session>>>,
    /// Who was refused, so that a flood is one record.
    refused: RefCell<LruCache<IpAddr, ()>>,
    /// Where a reply is while it passes through.
    replies: RefCell<Box<[u8]>>,
}

/// What one peer has with the guest.
struct Session {
    association: RefCell<Association>,
    /// When something passed last, either way.
    used: Cell<Instant>,
    evicted: Notify,
    stand: Stand,
}

impl Hall {
    /// Passes on what peers send.
    async fn receive(self: Rc<Self>) {
        let mut buffer = vec![0; DATAGRAM].into_boxed_slice();
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((len, peer)) => {
                    if let Some(session) = self.session(peer) {
                        session.used.set(Instant::now());
                        // Lost where the link is busy, and counted there.
                        session.association.borrow_mut().send(buffer.get(..len).unwrap_or_default());
                    }
                }
                Err(error) => {
                    tracing::warn!(publish = %self.door.publish, %error, "cannot receive");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// The session of a peer, a new one if need be; none if the peer is refused or the guest is gone.
    fn session(self: &Rc<Self>, peer: SocketAddr) -> Option<Rc<Session>> {
        if let Some(session) = self.sessions.borrow_mut().get(&peer)
            && !session.stand.has_fallen()
        {
            return Some(Rc::clone(session));
        }
        let admission = match self.door.context.policy.current().at_peer(&self.door.publish, peer) {
            Verdict::Allow(admission) => admission,
            Verdict::Deny(denial) => {
                if self.refused.borrow_mut().put(peer.ip(), ()).is_none() {
                    self.door.deny(self.door.context.audit.next_flow(), &denial);
                }
                return None;
            }
        };
        let family = if self.door.publish.bind().is_ipv4() { Family::V4 } else { Family::V6 };
        let association = self.door.guest.associate(family, self.door.publish.guest_port());
        let association = association
            .inspect_err(
                |error| tracing::debug!(%peer, publish = %self.door.publish, %error, "not associated"),
            )
            .ok()?;
        self.begin(admission, association)
    }

    fn begin(self: &Rc<Self>, admission: Admission, association: Association) -> Option<Rc<Session>> {
        let (peer, started) = (admission.peer(), Instant::now());
        let id = self.door.context.audit.next_flow();
        let stand = Stand::new(Rc::clone(&self.door.context), id);
        stand.on(Ground::Peer { publish: Rc::clone(&self.door.publish), peer }).ok()?;
        let visit = Visit { id, started, admission, inside: association.source() };
        let session = Rc::new(Session {
            association: RefCell::new(association),
            used: Cell::new(started),
            evicted: Notify::new(),
            stand,
        });
        if let Some((_, evicted)) = self.sessions.borrow_mut().push(peer, Rc::clone(&session)) {
            evicted.evicted.notify_one();
        }
        tokio::task::spawn_local(Rc::clone(self).attend(visit, Rc::clone(&session)));
        Some(session)
    }

    /// Passes on what the guest sends to one peer, until one of the two has been quiet for too long.
    async fn attend(self: Rc<Self>, visit: Visit, session: Rc<Session>) {
        let peer = visit.admission.peer();
        let _ = session.stand.hold(self.converse(&session, peer)).await;
        let mut sessions = self.sessions.borrow_mut();
        if sessions.peek(&peer).is_some_and(|own| Rc::ptr_eq(own, &session)) {
            sessions.pop(&peer);
        }
        drop(sessions);
        self.door.record(visit);
    }

    async fn converse(&self, session: &Session, peer: SocketAddr) {
        let idle = self.door.context.limits.udp_idle;
        loop {
            let until = session.used.get() + idle;
            tokio::select! {
                more = poll_fn(|cx| self.poll_reply(cx, session, peer)) => match more {
                    Reply::Passed => session.used.set(Instant::now()),
                    Reply::Over => break,
                },
                () = session.evicted.notified() => break,
                () = sleep_until(until) => if session.used.get() + idle <= Instant::now() { break },
            }
        }
    }

    /// Passes on one datagram of the guest's.
    fn poll_reply(&self, cx: &mut Context<'_>, session: &Session, peer: SocketAddr) -> Poll<Reply> {
        let mut buffer = self.replies.borrow_mut();
        let received = session.association.borrow_mut().poll_receive(cx, &mut buffer);
        received.map(|len| {
            let Some(len) = len else { return Reply::Over };
            match self.socket.try_send_to(buffer.get(..len).unwrap_or_default(), peer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tracing::debug!(%peer, "a reply is lost: the host's socket is busy");
                }
                Err(error) => tracing::debug!(%peer, %error, "a reply is lost"),
            }
            Reply::Passed
        })
    }
}

/// What came of waiting for the guest.
enum Reply {
    /// A datagram went to the peer, or was lost on its way.
    Passed,
    /// The association has ended.
    Over,
}
