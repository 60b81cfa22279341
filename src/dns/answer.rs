//! What a nameserver said, and how much of it is believed.
//!
//! Only the answer section, only the CNAME chain from the name asked for, only records of the type asked for at its
//! end; of a negative answer also the SOA that says how long it holds. Whether an address may be used is policy's to
//! say. Invariant: nothing is believed of a message whose id and question are not the ones sent.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use crate::limits::Limits;
use crate::name::HostName;

use super::question::{encode, wire_name};

/// What is asked about: one record type of one name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Topic {
    pub(super) host: HostName,
    pub(super) wanted: RecordType,
}

/// How a nameserver is spoken to, until it shows that it does not understand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Manner {
    /// With an offer of EDNS.
    pub(super) edns: bool,
    /// With letters in random case, which are to come back as they were.
    pub(super) mixed: bool,
}

/// What makes a question hard to guess for who does not see it: an id, and a bit for each letter of the name.
pub(super) type Dice = [u8; 34];

/// A question as we put it to a nameserver.
#[derive(Debug)]
pub(super) struct Asked {
    id: u16,
    query: Query,
    manner: Manner,
}

/// A nameserver's message.
#[derive(Debug)]
pub(super) enum Heard {
    /// Not an answer to this question.
    NotOurs,
    /// An answer to this question, its letters in another case: forged, or of a server that does not keep it.
    Recased,
    /// Cut short; the whole is to be had over TCP.
    Truncated,
    /// An answer.
    Answer(Records),
    /// The nameserver cannot or will not.
    Failure(ResponseCode),
    /// An answer that cannot be read, or that leads nowhere.
    Broken,
}

/// What an answer holds about the name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Records {
    /// Targets of CNAMEs, from the name asked for onward.
    pub(super) chain: Vec<Name>,
    /// Data of the type asked for, at the end of the chain; empty is NODATA, or NXDOMAIN.
    pub(super) data: Vec<RData>,
    /// Least TTL of all that was used; of a negative answer, how long it holds.
    pub(super) ttl: Duration,
    /// Whether the nameserver said NXDOMAIN.
    pub(super) missing: bool,
}

impl Records {
    /// The addresses among the data.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.data.iter().filter_map(RData::ip_addr)
    }
}

impl Default for Manner {
    fn default() -> Self {
        Self { edns: true, mixed: true }
    }
}

impl Asked {
    /// The question about `topic`; `None` where the name does not fit the wire.
    pub(super) fn new(topic: &Topic, manner: Manner, dice: &Dice) -> Option<Self> {
        let [high, low, letters @ ..] = dice;
        let host = topic.host.as_str();
        let name = if manner.mixed { wire_name(&mix(host, letters))? } else { wire_name(host)? };
        let query = Query::query(name, topic.wanted);
        Some(Self { id: u16::from_be_bytes([*high, *low]), query, manner })
    }

    /// Wire form: recursion desired, nothing of the guest's.
    pub(super) fn encode(&self, limits: &Limits) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        if self.manner.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(limits.dns_udp_payload);
            message.set_edns(edns);
        }
        encode(&message)
    }

    /// Reads a message that came from the nameserver's address.
    pub(super) fn hear(&self, message: &[u8], limits: &Limits) -> Heard {
        let mut decoder = BinDecoder::new(message);
        let Ok(header) = Header::read(&mut decoder) else {
            return Heard::NotOurs;
        };
        let ours = header.id == self.id
            && header.message_type == MessageType::Response
            && header.op_code == OpCode::Query;
        if !ours {
            return Heard::NotOurs;
        }
        // Some servers leave the question out of an error.
        if header.counts.queries == 0 && header.response_code != ResponseCode::NoError {
            return Heard::Failure(header.response_code);
        }
        let query = (header.counts.queries == 1).then(|| Query::read(&mut decoder).ok()).flatten();
        let Some(query) = query.filter(|query| *query == self.query) else {
            return Heard::NotOurs;
        };
        if self.manner.mixed && !query.name.eq_case(&self.query.name) {
            return Heard::Recased;
        }
        if header.truncation {
            return Heard::Truncated;
        }
        let missing = header.response_code == ResponseCode::NXDomain;
        if header.response_code != ResponseCode::NoError && !missing {
            return Heard::Failure(header.response_code);
        }
        let found = match read_records(&mut decoder, header.counts.answers) {
            Ok(answers) => self.follow(&answers, limits),
            Err(_) => None,
        };
        let Some(mut found) = found else { return Heard::Broken };
        if found.data.is_empty() {
            let Ok(authorities) = read_records(&mut decoder, header.counts.authorities) else {
                return Heard::Broken;
            };
            let held = self.held(&found.chain, &authorities).min(found.ttl);
            found.ttl = held.clamp(limits.dns_negative_ttl_floor, limits.dns_negative_ttl_ceiling);
            found.missing = missing;
        }
        Heard::Answer(found)
    }

    /// Walks the CNAMEs from the name asked for; `None` where they go round or on for too long.
    fn follow(&self, records: &[Record], limits: &Limits) -> Option<Records> {
        let mut chain: Vec<Name> = Vec::new();
        let mut ttl = limits.dns_ttl_ceiling;
        while let Some((target, record)) = self.alias(records, chain.last().unwrap_or(&self.query.name)) {
            if chain.len() >= limits.dns_aliases || *target == self.query.name || chain.contains(target) {
                return None;
            }
            ttl = ttl.min(time_to_live(record.ttl));
            chain.push(target.to_lowercase());
        }
        let owner = chain.last().unwrap_or(&self.query.name);
        let mut data = Vec::new();
        for record in of_owner(records, owner).filter(|record| self.wants(&record.data)) {
            let own = lowered(record.data.clone());
            if data.len() < limits.dns_answer_records && !data.contains(&own) {
                ttl = ttl.min(time_to_live(record.ttl));
                data.push(own);
            }
        }
        Some(Records { chain, data, ttl, missing: false })
    }

    /// Where a CNAME leads from `owner`, unless the CNAME itself is what was asked for.
    fn alias<'a>(&self, records: &'a [Record], owner: &'a Name) -> Option<(&'a Name, &'a Record)> {
        if self.query.query_type == RecordType::CNAME {
            return None;
        }
        of_owner(records, owner).find_map(|record| {
            let RData::CNAME(target) = &record.data else { return None };
            Some((&target.0, record))
        })
    }

    /// Whether this is data of the type asked for, and was read as such.
    fn wants(&self, data: &RData) -> bool {
        data.record_type() == self.query.query_type
            && !matches!(data, RData::Unknown { .. } | RData::Update0(_))
    }

    /// For how long a negative answer holds, by the SOA of a zone that the end of the chain lies in
    /// ([RFC 2308 §5](https://www.rfc-editor.org/rfc/rfc2308#section-5)).
    fn held(&self, chain: &[Name], authorities: &[Record]) -> Duration {
        let end = chain.last().unwrap_or(&self.query.name);
        let mut zones = authorities.iter().filter(|record| record.name.zone_of(end));
        let held = zones.find_map(|record| {
            let RData::SOA(zone) = &record.data else { return None };
            Some(time_to_live(record.ttl).min(time_to_live(zone.minimum)))
        });
        held.unwrap_or_default()
    }
}

/// With its names in lower case: they may have been written as pointers into our question with its mixed letters.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other data has no names")]
fn lowered(mut data: RData) -> RData {
    let names: &mut [&mut Name] = match &mut data {
        RData::CNAME(name) => &mut [&mut name.0],
        RData::MX(mx) => &mut [&mut mx.exchange],
        RData::NAPTR(naptr) => &mut [&mut naptr.replacement],
        RData::NS(name) => &mut [&mut name.0],
        RData::PTR(name) => &mut [&mut name.0],
        RData::SOA(soa) => &mut [&mut soa.mname, &mut soa.rname],
        RData::SRV(srv) => &mut [&mut srv.target],
        _ => &mut [],
    };
    for name in names {
        **name = name.to_lowercase();
    }
    data
}

/// Each letter in the case that its bit says.
fn mix(host: &str, bits: &[u8]) -> String {
    let bits = bits.iter().flat_map(|octet| (0..8).map(move |bit| octet >> bit & 1 == 1));
    let upper = |(letter, upper): (char, bool)| if upper { letter.to_ascii_uppercase() } else { letter };
    host.chars().zip(bits).map(upper).collect()
}

/// As many records as the header promises, or an error; a promise costs nothing by itself.
fn read_records(decoder: &mut BinDecoder<'_>, count: u16) -> Result<Vec<Record>, DecodeError> {
    (0..count).map(|_| Record::read(decoder)).collect()
}

fn of_owner<'a>(records: &'a [Record], owner: &'a Name) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |record| record.dns_class == DNSClass::IN && record.name == *owner)
}

/// A TTL with the high bit set counts as none ([RFC 2181 §8](https://www.rfc-editor.org/rfc/rfc2181#section-8)).
fn time_to_live(seconds: u32) -> Duration {
    if seconds > u32::MAX >> 1 { Duration::ZERO } else { Duration::from_secs(u64::from(seconds)) }
}
