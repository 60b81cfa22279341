//! A stream socket: what ends a guest's connection, and frames that do not fit at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use portcullis::link::stream::StreamLink;
use portcullis::link::{Frame, Link as _};

use crate::memory::run;
use crate::{MTU, ends, receive, scratch, send};

fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

#[test]
fn a_length_no_frame_has_ends_that_connection_and_no_other() {
    run(async {
        let (_scratch, path) = scratch();
        let mut link = StreamLink::listen(&path, MTU).unwrap();
        for length in [0, 65_554, u32::MAX] {
            let mut guest = UnixStream::connect(&path).unwrap();
            guest.write_all(&framed(b"good")).unwrap();
            guest.write_all(&length.to_be_bytes()).unwrap();
            assert_eq!(receive(&mut link).await.unwrap(), b"good");
            assert_eq!(ends(&mut link).await, ErrorKind::ConnectionReset, "{length}");
            assert_eq!(guest.read(&mut [0]).unwrap(), 0, "the guest is still connected");
        }
    });
}

#[test]
fn a_second_guest_waits_for_the_first_to_leave() {
    run(async {
        let (_scratch, path) = scratch();
        let mut link = StreamLink::listen(&path, MTU).unwrap();
        let mut first = UnixStream::connect(&path).unwrap();
        let mut second = UnixStream::connect(&path).unwrap();
        second.write_all(&framed(b"second")).unwrap();
        first.write_all(&framed(b"first")).unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"first");
        first.write_all(&[0, 0]).unwrap();
        drop(first);
        assert_eq!(ends(&mut link).await, ErrorKind::ConnectionReset);
        assert_eq!(receive(&mut link).await.unwrap(), b"second");
        // Whoever is there has the answer.
        send(&mut link, b"for the second").await;
        let mut answer = [0; 18];
        second.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], framed(b"for the second"));
    });
}

#[test]
fn frames_for_nobody_are_refused_and_not_kept() {
    let (_scratch, path) = scratch();
    let mut link = StreamLink::listen(&path, MTU).unwrap();
    let refused = link.try_send(Frame { bytes: b"lost", partial: None });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn frames_arrive_whole_at_a_guest_that_reads_little_at_a_time() {
    run(async {
        let (near, mut far) = UnixStream::pair().unwrap();
        // As little as the system allows, so that every frame is cut.
        rustix::net::sockopt::set_socket_send_buffer_size(&near, 1).unwrap();
        let mut link = StreamLink::connected(near, MTU).unwrap();
        let frames: Vec<Vec<u8>> =
            (0..40_usize).map(|n| vec![n as u8; [1, 14, 1514, 9000, 65_553][n % 5]]).collect();
        let expected: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
        let length = expected.len();
        let reader = std::thread::spawn(move || {
            let (mut read, mut part) = (Vec::new(), [0; 777]);
            while read.len() < length {
                let len = far.read(&mut part).unwrap();
                assert!(len > 0);
                read.extend_from_slice(&part[..len]);
            }
            (read, far)
        });
        for frame in &frames {
            send(&mut link, frame).await;
        }
        // Nothing more is sent; what is left of the last goes out as the link is polled for frames.
        let done = tokio::task::spawn_blocking(move || reader.join().unwrap());
        let (read, far) = tokio::select! {
            done = done => done.unwrap(),
            frame = receive(&mut link) => panic!("{frame:?}"),
        };
        assert!(read == expected);
        drop(far);
        assert_eq!(ends(&mut link).await, ErrorKind::UnexpectedEof);
    });
}
