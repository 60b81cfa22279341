//! Fragments of the guest: every order, and every way to misuse them; and fragments toward the guest.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::net::Arrival;

use super::run;
use super::udp::read;
use super::wire::{Bed, V4, V6, far};
use crate::guest::{datagram, packet};
use crate::pieces;

/// Where the payload of an IP packet begins.
fn header(packet: &[u8]) -> usize {
    if packet[0] >> 4 == 4 { 20 } else { 40 }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|octet| (octet * 7) as u8).collect()
}

impl Bed {
    /// A UDP datagram of the guest, whole.
    fn whole(&self, to: &str, len: usize) -> Vec<u8> {
        datagram(SocketAddr::new(self.guest(far(to).ip()), 9_000), far(to), &payload(len))
    }

    fn send_all(&mut self, packets: &[Vec<u8>]) {
        for packet in packets {
            let frame = self.frame(packet);
            self.send(&frame);
        }
    }

    /// The payload of the first datagram of a new association.
    async fn arrived(&mut self) -> Option<Vec<u8>> {
        read(&mut self.association().await?.accept()).await
    }
}

/// Cuts a packet into parts of `each` octets.
fn parts(whole: &[u8], each: usize, identification: u16) -> Vec<Vec<u8>> {
    let len = whole.len() - header(whole);
    let starts = (0..len).step_by(each);
    starts.map(|start| pieces::fragment(whole, start..(start + each).min(len), identification)).collect()
}

/// Every order of four things.
fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for code in 0..256_usize {
        let order = [code & 3, (code >> 2) & 3, (code >> 4) & 3, code >> 6];
        if (0..4).all(|number| order.contains(&number)) {
            orders.push(order);
        }
    }
    assert_eq!(orders.len(), 24);
    orders
}

#[test]
fn fragments_make_a_datagram_in_every_order() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let whole = bed.whole(to, 100);
            let parts = parts(&whole, 32, 1);
            assert_eq!(parts.len(), 4);
            for order in orders() {
                for number in order {
                    assert!(bed.association().await.is_none());
                    bed.send_all(&parts[number..=number]);
                }
                assert_eq!(bed.arrived().await.unwrap(), payload(100), "{order:?}");
            }
            let stats = bed.stats();
            assert_eq!((stats.reassembled, stats.fragment_sets, stats.dropped.fragment), (24, 0, 0));
        }
    });
}

#[test]
fn packets_whose_fragments_mix_are_told_apart() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let mut sent = Vec::new();
        for (to, identification) in [(V4, 1), (V4, 2), ("192.0.2.9:443", 1), (V6, 1), (V6, 2)] {
            sent.push(parts(&bed.whole(to, 50), 32, identification));
        }
        for part in [1, 0] {
            for parts in &sent {
                bed.send_all(&parts[part..=part]);
            }
        }
        for _ in 0..3 {
            assert_eq!(bed.arrived().await.unwrap(), payload(50));
        }
        assert_eq!((bed.stats().reassembled, bed.stats().fragment_sets), (5, 0));
    });
}

#[test]
fn largest_datagram_passes_and_one_octet_more_does_not() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let whole = bed.whole(to, 65_507);
            bed.send_all(&parts(&whole, 1_448, 1));
            let mut association = bed.association().await.unwrap().accept();
            assert_eq!(read(&mut association).await.unwrap(), payload(65_507));
            // A last fragment that ends beyond what IP can say.
            let beyond = pieces::piece(&whole, &[0; 64], (65_512, false), 2);
            bed.send_all(&[beyond, pieces::fragment(&whole, 0..64, 2)]);
            assert_eq!((bed.receive().await, bed.stats().dropped.fragment), (None, 2));

            assert!(association.send(&payload(65_507)));
            let mut got = Vec::new();
            while let Some(frame) = bed.receive().await {
                assert!(frame.len() <= 14 + 1_500);
                got.push(frame[14..].to_vec());
            }
            let expected = datagram(far(to), association.source(), &payload(65_507));
            assert_eq!(pieces::joined(&got), (17, expected[header(&expected)..].to_vec()));
            assert!(!association.send(&payload(65_536)));
        }
    });
}

#[test]
fn overlap_spoils_the_packet_for_good() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let whole = bed.whole(to, 100);
            let others = [pieces::fragment(&whole, 0..48, 0), pieces::fragment(&whole, 80..108, 0)];
            let [first, last] = &others;
            let body = &whole[header(&whole)..];
            let overlaps = [(40..56), (0..48), (8..16), (72..88), (0..80)];
            for (number, range) in overlaps.into_iter().enumerate() {
                let named = |packet: &[u8]| rename(packet, 10 + number as u16);
                // Other octets than those that came first, at the same place.
                let mut wrong = body[range.clone()].to_vec();
                wrong.iter_mut().for_each(|octet| *octet ^= 0xff);
                let overlap = pieces::piece(&whole, &wrong, (range.start, true), 0);
                let rest = pieces::fragment(&whole, 48..80, 0);
                let sent: Vec<_> = [first, last, &overlap, &rest, first, last].map(|part| named(part)).into();
                bed.send_all(&sent);
                assert_eq!(bed.receive().await, None);
                assert_eq!(bed.stats().dropped.fragment, 4 * (number as u64 + 1), "{range:?}");
            }
            assert_eq!((bed.stats().reassembled, bed.stats().fragment_sets), (0, 5));
        }
    });
}

/// The same fragment under another identification.
fn rename(fragment: &[u8], identification: u16) -> Vec<u8> {
    let mut fragment = fragment.to_vec();
    if fragment[0] >> 4 == 4 {
        fragment[4..6].copy_from_slice(&identification.to_be_bytes());
        fragment[10..12].fill(0);
        let check = packet::sum(&fragment[..20]).to_be_bytes();
        fragment[10..12].copy_from_slice(&check);
    } else {
        fragment[46..48].copy_from_slice(&identification.to_be_bytes());
    }
    fragment
}

#[test]
fn fragment_that_comes_twice_is_ignored_in_ipv4_and_spoils_in_ipv6() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let parts = parts(&bed.whole(to, 100), 32, 1);
            bed.send_all(&[&parts[..1], &parts[..1], &parts[2..], &parts[2..3], &parts[1..2]].concat());
            let arrived = bed.arrived().await;
            assert_eq!(arrived, (to == V4).then(|| payload(100)));
            assert_eq!(bed.stats().dropped.fragment, if to == V4 { 0 } else { 5 });
        }
    });
}

#[test]
fn fragments_that_contradict_themselves_or_each_other_spoil_the_packet() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let whole = bed.whole(to, 100);
            let first = pieces::fragment(&whole, 0..48, 0);
            let last = pieces::fragment(&whole, 80..108, 0);
            let rest = pieces::fragment(&whole, 48..80, 0);
            let body = |len| vec![0; len];
            let cases = [
                // Not a multiple of eight, empty, beyond the last, a second last one, and one that ends earlier.
                vec![pieces::piece(&whole, &body(9), (48, true), 0)],
                vec![pieces::piece(&whole, &[], (48, true), 0)],
                vec![last.clone(), pieces::piece(&whole, &body(8), (112, true), 0)],
                vec![last.clone(), pieces::piece(&whole, &body(8), (120, false), 0)],
                vec![last.clone(), pieces::piece(&whole, &body(8), (48, false), 0)],
                // A first fragment that does not hold the UDP header.
                vec![pieces::piece(&whole, &[], (0, true), 0)],
            ];
            for (number, case) in cases.into_iter().enumerate() {
                let sent: Vec<_> = case.iter().chain([&first, &last, &rest]).collect();
                let sent: Vec<_> = sent.iter().map(|part| rename(part, 20 + number as u16)).collect();
                bed.send_all(&sent);
                assert_eq!(bed.receive().await, None);
                assert_eq!(bed.stats().reassembled, 0, "case {number}");
            }
            assert_eq!(bed.stats().fragment_sets, 6);
        }
    });
}

#[test]
fn first_fragment_must_hold_the_header_of_its_transport() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let guest = bed.guest(far(to).ip());
            // A SYN with options: 24 octets of header.
            let mut body = vec![0x23, 0x28, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 6 << 4, 2, 0xff, 0xff];
            body.extend([0, 0, 0, 0, 2, 4, 5, 0xb4]);
            let syn = packet::ip(guest, far(to).ip(), 6, body, Some(16));
            for (number, first) in [8, 16].into_iter().enumerate() {
                bed.send_all(&parts(&syn, first, number as u16));
                assert_eq!(bed.receive().await, None);
                assert!(bed.incoming().await.is_none(), "{first} octets");
            }
            let cut = parts(&syn, 8, 3);
            bed.send_all(&[cut[2].clone(), cut[1].clone(), cut[0].clone()]);
            assert!(bed.incoming().await.is_none());
            assert_eq!(bed.stats().flows_opened, 0);
            // Whole in its first fragment, with a payload behind it.
            let mut longer = syn[header(&syn)..].to_vec();
            longer[16..18].fill(0);
            longer.extend([7; 8]);
            let longer = packet::ip(guest, far(to).ip(), 6, longer, Some(16));
            bed.send_all(&parts(&longer, 24, 4));
            assert!(bed.incoming().await.is_some());
        }
    });
}

#[test]
fn atomic_fragment_is_a_whole_packet_whatever_else_has_its_name() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let whole = bed.whole(V6, 100);
        let parts = parts(&whole, 32, 1);
        let atomic = pieces::fragment(&whole, 0..108, 1);
        bed.send_all(&[&parts[..2], &[atomic], &parts[2..]].concat());
        let mut association = bed.association().await.unwrap().accept();
        for _ in 0..2 {
            assert_eq!(read(&mut association).await.unwrap(), payload(100));
        }
        assert_eq!((bed.stats().reassembled, bed.stats().dropped.fragment), (2, 0));
    });
}

#[test]
fn too_many_fragments_spoil_a_packet_and_too_many_packets_the_oldest() {
    run(async {
        let mut bed = Bed::new(Limits { fragments_per_set: 3, fragment_sets: 2, ..Limits::default() });
        let whole = bed.whole(V4, 80);
        bed.send_all(&parts(&whole, 24, 1));
        assert_eq!((bed.receive().await, bed.stats().dropped.fragment), (None, 1));
        let (second, third) = (parts(&whole, 32, 2), parts(&whole, 32, 3));
        bed.send_all(&[&second[..1], &third[..1]].concat());
        assert_eq!(bed.receive().await, None);
        assert_eq!((bed.stats().fragment_sets, bed.stats().fragment_sets_lost), (2, 1));
        bed.send_all(&third[1..]);
        assert_eq!(bed.arrived().await.unwrap(), payload(80));
        bed.send_all(&second[1..]);
        assert_eq!(bed.arrived().await.unwrap(), payload(80));
    });
}

#[test]
fn fragments_are_forgotten_in_time_without_another_frame() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let parts = parts(&bed.whole(to, 100), 32, 1);
            bed.send_all(&parts[..3]);
            tokio::time::sleep(Duration::from_millis(9_900)).await;
            assert_eq!(bed.stats().fragment_sets, 1);
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!((bed.stats().fragment_sets, bed.stats().fragment_sets_lost), (0, 1));
            bed.send_all(&parts[3..]);
            assert!(bed.association().await.is_none());
            bed.send_all(&parts[..3]);
            assert_eq!(bed.arrived().await.unwrap(), payload(100));
            assert_eq!(bed.stats().fragment_sets, 0);
        }
    });
}

#[test]
fn ndp_in_fragments_is_not_answered() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, gateway) = (bed.config.guest_v6.into(), bed.config.gateway_v6);
        let body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &gateway.octets()].concat();
        let mut solicitation = packet::ip(guest, gateway.into(), 58, body, Some(2));
        solicitation[7] = 255;
        bed.send_all(&[pieces::fragment(&solicitation, 0..24, 1)]);
        assert_eq!((bed.receive().await, bed.stats().reassembled), (None, 1));
        bed.send_all(&[solicitation]);
        assert!(bed.receive().await.is_some());
    });
}

#[test]
fn question_in_fragments_reaches_the_dns_service_and_its_answer_is_cut() {
    run(async {
        for to in ["9.9.9.9:53", "[2001:db8::9]:53"] {
            let mut bed = Bed::new(Limits::default());
            let parts = parts(&bed.whole(to, 600), 512, 1);
            bed.send_all(&parts);
            let Some(Arrival::Datagram(question)) = bed.arrivals.next().await else { panic!() };
            assert_eq!(question.payload(), payload(600));
            question.reply(&payload(3_000));
            let mut got = Vec::new();
            while let Some(frame) = bed.receive().await {
                got.push(frame[14..].to_vec());
            }
            assert_eq!(got.len(), 3);
            assert_eq!(pieces::joined(&got).1[8..], payload(3_000));
        }
    });
}

#[test]
fn datagram_is_cut_whole_or_not_at_all() {
    run(async {
        let mut bed = Bed::new(Limits { egress_frames: 10, ..Limits::default() });
        bed.datagram(9_000, V4, b"?");
        let mut association = bed.association().await.unwrap().accept();
        // Three frames each.
        let sent = (0..5).filter(|_| association.send(&payload(4_000))).count();
        assert_eq!((sent, bed.stats().dropped.egress), (3, 2));
        let mut got = Vec::new();
        while let Some(frame) = bed.receive().await {
            got.push(frame[14..].to_vec());
        }
        assert_eq!(got.len(), 9);
        let mut names: Vec<_> = got.chunks(3).map(|parts| parts[0][4..6].to_vec()).collect();
        names.dedup();
        assert_eq!(names.len(), 3, "each packet has an identification of its own");
        for parts in got.chunks(3) {
            assert_eq!(pieces::joined(parts).1[8..], payload(4_000));
        }
    });
}
