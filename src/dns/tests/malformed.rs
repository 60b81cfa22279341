//! Input that is no question, or no answer.

use hickory_proto::op::Header;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use proptest::prelude::*;

use super::*;
use crate::dns::answer::{Asked, Manner, Topic};

/// Answers without a nameserver to go to.
fn answer(query: &[u8], transport: Transport) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::new(&[], |_| {});
    runtime.block_on(world.resolver.answer(query, transport))
}

fn code(query: &[u8]) -> Option<ResponseCode> {
    let answer = answer(query, Transport::Udp);
    (!answer.is_empty()).then(|| Message::from_vec(&answer).unwrap().metadata.response_code)
}

/// A good question for evil.example, with some octets replaced.
fn patched(patches: &[(usize, u8)]) -> Vec<u8> {
    let mut query = question("evil.example", RecordType::A, None);
    for (at, octet) in patches {
        query[*at] = *octet;
    }
    query
}

/// A header with these counts and flags, then the rest.
fn raw(flags: [u8; 2], counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let [questions, answers, authorities, additionals] = counts;
    let header = [0x12, 0x34, flags[0], flags[1], 0, questions, 0, answers, 0, authorities, 0, additionals];
    [&header[..], rest].concat()
}

const A_IN: [u8; 4] = [0, 1, 0, 1];

#[test]
fn what_has_no_id_or_is_an_answer_is_met_with_silence() {
    assert_eq!(code(&[]), None);
    for length in 0..12 {
        assert_eq!(code(&patched(&[])[..length]), None, "{length}");
    }
    assert_eq!(code(&patched(&[(2, 0x80)])), None);
    assert_eq!(code(&raw([0x80, 0], [0, 0, 0, 0], &[])), None);
}

#[test]
fn what_is_not_one_whole_question_is_a_format_error() {
    let name: &[u8] = &[1, b'a', 0];
    let long = [[63; 64]; 5].concat();
    let opt: &[u8] = &[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
    let corpus: Vec<(&str, Vec<u8>)> = vec![
        ("no question", raw([1, 0], [0, 0, 0, 0], &[])),
        ("two questions", raw([1, 0], [2, 0, 0, 0], &[name, &A_IN, name, &A_IN].concat())),
        ("255 questions promised", raw([1, 0], [255, 0, 0, 0], &[name, &A_IN].concat())),
        ("65535 questions promised", patched(&[(4, 0xff), (5, 0xff)])),
        ("no name", raw([1, 0], [1, 0, 0, 0], &[])),
        ("name without end", raw([1, 0], [1, 0, 0, 0], &[1, b'a'])),
        ("label beyond the end", raw([1, 0], [1, 0, 0, 0], &[60, b'a', 0, 0, 1, 0, 1])),
        ("no type", raw([1, 0], [1, 0, 0, 0], name)),
        ("half a class", raw([1, 0], [1, 0, 0, 0], &[name, &[0, 1, 0]].concat())),
        ("pointer to itself", raw([1, 0], [1, 0, 0, 0], &[0xc0, 12, 0, 1, 0, 1])),
        ("pointer forward", raw([1, 0], [1, 0, 0, 0], &[0xc0, 20, 0, 1, 0, 1, 0, 0, 0, 0])),
        ("pointer loop", raw([1, 0], [1, 0, 0, 0], &[1, b'a', 0xc0, 12, 0, 1, 0, 1])),
        ("pointer beyond", raw([1, 0], [1, 0, 0, 0], &[0xff, 0xff, 0, 1, 0, 1])),
        ("reserved label type", raw([1, 0], [1, 0, 0, 0], &[0x40, b'a', 0, 0, 1, 0, 1])),
        ("other reserved label type", raw([1, 0], [1, 0, 0, 0], &[0x80, b'a', 0, 0, 1, 0, 1])),
        ("name over 255", raw([1, 0], [1, 0, 0, 0], &[&long[..], &[0], &A_IN].concat())),
        ("an answer promised", raw([1, 0], [1, 1, 0, 0], &[name, &A_IN].concat())),
        ("an authority promised", raw([1, 0], [1, 0, 1, 0], &[name, &A_IN].concat())),
        ("an additional promised", raw([1, 0], [1, 0, 0, 1], &[name, &A_IN].concat())),
        ("two OPTs", raw([1, 0], [1, 0, 0, 2], &[name, &A_IN, opt, opt].concat())),
        ("OPT as an answer", raw([1, 0], [1, 1, 0, 0], &[name, &A_IN, opt].concat())),
        ("OPT not at the root", raw([1, 0], [1, 0, 0, 1], &[name, &A_IN, &[1, b'x'], opt].concat())),
        ("octets after the end", [patched(&[]), vec![0]].concat()),
    ];
    for (what, query) in corpus {
        assert_eq!(code(&query), Some(ResponseCode::FormErr), "{what}");
        assert_eq!(answer(&query, Transport::Tcp)[..2], query[..2], "{what}: the id comes back");
    }
}

#[test]
fn every_octet_in_a_label_and_every_length_of_a_name_has_an_answer() {
    for octet in 0..=u8::MAX {
        let query = raw([1, 0], [1, 0, 0, 0], &[&[2, b'a', octet, 4], &b"evil"[..], &[0], &A_IN].concat());
        let expected = if octet.is_ascii_alphanumeric() || octet == b'_' {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        };
        assert_eq!(code(&query), Some(expected), "{octet:#x}");
    }
    // Three labels of 63 octets and one more: 255 octets with the root are a name, 256 are none.
    for (last, expected) in [(61, ResponseCode::NoError), (62, ResponseCode::FormErr)] {
        let mut name = Vec::new();
        for length in [63, 63, 63, last] {
            name.push(length);
            name.extend(vec![b'a'; usize::from(length)]);
        }
        let query = raw([1, 0], [1, 0, 0, 0], &[&name[..], &[0], &A_IN].concat());
        assert_eq!(code(&query), Some(expected), "{}", name.len() + 1);
    }
}

#[test]
fn what_is_not_done_here_is_said_so() {
    for opcode in [1, 2, 4, 5, 6, 15] {
        assert_eq!(code(&patched(&[(2, opcode << 3)])), Some(ResponseCode::NotImp), "{opcode}");
    }
    let class = patched(&[]).len() - 1;
    for other in [0, 3, 4, 254, 255] {
        assert_eq!(code(&patched(&[(class, other)])), Some(ResponseCode::Refused), "{other}");
    }
    let newer: &[u8] = &[1, b'a', 0, 0, 1, 0, 1, 0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0];
    let code = code(&raw([1, 0], [1, 0, 0, 1], newer)).map(u16::from);
    assert_eq!(code, Some(ResponseCode::BADVERS.into()), "EDNS is version 0");
}

#[test]
fn every_prefix_of_a_question_is_an_error_or_silence() {
    let query = question("evil.example", RecordType::AAAA, Some(1232));
    for length in 0..query.len() {
        let code = code(&query[..length]);
        assert!(matches!(code, None | Some(ResponseCode::FormErr)), "{length}: {code:?}");
    }
}

/// A reply to `asked`, whole.
fn reply() -> Vec<u8> {
    let mut message = Message::response(7, OpCode::Query);
    message.add_query(Query::query(wire("pypi.org"), RecordType::A));
    message.add_answer(alias("pypi.org", 60, "edge.example"));
    message.add_answer(address("edge.example", 60, "151.101.0.223"));
    message.to_vec().unwrap()
}

fn asked() -> Asked {
    let topic = Topic { host: HostName::parse("pypi.org").unwrap(), wanted: RecordType::A };
    let mut dice = [0; 34];
    dice[1] = 7;
    Asked::new(&topic, Manner::default(), &dice).unwrap()
}

#[test]
fn every_prefix_of_an_answer_is_none() {
    let (reply, limits) = (reply(), Limits::default());
    for length in 0..reply.len() {
        let heard = asked().hear(&reply[..length], &limits);
        assert!(!matches!(heard, answer::Heard::Answer(_)), "{length}: {heard:?}");
    }
    assert!(matches!(asked().hear(&reply, &limits), answer::Heard::Answer(_)));
}

#[test]
fn no_answer_is_made_of_what_cannot_be_read_to_its_end() {
    let good = reply();
    // Header and question; the name of the question is at 12.
    let question = &good[..12 + 10 + 4];
    let crafted = |answers: u16, authorities: u16, rest: &[u8]| {
        let mut message = [question, rest].concat();
        message[6..8].copy_from_slice(&answers.to_be_bytes());
        message[8..10].copy_from_slice(&authorities.to_be_bytes());
        message[10..12].fill(0);
        message
    };
    let record =
        |length: u8, data: &[u8]| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, length][..], data].concat();
    let own = u8::try_from(question.len()).unwrap();
    let alias = |target: &[u8]| {
        let length = u8::try_from(target.len()).unwrap();
        [&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, length][..], target].concat()
    };
    let corpus: Vec<(&str, Vec<u8>)> = vec![
        ("more answers promised", crafted(2, 0, &record(4, &[8, 8, 8, 8]))),
        ("65535 answers promised", crafted(u16::MAX, 0, &record(4, &[8, 8, 8, 8]))),
        ("data shorter than its type", crafted(1, 0, &record(3, &[8, 8, 8]))),
        ("data longer than its type", crafted(1, 0, &record(5, &[8, 8, 8, 8, 8]))),
        ("data beyond the end", crafted(1, 0, &record(200, &[8, 8, 8, 8]))),
        ("no data", crafted(1, 0, &record(4, &[]))),
        (
            "an owner that points at itself",
            crafted(1, 0, &[0xc0, own, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 8, 8, 8, 8]),
        ),
        (
            "an owner that points ahead",
            crafted(1, 0, &[0xc0, own + 2, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 8, 8, 8, 8]),
        ),
        (
            "an owner of a reserved kind",
            crafted(1, 0, &[0x80, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 8, 8, 8, 8]),
        ),
        ("an alias to itself", crafted(1, 0, &alias(&[0xc0, 12]))),
        ("an alias that points into itself", crafted(1, 0, &alias(&[0xc0, own + 12]))),
        ("an alias without an end", crafted(1, 0, &alias(&[63, b'a']))),
        ("an authority promised", crafted(0, 1, &[])),
        ("half an authority", crafted(0, 1, &[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 20, 0])),
    ];
    let limits = Limits::default();
    for (what, message) in corpus {
        let heard = asked().hear(&message, &limits);
        assert!(matches!(heard, answer::Heard::Broken), "{what}: {heard:?}");
    }
    let heard = asked().hear(&crafted(1, 0, &record(4, &[8, 8, 8, 8])), &limits);
    assert!(matches!(heard, answer::Heard::Answer(_)), "{heard:?}");
}

#[test]
fn an_error_without_its_question_is_believed_and_an_answer_is_not() {
    let mut message = Message::response(7, OpCode::Query);
    message.metadata.response_code = ResponseCode::Refused;
    let limits = Limits::default();
    let heard = asked().hear(&message.to_vec().unwrap(), &limits);
    assert!(matches!(heard, answer::Heard::Failure(ResponseCode::Refused)), "{heard:?}");
    message.metadata.response_code = ResponseCode::NoError;
    let heard = asked().hear(&message.to_vec().unwrap(), &limits);
    assert!(matches!(heard, answer::Heard::NotOurs), "{heard:?}");
}

#[test]
fn a_ttl_with_its_high_bit_set_counts_as_none() {
    let mut message = Message::from_vec(&reply()).unwrap();
    message.answers[0].ttl = 0x8000_0000;
    let heard = asked().hear(&message.to_vec().unwrap(), &Limits::default());
    assert!(matches!(&heard, answer::Heard::Answer(records) if records.ttl.is_zero()), "{heard:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_octets_panic_and_every_answer_is_well_formed(
        octets in prop::collection::vec(any::<u8>(), 0..600),
        header in prop::option::of((any::<u16>(), 0u8..3, 0u8..3)),
    ) {
        let mut query = octets;
        if let Some((id, questions, additionals)) = header {
            let [high, low] = id.to_be_bytes();
            let good = [high, low, 1, 0, 0, questions, 0, 0, 0, 0, 0, additionals];
            query = [&good[..], &query].concat();
        }
        let answer = answer(&query, Transport::Udp);
        if !answer.is_empty() {
            prop_assert!(answer.len() <= 1232);
            prop_assert_eq!(&answer[..2], &query[..2]);
            let header = Header::read(&mut BinDecoder::new(&answer)).unwrap();
            prop_assert_eq!(header.metadata.message_type, MessageType::Response);
            prop_assert!(Message::from_vec(&answer).is_ok());
        }
    }

    #[test]
    fn a_damaged_question_never_panics(
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut query = question("evil.example", RecordType::A, Some(1232));
        let at = at.index(query.len());
        query[at] = octet;
        query.truncate(cut.index(query.len()) + 1);
        answer(&query, Transport::Udp);
    }

    #[test]
    fn a_damaged_answer_never_panics_and_never_grows(
        patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut reply = reply();
        for (at, octet) in patches {
            let at = at.index(reply.len());
            reply[at] = octet;
        }
        if let answer::Heard::Answer(records) = asked().hear(&reply, &Limits::default()) {
            prop_assert!(records.data.len() <= 1 && records.chain.len() <= 1);
        }
    }
}
