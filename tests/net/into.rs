//! Connections into the guest: how they begin, carry, and end.

use std::io;
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::link::Family;
use portcullis::net::{Config, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::{Bed, address, kind, noise};
use super::run;
use crate::guest::{Frozen, GuestStream};
use crate::lossy::{Faults, Lossy};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A connection to a port of the guest's, both ends.
async fn connected(bed: &Bed, family: Family, port: u16) -> (GuestStream, TcpStream) {
    let theirs = bed.guest.listen(port);
    let ours = bed.into.connect(family, port).await.unwrap();
    theirs.accepted().await;
    (theirs, ours)
}

#[test]
fn guest_is_reached_from_the_gateway_and_fins_pass_both_ways() {
    for (family, gateway, guest) in [
        (Family::V4, "172.16.0.13:0", "172.16.0.14:8080"),
        (Family::V6, "[fd70:6f72:7463:3::1]:0", "[fd70:6f72:7463:3::2]:8080"),
    ] {
        run(async {
            let bed = Bed::new();
            let (mut theirs, mut ours) = connected(&bed, family, 8080).await;
            assert_eq!(ours.source(), address(guest));
            assert_eq!(theirs.accepted().await, ours.destination());
            assert_eq!(ours.destination().ip(), address(gateway).ip());
            // Our FIN first: the guest's direction stays open.
            ours.write_all(b"hello").await.unwrap();
            ours.shutdown().await.unwrap();
            let mut request = Vec::new();
            theirs.read_to_end(&mut request).await.unwrap();
            assert_eq!(request, b"hello");
            let answer = noise(700_000, 21);
            let expected = answer.clone();
            let writer = tokio::task::spawn_local(async move {
                theirs.write_all(&answer).await.unwrap();
                theirs.shutdown().await.unwrap();
                theirs
            });
            let mut received = Vec::new();
            ours.read_to_end(&mut received).await.unwrap();
            assert!(received == expected);
            writer.await.unwrap().closed().await;
            drop(ours);
            let stats = bed.counters.stats();
            assert_eq!((stats.flows, stats.connections, stats.connections_opened), (0, 0, 1));
            assert_eq!((stats.flows_closed, stats.retransmits), (1, 0));
        });
    }
}

#[test]
fn guests_fin_leaves_our_direction_open() {
    run(async {
        let bed = Bed::new();
        let (mut theirs, mut ours) = connected(&bed, Family::V4, 22).await;
        theirs.write_all(b"greeting").await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut greeting = Vec::new();
        ours.read_to_end(&mut greeting).await.unwrap();
        assert_eq!(greeting, b"greeting");
        let sent = noise(700_000, 22);
        let expected = sent.clone();
        let writer = tokio::task::spawn_local(async move {
            ours.write_all(&sent).await.unwrap();
            ours.shutdown().await.unwrap();
            ours
        });
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        assert!(received == expected);
        drop(writer.await.unwrap());
        theirs.closed().await;
        assert_eq!(bed.counters.stats().flows, 0);
    });
}

#[test]
fn port_nobody_listens_at_is_refused_at_once() {
    run(async {
        let bed = Bed::new();
        let before = tokio::time::Instant::now();
        for family in FAMILIES {
            assert_eq!(kind(bed.into.connect(family, 81).await), io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(before.elapsed(), Duration::ZERO, "no timer is waited for");
        let stats = bed.counters.stats();
        assert_eq!((stats.flows, stats.connections, stats.connections_refused), (0, 0, 2));
        assert_eq!(kind(bed.into.connect(Family::V4, 0).await), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn resets_pass_both_ways() {
    run(async {
        let bed = Bed::new();
        let (theirs, mut ours) = connected(&bed, Family::V4, 80).await;
        theirs.reset();
        assert_eq!(kind(ours.read(&mut [0; 8]).await), io::ErrorKind::ConnectionReset);
        drop(ours);
        let (mut theirs, ours) = connected(&bed, Family::V6, 81).await;
        drop(ours);
        assert_eq!(kind(theirs.read(&mut [0; 8]).await), io::ErrorKind::ConnectionReset);
        assert_eq!(bed.counters.stats().flows, 0);
    });
}

#[test]
fn connection_given_up_leaves_nothing_and_its_answer_is_reset() {
    run(async {
        let bed = Bed::new();
        let theirs = bed.guest.listen(80);
        bed.guest.freeze(Frozen::Yes);
        let attempt = tokio::time::timeout(Duration::from_secs(10), bed.into.connect(Family::V4, 80));
        assert!(attempt.await.is_err());
        let stats = bed.counters.stats();
        assert_eq!((stats.flows, stats.connections, stats.ring_memory), (0, 0, 0));
        assert!(stats.retransmits >= 2, "{stats:?}");
        // Now it answers, and hears that it is too late; the one after is served.
        bed.guest.freeze(Frozen::No);
        let mut ours = bed.into.connect(Family::V4, 80).await.unwrap();
        assert_eq!(theirs.accepted().await, ours.destination());
        theirs.reset();
        assert_eq!(kind(ours.read(&mut [0; 8]).await), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn loss_reordering_and_doubles_change_no_byte() {
    for (family, seed) in [(Family::V4, 31), (Family::V6, 32), (Family::V4, 33), (Family::V6, 34)] {
        run(async {
            let config = Config { seed, ..Config::for_slot(3) };
            let (ours, theirs) = super::bed::cable(256, 1500);
            let faults = Faults { lost: 10, doubled: 20, late: 30 };
            let bed = Bed::plug(Lossy::new(ours, faults, seed), theirs, config);
            let (theirs, ours) = connected(&bed, family, 80).await;
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
fn handshake_survives_loss() {
    run(async {
        // Every third frame is lost: of thirty handshakes some lose the SYN, some the answer, some the ACK.
        let (ours, theirs) = super::bed::cable(256, 1500);
        let bed = Bed::plug(
            Lossy::new(ours, Faults { lost: 330, doubled: 0, late: 0 }, 41),
            theirs,
            Config { seed: 41, ..Config::for_slot(3) },
        );
        for port in 1_000..1_030 {
            let mut theirs = bed.guest.listen(port);
            let mut ours = bed.into.connect(Family::V4, port).await.unwrap();
            ours.write_all(b"ping").await.unwrap();
            let mut ping = [0; 4];
            theirs.read_exact(&mut ping).await.unwrap();
            theirs.reset();
            ours.abort();
        }
        // In paused time this passes only when every task has nothing left to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let stats = bed.counters.stats();
        assert_eq!((stats.flows, stats.connections, stats.connections_opened), (0, 0, 30));
        assert!(stats.retransmits > 5, "{stats:?}");
    });
}

#[test]
fn connections_over_a_cap_are_not_opened_but_counted() {
    for limits in
        [Limits { published_connections: 2, ..Limits::default() }, Limits { flows: 2, ..Limits::default() }]
    {
        run(async {
            let bed = Bed::with(limits);
            let first = connected(&bed, Family::V4, 80).await;
            let _second = connected(&bed, Family::V6, 81).await;
            let _listening = bed.guest.listen(82);
            assert_eq!(kind(bed.into.connect(Family::V4, 82).await), io::ErrorKind::QuotaExceeded);
            let stats = bed.counters.stats();
            assert_eq!((stats.connections, stats.connections_over_limit), (2, 1));
            assert_eq!(stats.refused_over_limit, 0, "that is the guest's count");
            let (theirs, ours) = first;
            ours.abort();
            assert_eq!(theirs.closed().await, smoltcp::socket::tcp::State::Closed);
            assert!(bed.into.connect(Family::V4, 82).await.is_ok());
        });
    }
}

#[test]
fn guest_may_still_open_as_many_flows_as_it_may() {
    run(async {
        let mut bed = Bed::with(Limits { published_connections: 1, ..Limits::default() });
        let _into = connected(&bed, Family::V4, 80).await;
        let mut out = Vec::new();
        for _ in 0..8 {
            out.push(bed.connected("192.0.2.1:443").await);
        }
        assert_eq!((bed.counters.stats().flows, bed.counters.stats().connections), (9, 1));
    });
}

#[test]
fn thousand_connections_in_turn_leave_nothing_behind() {
    run(async {
        let bed = Bed::new();
        let mut ports = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let (mut theirs, mut ours) = connected(&bed, Family::V4, 80).await;
            ports.insert(ours.destination().port());
            ours.shutdown().await.unwrap();
            assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
            theirs.shutdown().await.unwrap();
            assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
            theirs.closed().await;
        }
        let stats = bed.counters.stats();
        assert_eq!((ports.len(), stats.flows, stats.connections), (1_000, 0, 0));
        assert_eq!((stats.flows_opened, stats.flows_closed), (1_000, 1_000));
    });
}

#[test]
fn end_of_the_link_ends_a_connection_that_waits() {
    run(async {
        let config = Config::for_slot(3);
        let (ours, theirs) = super::bed::cable(64, 1500);
        let (driver, _arrivals) = portcullis::net::start(ours, config);
        let into = driver.guest();
        let driver = tokio::task::spawn_local(driver);
        let attempt = tokio::task::spawn_local({
            let into = into.clone();
            async move { into.connect(Family::V4, 80).await }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(theirs);
        driver.await.unwrap().unwrap();
        assert_eq!(kind(attempt.await.unwrap()), io::ErrorKind::NetworkDown);
        assert_eq!(kind(into.connect(Family::V4, 80).await), io::ErrorKind::NetworkDown);
    });
}
