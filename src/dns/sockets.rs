//! Datagram sockets for questions to nameservers.
//!
//! Shell. To make a socket, have it watched and close it costs more than the question itself, so a socket serves many
//! questions, one after the other; its port does not. Parted from its server (`connect(2)` with AF_UNSPEC) it loses the port
//! at once, and the kernel picks another one at random when it is connected again, as for a new socket
//! ([RFC 5452 §9.2](https://www.rfc-editor.org/rfc/rfc5452#section-9.2)). Invariant: each question has a port that was
//! picked for it, and nothing that was sent to an earlier one is read.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// Those of one sandbox that wait for the next question.
#[derive(Debug)]
pub(super) struct Sockets {
    spare: RefCell<Vec<Spare>>,
    most: usize,
}

#[derive(Debug)]
struct Spare {
    is_v6: bool,
    socket: UdpSocket,
}

impl Sockets {
    /// Keeps `most` at most.
    pub(super) fn new(most: usize) -> Self {
        Self { spare: RefCell::default(), most }
    }

    /// A socket that only `server` is heard on, at a port picked at random.
    pub(super) async fn connected(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let spare = {
            let mut spare = self.spare.borrow_mut();
            let fitting = spare.iter().rposition(|spare| spare.is_v6 == server.is_ipv6());
            fitting.map(|at| spare.swap_remove(at).socket)
        };
        let socket = match spare {
            Some(socket) => socket,
            None => open(server).await?,
        };
        socket.connect(server).await?;
        Ok(socket)
    }

    /// Takes back a socket of `server`'s whose question is answered; one that heard more than the answer is closed.
    pub(super) fn give_back(&self, socket: UdpSocket, server: SocketAddr) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < self.most && is_parted(&socket) {
            spare.push(Spare { is_v6: server.is_ipv6(), socket });
        }
    }
}

/// A socket without a port: it gets one by being connected.
#[cfg(target_os = "linux")]
#[expect(clippy::unused_async, reason = "elsewhere it is bound first")]
async fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    let family = if server.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    UdpSocket::from_std(socket_with(family, SocketType::DGRAM, flags, None)?.into())
}

#[cfg(not(target_os = "linux"))]
async fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    let any: IpAddr =
        if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).await
}

/// Parts it from its server and its port; whether nothing is left to be read.
#[cfg(target_os = "linux")]
fn is_parted(socket: &UdpSocket) -> bool {
    use rustix::io::Errno;
    use rustix::net::{RecvFlags, connect_unspec, recv};

    // In this order: without a port nothing more can come.
    connect_unspec(socket).is_ok()
        && recv(socket, &mut [0; 1], RecvFlags::DONTWAIT).is_err_and(|error| error == Errno::AGAIN)
}

/// Only Linux is known to give the port up.
#[cfg(not(target_os = "linux"))]
fn is_parted(_: &UdpSocket) -> bool {
    false
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::fd::AsRawFd as _;

    use super::*;

    async fn server(addr: &str) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(addr).await.unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    #[tokio::test]
    async fn each_question_has_a_port_of_its_own_on_the_same_socket() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let (_listening, server) = server(addr).await;
            let sockets = Sockets::new(4);
            let (mut ports, mut descriptors, mut steps) = (Vec::new(), HashSet::new(), HashSet::new());
            for _ in 0..200 {
                let socket = sockets.connected(server).await.unwrap();
                ports.push(socket.local_addr().unwrap().port());
                descriptors.insert(socket.as_raw_fd());
                sockets.give_back(socket, server);
            }
            assert_eq!(descriptors.len(), 1, "{addr}");
            steps.extend(ports.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0])));
            let distinct: HashSet<u16> = ports.iter().copied().collect();
            // Of 28,232 ports or more, as many as 200 of them meet; and none tells the next.
            assert!(distinct.len() > 180 && steps.len() > 180, "{addr} {ports:?}");
        }
    }

    #[tokio::test]
    async fn what_was_sent_to_an_earlier_port_is_not_read() {
        let (server, addr) = server("127.0.0.1:0").await;
        let sockets = Sockets::new(4);
        let socket = sockets.connected(addr).await.unwrap();
        let earlier = socket.local_addr().unwrap();
        sockets.give_back(socket, addr);
        // Nobody is there any more, which the server may hear.
        let _ = server.send_to(b"late", earlier).await;
        let socket = sockets.connected(addr).await.unwrap();
        server.send_to(b"now", socket.local_addr().unwrap()).await.unwrap();
        let mut datagram = [0; 16];
        assert_eq!(socket.recv(&mut datagram).await.unwrap(), 3);
        // It heard more than was read: it is not used again.
        server.send_to(b"more", socket.local_addr().unwrap()).await.unwrap();
        sockets.give_back(socket, addr);
        assert!(sockets.spare.borrow().is_empty());
    }

    #[tokio::test]
    async fn few_are_kept_and_each_for_its_family() {
        let ((_one, v4), (_other, v6)) = (server("127.0.0.1:0").await, server("[::1]:0").await);
        let sockets = Sockets::new(2);
        let mut used = Vec::new();
        for server in [v4, v6, v4] {
            used.push((sockets.connected(server).await.unwrap(), server));
        }
        used.into_iter().for_each(|(socket, server)| sockets.give_back(socket, server));
        assert_eq!(sockets.spare.borrow().len(), 2);
        for server in [v6, v4] {
            let socket = sockets.connected(server).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), server);
        }
        assert!(sockets.spare.borrow().is_empty());
    }
}
