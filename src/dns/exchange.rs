//! One question to one nameserver.
//!
//! Shell: UDP from a port of its own for each question, TCP where the answer was cut or there is doubt, and once more in
//! a plainer manner where the server does not understand ours. It chooses no server. Invariant: an answer is taken only
//! from the server asked, to the port, the id, the question and the letters of that asking.

use std::io;
use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout_at};

use crate::limits::Limits;

use super::answer::{Asked, Dice, Heard, Manner, Records, Topic};
use super::forwarder::ForwardError;
use super::sockets::Sockets;

/// Octets read of one datagram; more than any server sends to the payload we offer.
const DATAGRAM: usize = 4096;
/// As many datagrams that answer something else, and somebody guesses: TCP cannot be guessed.
const STRAYS: usize = 16;
/// Ways of asking: as usual, without EDNS, without mixed letters, and once more where TCP does not settle a doubt.
const WAYS: usize = 4;

/// An asking: of whom, what, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) server: SocketAddr,
    pub(super) topic: &'a Topic,
    /// For each datagram and for each connection.
    pub(super) timeout: Duration,
    /// For all of it.
    pub(super) deadline: Instant,
    pub(super) sockets: &'a Sockets,
    pub(super) limits: &'a Limits,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Udp,
    Tcp,
}

impl Asking<'_> {
    /// Asks, beginning in this manner; also says in which manner there was an answer.
    pub(super) async fn ask(&self, mut manner: Manner) -> Result<(Records, Manner), ForwardError> {
        let mut doubted = false;
        for _ in 0..WAYS {
            match self.once(Way::Udp, manner).await? {
                Heard::Answer(records) => return Ok((records, manner)),
                Heard::Failure(ResponseCode::FormErr | ResponseCode::NotImp) if manner.edns => {
                    manner.edns = false;
                }
                Heard::Failure(code) => return Err(ForwardError::Failed(self.server, code)),
                Heard::Truncated | Heard::NotOurs => return self.over_tcp(manner).await,
                Heard::Recased => match self.once(Way::Tcp, manner).await {
                    // That was not the server's word.
                    Ok(Heard::Answer(records)) => return Ok((records, manner)),
                    Ok(Heard::Failure(code)) => return Err(ForwardError::Failed(self.server, code)),
                    Ok(Heard::NotOurs | Heard::Truncated | Heard::Broken) => return Err(self.nonsense()),
                    Ok(Heard::Recased) => manner.mixed = false,
                    // No TCP there: twice the same, to two ids and two ports, is its habit.
                    Err(_) if doubted => manner.mixed = false,
                    Err(_) => doubted = true,
                },
                Heard::Broken => return Err(self.nonsense()),
            }
        }
        Err(self.nonsense())
    }

    async fn over_tcp(&self, manner: Manner) -> Result<(Records, Manner), ForwardError> {
        match self.once(Way::Tcp, manner).await? {
            Heard::Answer(records) => Ok((records, manner)),
            Heard::Failure(code) => Err(ForwardError::Failed(self.server, code)),
            Heard::NotOurs | Heard::Recased | Heard::Truncated | Heard::Broken => Err(self.nonsense()),
        }
    }

    fn nonsense(&self) -> ForwardError {
        ForwardError::Failed(self.server, ResponseCode::FormErr)
    }

    async fn once(&self, way: Way, manner: Manner) -> Result<Heard, ForwardError> {
        let unreachable = |error: io::Error| ForwardError::Unreachable(self.server, error.kind());
        let mut dice: Dice = [0; 34];
        getrandom::fill(&mut dice).map_err(|error| unreachable(error.into()))?;
        let asked = Asked::new(self.topic, manner, &dice).ok_or(ForwardError::Name)?;
        let heard = timeout_at(self.deadline.min(Instant::now() + self.timeout), async {
            match way {
                Way::Udp => self.by_datagram(&asked).await,
                Way::Tcp => self.by_connection(&asked).await,
            }
        });
        match heard.await {
            Ok(heard) => heard.map_err(unreachable),
            Err(_) => Err(ForwardError::Timeout(self.server)),
        }
    }

    async fn by_datagram(&self, asked: &Asked) -> io::Result<Heard> {
        let socket = self.sockets.connected(self.server).await?;
        socket.send(&asked.encode(self.limits)).await?;
        let mut datagram = Vec::with_capacity(DATAGRAM);
        for _ in 0..STRAYS {
            datagram.clear();
            socket.recv_buf(&mut datagram).await?;
            let heard = asked.hear(&datagram, self.limits);
            if !matches!(heard, Heard::NotOurs) {
                self.sockets.give_back(socket, self.server);
                return Ok(heard);
            }
        }
        Ok(Heard::NotOurs)
    }

    async fn by_connection(&self, asked: &Asked) -> io::Result<Heard> {
        let mut stream = TcpStream::connect(self.server).await?;
        let query = asked.encode(self.limits);
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
        let length = usize::from(stream.read_u16().await?);
        if length > self.limits.dns_message {
            return Ok(Heard::Broken);
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await?;
        Ok(asked.hear(&message, self.limits))
    }
}
