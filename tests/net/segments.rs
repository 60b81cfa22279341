//! TCP by hand: held SYNs, caps, resets, TIME-WAIT.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::run;
use super::wire::{ACK, Bed, FIN, RST, SYN, Tcp, V4, V6, far, syn};

#[test]
fn syn_is_held_until_the_verdict_and_doubles_change_nothing() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            for _ in 0..3 {
                bed.tcp(far(to), syn(4_000, 99), b"");
                assert_eq!(bed.answer().await, None);
            }
            assert_eq!((bed.stats().half_open, bed.stats().flows_opened), (1, 1));
            let incoming = bed.incoming().await.unwrap();
            assert_eq!((incoming.destination(), incoming.source().port()), (far(to), 4_000));
            assert!(bed.incoming().await.is_none());
            let stream = incoming.accept();
            let answer = bed.answer().await.unwrap();
            assert_eq!((answer.flags, answer.acknowledgment, answer.port), (SYN | ACK, 100, 4_000));
            // One more, late: the stream must not be disturbed.
            bed.tcp(far(to), syn(4_000, 99), b"");
            assert_eq!(bed.answer().await, None);
            assert_eq!(bed.stats().half_open, 0);
            drop(stream);
            assert_eq!(bed.answer().await.map(|answer| answer.flags), Some(RST | ACK));
        });
    }
}

#[test]
fn new_attempt_from_the_same_port_is_the_one_answered() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        bed.tcp(far(V4), syn(4_000, 99), b"");
        bed.tcp(far(V4), syn(4_000, 7_000), b"");
        let _stream = bed.incoming().await.unwrap().accept();
        assert!(bed.incoming().await.is_none());
        assert_eq!(bed.answer().await.unwrap().acknowledgment, 7_001);
    });
}

#[test]
fn reset_of_a_held_syn_cancels_the_arrival() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        bed.tcp(far(V4), syn(4_000, 99), b"");
        let incoming = bed.incoming().await.unwrap();
        // Not its number: an old duplicate.
        bed.tcp(far(V4), Tcp { flags: RST, ..syn(4_000, 5_000_000) }, b"");
        assert!(tokio::time::timeout(Duration::from_millis(1), incoming.cancelled()).await.is_err());
        bed.tcp(far(V4), Tcp { flags: RST, ..syn(4_000, 100) }, b"");
        incoming.cancelled().await;
        let mut stream = incoming.accept();
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(stream);
        // Cancelled before anybody asked: it never arrives.
        bed.tcp(far(V4), syn(4_001, 99), b"");
        bed.tcp(far(V4), Tcp { flags: RST, ..syn(4_001, 100) }, b"");
        assert!(bed.incoming().await.is_none());
        assert_eq!(bed.answer().await, None);
        assert_eq!((bed.stats().flows, bed.stats().half_open), (0, 0));
    });
}

#[test]
fn caps_refuse_and_count() {
    run(async {
        let mut bed = Bed::new(Limits { flows: 3, half_open: 2, ..Limits::default() });
        for port in 1..=3 {
            bed.tcp(far(V4), syn(4_000 + port, 99), b"");
        }
        let refusal = bed.answer().await.unwrap();
        assert_eq!((refusal.port, refusal.flags, refusal.acknowledgment), (4_003, RST | ACK, 100));
        assert_eq!(bed.stats().refused_over_limit, 1);
        let mut streams = Vec::new();
        while let Some(incoming) = bed.incoming().await {
            streams.push(incoming.accept());
            assert_eq!(bed.answer().await.unwrap().flags, SYN | ACK);
        }
        assert_eq!((streams.len(), bed.stats().half_open), (2, 0));
        bed.tcp(far(V4), syn(5_000, 99), b"");
        assert_eq!(bed.answer().await, None);
        bed.tcp(far(V4), syn(5_001, 99), b"");
        assert_eq!(bed.answer().await.unwrap().flags, RST | ACK);
        assert_eq!((bed.stats().flows, bed.stats().refused_over_limit), (3, 2));
    });
}

#[test]
fn handshake_that_is_never_finished_is_given_up() {
    run(async {
        let mut bed = Bed::new(Limits { drain: Duration::from_secs(5), ..Limits::default() });
        bed.tcp(far(V4), syn(4_000, 99), b"");
        let mut stream = bed.incoming().await.unwrap().accept();
        assert_eq!(bed.answer().await.unwrap().flags, SYN | ACK);
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(bed.stats().stalled, 1);
    });
}

#[test]
fn segment_of_no_connection_is_reset_and_a_reset_is_not() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        bed.tcp(far(V6), Tcp { port: 4_000, sequence: 5, acknowledgment: 77, flags: ACK }, b"data");
        let answer = bed.answer().await.unwrap();
        assert_eq!((answer.flags, answer.sequence), (RST, 77));
        bed.tcp(far(V6), Tcp { port: 4_000, sequence: 5, acknowledgment: 0, flags: FIN }, b"data");
        let answer = bed.answer().await.unwrap();
        assert_eq!((answer.flags, answer.acknowledgment), (RST | ACK, 10));
        bed.tcp(far(V6), Tcp { port: 4_000, sequence: 5, acknowledgment: 0, flags: RST }, b"");
        assert_eq!(bed.answer().await, None);
        assert_eq!(bed.stats().dropped.stray, 3);
    });
}

/// Opens a connection, closes it from our side first, and says where its numbers ended.
async fn closed_connection(bed: &mut Bed, to: SocketAddr) -> Tcp {
    bed.tcp(to, syn(4_000, 1_000), b"");
    let mut stream = bed.incoming().await.unwrap().accept();
    let answer = bed.answer().await.unwrap();
    let mut peer =
        Tcp { port: 4_000, sequence: 1_001, acknowledgment: answer.sequence.wrapping_add(1), flags: ACK };
    bed.tcp(to, peer, b"hello");
    peer.sequence += 5;
    stream.read_exact(&mut [0; 5]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    loop {
        let answer = bed.answer().await.expect("a FIN");
        if answer.flags & FIN != 0 {
            peer.acknowledgment = answer.sequence.wrapping_add(1);
            break;
        }
    }
    bed.tcp(to, Tcp { flags: FIN | ACK, ..peer }, b"");
    peer.sequence += 1;
    assert_eq!(bed.answer().await.unwrap().acknowledgment, peer.sequence);
    assert_eq!((bed.stats().flows, bed.stats().tombstones), (0, 1));
    peer
}

#[test]
fn time_wait_acknowledges_a_late_fin_and_keeps_old_duplicates_out() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            let to = far(to);
            let end = closed_connection(&mut bed, to).await;
            let expected = Some(Tcp {
                port: 4_000,
                sequence: end.acknowledgment,
                acknowledgment: end.sequence,
                flags: ACK,
            });
            // The FIN again, as if our last ACK had been lost; then data; then an older SYN.
            bed.tcp(to, Tcp { flags: FIN | ACK, sequence: end.sequence - 1, ..end }, b"");
            assert_eq!(bed.answer().await, expected);
            bed.tcp(to, Tcp { sequence: 1_001, ..end }, b"hello");
            assert_eq!(bed.answer().await, expected);
            bed.tcp(to, syn(4_000, 1_000), b"");
            assert_eq!(bed.answer().await, expected);
            bed.tcp(to, end, b"");
            bed.tcp(to, Tcp { flags: RST, sequence: 1_000, ..end }, b"");
            assert_eq!(bed.answer().await, None);
            assert!(bed.incoming().await.is_none());
            assert_eq!(bed.stats().tombstones, 1);
            // A newer SYN opens a new flow.
            bed.tcp(to, syn(4_000, end.sequence + 1), b"");
            assert!(bed.incoming().await.is_some());
        });
    }
}

#[test]
fn time_wait_ends() {
    run(async {
        let mut bed = Bed::new(Limits { time_wait: Duration::from_secs(10), ..Limits::default() });
        let end = closed_connection(&mut bed, far(V4)).await;
        tokio::time::advance(Duration::from_secs(11)).await;
        bed.tcp(far(V4), Tcp { sequence: end.sequence - 1, flags: FIN | ACK, ..end }, b"");
        assert_eq!(bed.answer().await.unwrap().flags, RST);
        bed.tcp(far(V4), syn(4_000, 1), b"");
        assert!(bed.incoming().await.is_some());
    });
}

#[test]
fn nobody_to_take_arrivals_is_a_refusal() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        bed.tcp(far(V4), syn(4_000, 99), b"");
        assert_eq!(bed.answer().await, None);
        let (_, spare) = super::bed::cable(1, 1500);
        let (_driver, other) = net::start(spare, bed.config.clone());
        drop(std::mem::replace(&mut bed.arrivals, other));
        assert_eq!(bed.answer().await.unwrap().flags, RST | ACK);
        bed.tcp(far(V4), syn(4_001, 99), b"");
        assert_eq!(bed.answer().await.unwrap().flags, RST | ACK);
        assert_eq!(bed.stats().flows, 0);
    });
}
