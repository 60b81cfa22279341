//! UDP through the public facade: what is relayed, what is recorded, and what ends an association.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::audit::{Event, FlowKind};
use portcullis::limits::Limits;
use portcullis::name::HOST_ALIAS;
use tokio::net::UdpSocket;

use crate::memory::{Bed, Plan, run};

/// A UDP service of this machine that answers each datagram with itself.
async fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let mut datagram = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
            socket.send_to(&datagram[..length], client).await.unwrap();
        }
    });
    addr
}

#[test]
fn an_association_ends_when_nothing_passes_and_is_recorded() {
    run(async {
        let service = echo().await;
        let rule = format!("{HOST_ALIAS}:{}/udp", service.port());
        let idle = |limits: &mut Limits| limits.udp_idle = Duration::from_millis(50);
        let mut bed = Plan::new().allow(&rule).limits(idle).start();
        let gateway = SocketAddr::new(bed.gateway(), service.port());
        // Each exchange is from another port of the guest's, and so another association.
        for word in ["one", "two"] {
            assert_eq!(bed.guest.udp_exchange(gateway, word.as_bytes()).await.unwrap(), word.as_bytes());
        }
        for _ in 0..2 {
            let (destination, upstream, host, by) = bed
                .event(|event| match event {
                    Event::Flow { kind: FlowKind::Udp, destination, upstream, host, rule, .. } => {
                        Some((*destination, *upstream, host.clone(), rule.clone()))
                    }
                    _ => None,
                })
                .await;
            assert_eq!((destination, upstream), (gateway, Some(service)));
            assert_eq!((host.as_deref(), by), (Some(HOST_ALIAS), Some(format!("--allow {rule}"))));
        }
        bed.finish().await;
    });
}

#[test]
fn connect_to_leads_datagrams_of_its_host_and_port() {
    run(async {
        let service = echo().await;
        let host = "dtls.example.com";
        let bed = Plan::new().allow(&format!("{host}:4433/udp")).connect(host, 4433, service).start();
        let addr = bed.address(host).await;
        let answer = bed.guest.udp_exchange(SocketAddr::new(addr, 4433), b"hello").await;
        assert_eq!(answer.unwrap(), b"hello");
        for port in [4434, 443] {
            let refused = bed.guest.udp_exchange(SocketAddr::new(addr, port), b"hello").await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        bed.finish().await;
    });
}

const PROBES: u16 = 40;

/// Counts the denials of a scan; how many records tell of all of them.
async fn records_of_scan(bed: &mut Bed) -> u16 {
    assert!(bed.sandbox().denials().unwrap().starts_with(&format!("{PROBES} denials: ")));
    let (mut records, mut told) = (0, 0);
    while told < u64::from(PROBES) {
        told += bed
            .event(|event| match event {
                Event::Denial { target, .. } if target.starts_with("8.8.8.8:") => Some(1),
                Event::Denials { count, observed: false } => Some(*count),
                _ => None,
            })
            .await;
        records += 1;
    }
    assert_eq!(told, u64::from(PROBES));
    records
}

#[test]
fn a_scan_is_refused_one_by_one_and_recorded_in_sum() {
    run(async {
        for is_udp in [true, false] {
            let few = |limits: &mut Limits| limits.refusals_told = 3;
            let mut bed = Plan::new().limits(few).start();
            for port in 0..PROBES {
                let to = SocketAddr::new("8.8.8.8".parse().unwrap(), 1000 + port);
                let refused = if is_udp {
                    bed.guest.udp_exchange(to, b"?").await.unwrap_err()
                } else {
                    bed.guest.connect(to).await.map(drop).unwrap_err()
                };
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            }
            assert!(records_of_scan(&mut bed).await < PROBES);
            bed.finish().await;
        }
    });
}
