//! What a nameserver said, and how much of it is believed.
//!
//! Only the answer section, only the CNAME chain from the name asked for, only addresses at its end. Whether
//! an address may be used is policy's to say. Invariant: nothing is believed of a message whose id and
//! question are not the ones sent.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::limits::Limits;
use crate::name::HostName;

use super::Family;
use super::question::{encode, wire_name};

/// A question as we put it to a nameserver.
#[derive(Debug)]
pub(super) struct Asked {
    id: u16,
    query: Query,
    family: Family,
}

/// A nameserver's message.
#[derive(Debug)]
pub(super) enum Heard {
    /// Not an answer to this question.
    NotOurs,
    /// Cut short; the whole is to be had over TCP.
    Truncated,
    /// An answer.
    Answer(Records),
    /// The nameserver cannot or will not.
    Failure(ResponseCode),
}

/// What an answer holds about the name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Records {
    /// Targets of CNAMEs, from the name asked for onward.
    pub(super) chain: Vec<Name>,
    /// Addresses of the end of the chain; empty is NODATA, or NXDOMAIN.
    pub(super) addresses: Vec<IpAddr>,
    /// Least TTL of all that was used; meaningless without addresses.
    pub(super) ttl: Duration,
    /// Whether the nameserver said NXDOMAIN.
    pub(super) missing: bool,
}

impl Asked {
    /// The question for one family of `host`; `None` where the name does not fit the wire.
    pub(super) fn new(host: &HostName, family: Family, id: u16) -> Option<Self> {
        let wanted = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        Some(Self { id, query: Query::query(wire_name(host)?, wanted), family })
    }

    /// Wire form: recursion desired, EDNS, nothing of the guest's.
    pub(super) fn encode(&self, limits: &Limits) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(limits.dns_udp_payload);
        message.set_edns(edns);
        encode(&message)
    }

    /// Reads a message that came from the nameserver's address.
    pub(super) fn hear(&self, message: &[u8], limits: &Limits) -> Heard {
        let mut decoder = BinDecoder::new(message);
        let Ok(header) = Header::read(&mut decoder) else {
            return Heard::NotOurs;
        };
        if header.id != self.id || header.message_type != MessageType::Response {
            return Heard::NotOurs;
        }
        // Some servers leave the question out of an error.
        if header.counts.queries == 0 && header.response_code != ResponseCode::NoError {
            return Heard::Failure(header.response_code);
        }
        if header.counts.queries != 1 || Query::read(&mut decoder).ok().as_ref() != Some(&self.query) {
            return Heard::NotOurs;
        }
        if header.truncation {
            return Heard::Truncated;
        }
        let missing = header.response_code == ResponseCode::NXDomain;
        if header.response_code != ResponseCode::NoError && !missing {
            return Heard::Failure(header.response_code);
        }
        let records: Result<Vec<Record>, _> =
            (0..header.counts.answers).map(|_| Record::read(&mut decoder)).collect();
        let Ok(records) = records else {
            return Heard::Failure(ResponseCode::FormErr);
        };
        match self.follow(&records, limits) {
            Some(found) => Heard::Answer(Records { missing: missing && found.addresses.is_empty(), ..found }),
            None => Heard::Failure(ResponseCode::FormErr),
        }
    }

    /// Walks the CNAMEs from the name asked for; `None` where they go round or on for too long.
    fn follow(&self, records: &[Record], limits: &Limits) -> Option<Records> {
        let mut chain: Vec<Name> = Vec::new();
        let mut ttl = limits.dns_ttl_ceiling;
        loop {
            let owner = chain.last().unwrap_or(&self.query.name);
            let alias = of_owner(records, owner).find_map(|record| {
                let RData::CNAME(target) = &record.data else {
                    return None;
                };
                Some((target.0.clone(), record))
            });
            let Some((target, record)) = alias else {
                break;
            };
            if chain.len() >= limits.dns_aliases || target == self.query.name || chain.contains(&target) {
                return None;
            }
            ttl = ttl.min(time_to_live(record));
            chain.push(target);
        }
        let owner = chain.last().unwrap_or(&self.query.name);
        let mut addresses = Vec::new();
        for record in of_owner(records, owner) {
            let addr = record.data.ip_addr().filter(|addr| Family::of(*addr) == self.family);
            if let Some(addr) = addr
                && !addresses.contains(&addr)
                && addresses.len() < limits.dns_answer_addresses
            {
                ttl = ttl.min(time_to_live(record));
                addresses.push(addr);
            }
        }
        Some(Records { chain, addresses, ttl, missing: false })
    }
}

fn of_owner<'a>(records: &'a [Record], owner: &'a Name) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |record| record.dns_class == DNSClass::IN && record.name == *owner)
}

/// A TTL with the high bit set counts as none ([RFC 2181 §8](https://www.rfc-editor.org/rfc/rfc2181#section-8)).
fn time_to_live(record: &Record) -> Duration {
    if record.ttl > u32::MAX >> 1 { Duration::ZERO } else { Duration::from_secs(u64::from(record.ttl)) }
}
