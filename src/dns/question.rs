//! A guest's question, read once and whole.
//!
//! [RFC 1035 §4.1], EDNS by [RFC 6891]. It decides nothing about names. Invariant: a [`Question`] is exactly
//! one, of class IN, in a message that was read to its last octet.
//!
//! [RFC 1035 §4.1]: https://www.rfc-editor.org/rfc/rfc1035#section-4.1
//! [RFC 6891]: https://www.rfc-editor.org/rfc/rfc6891

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::name::HostName;

use super::Family;

/// What a guest's message came to.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A question to answer.
    Question(Question),
    /// The answer is clear already: an error, in wire form.
    Answered(Vec<u8>),
    /// Nothing that has an answer: too short to have an id, or itself an answer.
    Silence,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A or AAAA.
    Address(Family),
    /// HTTPS or SVCB, which may carry ECH keys and h3 hints.
    Service,
    /// PTR: the name of an address.
    Pointer,
    /// One of [`FORWARDED`].
    Record(RecordType),
    /// ANY: whatever there is.
    Any,
    /// AXFR or IXFR: a whole zone.
    Transfer,
    /// Anything else.
    Other,
}

/// Types besides addresses that are asked of nameservers, for names that a rule names: they are understood whole, and
/// none of them makes a client connect to an address that it was not told by A or AAAA.
const FORWARDED: [RecordType; 13] = [
    RecordType::CAA,
    RecordType::CERT,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::NS,
    RecordType::OPENPGPKEY,
    RecordType::SMIMEA,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SSHFP,
    RecordType::TLSA,
    RecordType::TXT,
];

/// One question.
#[derive(Debug)]
pub(super) struct Question {
    /// Header as the guest sent it.
    pub(super) metadata: Metadata,
    /// The question as the guest spelled it, to be echoed.
    pub(super) query: Query,
    /// UDP payload the guest offers, where it speaks EDNS.
    pub(super) payload: Option<u16>,
}

impl Question {
    /// Reads a guest's message.
    pub(super) fn parse(message: &[u8]) -> Parsed {
        let Ok(header) = Header::read(&mut BinDecoder::new(message)) else {
            return Parsed::Silence;
        };
        if header.message_type == MessageType::Response {
            return Parsed::Silence;
        }
        if header.op_code != OpCode::Query {
            return Parsed::Answered(error(&header.metadata, ResponseCode::NotImp));
        }
        // Before anything is read by the counts, which lie cheaply.
        if header.counts.queries != 1 {
            return Parsed::Answered(error(&header.metadata, ResponseCode::FormErr));
        }
        let mut decoder = BinDecoder::new(message);
        let read = Message::read(&mut decoder).ok().filter(|_| decoder.is_empty());
        let Some(Message { metadata, mut queries, edns, .. }) = read else {
            return Parsed::Answered(error(&header.metadata, ResponseCode::FormErr));
        };
        let Some(query) = queries.pop() else {
            return Parsed::Answered(error(&header.metadata, ResponseCode::FormErr));
        };
        let payload = edns.as_ref().map(Edns::max_payload);
        let question = Self { metadata, query, payload };
        if edns.is_some_and(|edns| edns.version() != 0) {
            return Parsed::Answered(encode(&question.response(ResponseCode::BADVERS)));
        }
        if question.query.query_class != DNSClass::IN {
            return Parsed::Answered(encode(&question.response(ResponseCode::Refused)));
        }
        Parsed::Question(question)
    }

    /// What it asks for.
    pub(super) fn kind(&self) -> Kind {
        let wanted = self.query.query_type;
        if let Some(family) = Family::asked_by(wanted) {
            return Kind::Address(family);
        }
        if FORWARDED.contains(&wanted) {
            return Kind::Record(wanted);
        }
        let others = [
            (RecordType::HTTPS, Kind::Service),
            (RecordType::SVCB, Kind::Service),
            (RecordType::PTR, Kind::Pointer),
            (RecordType::ANY, Kind::Any),
            (RecordType::AXFR, Kind::Transfer),
            (RecordType::IXFR, Kind::Transfer),
        ];
        others.into_iter().find(|(own, _)| *own == wanted).map_or(Kind::Other, |(_, kind)| kind)
    }

    /// The host it is about; `None` is a name that no host can have.
    ///
    /// On the wire a name is bytes, so only ASCII is taken: nothing here may turn one name into another.
    pub(super) fn host(&self) -> Option<HostName> {
        let name = &self.query.name;
        let plain = name.iter().all(|label| label.iter().all(|byte| byte.is_ascii() && *byte != b'.'));
        if !plain {
            return None;
        }
        let labels: Option<Vec<&str>> = name.iter().map(|label| std::str::from_utf8(label).ok()).collect();
        HostName::parse(&labels?.join(".")).ok()
    }

    /// An empty answer with this code, the question echoed.
    pub(super) fn response(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.metadata.id, self.metadata.op_code);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.add_query(self.query.clone());
        if self.payload.is_some() {
            message.set_edns(Edns::new());
        }
        message
    }
}

/// An answer to a message whose question is not to be trusted: the header alone.
fn error(request: &Metadata, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::response(request.id, request.op_code);
    message.metadata = Metadata::response_from_request(request);
    message.metadata.response_code = code;
    encode(&message)
}

/// Wire form; a message that has none is not sent at all.
pub(super) fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_default()
}

/// A host's name, in whatever case, as the wire spells it.
pub(super) fn wire_name(host: &str) -> Option<Name> {
    let mut name = Name::from_ascii(host).ok()?;
    name.set_fqdn(true);
    Some(name)
}
