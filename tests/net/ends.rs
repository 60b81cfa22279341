//! How connections end: FIN, RST, drops, the end of the link.

use std::io;
use std::time::Duration;

use portcullis::net::{self, Arrival, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::{Bed, V4, V6, address, kind, noise};
use super::run;
use crate::guest::Guest;

#[test]
fn bytes_and_fins_pass_both_ways() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new();
            let (mut theirs, mut ours) = bed.connected(to).await;
            assert_eq!(ours.destination(), address(to));
            theirs.write_all(b"hello").await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut request = Vec::new();
            ours.read_to_end(&mut request).await.unwrap();
            assert_eq!(request, b"hello");
            ours.write_all(b"goodbye").await.unwrap();
            ours.shutdown().await.unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"goodbye");
            assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0);
            theirs.closed().await;
            drop(ours);
            let stats = bed.counters.stats();
            assert_eq!((stats.flows, stats.flows_closed, stats.tombstones), (0, 1, 1));
        });
    }
}

#[test]
fn our_fin_leaves_the_guests_direction_open() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, mut ours) = bed.connected(V4).await;
        ours.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(kind(ours.write(b"x").await), io::ErrorKind::BrokenPipe);
        let sent = noise(700_000, 1);
        let expected = sent.clone();
        let writer = tokio::task::spawn_local(async move {
            theirs.write_all(&sent).await.unwrap();
            theirs.shutdown().await.unwrap();
            theirs
        });
        let mut received = Vec::new();
        ours.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, expected);
        writer.await.unwrap();
    });
}

#[test]
fn reset_by_the_guest_fails_reads_and_writes() {
    run(async {
        let mut bed = Bed::new();
        let (theirs, mut ours) = bed.connected(V4).await;
        theirs.reset();
        assert_eq!(kind(ours.read(&mut [0; 8]).await), io::ErrorKind::ConnectionReset);
        assert_eq!(kind(ours.write(b"x").await), io::ErrorKind::ConnectionReset);
        drop(ours);
        assert_eq!(bed.counters.stats().flows, 0);
    });
}

#[test]
fn abort_and_a_drop_without_shutdown_reset_the_guest() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, ours) = bed.connected(V4).await;
        ours.abort();
        assert_eq!(kind(theirs.read(&mut [0; 8]).await), io::ErrorKind::ConnectionReset);
        let (mut theirs, mut ours) = bed.connected(V6).await;
        ours.write_all(b"never mind").await.unwrap();
        drop(ours);
        assert_eq!(kind(theirs.read_to_end(&mut Vec::new()).await), io::ErrorKind::ConnectionReset);
        assert_eq!((bed.counters.stats().flows, bed.counters.stats().tombstones), (0, 0));
    });
}

#[test]
fn refused_and_dropped_arrivals_are_reset() {
    run(async {
        let mut bed = Bed::new();
        for to in [V4, V6] {
            let guest = bed.guest.clone();
            let attempt = tokio::task::spawn_local(async move { guest.connect(address(to)).await.map(drop) });
            bed.incoming().await.refuse();
            assert_eq!(kind(attempt.await.unwrap()), io::ErrorKind::ConnectionRefused);
        }
        let guest = bed.guest.clone();
        let attempt = tokio::task::spawn_local(async move { guest.connect(address(V4)).await.map(drop) });
        drop(bed.incoming().await);
        assert_eq!(kind(attempt.await.unwrap()), io::ErrorKind::ConnectionRefused);
        assert_eq!((bed.counters.stats().refused, bed.counters.stats().flows), (3, 0));
    });
}

#[test]
fn stream_written_and_shut_down_at_once_is_drained_after_its_drop() {
    run(async {
        let mut bed = Bed::new();
        let guest = bed.guest.clone();
        let attempt = tokio::task::spawn_local(async move {
            let mut theirs = guest.connect(address(V4)).await.unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut ours = bed.incoming().await.accept();
        let answer = noise(900_000, 6);
        ours.write_all(&answer).await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        assert!(attempt.await.unwrap() == answer);
    });
}

#[test]
fn drained_stream_throws_away_what_the_guest_still_sends() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, mut ours) = bed.connected(V4).await;
        ours.write_all(b"403").await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        theirs.write_all(&noise(3_000_000, 7)).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"403");
        theirs.closed().await;
        assert_eq!(bed.counters.stats().flows, 0);
    });
}

#[test]
fn drained_stream_whose_guest_takes_nothing_is_reset_after_the_limit() {
    run(async {
        let mut bed = Bed::new();
        let (theirs, mut ours) = bed.connected(V4).await;
        // More than the guest's ring, so that its window closes.
        ours.write_all(&noise(700_000, 8)).await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        let before = tokio::time::Instant::now();
        let state = theirs.closed().await;
        assert_eq!(state, smoltcp::socket::tcp::State::Closed);
        let waited = before.elapsed();
        assert!(waited >= Duration::from_secs(29) && waited < Duration::from_secs(32), "{waited:?}");
        assert_eq!((bed.counters.stats().stalled, bed.counters.stats().flows), (1, 0));
    });
}

#[test]
fn end_of_the_link_ends_everything() {
    run(async {
        let config = Config::for_slot(3);
        let (ours, theirs) = super::bed::cable(64, 1500);
        let guest = Guest::new(theirs, &config);
        let (driver, mut arrivals) = net::start(ours, config);
        let driver = tokio::task::spawn_local(driver);
        let attempt = tokio::task::spawn_local({
            let guest = guest.clone();
            async move { guest.connect(address(V4)).await.unwrap() }
        });
        let Some(Arrival::Tcp(incoming)) = arrivals.next().await else { panic!() };
        let mut ours = incoming.accept();
        let theirs = attempt.await.unwrap();
        theirs.forget();
        drop(theirs);
        drop(guest);
        driver.await.unwrap().unwrap();
        assert_eq!(kind(ours.read(&mut [0; 8]).await), io::ErrorKind::ConnectionReset);
        assert!(arrivals.next().await.is_none());
    });
}
