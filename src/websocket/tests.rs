//! Reframing against a naive oracle: all frames decoded, whole messages replaced.

use std::sync::Arc;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::testing::{Frame, decoded, encoded};
use super::*;
use crate::name::{HostName, HostPattern};
use crate::secret::{Location, SecretHost, SecretSpec, SecretValue, Secrets};
use crate::tls::VerifiedPeer;

/// As long as its placeholder.
const EQUAL: &str = "sk-proj-Tcanary0123456789abcdefghijklmnop";
/// So short that its placeholder is longer, and not to be written into JSON as it is.
const SHORT: &str = "pa\"ss\\word";

struct World {
    secrets: Arc<Secrets>,
    /// Values and placeholders.
    pairs: Vec<(String, String)>,
}

impl World {
    fn new(values: &[&str]) -> Self {
        let spec = |(index, value): (usize, &&str)| SecretSpec {
            name: format!("S{index}"),
            value: SecretValue::new(value.as_bytes().to_vec()).unwrap(),
            hosts: vec![SecretHost { pattern: HostPattern::parse("a.example").unwrap(), port: 443 }],
            shape: None,
            elsewhere: crate::secret::Elsewhere::default(),
            max_per_request: None,
            swap: vec![Location::WebSocket],
        };
        let secrets = Secrets::new(values.iter().enumerate().map(spec).collect()).unwrap();
        let placeholders = secrets.placeholders();
        let pairs = values.iter().zip(placeholders);
        let pairs = pairs.map(|(value, (_, own))| ((*value).to_owned(), own.to_string())).collect();
        Self { secrets, pairs }
    }

    fn scrub(&self) -> Change {
        let scrubber = self.secrets.scrubber(&HostName::parse("a.example").unwrap()).unwrap();
        Change::Scrub(Arc::new(scrubber))
    }

    fn inject(&self) -> Change {
        let peer = VerifiedPeer::new(HostName::parse("a.example").unwrap(), 443);
        Change::Inject(self.secrets.injector(&peer).websocket().unwrap())
    }

    fn scrubbed(&self, text: &[u8]) -> Vec<u8> {
        self.pairs.iter().fold(text.to_vec(), |text, (value, own)| replaced(&text, value, own))
    }

    fn injected(&self, text: &[u8]) -> Vec<u8> {
        let json = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['));
        self.pairs.iter().fold(text.to_vec(), |text, (value, own)| {
            let quoted = serde_json::to_string(value).unwrap();
            let value = if json { &quoted[1..quoted.len() - 1] } else { value };
            replaced(&text, own, value)
        })
    }
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((octet, after)) = rest.split_first() {
        match rest.strip_prefix(from.as_bytes()) {
            Some(after) => {
                out.extend(to.as_bytes());
                rest = after;
            }
            None => {
                out.push(*octet);
                rest = after;
            }
        }
    }
    out
}

/// Messages and control frames in the order in which they are complete; panics where they are not well-formed.
fn joined(frames: &[Frame]) -> Vec<(u8, Vec<u8>)> {
    let (mut whole, mut under_way) = (Vec::new(), None::<(u8, Vec<u8>)>);
    for (opcode, fin, payload) in frames {
        if *opcode >= 8 {
            assert!(*fin && payload.len() <= 125);
            whole.push((*opcode, payload.clone()));
            continue;
        }
        assert!(*fin || !payload.is_empty(), "a fragment for nothing");
        assert_eq!(*opcode == 0, under_way.is_some(), "{frames:?}");
        under_way.get_or_insert((*opcode, Vec::new())).1.extend(payload);
        if *fin {
            whole.extend(under_way.take());
        }
    }
    assert!(under_way.is_none());
    whole
}

/// What comes of `octets` in chunks that end at `cuts`, and the secrets told of.
fn passed(reframer: &mut Reframer, octets: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<String>) {
    let mut out = Output::default();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([octets.len()]) {
        reframer.push(BytesMut::from(&octets[from..cut]), &mut out).unwrap();
        from = cut;
    }
    (out.octets.to_vec(), out.injected)
}

/// A message of pieces, and where it is cut into fragments, each after a ping or none.
#[derive(Clone, Debug)]
struct Message {
    text: bool,
    pieces: Vec<Piece>,
    fragments: Vec<(Index, Option<u8>)>,
}

#[derive(Clone, Debug)]
enum Piece {
    /// Of the secret of this index so many octets, or all.
    Value(Index, Option<Index>),
    Placeholder(Index, Option<Index>),
    Other(String),
}

fn piece() -> impl Strategy<Value = Piece> {
    let cut = proptest::option::weighted(0.3, any::<Index>());
    prop_oneof![
        (any::<Index>(), cut.clone()).prop_map(|(which, cut)| Piece::Value(which, cut)),
        (any::<Index>(), cut).prop_map(|(which, cut)| Piece::Placeholder(which, cut)),
        select(vec!["{\"", "[", " ", "é€😀", "\r\n", "-", "clean text"])
            .prop_map(|text| Piece::Other(text.to_owned())),
        "[a-z0-9]{0,200}".prop_map(Piece::Other),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let fragments = vec((any::<Index>(), proptest::option::weighted(0.3, any::<u8>())), 0..5);
    (any::<bool>(), vec(piece(), 0..6), fragments).prop_map(|(text, pieces, fragments)| Message {
        text,
        pieces,
        fragments,
    })
}

impl Message {
    fn octets(&self, world: &World) -> Vec<u8> {
        // Not in the middle of an escape: a placeholder behind that one would stay.
        let part = |whole: &str, cut: &Option<Index>| {
            let part = &whole.as_bytes()[..cut.map_or(whole.len(), |cut| cut.index(whole.len()))];
            part.strip_suffix(b"\\").unwrap_or(part).to_vec()
        };
        let octets = |piece: &Piece| match piece {
            Piece::Value(which, cut) => part(&which.get(&world.pairs).0, cut),
            Piece::Placeholder(which, cut) => part(&which.get(&world.pairs).1, cut),
            Piece::Other(text) => text.clone().into_bytes(),
        };
        self.pieces.iter().flat_map(octets).collect()
    }

    /// The frames of it, pings among them.
    fn frames(&self, world: &World) -> Vec<Frame> {
        let octets = self.octets(world);
        let mut cuts: Vec<_> =
            self.fragments.iter().map(|(at, ping)| (at.index(octets.len() + 1), *ping)).collect();
        cuts.sort_unstable();
        let (mut frames, mut from) = (Vec::new(), 0);
        let mut opcode = if self.text { 1 } else { 2 };
        for (cut, ping) in cuts {
            frames.push((std::mem::take(&mut opcode), false, octets[from..cut].to_vec()));
            frames.extend(ping.map(|octet| (9, true, vec![octet; usize::from(octet) % 126])));
            from = cut;
        }
        frames.push((opcode, true, octets[from..].to_vec()));
        frames
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nothing,
    Scrub,
    Inject,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_changed_as_a_whole_whatever_their_fragments_and_chunks(
        messages in vec(message(), 1..4),
        kind in select(vec![Kind::Nothing, Kind::Scrub, Kind::Inject]),
        values in select(vec![&[EQUAL][..], &[EQUAL, SHORT], &[SHORT]]),
        collected in select(vec![0, 20, 64 << 10]),
        cuts in vec(any::<Index>(), 0..12),
        single in proptest::bool::weighted(0.2),
    ) {
        let world = World::new(values);
        let (speaker, change) = match kind {
            Kind::Nothing => (Speaker::Client, Change::Nothing),
            Kind::Scrub => (Speaker::Server, world.scrub()),
            Kind::Inject => (Speaker::Client, world.inject()),
        };
        let frames: Vec<_> = messages.iter().flat_map(|message| message.frames(&world)).collect();
        let octets = frames.iter().flat_map(|frame| encoded(speaker, frame)).collect::<Vec<_>>();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
        cuts.sort_unstable();
        if single {
            cuts = (0..octets.len()).collect();
        }
        let (out, told) = passed(&mut Reframer::new(speaker, change, collected), &octets, &cuts);
        let (got, rest) = decoded(speaker, &out);
        prop_assert_eq!(rest, 0);
        let mut expected: Vec<(u8, Vec<u8>)> = Vec::new();
        for message in &messages {
            let frames = message.frames(&world);
            expected.extend(frames.iter().filter(|frame| frame.0 == 9).map(|frame| (9, frame.2.clone())));
            let text = message.octets(&world);
            let text = match kind {
                Kind::Nothing => text,
                Kind::Scrub => world.scrubbed(&text),
                Kind::Inject if message.text => world.injected(&text),
                Kind::Inject => text,
            };
            expected.push((if message.text { 1 } else { 2 }, text));
        }
        prop_assert_eq!(joined(&got), expected);
        let placed = |message: &&Message| {
            let text = message.octets(&world);
            message.text && world.injected(&text) != text
        };
        let is_injected = matches!(kind, Kind::Inject) && messages.iter().any(|message| placed(&message));
        prop_assert_eq!(!told.is_empty(), is_injected);
    }

    #[test]
    fn no_octets_panic_and_a_fault_is_the_same_at_every_split(
        octets in vec(prop_oneof![select(vec![0x81_u8, 0x01, 0x80, 0x89, 0x88, 0x00, 0x02, 0x7e]), any::<u8>()], 0..40),
        scrub in any::<bool>(),
    ) {
        let world = World::new(&[SHORT]);
        let (speaker, change) =
            if scrub { (Speaker::Server, world.scrub()) } else { (Speaker::Server, Change::Nothing) };
        let fault = |size: usize| {
            let mut reframer = Reframer::new(speaker, change.clone(), 10);
            let mut out = Output::default();
            let mut chunks = octets.chunks(size);
            let fault = chunks.find_map(|chunk| reframer.push(BytesMut::from(chunk), &mut out).err());
            let (frames, _) = decoded(speaker, &out.octets);
            (fault, frames.last().is_some_and(|frame| frame.0 == 8))
        };
        let whole = fault(octets.len().max(1));
        prop_assert_eq!(fault(1), whole.clone());
        prop_assert_eq!(fault(3), whole);
    }
}

#[test]
fn a_whole_frame_goes_on_as_one_whatever_its_chunks() {
    for values in [&[EQUAL][..], &[SHORT]] {
        let world = World::new(values);
        let (value, own) = &world.pairs[0];
        for (speaker, change, text, expected) in [
            (
                Speaker::Server,
                world.scrub(),
                format!("<{value}> {}", &value[..5]),
                format!("<{own}> {}", &value[..5]),
            ),
            (
                Speaker::Client,
                world.inject(),
                format!("<{own}> {}", &own[..5]),
                format!("<{value}> {}", &own[..5]),
            ),
        ] {
            let octets = encoded(speaker, &(1, true, text.clone().into_bytes()));
            for cut in 0..=octets.len() {
                let mut reframer = Reframer::new(speaker, change.clone(), 1 << 10);
                let (out, _) = passed(&mut reframer, &octets, &[cut]);
                assert_eq!(
                    decoded(speaker, &out).0,
                    [(1, true, expected.clone().into_bytes())],
                    "cut at {cut}"
                );
                assert!(reframer.is_between_frames());
            }
        }
    }
}

#[test]
fn every_frame_of_ours_has_a_mask_of_its_own() {
    let octets = encoded(Speaker::Client, &(2, true, vec![0; 8])).repeat(20);
    let (out, _) = passed(&mut Reframer::new(Speaker::Client, Change::Nothing, 0), &octets, &[]);
    let mut keys: Vec<_> = out.chunks(octets.len() / 20).map(|frame| frame[2..6].to_vec()).collect();
    keys.extend(octets.get(2..6).map(<[u8]>::to_vec));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 21);
}

#[test]
fn a_long_frame_streams_and_nothing_but_a_beginning_waits() {
    // Of 2^62 octets only the first ever come.
    let mut head = vec![0x82, 127];
    head.extend((1_u64 << 62).to_be_bytes());
    for values in [&[EQUAL][..], &[SHORT]] {
        let world = World::new(values);
        let value = &world.pairs[0].0;
        let mut reframer = Reframer::new(Speaker::Server, world.scrub(), 1 << 10);
        let mut out = Output::default();
        reframer.push(BytesMut::from(&head[..]), &mut out).unwrap();
        let text = "x".repeat(5_000) + &value[..6];
        reframer.push(BytesMut::from(text.as_bytes()), &mut out).unwrap();
        assert!(
            out.octets.ends_with(b"xxx")
                && out.octets.iter().filter(|octet| **octet == b'x').count() == 5_000
        );
        out.octets.clear();
        reframer.push(BytesMut::from(&value.as_bytes()[6..]), &mut out).unwrap();
        assert!(out.octets.ends_with(world.pairs[0].1.as_bytes()));
    }
}

#[test]
fn control_frames_pass_a_waiting_fragment_and_are_scrubbed_too() {
    let world = World::new(&[SHORT, EQUAL]);
    let mut reframer = Reframer::new(Speaker::Server, world.scrub(), 1 << 10);
    let mut push = |frame: Frame| {
        let (out, _) = passed(&mut reframer, &encoded(Speaker::Server, &frame), &[]);
        decoded(Speaker::Server, &out).0
    };
    assert_eq!(push((1, false, SHORT[..4].into())), []);
    assert_eq!(push((9, true, b"are you there".to_vec())), [(9, true, b"are you there".to_vec())]);
    let (value, own) = &world.pairs[0];
    assert_eq!(push((10, true, value.clone().into())), [(10, true, own.clone().into())]);
    assert_eq!(push((0, true, SHORT[4..].into())), [(1, true, own.clone().into())]);
    // Longer than a control frame may be: cut, not in the middle of a character.
    let body = [&[3, 232], format!("{SHORT}{SHORT}{}", "é".repeat(45)).as_bytes()].concat();
    let got = push((8, true, body));
    let [(8, true, payload)] = &got[..] else { panic!("{got:?}") };
    let text = std::str::from_utf8(&payload[2..]).unwrap();
    assert!(payload.len() == 124 && payload[..2] == [3, 232], "{payload:?}");
    assert_eq!(text.matches(own.as_str()).count(), 2);
    assert_eq!(push((1, true, b"too late".to_vec())), []);
}

#[test]
fn a_sequence_that_may_not_be_is_refused_and_what_came_before_it_is_not_lost() {
    let client = |frame| encoded(Speaker::Client, &frame);
    for (frames, fault) in [
        ([client((1, false, vec![])), client((1, true, vec![]))], FrameError::Interleaved),
        ([client((1, true, vec![])), client((0, true, vec![]))], FrameError::Continuation),
        ([client((1, true, vec![])), client((8, true, vec![3]))], FrameError::HalfCode),
        ([client((1, true, vec![])), client((9, false, vec![]))], FrameError::FragmentedControl),
        ([client((1, true, vec![])), vec![0xc1, 0x80]], FrameError::Reserved),
        ([client((1, true, vec![])), vec![0x81, 0x00]], FrameError::Unmasked),
        ([client((1, true, vec![])), vec![0x83, 0x80]], FrameError::Opcode(3)),
    ] {
        let mut reframer = Reframer::new(Speaker::Client, Change::Nothing, 10);
        let mut out = Output::default();
        let chunk = [client((2, true, b"first".to_vec())), frames.concat()].concat();
        assert_eq!(reframer.push(BytesMut::from(&chunk[..]), &mut out), Err(fault));
        assert_eq!(decoded(Speaker::Client, &out.octets).0[0], (2, true, b"first".to_vec()));
    }
}

#[test]
fn another_change_is_for_the_next_message() {
    let world = World::new(&[EQUAL]);
    let (value, own) = &world.pairs[0];
    let mut reframer = Reframer::new(Speaker::Client, Change::Nothing, 1 << 10);
    let frames = |texts: [&str; 2]| texts.map(|text| (1, true, text.as_bytes().to_vec()));
    let client = |frame| encoded(Speaker::Client, frame);
    let octets = frames([own, own]).iter().flat_map(client).collect::<Vec<_>>();
    let mut out = Output::default();
    let (first, second) = octets.split_at(9);
    reframer.push(BytesMut::from(first), &mut out).unwrap();
    reframer.change_to(world.inject());
    reframer.push(BytesMut::from(second), &mut out).unwrap();
    assert_eq!(decoded(Speaker::Client, &out.octets).0, frames([own, value]));
    assert_eq!(out.injected, ["S0"]);
}
