//! Answers to the guest, written anew.
//!
//! The question as the guest spelled it, the CNAME chain, the records of the type asked for; nothing else of an
//! upstream's message goes on. Invariant: an answer fits what the guest can take, and says so where it had to be cut.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, rdata};

use crate::limits::Limits;

use super::question::{Question, encode};

/// How a question came, and how its answer goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// UDP: the answer is held within what the guest offers.
    Udp,
    /// TCP.
    Tcp,
}

/// What there is to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Content {
    /// Records, of the last name of the chain.
    Records {
        /// Targets of CNAMEs, from the name asked for onward.
        chain: Vec<Name>,
        /// All of one type.
        data: Vec<RData>,
        /// For how long.
        ttl: Duration,
    },
    /// The name exists, what was asked for does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Nobody answered.
    ServerFailure,
    /// Nobody is given that here.
    Refused,
}

/// Least payload of DNS over UDP (RFC 1035 §4.2.1), also the least an EDNS offer counts for.
const LEAST_PAYLOAD: u16 = 512;
/// Octets of an A and of an AAAA record whose owner is a compression pointer.
const A_RECORD: usize = 16;
const AAAA_RECORD: usize = 28;

/// The answer in wire form.
pub(super) fn write(
    question: &Question,
    content: &Content,
    transport: Transport,
    limits: &Limits,
) -> Vec<u8> {
    let mut message = question.response(match content {
        Content::Records { .. } | Content::NoData => ResponseCode::NoError,
        Content::NxDomain => ResponseCode::NXDomain,
        Content::ServerFailure => ResponseCode::ServFail,
        Content::Refused => ResponseCode::Refused,
    });
    if let Content::Records { chain, data, ttl } = content {
        let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        let mut owner = question.query.name.clone();
        for target in chain {
            let data = RData::CNAME(rdata::CNAME(target.clone()));
            message.add_answer(Record::from_rdata(std::mem::replace(&mut owner, target.clone()), ttl, data));
        }
        message.add_answers(data.iter().map(|data| Record::from_rdata(owner.clone(), ttl, data.clone())));
    }
    fit(message, room(question, transport, limits))
}

/// An A or AAAA record's data.
pub(super) fn address(addr: IpAddr) -> RData {
    match addr {
        IpAddr::V4(addr) => RData::A(rdata::A(addr)),
        IpAddr::V6(addr) => RData::AAAA(rdata::AAAA(addr)),
    }
}

fn room(question: &Question, transport: Transport, limits: &Limits) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => {
            let offered = question.payload.unwrap_or(LEAST_PAYLOAD).min(limits.dns_udp_payload);
            usize::from(offered.max(LEAST_PAYLOAD))
        }
    }
}

/// Drops records from the end until it fits, for resolvers that never come back over TCP use what is there.
fn fit(mut message: Message, room: usize) -> Vec<u8> {
    loop {
        let bytes = encode(&message);
        let Some(surplus) = bytes.len().checked_sub(room).filter(|surplus| *surplus > 0) else {
            return bytes;
        };
        message.metadata.truncation = true;
        let record = match message.answers.last().and_then(|record| record.data.ip_addr()) {
            Some(IpAddr::V4(_)) => A_RECORD,
            Some(IpAddr::V6(_)) => AAAA_RECORD,
            None => surplus,
        };
        let kept = message.answers.len().saturating_sub(surplus.div_ceil(record));
        if message.answers.is_empty() {
            return Vec::new();
        }
        message.answers.truncate(kept);
    }
}
