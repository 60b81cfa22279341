//! Protocols told at every split, and streams put back whole.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, duplex};

use super::*;
use crate::limits::Limits;

/// Whole beginnings and what they are, each with the number of bytes that suffice.
const TOLD: &[(&[u8], Protocol, usize)] = &[
    (b"\x16\x03\x01\x02\x00\x01", Protocol::Tls, 1),
    (b"\x16garbage", Protocol::Tls, 1),
    (b"GET / HTTP/1.1\r\n", Protocol::Http1, 4),
    (b"POST /", Protocol::Http1, 5),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Protocol::Http2PriorKnowledge, 24),
    (b"PRI * HTTP/2.0\r\n\r\nSX", Protocol::Unknown, 20),
    (b"PRI / HTTP/1.1", Protocol::Unknown, 5),
    (b"PROPFIND /", Protocol::Http1, 9),
    (b"PROPPATCH /", Protocol::Http1, 10),
    (b"PROPX", Protocol::Unknown, 5),
    (b"PUT /", Protocol::Http1, 4),
    (b"UPDATEREDIRECTREF /", Protocol::Http1, 18),
    (b"UPDATE /", Protocol::Http1, 7),
    (b"VERSION-CONTROL /", Protocol::Http1, 16),
    (b"get / HTTP/1.1", Protocol::Unknown, 1),
    (b"GETS / HTTP/1.1", Protocol::Unknown, 4),
    (b"GET\t/", Protocol::Unknown, 4),
    (b"GE T /", Protocol::Unknown, 3),
    (b" GET /", Protocol::Unknown, 1),
    (b"\r\nGET /", Protocol::Unknown, 1),
    (b"* / HTTP/1.1", Protocol::Unknown, 1),
    (b"SSH-2.0-OpenSSH_9.6\r\n", Protocol::Unknown, 2),
    (b"EHLO mail.example\r\n", Protocol::Unknown, 1),
    (b"\x80\x2e\x01", Protocol::Unknown, 1),
    (b"\x15\x03\x01", Protocol::Unknown, 1),
    (b"\0", Protocol::Unknown, 1),
];

#[test]
fn a_protocol_is_told_at_the_very_byte_that_tells_it() {
    for &(bytes, protocol, enough) in TOLD {
        for seen in 0..enough {
            assert_eq!(glance(&bytes[..seen]), Glance::Undecided, "{:?}", bytes[..seen].escape_ascii());
        }
        for seen in enough..=bytes.len() {
            let text = bytes[..seen].escape_ascii();
            assert_eq!(glance(&bytes[..seen]), Glance::Decided(protocol), "{text}");
        }
    }
}

#[test]
fn every_registered_method_and_no_prefix_of_one_begins_http1() {
    for method in METHODS {
        assert_eq!(glance(format!("{method} ").as_bytes()), Glance::Decided(Protocol::Http1), "{method}");
        let cut = format!("{} ", &method[..method.len() - 1]);
        let registered = METHODS.contains(&cut.trim_end());
        let told = if registered { Protocol::Http1 } else { Protocol::Unknown };
        assert_eq!(glance(cut.as_bytes()), Glance::Decided(told), "{cut}");
    }
}

#[tokio::test]
async fn every_split_tells_the_same_and_replays_verbatim() {
    for &(bytes, protocol, _) in TOLD {
        for split in 0..=bytes.len() {
            let (mut guest, mut ours) = duplex(64);
            let head = bytes[..split].to_vec();
            let tail = bytes[split..].to_vec();
            let writing = async move {
                guest.write_all(&head).await.unwrap();
                tokio::task::yield_now().await;
                guest.write_all(&tail).await.unwrap();
            };
            let reading = async {
                let sniffed = sniff(&mut ours, &Limits::default()).await.unwrap();
                assert_eq!(sniffed.protocol, protocol, "{} at {split}", bytes.escape_ascii());
                let mut all = Vec::new();
                Rewind::new(ours, sniffed.bytes).read_to_end(&mut all).await.unwrap();
                assert_eq!(all, bytes);
            };
            tokio::join!(writing, reading);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_guest_is_told_from_one_that_stops_midway_and_one_that_ends() {
    let limits = Limits::default();
    let started = tokio::time::Instant::now();
    let (_guest, mut ours) = duplex(64);
    assert_eq!(sniff(&mut ours, &limits).await.unwrap().protocol, Protocol::Silent);
    assert_eq!(started.elapsed(), limits.sniff);

    let (mut guest, mut ours) = duplex(64);
    guest.write_all(b"GE").await.unwrap();
    let sniffed = sniff(&mut ours, &limits).await.unwrap();
    assert_eq!((sniffed.protocol, &*sniffed.bytes), (Protocol::Unknown, &b"GE"[..]));

    let (guest, mut ours) = duplex(64);
    drop(guest);
    assert_eq!(sniff(&mut ours, &limits).await.unwrap().protocol, Protocol::Eof);

    let (mut guest, mut ours) = duplex(64);
    guest.write_all(b"PRI").await.unwrap();
    drop(guest);
    let sniffed = sniff(&mut ours, &limits).await.unwrap();
    assert_eq!((sniffed.protocol, &*sniffed.bytes), (Protocol::Unknown, &b"PRI"[..]));
}

#[tokio::test]
async fn no_more_than_the_limit_is_read() {
    let (mut guest, mut ours) = duplex(64);
    guest.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let sniffed = sniff(&mut ours, &Limits { sniff_bytes: 5, ..Limits::default() }).await.unwrap();
    assert_eq!((sniffed.protocol, &*sniffed.bytes), (Protocol::Unknown, &b"PRI *"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_loses_no_byte_and_gains_no_time() {
    let limits = Limits::default();
    let (mut guest, mut ours) = duplex(64);
    let mut sniffer = Sniffer::new(&limits);
    guest.write_all(b"PO").await.unwrap();
    let half = limits.sniff / 2;
    assert!(tokio::time::timeout(half, sniffer.run(&mut ours)).await.is_err());
    assert!(tokio::time::timeout(half - Duration::from_millis(1), sniffer.run(&mut ours)).await.is_err());
    guest.write_all(b"ST ").await.unwrap();
    let protocol = sniffer.run(&mut ours).await.unwrap();
    assert_eq!(protocol, Protocol::Http1);
    assert_eq!(sniffer.finish(protocol).bytes, "POST ");
}

#[tokio::test]
async fn a_stream_error_is_passed_on() {
    let mut broken = reset::Reset;
    assert_eq!(
        sniff(&mut broken, &Limits::default()).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
}

mod reset {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, ReadBuf};

    pub(super) struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }
}

#[tokio::test]
async fn a_rewound_stream_writes_ends_and_comes_apart_as_the_one_behind() {
    let (mut guest, ours) = duplex(64);
    let mut rewound = Rewind::new(ours, Bytes::from_static(b"abcd"));
    let mut two = [0; 2];
    rewound.read_exact(&mut two).await.unwrap();
    assert_eq!(&two, b"ab");
    assert_eq!(rewound.is_write_vectored(), rewound.get_ref().is_write_vectored());
    let count = rewound.write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]).await.unwrap();
    assert_eq!(count, 2);
    rewound.shutdown().await.unwrap();
    let mut out = String::new();
    guest.read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "xy");
    let (left, mut ours) = rewound.into_parts();
    assert_eq!(left, "cd");
    guest.write_all(b"ef").await.unwrap();
    ours.read_exact(&mut two).await.unwrap();
    assert_eq!(&two, b"ef");
}
