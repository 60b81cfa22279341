//! A datagram socket: how a guest is found, and how it is known to be gone.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use portcullis::link::datagram::DatagramLink;
use portcullis::link::{Frame, Link as _};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::memory::run;
use crate::{MTU, ends, receive, scratch, send};

fn guest(path: &Path, own: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(path.with_extension(own)).unwrap();
    socket.connect(path).unwrap();
    socket
}

fn next(socket: &UnixDatagram) -> Vec<u8> {
    let mut buf = [0; 100];
    let len = socket.recv(&mut buf).unwrap();
    buf[..len].to_vec()
}

#[test]
fn a_guest_is_found_by_its_first_datagram_with_or_without_a_greeting() {
    run(async {
        let (_scratch, path) = scratch();
        for greeting in [None, Some(b"VFKT")] {
            let mut link = DatagramLink::bind(&path, MTU).unwrap();
            let guest = guest(&path, if greeting.is_some() { "a" } else { "b" });
            greeting.iter().for_each(|greeting| assert_eq!(guest.send(*greeting).unwrap(), 4));
            guest.send(b"a frame").unwrap();
            assert_eq!(receive(&mut link).await.unwrap(), b"a frame");
            send(&mut link, b"an answer").await;
            assert_eq!(next(&guest), b"an answer");
            guest.send(b"and one more").unwrap();
            assert_eq!(receive(&mut link).await.unwrap(), b"and one more");
        }
        assert!(!path.exists());
    });
}

#[test]
fn a_guest_may_be_at_a_name_that_is_no_file() {
    run(async {
        let (_scratch, path) = scratch();
        let mut link = DatagramLink::bind(&path, MTU).unwrap();
        let name = SocketAddr::from_abstract_name(format!("{}", path.display())).unwrap();
        let guest = UnixDatagram::bind_addr(&name).unwrap();
        guest.connect(&path).unwrap();
        guest.send(b"a frame").unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"a frame");
        send(&mut link, b"an answer").await;
        assert_eq!(next(&guest), b"an answer");
    });
}

#[test]
fn whoever_cannot_be_answered_is_no_guest() {
    run(async {
        let (_scratch, path) = scratch();
        let mut link = DatagramLink::bind(&path, MTU).unwrap();
        let first = guest(&path, "first");
        first.send(b"first").unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"first");
        let nameless = UnixDatagram::unbound().unwrap();
        nameless.send_to(b"from nowhere", &path).unwrap();
        first.send(b"still here").unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"still here");
    });
}

#[test]
fn a_guest_that_comes_takes_the_place_of_the_one_that_is_there() {
    run(async {
        let (_scratch, path) = scratch();
        let mut link = DatagramLink::bind(&path, MTU).unwrap();
        let first = guest(&path, "first");
        first.send(b"first").unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"first");
        let second = guest(&path, "second");
        second.send(b"second").unwrap();
        assert_eq!(ends(&mut link).await, ErrorKind::ConnectionReset);
        assert_eq!(receive(&mut link).await.unwrap(), b"second");
        send(&mut link, b"for the second").await;
        assert_eq!(next(&second), b"for the second");
        // A process that another test starts just now holds on to a copy of the socket until it runs its program.
        first.set_nonblocking(true).unwrap();
        let refused = loop {
            match first.send(b"too late") {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(refused, ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_guest_that_is_gone_is_noticed_by_sending_and_by_asking() {
    run(async {
        let (_scratch, path) = scratch();
        let mut link = DatagramLink::bind(&path, MTU).unwrap();
        for sends in [true, false] {
            let guest = guest(&path, if sends { "sends" } else { "asks" });
            guest.send(b"here").unwrap();
            assert_eq!(receive(&mut link).await.unwrap(), b"here");
            drop(guest);
            if sends {
                let refused = link.try_send(Frame { bytes: b"lost", partial: None });
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            }
            assert_eq!(ends(&mut link).await, ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_frame_that_finds_no_room_is_held() {
    run(async {
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut link = DatagramLink::connected(near, MTU).unwrap();
        let frame = [7; 60_000];
        let mut sent = 0;
        let refused = loop {
            match link.try_send(Frame { bytes: &frame, partial: None }) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        let reader = std::thread::spawn(move || {
            let mut buf = vec![0; 70_000];
            for _ in 0..=sent {
                assert_eq!(far.recv(&mut buf).unwrap(), 60_000);
            }
            far
        });
        send(&mut link, &frame).await;
        drop(reader.join().unwrap());
    });
}

#[test]
fn a_connected_guest_is_the_only_one() {
    run(async {
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut link = DatagramLink::connected(near, MTU).unwrap();
        far.send(b"a frame").unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"a frame");
        drop(far);
        link.try_send(Frame { bytes: b"lost", partial: None }).unwrap_err();
        assert_eq!(ends(&mut link).await, ErrorKind::UnexpectedEof);

        let flags = SocketFlags::CLOEXEC;
        let (near, far): (OwnedFd, OwnedFd) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut link = DatagramLink::connected(near.into(), MTU).unwrap();
        rustix::net::send(&far, b"a frame", rustix::net::SendFlags::empty()).unwrap();
        assert_eq!(receive(&mut link).await.unwrap(), b"a frame");
        drop(far);
        assert_eq!(ends(&mut link).await, ErrorKind::UnexpectedEof);
    });
}
