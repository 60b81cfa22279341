//! Connections into the guest, by hand: our SYN, right and wrong answers to it, and the ports it comes from.

use super::*;
use crate::link::Family;
use crate::net::emit::Bare;
use crate::net::table::Key;

/// The guest's port.
const PORT: u16 = 80;

/// A bed and the gateway's end of a connection that waits for its answer.
struct Dialled {
    bed: Bed,
    id: FlowId,
    port: u16,
    first: u32,
}

fn bed(offload: Offload, family: Family, limits: Limits) -> Bed {
    let gateway = Config::for_slot(9).gateway(family);
    Bed::new(offload, &gateway.to_string(), limits)
}

fn dial(offload: Offload, family: Family) -> Dialled {
    let mut bed = bed(offload, family, Limits::default());
    let id = bed.stack.connect(family, PORT).unwrap();
    bed.turn();
    let (syn, ..) = bed.sent().expect("a SYN");
    assert_eq!((syn.flags, syn.destination_port, syn.window), (Flags(Flags::SYN), PORT, u16::MAX));
    Dialled { id, port: syn.source_port, first: syn.sequence, bed }
}

impl Dialled {
    /// The guest answers with a SYN that acknowledges `acknowledgment`, or nothing.
    fn answer(&mut self, acknowledgment: Option<u32>) {
        let syn = Syn {
            source_port: PORT,
            destination_port: self.port,
            sequence: 7_000,
            acknowledgment,
            window: 64_000,
            mss: 1_400,
            scale: Some(7),
            selective: true,
        };
        let mut frame = Vec::new();
        emit::syn(&mut frame, &self.bed.ends(), (self.bed.guest(), self.bed.to), &syn, 1_400);
        self.bed.receive(&frame);
        self.bed.turn();
    }

    fn send(&mut self, flags: u8, acknowledgment: u32) {
        let bare = Bare {
            source_port: PORT,
            destination_port: self.port,
            sequence: 7_001,
            acknowledgment,
            flags,
            window: u16::MAX,
        };
        let mut frame = Vec::new();
        emit::tcp(&mut frame, &self.bed.ends(), (self.bed.guest(), self.bed.to), &bare);
        self.bed.receive(&frame);
        self.bed.turn();
    }

    fn connected(&mut self) -> Poll<io::ErrorKind> {
        match self.bed.stack.poll_connected(self.id, Waker::noop()) {
            Poll::Ready(Ok(())) => panic!("connected"),
            Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_connected(&mut self) -> bool {
        matches!(self.bed.stack.poll_connected(self.id, Waker::noop()), Poll::Ready(Ok(())))
    }
}

/// The MSS option of a frame whose options begin with it.
fn announced(frame: &[u8], family: Family) -> u16 {
    let start = ETHERNET + TCP + if family == Family::V4 { frame::IPV4 } else { frame::IPV6 };
    assert_eq!(frame[start..start + 2], [2, 4]);
    u16::from_be_bytes([frame[start + 2], frame[start + 3]])
}

#[test]
fn our_syn_announces_what_the_guests_mtu_takes_and_segments_are_cut_to_what_the_guest_says() {
    for (family, mss) in [(Family::V4, 1_460), (Family::V6, 1_440)] {
        for offload in [Offload::None, Offload::Vnet] {
            let mut bed = bed(offload, family, Limits::default());
            let id = bed.stack.connect(family, PORT).unwrap();
            bed.turn();
            assert_eq!(announced(&bed.link.sent[0].0, family), mss, "{family:?} {offload:?}");
            let (syn, ..) = bed.sent().unwrap();
            let mut dialled = Dialled { id, port: syn.source_port, first: syn.sequence, bed };
            dialled.answer(Some(syn.sequence.wrapping_add(1)));
            assert!(dialled.is_connected());
            let (ack, ..) = dialled.bed.sent().unwrap();
            assert_eq!((ack.flags, ack.acknowledgment), (Flags(Flags::ACK), 7_001));
            assert_eq!(dialled.bed.write(id, &noise(40_000)), 40_000);
            dialled.bed.turn();
            let (segment, payload, partial) = dialled.bed.sent().unwrap();
            match offload {
                Offload::None => assert_eq!((payload.len(), segment.payload), (1_400, 1_400)),
                Offload::Vnet => {
                    assert_eq!(payload.len(), 40_000, "one frame, cut by the link");
                    assert_eq!(partial.unwrap().segment.unwrap().get(), 1_400);
                }
            }
        }
    }
}

#[test]
fn unanswered_syn_is_sent_again_and_a_right_answer_still_connects() {
    let mut dialled = dial(Offload::None, Family::V4);
    dialled.bed.now += Duration::from_millis(900);
    dialled.bed.turn();
    assert!(dialled.bed.sent().is_none());
    dialled.bed.now += Duration::from_millis(600);
    dialled.bed.turn();
    let (again, ..) = dialled.bed.sent().expect("the SYN again");
    assert_eq!((again.flags, again.sequence), (Flags(Flags::SYN), dialled.first));
    assert_eq!(dialled.bed.stack.stats().retransmits, 1);
    dialled.answer(Some(dialled.first.wrapping_add(1)));
    assert!(dialled.is_connected());
}

#[test]
fn what_acknowledges_another_number_is_reset_and_changes_nothing() {
    let mut dialled = dial(Offload::None, Family::V6);
    let wrong = dialled.first.wrapping_add(2);
    dialled.answer(Some(wrong));
    let (reset, ..) = dialled.bed.sent().expect("a reset");
    assert_eq!((reset.flags, reset.sequence), (Flags(Flags::RST), wrong));
    dialled.send(Flags::ACK, dialled.first);
    assert_eq!(dialled.bed.sent().expect("a reset").0.flags, Flags(Flags::RST));
    dialled.send(Flags::RST | Flags::ACK, wrong);
    assert!(dialled.bed.sent().is_none(), "a reset is not answered");
    assert_eq!(dialled.connected(), Poll::Pending);
    dialled.answer(Some(dialled.first.wrapping_add(1)));
    assert!(dialled.is_connected());
    assert_eq!(dialled.bed.stack.stats().retransmits, 0);
}

#[test]
fn syn_of_the_guests_own_is_no_answer_and_begins_nothing() {
    let mut dialled = dial(Offload::None, Family::V4);
    dialled.answer(None);
    dialled.send(Flags::RST, 0);
    dialled.send(Flags::FIN, 0);
    // The right number without a SYN: an old connection of the same ends.
    dialled.send(Flags::ACK, dialled.first.wrapping_add(1));
    assert!(dialled.bed.sent().is_none());
    assert!(dialled.bed.arrival().is_none());
    assert_eq!(dialled.connected(), Poll::Pending);
    assert_eq!(dialled.bed.stack.stats().dropped.stray, 4);
    assert_eq!(dialled.bed.stack.stats().flows, 1);
    // Its stack opens at the same time: the answer to our SYN connects the two.
    dialled.answer(Some(dialled.first.wrapping_add(1)));
    assert!(dialled.is_connected());
}

#[test]
fn refusal_ends_it_at_once() {
    let mut dialled = dial(Offload::None, Family::V4);
    dialled.send(Flags::RST | Flags::ACK, dialled.first.wrapping_add(1));
    assert_eq!(dialled.connected(), Poll::Ready(io::ErrorKind::ConnectionRefused));
    dialled.bed.stack.release(dialled.id);
    let stats = dialled.bed.stack.stats();
    assert_eq!((stats.flows, stats.connections, stats.connections_refused), (0, 0, 1));
}

#[test]
fn answer_to_a_connection_that_was_given_up_is_reset() {
    let mut dialled = dial(Offload::None, Family::V4);
    dialled.bed.stack.release(dialled.id);
    dialled.bed.turn();
    assert!(dialled.bed.sent().is_none());
    let stats = dialled.bed.stack.stats();
    assert_eq!((stats.flows, stats.connections, stats.flows_closed), (0, 0, 1));
    let acknowledged = dialled.first.wrapping_add(1);
    dialled.answer(Some(acknowledged));
    let (reset, ..) = dialled.bed.sent().expect("a reset");
    assert_eq!((reset.flags, reset.sequence), (Flags(Flags::RST), acknowledged));
}

#[test]
fn ports_follow_each_other_and_those_in_use_or_used_lately_are_passed_over() {
    let mut bed = bed(Offload::None, Family::V4, Limits::default());
    let port = |bed: &mut Bed| {
        let id = bed.stack.connect(Family::V4, PORT).unwrap();
        (id, bed.stack.addresses(id).unwrap().1.port())
    };
    bed.stack.connections = super::super::connect::Connections::new(0);
    assert_eq!(port(&mut bed).1, 32_768);
    bed.stack.connections = super::super::connect::Connections::new(u64::MAX);
    let (last, at) = port(&mut bed);
    assert_eq!(at, u16::MAX);
    assert_eq!(port(&mut bed).1, 32_769, "the first is in use");
    let numbers = crate::net::tombstone::Numbers { send_next: 1, receive_next: 1 };
    let key = Key { guest: bed.guest(), guest_port: PORT, destination: bed.to, port: 32_770 };
    bed.stack.tombstones.insert(key, numbers, bed.now);
    assert_eq!(port(&mut bed).1, 32_771);
    bed.stack.release(last);
    // Another port of the guest's is another range.
    bed.stack.connections = super::super::connect::Connections::new(0);
    let id = bed.stack.connect(Family::V4, PORT + 1).unwrap();
    assert_eq!(bed.stack.addresses(id).unwrap().1.port(), 32_768);
}
