//! Questions to the host's nameservers.
//!
//! Shell: UDP with a socket of its own for each question, TCP where the answer was cut, the next server where
//! one fails. It judges nothing. Invariant: an answer is taken only from the server asked, to the port, the id
//! and the question of that asking.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::limits::Limits;
use crate::name::HostName;

use super::Family;
use super::answer::{Asked, Heard, Records};
use super::hosts::parse_nameservers;
use super::watched::Watched;

/// Octets read of one datagram; more than any server sends to the payload we offer.
const DATAGRAM: usize = 4096;
/// Times the list of servers is gone through: a datagram may be lost.
const ROUNDS: usize = 2;

/// The host's nameservers.
#[derive(Debug)]
pub(super) struct Forwarder {
    configured: Vec<SocketAddr>,
    system: Watched<Vec<SocketAddr>>,
    /// Servers that failed, and until when they are asked last.
    resting: RefCell<HashMap<SocketAddr, Instant>>,
    limits: Arc<Limits>,
}

/// Why no nameserver answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ForwardError {
    /// None is configured, and resolv.conf names none.
    #[error("no nameserver is known; set [net] nameservers")]
    NoNameserver,
    /// As many questions are under way as may be.
    #[error("too many DNS questions are under way")]
    Busy,
    /// The name has no form on the wire.
    #[error("the name does not fit a DNS question")]
    Name,
    /// The last one asked did not answer in time.
    #[error("nameserver {0} did not answer in time")]
    Timeout(SocketAddr),
    /// The last one asked could not be reached.
    #[error("nameserver {0} cannot be reached: {1}")]
    Unreachable(SocketAddr, io::ErrorKind),
    /// The last one asked answered with an error.
    #[error("nameserver {0} answered {1}")]
    Failed(SocketAddr, ResponseCode),
}

impl Forwarder {
    /// Asks `configured`, or where that is empty the nameservers of the file `resolv_conf`.
    pub(super) fn new(configured: Vec<SocketAddr>, resolv_conf: PathBuf, limits: Arc<Limits>) -> Self {
        let system = Watched::new(resolv_conf, limits.dns_host_file, parse_nameservers);
        Self { configured, system, resting: RefCell::default(), limits }
    }

    /// Asks for one family of `host`, server after server.
    pub(super) async fn ask(&self, host: &HostName, family: Family) -> Result<Records, ForwardError> {
        let mut failure = ForwardError::NoNameserver;
        for _ in 0..ROUNDS {
            for server in self.servers() {
                match self.ask_one(server, host, family).await {
                    Ok(records) => {
                        self.resting.borrow_mut().remove(&server);
                        return Ok(records);
                    }
                    Err(error) => {
                        self.rest(server);
                        failure = error;
                    }
                }
            }
            // A server's word is not changed by asking again.
            if !matches!(failure, ForwardError::Timeout(_)) {
                break;
            }
        }
        Err(failure)
    }

    /// In order, those that failed lately last.
    fn servers(&self) -> Vec<SocketAddr> {
        let now = tokio::time::Instant::now().into_std();
        let mut servers =
            if self.configured.is_empty() { self.system.read().to_vec() } else { self.configured.clone() };
        let mut resting = self.resting.borrow_mut();
        resting.retain(|server, until| *until > now && servers.contains(server));
        servers.sort_by_key(|server| resting.contains_key(server));
        servers
    }

    fn rest(&self, server: SocketAddr) {
        let until = tokio::time::Instant::now().into_std() + self.limits.dns_nameserver_rest;
        self.resting.borrow_mut().insert(server, until);
    }

    async fn ask_one(
        &self,
        server: SocketAddr,
        host: &HostName,
        family: Family,
    ) -> Result<Records, ForwardError> {
        let mut heard = self.within(server, host, family, Way::Udp).await?;
        if matches!(heard, Heard::Truncated) {
            heard = self.within(server, host, family, Way::Tcp).await?;
        }
        match heard {
            Heard::Answer(records) => Ok(records),
            Heard::Failure(code) => Err(ForwardError::Failed(server, code)),
            Heard::NotOurs | Heard::Truncated => Err(ForwardError::Failed(server, ResponseCode::FormErr)),
        }
    }

    async fn within(
        &self,
        server: SocketAddr,
        host: &HostName,
        family: Family,
        way: Way,
    ) -> Result<Heard, ForwardError> {
        let unreachable = |error: io::Error| ForwardError::Unreachable(server, error.kind());
        let id = getrandom::u32().map_err(|error| unreachable(error.into()))?.to_be_bytes();
        let asked = Asked::new(host, family, u16::from_be_bytes([id[0], id[1]])).ok_or(ForwardError::Name)?;
        let heard = timeout(self.limits.dns_timeout, async {
            match way {
                Way::Udp => self.over_udp(server, &asked).await,
                Way::Tcp => self.over_tcp(server, &asked).await,
            }
        });
        match heard.await {
            Ok(heard) => heard.map_err(unreachable),
            Err(_) => Err(ForwardError::Timeout(server)),
        }
    }

    async fn over_udp(&self, server: SocketAddr, asked: &Asked) -> io::Result<Heard> {
        let any = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        // The kernel picks the port at random; connected, so that nobody else's datagram gets in.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(&asked.encode(&self.limits)).await?;
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut datagram).await?;
            match asked.hear(datagram.get(..length).unwrap_or_default(), &self.limits) {
                Heard::NotOurs => {}
                heard @ (Heard::Truncated | Heard::Answer(_) | Heard::Failure(_)) => return Ok(heard),
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr, asked: &Asked) -> io::Result<Heard> {
        let mut stream = TcpStream::connect(server).await?;
        let query = asked.encode(&self.limits);
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
        let length = stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await?;
        Ok(asked.hear(&message, &self.limits))
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Udp,
    Tcp,
}
