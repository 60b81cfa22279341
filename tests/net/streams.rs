//! Bytes through connections: backpressure, both directions, bad cables, lent rings, datagrams.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use portcullis::net::{Arrival, Config, Unreachable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::{Bed, V4, V6, address, kind, noise};
use super::run;
use crate::guest::Frozen;
use crate::lossy::{Faults, Lossy};

#[test]
fn directions_do_not_wait_for_each_other() {
    run(async {
        let mut bed = Bed::new();
        let (theirs, ours) = bed.connected(V6).await;
        let (up, down) = (noise(3_000_000, 2), noise(4_000_000, 3));
        let (mut guest_reads, mut guest_writes) = tokio::io::split(theirs);
        let (mut our_reads, mut our_writes) = tokio::io::split(ours);
        let (expected_up, expected_down) = (up.clone(), down.clone());
        let writers = tokio::task::spawn_local(async move {
            tokio::join!(
                async {
                    guest_writes.write_all(&up).await.unwrap();
                    guest_writes.shutdown().await.unwrap();
                },
                async {
                    our_writes.write_all(&down).await.unwrap();
                    our_writes.shutdown().await.unwrap();
                }
            );
            (guest_writes, our_writes)
        });
        let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
        let (a, b) = tokio::join!(our_reads.read_to_end(&mut got_up), guest_reads.read_to_end(&mut got_down));
        assert_eq!((a.unwrap(), b.unwrap()), (expected_up.len(), expected_down.len()));
        assert!(got_up == expected_up && got_down == expected_down);
        writers.await.unwrap();
        assert_eq!(bed.counters.stats().retransmits, 0);
    });
}

#[test]
fn guest_that_never_reads_does_not_stop_its_own_upload() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, ours) = bed.connected(V4).await;
        let (mut our_reads, mut our_writes) = tokio::io::split(ours);
        let flood = tokio::task::spawn_local(async move {
            let block = vec![7; 64 << 10];
            while our_writes.write_all(&block).await.is_ok() {}
        });
        let up = noise(2_000_000, 4);
        let expected = up.clone();
        let writer = tokio::task::spawn_local(async move {
            theirs.write_all(&up).await.unwrap();
            theirs
        });
        let mut received = vec![0; expected.len()];
        our_reads.read_exact(&mut received).await.unwrap();
        assert!(received == expected);
        assert!(!flood.is_finished(), "the guest's window is the backpressure");
        drop(writer.await.unwrap());
        flood.abort();
    });
}

#[test]
fn closed_window_opens_again_without_a_timer() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, mut ours) = bed.connected(V4).await;
        let up = noise(2_000_000, 5);
        let expected = up.clone();
        let writer = tokio::task::spawn_local(async move {
            theirs.write_all(&up).await.unwrap();
            theirs
        });
        // Long enough for the guest to fill our ring and its own, and to be in its persist timer.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!writer.is_finished());
        let before = tokio::time::Instant::now();
        let mut received = vec![0; expected.len()];
        ours.read_exact(&mut received).await.unwrap();
        assert!(received == expected);
        assert!(before.elapsed() < Duration::from_millis(50), "{:?}", before.elapsed());
        writer.await.unwrap();
    });
}

#[test]
fn frozen_guest_loses_nothing() {
    run(async {
        let config = Config::for_slot(3);
        let (ours, theirs) = super::bed::cable(8, 1500);
        let mut bed = Bed::plug(ours, theirs, config);
        let (mut theirs, mut ours) = bed.connected(V4).await;
        bed.guest.freeze(Frozen::Yes);
        let answer = noise(600_000, 9);
        ours.write_all(&answer).await.unwrap();
        ours.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        bed.guest.freeze(Frozen::No);
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        assert!(received == answer);
        assert_eq!(bed.counters.stats().dropped.egress, 0);
    });
}

#[test]
fn loss_reordering_and_doubles_change_no_byte() {
    for (to, seed) in [(V4, 11), (V6, 12), (V4, 13), (V6, 14)] {
        run(async {
            let config = Config { seed, ..Config::for_slot(3) };
            let (ours, theirs) = super::bed::cable(256, 1500);
            let faults = Faults { lost: 10, doubled: 20, late: 30 };
            let mut bed = Bed::plug(Lossy::new(ours, faults, seed), theirs, config);
            let (theirs, ours) = bed.connected(to).await;
            let (up, down) = (noise(400_000, seed), noise(500_000, seed + 100));
            let (mut guest_reads, mut guest_writes) = tokio::io::split(theirs);
            let (mut our_reads, mut our_writes) = tokio::io::split(ours);
            let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
            tokio::join!(
                async {
                    guest_writes.write_all(&up).await.unwrap();
                    guest_writes.shutdown().await.unwrap();
                },
                async {
                    our_writes.write_all(&down).await.unwrap();
                    our_writes.shutdown().await.unwrap();
                },
                async { our_reads.read_to_end(&mut got_up).await.unwrap() },
                async { guest_reads.read_to_end(&mut got_down).await.unwrap() },
            );
            assert!(got_up == up && got_down == down);
            assert!(bed.counters.stats().retransmits > 0);
        });
    }
}

#[test]
fn rings_are_lent_to_the_caller() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, mut ours) = bed.connected(V4).await;
        theirs.write_all(b"lent").await.unwrap();
        let mut seen = Vec::new();
        let taken = poll_fn(|cx| {
            ours.poll_drain(cx, |octets| {
                seen.extend_from_slice(octets);
                Ok(2)
            })
        });
        assert_eq!((taken.await.unwrap(), seen.as_slice()), (2, &b"lent"[..]));
        let mut rest = [0; 2];
        ours.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"nt");
        let refused = poll_fn(|cx| ours.poll_fill(cx, |_| Err(io::ErrorKind::WouldBlock.into()))).await;
        assert_eq!(kind(refused), io::ErrorKind::WouldBlock);
        let filled = poll_fn(|cx| {
            ours.poll_fill(cx, |room| {
                room[..4].copy_from_slice(b"back");
                Ok(4)
            })
        });
        assert_eq!(filled.await.unwrap(), 4);
        let mut back = [0; 4];
        theirs.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"back");
    });
}

#[test]
fn datagrams_to_port_53_are_answered_and_others_unreachable_when_refused() {
    for (dns, other) in [("9.9.9.9:53", "9.9.9.9:123"), ("[2001:db8::9]:53", "[2001:db8::9]:443")] {
        run(async {
            let mut bed = Bed::new();
            let guest = bed.guest.clone();
            let question = tokio::task::spawn_local(async move {
                let answer = guest.udp_exchange(address(dns), b"question").await;
                let refused = guest.udp_exchange(address(other), b"time?").await;
                (answer, refused)
            });
            let Some(Arrival::Datagram(datagram)) = bed.arrivals.next().await else { panic!() };
            assert_eq!((datagram.destination(), datagram.payload()), (address(dns), &b"question"[..]));
            assert!(datagram.reply_capacity() >= 1232);
            datagram.reply(b"answer");
            let Some(Arrival::Association(other)) = bed.arrivals.next().await else { panic!() };
            other.refuse(Unreachable::Port);
            let (answer, refused) = question.await.unwrap();
            assert_eq!(answer.unwrap(), b"answer");
            assert_eq!(kind(refused), io::ErrorKind::ConnectionRefused);
            let stats = bed.counters.stats();
            assert_eq!((stats.datagrams, stats.dropped.udp), (1, 1));
        });
    }
}
