//! UDP associations: held, judged, relayed, bounded, and gone without a trace.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::net::{Association, Carried, Unreachable};

use super::run;
use super::wire::{Bed, V4, V6, far};
use crate::guest::{datagram, packet};

/// The next payload; none if there is none, or the association is over.
pub(crate) async fn read(association: &mut Association) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let received = association.receive(&mut buffer);
    let len = tokio::time::timeout(Duration::from_millis(1), received).await.ok()??;
    buffer.truncate(len);
    Some(buffer)
}

/// Whether an association says that it is over.
async fn is_over(association: &mut Association) -> bool {
    let mut buffer = [0; 4];
    let received = association.receive(&mut buffer);
    matches!(tokio::time::timeout(Duration::from_millis(1), received).await, Ok(None))
}

#[test]
fn datagrams_of_one_pair_share_an_association_both_ways() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            bed.datagram(9_000, to, b"one");
            bed.datagram(9_000, to, b"");
            let new = bed.association().await.unwrap();
            assert_eq!(new.carried(), Carried::Udp);
            assert_eq!(
                (new.source(), new.destination()),
                (SocketAddr::new(bed.guest(far(to).ip()), 9_000), far(to))
            );
            let mut association = new.accept();
            bed.datagram(9_000, to, b"three");
            for payload in [&b"one"[..], b"", b"three"] {
                assert_eq!(read(&mut association).await.unwrap(), payload);
            }
            assert_eq!(read(&mut association).await, None);
            assert!(bed.association().await.is_none(), "one association for all of them");

            assert!(association.send(b"answer"));
            let frame = bed.receive().await.unwrap();
            let sent = datagram(far(to), association.source(), b"answer");
            assert_eq!(frame[14..], sent);
            assert_eq!(frame[..12], [bed.config.guest_mac, bed.config.gateway_mac].concat());
            assert_eq!((bed.stats().associations, bed.stats().associations_opened), (1, 1));

            drop(association);
            bed.datagram(9_000, to, b"again");
            let mut again = bed.association().await.unwrap().accept();
            assert_eq!(read(&mut again).await.unwrap(), b"again");
        }
    });
}

#[test]
fn each_guest_port_destination_and_port_is_an_association_of_its_own() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let ends = [
            (9_000, "192.0.2.1:443"),
            (9_001, "192.0.2.1:443"),
            (9_000, "192.0.2.2:443"),
            (9_000, "192.0.2.1:444"),
            (9_000, "[2001:db8::1]:443"),
        ];
        let mut open = Vec::new();
        for (port, to) in ends {
            bed.datagram(port, to, format!("{port} {to}").as_bytes());
            open.push(bed.association().await.unwrap().accept());
        }
        for ((port, to), association) in ends.iter().zip(&mut open) {
            assert_eq!((association.source().port(), association.destination()), (*port, far(to)));
            assert_eq!(read(association).await.unwrap(), format!("{port} {to}").as_bytes());
        }
        assert_eq!(bed.stats().associations, 5);
    });
}

#[test]
fn reader_that_waits_is_woken_by_a_datagram_and_by_the_end_of_the_link() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        bed.datagram(9_000, V4, b"first");
        let mut association = bed.association().await.unwrap().accept();
        let reader = tokio::task::spawn_local(async move {
            let (mut buffer, mut got) = ([0; 3], Vec::new());
            while let Some(len) = association.receive(&mut buffer).await {
                got.push(buffer[..len].to_vec());
            }
            assert!(!association.send(b"to nobody"));
            got
        });
        assert_eq!(bed.receive().await, None);
        bed.datagram(9_000, V4, b"second");
        assert_eq!(bed.receive().await, None);
        drop(bed.link);
        assert_eq!(reader.await.unwrap(), [b"fir", b"sec"], "cut to the buffer, as recv(2) does");
        assert_eq!(bed.counters.stats().associations, 0);
    });
}

#[test]
fn refusal_quotes_the_first_datagram_and_leaves_nothing() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let first = datagram(SocketAddr::new(bed.guest(far(to).ip()), 9_000), far(to), &[0xa5; 1_400]);
            let (header, most) = if to == V4 { (20, 576) } else { (40, 1_280) };
            let cases = [
                (Some(Unreachable::Network), [3, 0], [1, 0]),
                (Some(Unreachable::Host), [3, 1], [1, 3]),
                (Some(Unreachable::Port), [3, 3], [1, 4]),
                (Some(Unreachable::Prohibited), [3, 13], [1, 1]),
                (None, [3, 3], [1, 4]),
            ];
            for (why, v4, v6) in cases {
                let frame = bed.frame(&first);
                bed.send(&frame);
                bed.datagram(9_000, to, b"second");
                let new = bed.association().await.unwrap();
                match why {
                    Some(why) => new.refuse(why),
                    None => drop(new),
                }
                let error = bed.receive().await.unwrap()[14..].to_vec();
                assert_eq!(bed.receive().await, None, "one error, for the first");
                assert_eq!(error[header..header + 2], if to == V4 { v4 } else { v6 });
                assert_eq!(error.len(), most);
                assert_eq!(error[header + 8..], first[..most - header - 8]);
                let (from, guest) = (&error[header - if to == V4 { 8 } else { 32 }..header], &first);
                let half = from.len() / 2;
                assert_eq!(from[..half], guest[header - half..header], "in the name of the destination");
            }
            assert_eq!((bed.stats().associations, bed.stats().udp_memory), (0, 0));
            assert_eq!(bed.stats().dropped.udp, 10);
        }
    });
}

#[test]
fn errors_of_the_path_quote_the_last_datagram_read() {
    run(async {
        for to in [V4, V6] {
            let mut bed = Bed::new(Limits::default());
            let header = if to == V4 { 20 } else { 40 };
            let quoted = |error: &[u8]| error[14 + header + 8 + header + 8..].to_vec();
            let kind = |error: &[u8]| error[14 + header..14 + header + 2].to_vec();
            bed.datagram(9_000, to, b"one");
            let mut association = bed.association().await.unwrap().accept();
            association.unreachable(Unreachable::Host);
            assert_eq!(quoted(&bed.receive().await.unwrap()), b"one", "not read yet, but all there is");
            bed.datagram(9_000, to, b"two");
            assert_eq!(bed.receive().await, None);
            assert_eq!(read(&mut association).await.unwrap(), b"one");
            association.unreachable(Unreachable::Port);
            let error = bed.receive().await.unwrap();
            assert_eq!(
                (kind(&error), quoted(&error)),
                (if to == V4 { vec![3, 3] } else { vec![1, 4] }, b"one".to_vec())
            );
            assert_eq!(read(&mut association).await.unwrap(), b"two");
            association.too_big(1_400);
            let error = bed.receive().await.unwrap();
            assert_eq!(
                (kind(&error), quoted(&error)),
                (if to == V4 { vec![3, 4] } else { vec![2, 0] }, b"two".to_vec())
            );
            assert_eq!(error[14 + header + 4..14 + header + 8], 1_400_u32.to_be_bytes());
            association.too_big(600);
            let error = bed.receive().await.unwrap();
            let least = if to == V4 { 600_u32 } else { 1_280 };
            assert_eq!(error[14 + header + 4..14 + header + 8], least.to_be_bytes());
            let sum = if to == V4 { packet::sum(&error[34..]) } else { 0 };
            assert_eq!(sum, 0, "a right checksum");
        }
    });
}

#[test]
fn least_recently_used_association_ends_at_the_cap() {
    run(async {
        let mut bed = Bed::new(Limits { associations: 2, ..Limits::default() });
        let mut open = Vec::new();
        for port in [9_000, 9_001] {
            bed.datagram(port, V4, b"?");
            open.push(bed.association().await.unwrap().accept());
        }
        let [mut first, mut second] = <[Association; 2]>::try_from(open).unwrap();
        // A new one ends none while it waits for its verdict, nor if it is refused.
        bed.datagram(9_002, V4, b"?");
        let third = bed.association().await.unwrap();
        assert_eq!((bed.stats().associations, bed.stats().associations_evicted), (3, 0));
        // Sending is use, as a datagram of the guest is.
        assert!(first.send(b"!"));
        assert!(bed.receive().await.is_some());
        let mut third = third.accept();
        assert_eq!((bed.stats().associations, bed.stats().associations_evicted), (2, 1));
        assert!(is_over(&mut second).await);
        assert!(!second.send(b"!"));
        second.unreachable(Unreachable::Port);
        assert_eq!(bed.receive().await, None);
        assert_eq!(read(&mut first).await.unwrap(), b"?");
        assert_eq!(read(&mut third).await.unwrap(), b"?");

        bed.datagram(9_000, V4, b"use");
        bed.datagram(9_003, V4, b"?");
        let _fourth = bed.association().await.unwrap().accept();
        assert!(is_over(&mut third).await);
        assert_eq!(read(&mut first).await.unwrap(), b"use");
        // The ends of one that is over are free for the next, and its old handle ends nothing.
        bed.datagram(9_001, V4, b"next");
        let mut next = bed.association().await.unwrap().accept();
        drop(second);
        assert_eq!(read(&mut next).await.unwrap(), b"next");
        let stats = bed.stats();
        assert_eq!((stats.associations, stats.associations_evicted), (2, 3));
        // One datagram of `second`, none of the others, was never read.
        assert_eq!(stats.dropped.udp, 1);
    });
}

#[test]
fn associations_without_a_verdict_are_bounded_and_end_no_other() {
    run(async {
        let limits = Limits { associations: 1, associations_held: 2, ..Limits::default() };
        let mut bed = Bed::new(limits);
        bed.datagram(9_000, V4, b"?");
        let mut open = bed.association().await.unwrap().accept();
        for port in 9_001..9_010 {
            bed.datagram(port, V4, b"?");
        }
        assert_eq!(bed.receive().await, None);
        assert_eq!((bed.stats().associations, bed.stats().dropped.datagram), (3, 7));
        assert_eq!(read(&mut open).await.unwrap(), b"?");
        for _ in 0..2 {
            drop(bed.association().await.unwrap());
        }
        bed.datagram(9_001, V4, b"?");
        assert!(bed.association().await.is_some());
    });
}

#[test]
fn queue_of_an_association_is_bounded_in_datagrams_and_in_octets() {
    run(async {
        let octets = Limits { udp_queue_bytes: 3 * 1_028 + 100, ..Limits::default() };
        let memory = Limits { udp_memory: 2 * 2_048 + 1_027, ..Limits::default() };
        for (limits, fit) in [(Limits { udp_queue: 5, ..Limits::default() }, 5), (octets, 3), (memory, 2)] {
            let mut bed = Bed::new(limits);
            for number in 0..8_u8 {
                bed.datagram(9_000, V4, &[number; 1_000]);
            }
            let mut association = bed.association().await.unwrap().accept();
            assert_eq!(bed.receive().await, None);
            assert_eq!(bed.stats().dropped.queue, 8 - fit);
            for number in 0..fit {
                assert_eq!(
                    read(&mut association).await.unwrap(),
                    [number as u8; 1_000],
                    "the first are kept"
                );
            }
            assert_eq!(read(&mut association).await, None);
            bed.datagram(9_000, V4, b"room again");
            assert_eq!(read(&mut association).await.unwrap(), b"room again");
            assert_eq!(bed.stats().udp_memory, 0);
        }
    });
}

#[test]
fn frames_toward_a_guest_that_takes_none_are_bounded() {
    run(async {
        for limits in [
            Limits { egress_frames: 100, ..Limits::default() },
            Limits { egress_bytes: 100 * (14 + 28 + 1_000), ..Limits::default() },
        ] {
            let mut bed = Bed::new(limits);
            bed.datagram(9_000, V4, b"?");
            let mut association = bed.association().await.unwrap().accept();
            let sent = (0..1_000).filter(|_| association.send(&[7; 1_000])).count();
            assert_eq!((sent, bed.stats().dropped.egress), (100, 900));
            let mut received = 0;
            while bed.receive().await.is_some() {
                received += 1;
            }
            assert_eq!(received, 100, "what was taken arrives");
            assert!(association.send(b"again"));
            assert!(bed.receive().await.is_some());
        }
    });
}

#[test]
fn after_thousands_of_associations_nothing_is_left() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let baseline = bed.stats();
        for round in 0..3_000_u32 {
            let to = format!("198.51.100.{}:{}", round % 200, 1_000 + round % 7);
            bed.datagram(2_000 + u16::try_from(round % 5_000).unwrap(), &to, &[1; 900]);
            let new = bed.association().await.unwrap();
            match round % 3 {
                0 => new.refuse(Unreachable::Prohibited),
                1 => drop(new.accept()),
                _ => {
                    let mut association = new.accept();
                    assert_eq!(read(&mut association).await.unwrap().len(), 900);
                    assert!(association.send(b"!"));
                }
            }
            while bed.receive().await.is_some() {}
        }
        let stats = bed.stats();
        assert_eq!((stats.associations, stats.udp_memory), (baseline.associations, baseline.udp_memory));
        assert_eq!((stats.associations_opened, stats.associations_evicted), (3_000, 0));
    });
}

#[test]
fn icmp_errors_are_bounded_in_rate() {
    run(async {
        let mut bed = Bed::new(Limits { icmp_errors: 10, ..Limits::default() });
        for second in 1..=2 {
            for port in 0..30 {
                bed.datagram(9_000 + port, V4, b"?");
                bed.association().await.unwrap().refuse(Unreachable::Port);
            }
            let mut errors = 0;
            while bed.receive().await.is_some() {
                errors += 1;
            }
            assert_eq!((errors, bed.stats().icmp_errors_over_limit), (10, second * 20));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Those that no association is about draw on the same allowance.
        let sctp = packet::ip(bed.guest(far(V4).ip()), far(V4).ip(), 132, vec![0; 12], None);
        let frame = bed.frame(&sctp);
        let mut errors = 0;
        for _ in 0..30 {
            bed.send(&frame);
            errors += usize::from(bed.receive().await.is_some());
        }
        assert_eq!((errors, bed.stats().icmp_errors_over_limit), (10, 60));
    });
}
