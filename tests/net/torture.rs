//! Whole connections through bad cables, silences of minutes, and numbers that wrap.

use std::time::Duration;

use portcullis::net::{Config, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::{Bed, V4, V6, noise};
use super::run;
use crate::guest::{Frozen, Guest, GuestStream};
use crate::lossy::{Faults, Lossy};

/// A seed that makes the first initial sequence number 0xfffffff0; the tests look whether it did.
const WRAPPING: u64 = 0xdb48_cbb8_9d9c_05c2;
const FIRST: u32 = 0xffff_fff0;

/// Sends noise both ways at once, and looks that each side has what the other sent, and the guest our end.
///
/// The guest's own FIN is not waited for: its smoltcp, unlike ours, has nobody to send a lost one again.
async fn exchange(mut theirs: GuestStream, mut ours: TcpStream, (up, down): (Vec<u8>, Vec<u8>)) {
    let (mut got_up, mut got_down) = (vec![0; up.len()], vec![0; down.len()]);
    {
        let (mut guest_reads, mut guest_writes) = tokio::io::split(&mut theirs);
        let (mut our_reads, mut our_writes) = tokio::io::split(&mut ours);
        let all = async {
            tokio::try_join!(
                async { guest_writes.write_all(&up).await.map(drop) },
                async { our_writes.write_all(&down).await.map(drop) },
                async { our_reads.read_exact(&mut got_up).await.map(drop) },
                async { guest_reads.read_exact(&mut got_down).await.map(drop) },
            )
        };
        all.await.unwrap();
    }
    assert!(got_up == up && got_down == down);
    ours.shutdown().await.unwrap();
    assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
}

fn lossy(seed: u64, faults: Faults, guest_seed: u64) -> Bed {
    let config = Config { seed, ..Config::for_slot(3) };
    let (ours, theirs) = super::bed::cable(256, 1500);
    Bed::seeded(Lossy::new(ours, faults, seed), theirs, (config, guest_seed))
}

#[test]
fn terrible_cables_change_no_byte_in_either_direction() {
    let kinds = [
        Faults { lost: 150, doubled: 0, late: 0 },
        Faults { lost: 0, doubled: 300, late: 0 },
        Faults { lost: 0, doubled: 0, late: 400 },
        Faults { lost: 80, doubled: 150, late: 200 },
    ];
    for (number, faults) in kinds.into_iter().enumerate() {
        for (to, seed) in [(V4, 101), (V6, 202), (V4, 303), (V6, 404)] {
            run(async {
                let seed = seed + number as u64;
                let mut bed = lossy(seed, faults, seed + 1);
                let (theirs, ours) = bed.connected(to).await;
                exchange(theirs, ours, (noise(60_000, seed), noise(70_000, seed + 1))).await;
                assert!(faults.lost == 0 || bed.counters.stats().retransmits > 0);
            });
        }
    }
}

#[test]
fn several_connections_share_a_terrible_cable() {
    run(async {
        let mut bed = lossy(77, Faults { lost: 60, doubled: 60, late: 100 }, 78);
        let mut tasks = Vec::new();
        for (to, seed) in [(V4, 1), (V6, 2), (V4, 3), (V6, 4), (V4, 5), (V6, 6)] {
            let (theirs, ours) = bed.connected(to).await;
            let bytes = (noise(30_000, seed), noise(30_000, seed + 10));
            tasks.push(tokio::task::spawn_local(exchange(theirs, ours, bytes)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn sequence_numbers_of_both_sides_wrap() {
    for (to, faults) in [
        (V4, Faults { lost: 0, doubled: 0, late: 0 }),
        (V6, Faults { lost: 0, doubled: 0, late: 0 }),
        (V4, Faults { lost: 60, doubled: 60, late: 100 }),
        (V6, Faults { lost: 60, doubled: 60, late: 100 }),
    ] {
        run(async {
            let mut bed = lossy(WRAPPING, faults, WRAPPING);
            let (theirs, ours) = bed.connected(to).await;
            exchange(theirs, ours, (noise(100_000, 1), noise(100_000, 2))).await;
        });
    }
}

#[test]
fn the_seed_for_wrapping_numbers_makes_them_wrap() {
    run(async {
        let config = Config { seed: WRAPPING, ..Config::for_slot(5) };
        let mut bed = super::wire::Bed::of(config.clone());
        bed.tcp(super::wire::far(V4), super::wire::syn(4_000, 99), b"");
        let _stream = bed.incoming().await.unwrap().accept();
        assert_eq!(bed.answer().await.unwrap().sequence, FIRST);
        // And those of the guest.
        let (ours, mut theirs) = super::bed::cable(8, 1500);
        let guest = Guest::seeded(ours, &config, WRAPPING);
        guest.begin(4_000, V4.parse().unwrap()).forget();
        std::future::poll_fn(|cx| portcullis::link::Link::poll_receive_ready(&mut theirs, cx)).await.unwrap();
        let mut frame = [0; 200];
        portcullis::link::Link::try_receive(&mut theirs, &mut frame).unwrap();
        assert_eq!(frame[38..42], FIRST.to_be_bytes());
    });
}

#[test]
fn guest_that_does_not_read_for_minutes_gets_everything_then() {
    for (to, lost) in [(V4, 0), (V6, 0), (V4, 200), (V6, 200)] {
        run(async {
            let mut bed = lossy(5, Faults { lost, doubled: 0, late: 0 }, 6);
            let (mut theirs, mut ours) = bed.connected(to).await;
            let answer = noise(400_000, 9);
            ours.write_all(&answer).await.unwrap();
            ours.shutdown().await.unwrap();
            tokio::time::sleep(Duration::from_secs(15 * 60)).await;
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            assert!(received == answer);
            assert_eq!(bed.counters.stats().stalled, 0, "its handle is there to wait for it");
        });
    }
}

#[test]
fn proxy_that_does_not_read_for_minutes_gets_everything_then() {
    for (to, lost) in [(V4, 0), (V6, 0), (V4, 200), (V6, 200)] {
        run(async {
            let mut bed = lossy(7, Faults { lost, doubled: 0, late: 0 }, 8);
            let (mut theirs, mut ours) = bed.connected(to).await;
            let upload = noise(1_200_000, 3);
            let expected = upload.clone();
            let writer = tokio::task::spawn_local(async move {
                theirs.write_all(&upload).await.unwrap();
                theirs.shutdown().await.unwrap();
                theirs
            });
            tokio::time::sleep(Duration::from_secs(15 * 60)).await;
            assert!(!writer.is_finished());
            let mut received = Vec::new();
            ours.read_to_end(&mut received).await.unwrap();
            assert!(received == expected);
            writer.await.unwrap();
        });
    }
}

#[test]
fn windows_that_close_again_and_again_stop_nothing() {
    run(async {
        let mut bed = lossy(9, Faults { lost: 0, doubled: 0, late: 0 }, 10);
        let (mut theirs, mut ours) = bed.connected(V4).await;
        let answer = noise(1_500_000, 3);
        let expected = answer.clone();
        let writer = tokio::task::spawn_local(async move {
            ours.write_all(&answer).await.unwrap();
            ours.shutdown().await.unwrap();
            ours
        });
        let mut received = vec![0; expected.len()];
        for (round, part) in received.chunks_mut(100_000).enumerate() {
            tokio::time::sleep(Duration::from_secs([0, 1, 20, 90][round % 4])).await;
            theirs.read_exact(part).await.unwrap();
        }
        assert!(received == expected);
        drop(writer.await.unwrap());
    });
}

#[test]
fn a_cable_of_one_frame_carries_both_directions() {
    for to in [V4, V6] {
        run(async {
            let (ours, theirs) = super::bed::cable(1, 1500);
            let mut bed = Bed::plug(ours, theirs, Config::for_slot(3));
            let (theirs, ours) = bed.connected(to).await;
            exchange(theirs, ours, (noise(200_000, 1), noise(200_000, 2))).await;
            assert_eq!(bed.counters.stats().retransmits, 0);
        });
    }
}

#[test]
fn guest_that_freezes_for_minutes_finds_its_connections_alive() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, mut ours) = bed.connected(V6).await;
        for round in 0..4 {
            bed.guest.freeze(Frozen::Yes);
            ours.write_all(&noise(200_000, round)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5 * 60)).await;
            bed.guest.freeze(Frozen::No);
            let mut received = vec![0; 200_000];
            theirs.read_exact(&mut received).await.unwrap();
            assert!(received == noise(200_000, round));
        }
        theirs.write_all(b"still there").await.unwrap();
        let mut heard = [0; 11];
        ours.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still there");
    });
}

/// A guest that takes a little every 20 s has what it is owed, with nobody there to wait for it.
#[test]
fn drained_stream_with_progress_is_never_reset() {
    run(async {
        let mut bed = Bed::new();
        let (mut theirs, mut ours) = bed.connected(V4).await;
        let answer = noise(900_000, 8);
        ours.write_all(&answer).await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        let mut received = vec![0; answer.len()];
        for part in received.chunks_mut(150_000) {
            tokio::time::sleep(Duration::from_secs(20)).await;
            theirs.read_exact(part).await.unwrap();
        }
        assert!(received == answer);
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(bed.counters.stats().stalled, 0);
    });
}
