//! Published ports at their bounds: what is refused, given up and forgotten.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis::audit::{Event, FlowKind};
use portcullis::net::Stats;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::guest::Frozen;
use crate::memory::{Bed, Plan, run};

fn published(bed: &Bed) -> SocketAddr {
    bed.sandbox().published()[0].address
}

/// Waits for counters that only change by what the test has done.
async fn until(bed: &Bed, wanted: impl Fn(&Stats) -> bool) {
    while !wanted(&bed.sandbox().stats().await.unwrap().net) {
        tokio::task::yield_now().await;
    }
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 8]).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[test]
fn connection_over_the_cap_is_reset_and_counted_and_the_next_is_served() {
    run(async {
        let mut bed = Plan::new().publish("0:80").limits(|limits| limits.published_connections = 1).start();
        let mut theirs = bed.guest.listen(80);
        let mut first = TcpStream::connect(published(&bed)).await.unwrap();
        first.write_all(b"hello").await.unwrap();
        theirs.read_exact(&mut [0; 5]).await.unwrap();
        // The reset may be there before the connection is seen to be.
        match TcpStream::connect(published(&bed)).await {
            Ok(mut second) => assert!(is_reset(&mut second).await),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        let stats = bed.sandbox().stats().await.unwrap().net;
        assert_eq!((stats.connections, stats.connections_over_limit), (1, 1));

        theirs.reset();
        assert!(is_reset(&mut first).await, "a reset is passed on");
        until(&bed, |stats| stats.connections == 0).await;
        let again = bed.guest.listen(80);
        let third = TcpStream::connect(published(&bed)).await.unwrap();
        again.accepted().await;
        let peer = first.local_addr().unwrap();
        let flow = bed.event(|event| match event {
            Event::Flow { kind: FlowKind::Published, peer, destination, .. } => Some((*peer, *destination)),
            _ => None,
        });
        assert_eq!(flow.await, (Some(peer), "172.16.0.2:80".parse().unwrap()));
        drop(third);
        bed.finish().await;
    });
}

#[test]
fn guest_that_does_not_answer_is_given_up_after_the_dials_time() {
    run(async {
        let bed =
            Plan::new().publish("0:80").limits(|limits| limits.dial = Duration::from_millis(20)).start();
        bed.guest.freeze(Frozen::Yes);
        let mut stream = TcpStream::connect(published(&bed)).await.unwrap();
        assert!(is_reset(&mut stream).await);
        let stats = bed.sandbox().stats().await.unwrap().net;
        assert_eq!((stats.connections, stats.flows), (0, 0));
        bed.finish().await;
    });
}

#[test]
fn peer_that_resets_while_the_guest_is_waited_for_takes_the_attempt_along() {
    run(async {
        let forever = Duration::from_secs(3600);
        let bed = Plan::new().publish("0:80").limits(|limits| limits.dial = forever).start();
        bed.guest.freeze(Frozen::Yes);
        let stream = TcpStream::connect(published(&bed)).await.unwrap();
        until(&bed, |stats| stats.connections > 0).await;
        stream.set_zero_linger().unwrap();
        drop(stream);
        until(&bed, |stats| stats.connections == 0).await;
        bed.finish().await;
    });
}

#[test]
fn peers_of_a_udp_port_are_bounded_and_forgotten_when_they_are_quiet() {
    run(async {
        let plan = Plan::new().publish("0:53/udp").limits(|limits| {
            limits.published_peers = 2;
            limits.udp_idle = Duration::from_millis(50);
        });
        let mut bed = plan.start();
        for _ in 0..3 {
            let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            peer.send_to(b"hello", published(&bed)).await.unwrap();
        }
        until(&bed, |stats| stats.associations_opened == 3).await;
        assert!(bed.sandbox().stats().await.unwrap().net.associations <= 2);
        until(&bed, |stats| stats.associations == 0).await;
        for _ in 0..3 {
            let ended = bed.event(|event| match event {
                Event::Flow { kind: FlowKind::Published, destination, .. } => Some(*destination),
                _ => None,
            });
            assert_eq!(ended.await, "172.16.0.2:53".parse().unwrap());
        }
        bed.finish().await;
    });
}
