//! Router advertisements, and the addresses a guest makes itself from them.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::link::Link as _;
use tokio::time::{Instant, timeout};

use super::run;
use super::wire::{ACK, Bed, RST, SYN, V6, far};
use crate::guest::packet;

const ALL_NODES: &str = "ff02::1";
const ALL_ROUTERS: &str = "ff02::2";
const OWN: &str = "fe80::1234";

fn v6(addr: &str) -> Ipv6Addr {
    addr.parse().unwrap()
}

/// Another address in the guest's /64.
fn made(bed: &Bed, identifier: u64) -> Ipv6Addr {
    Ipv6Addr::from(bed.config.guest_v6.to_bits() >> 64 << 64 | u128::from(identifier))
}

fn icmp(bed: &Bed, (from, to): (Ipv6Addr, Ipv6Addr), body: &[u8]) -> Vec<u8> {
    let mut packet = packet::ip(from.into(), to.into(), 58, body.to_vec(), Some(2));
    packet[7] = 255;
    bed.frame(&packet)
}

fn solicitation(bed: &Bed, from: &str, options: &[u8]) -> Vec<u8> {
    icmp(bed, (v6(from), v6(ALL_ROUTERS)), &[&[133, 0, 0, 0, 0, 0, 0, 0], options].concat())
}

/// The Ethernet destination, the IP destination and the message of an advertisement.
fn advertisement(bed: &Bed, frame: &[u8]) -> ([u8; 6], Ipv6Addr, Vec<u8>) {
    let [a, b, c, d, e, f] = bed.config.gateway_mac;
    let link_local = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    assert_eq!((&frame[6..12], &frame[12..14]), (&bed.config.gateway_mac[..], &[0x86, 0xdd][..]));
    assert_eq!((frame[20], frame[21], address(22)), (58, 255, link_local));
    let mut body = frame[54..].to_vec();
    body[2..4].fill(0);
    let sent = packet::ip(link_local.into(), address(38).into(), 58, body.clone(), Some(2));
    assert_eq!(sent[40..], frame[54..], "the checksum");
    (frame[..6].try_into().unwrap(), address(38), body)
}

#[test]
fn a_solicitation_is_answered_with_all_a_guest_needs() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let mac = bed.config.guest_mac;
        let options = [&[1, 1][..], &mac].concat();
        let ask = solicitation(&bed, OWN, &options);
        bed.send(&ask);
        let frame = bed.receive().await.expect("an advertisement");
        assert_eq!(bed.receive().await, None, "one answer");
        let (to_mac, to, body) = advertisement(&bed, &frame);
        assert_eq!((to_mac, to), (mac, v6(OWN)));
        // Hop limit 64, neither managed nor other, half an hour; reachable and retransmission times unsaid.
        assert_eq!(body[..16], [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(body[16..24], [&[1, 1][..], &bed.config.gateway_mac].concat());
        assert_eq!(body[24..32], [5, 1, 0, 0, 0, 0, 0x05, 0xdc]);
        // A /64, on-link and autonomous; 30 days and 7 days.
        assert_eq!(body[32..36], [3, 4, 64, 0xc0]);
        assert_eq!(body[36..48], [0, 0x27, 0x8d, 0, 0, 0x09, 0x3a, 0x80, 0, 0, 0, 0]);
        assert_eq!(body[48..64], made(&bed, 0).octets());
        assert_eq!(body[64..72], [25, 3, 0, 0, 0, 0, 0x07, 0x08]);
        assert_eq!(body[72..], bed.config.gateway_v6.octets());
    });
}

#[test]
fn a_guest_without_an_address_is_answered_as_all_nodes() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let ask = solicitation(&bed, "::", &[]);
        bed.send(&ask);
        let frame = bed.receive().await.expect("an advertisement");
        let (mac, to, _) = advertisement(&bed, &frame);
        assert_eq!((mac, to), ([0x33, 0x33, 0, 0, 0, 1], v6(ALL_NODES)));
    });
}

#[test]
fn solicitations_that_are_none_are_dropped_and_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let routed = {
            let mut frame = solicitation(&bed, OWN, &[]);
            frame[21] = 64;
            frame
        };
        let code = icmp(&bed, (v6(OWN), v6(ALL_ROUTERS)), &[133, 1, 0, 0, 0, 0, 0, 0]);
        let no_length = solicitation(&bed, OWN, &[1, 0, 0, 0, 0, 0, 0, 0]);
        let cut = solicitation(&bed, OWN, &[14, 2, 0, 0, 0, 0, 0, 0]);
        let lone = solicitation(&bed, OWN, &[14]);
        let nobodys = solicitation(&bed, "::", &[1, 1, 2, 3, 4, 5, 6, 7]);
        let short = icmp(&bed, (v6(OWN), v6(ALL_ROUTERS)), &[133, 0, 0, 0, 0, 0, 0]);
        for frame in [&routed, &code, &no_length, &cut, &lone, &nobodys, &short] {
            assert_eq!(bed.exchange(frame).await, None);
        }
        assert_eq!(bed.stats().dropped.malformed, 7);
        let mut checksum = solicitation(&bed, OWN, &[]);
        checksum[57] ^= 1;
        assert_eq!(bed.exchange(&checksum).await, None);
        assert_eq!(bed.stats().dropped.checksum, 1);
        for to in ["2001:db8::1", ALL_NODES] {
            let frame = icmp(&bed, (v6(OWN), v6(to)), &[133, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(bed.exchange(&frame).await, None);
        }
        assert_eq!(bed.stats().dropped.destination_ip, 2);
    });
}

/// The next frame within `patience`, and how long it took.
async fn later(bed: &mut Bed, patience: Duration) -> Option<(Vec<u8>, Duration)> {
    let started = Instant::now();
    timeout(patience, poll_fn(|cx| bed.link.poll_receive_ready(cx))).await.ok()?.unwrap();
    Some((bed.receive().await?, started.elapsed()))
}

#[test]
fn a_guest_that_configures_itself_hears_of_its_router_again() {
    run(async {
        let hour = Duration::from_secs(3_600);
        let mut bed = Bed::new(Limits::default());
        // One with addresses set by hand asks for its neighbour, and for nothing else.
        let gateway = bed.config.gateway_v6;
        let neighbour = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &gateway.octets()].concat();
        let frame = icmp(&bed, (bed.config.guest_v6, gateway), &neighbour);
        assert!(bed.exchange(&frame).await.is_some());
        assert_eq!(later(&mut bed, hour).await, None);

        let frame = icmp(&bed, (made(&bed, 77), gateway), &neighbour);
        assert!(bed.exchange(&frame).await.is_some());
        for _ in 0..3 {
            let (frame, waited) = later(&mut bed, hour).await.expect("an advertisement");
            assert_eq!(advertisement(&bed, &frame).1, v6(ALL_NODES));
            let about = Duration::from_secs(590)..Duration::from_secs(601);
            assert!(about.contains(&waited), "{waited:?}");
        }
    });
}

#[test]
fn an_interval_of_nothing_is_no_storm() {
    run(async {
        let mut bed = Bed::new(Limits { router_interval: Duration::ZERO, ..Limits::default() });
        let ask = solicitation(&bed, OWN, &[]);
        bed.send(&ask);
        let frame = bed.receive().await.expect("an advertisement");
        assert_eq!(advertisement(&bed, &frame).2[6..8], [0, 12]);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(bed.receive().await, None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(bed.receive().await.is_some());
        assert_eq!(bed.receive().await, None);
    });
}

fn segment(bed: &Bed, from: Ipv6Addr, flags: u8) -> Vec<u8> {
    let to = far(V6);
    let mut body = [4_000_u16.to_be_bytes(), to.port().to_be_bytes()].concat();
    body.extend([0, 0, 0, 100, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bed.frame(&packet::ip(from.into(), to.ip(), 6, body, Some(16)))
}

#[test]
fn every_address_of_its_own_network_is_the_guests_and_keeps_its_flows_apart() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let addresses = [made(&bed, 77), made(&bed, u64::MAX), bed.config.guest_v6];
        let mut streams = Vec::new();
        for from in addresses {
            let syn = segment(&bed, from, SYN);
            bed.send(&syn);
            let incoming = bed.incoming().await.expect("a flow of its own");
            assert_eq!(incoming.source(), SocketAddr::new(from.into(), 4_000));
            streams.push(incoming.accept());
            let answer = bed.receive().await.expect("a SYN-ACK");
            assert_eq!((&answer[38..54], answer[67]), (&from.octets()[..], SYN | ACK));
        }
        assert_eq!(bed.stats().flows, 3);
        // A refusal goes to the one that asked.
        let from = made(&bed, 99);
        let syn = segment(&bed, from, SYN);
        bed.send(&syn);
        bed.incoming().await.expect("a flow").refuse();
        let answer = bed.receive().await.expect("a reset");
        assert_eq!((&answer[38..54], answer[67]), (&from.octets()[..], RST | ACK));
    });
}

#[test]
fn other_networks_and_the_gateways_addresses_are_not_the_guests() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let next = Ipv6Addr::from(bed.config.guest_v6.to_bits() + (1 << 64));
        let sources = [next, made(&bed, 0), bed.config.gateway_v6, v6(OWN), v6("::"), v6("ff02::1")];
        for from in sources {
            let syn = segment(&bed, from, SYN);
            assert_eq!(bed.exchange(&syn).await, None, "{from}");
        }
        assert_eq!(bed.stats().dropped.source_ip, sources.len() as u64);
        // What is on its own link is no one's but the gateway's.
        let to = IpAddr::V6(made(&bed, 5));
        let datagram = packet::ip(bed.config.guest_v6.into(), to, 17, vec![0, 9, 0, 9, 0, 8, 0, 0], Some(6));
        let frame = bed.frame(&datagram);
        assert_eq!(bed.exchange(&frame).await, None);
        assert_eq!((bed.stats().dropped.destination_ip, bed.stats().flows), (1, 0));
    });
}
