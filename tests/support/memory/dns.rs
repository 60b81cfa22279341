//! A guest's questions, over UDP and TCP.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Bed;

/// One question in wire form.
pub(crate) fn question(name: &str, wanted: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), wanted));
    message.to_vec().unwrap()
}

/// The addresses in an answer.
pub(crate) fn addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

impl Bed {
    fn nameserver(&self) -> SocketAddr {
        SocketAddr::new(self.gateway(), 53)
    }

    /// The answer to a message, over UDP.
    pub(crate) async fn exchange(&self, message: &[u8]) -> Message {
        let answer = self.guest.udp_exchange(self.nameserver(), message).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }

    pub(crate) async fn ask(&self, name: &str, wanted: RecordType) -> Message {
        self.exchange(&question(name, wanted)).await
    }

    /// The answers to messages that are sent at once on one TCP connection.
    pub(crate) async fn exchange_tcp(&self, messages: &[Vec<u8>]) -> Vec<Message> {
        let mut stream = self.guest.connect(self.nameserver()).await.unwrap();
        let mut out = Vec::new();
        for message in messages {
            out.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
            out.extend(message);
        }
        stream.write_all(&out).await.unwrap();
        let mut answers = Vec::new();
        for _ in messages {
            let length = stream.read_u16().await.unwrap();
            let mut answer = vec![0; length.into()];
            stream.read_exact(&mut answer).await.unwrap();
            answers.push(Message::from_vec(&answer).unwrap());
        }
        answers
    }

    /// The first IPv4 address of a name.
    pub(crate) async fn address(&self, name: &str) -> IpAddr {
        let answer = self.ask(name, RecordType::A).await;
        *addresses(&answer).first().unwrap_or_else(|| panic!("{name} has no address: {answer:?}"))
    }
}
