//! Headers no guest of good will sends: dropped, each counted for what it is.

use std::net::IpAddr;

use portcullis::limits::Limits;

use super::run;
use super::wire::{Bed, V6, far};
use crate::guest::packet;

/// A packet of `len` octets and a protocol that is answered with an error at once.
fn unknown(bed: &Bed, to: IpAddr, len: usize) -> Vec<u8> {
    let header = if to.is_ipv4() { 20 } else { 40 };
    bed.frame(&packet::ip(bed.guest(to), to, 132, vec![0; len - header], None))
}

/// A datagram of `len` octets of IP.
fn datagram(bed: &Bed, to: IpAddr, len: usize) -> Vec<u8> {
    let header = if to.is_ipv4() { 20 } else { 40 };
    let udp = (len - header) as u16;
    let mut body = [[0, 9, 0, 9], [0; 4]].concat();
    body[4..6].copy_from_slice(&udp.to_be_bytes());
    body.resize(len - header, 0);
    bed.frame(&packet::ip(bed.guest(to), to, 17, body, Some(6)))
}

#[test]
fn jumbo_frames_are_dropped_and_the_longest_there_may_be_are_not() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        for to in [IpAddr::from([192, 0, 2, 1]), far(V6).ip()] {
            let fits = unknown(&bed, to, 1_500);
            assert!(bed.exchange(&fits).await.is_some(), "an ICMP error");
            for len in [1_501, 9_000, 65_535] {
                let jumbo = unknown(&bed, to, len);
                assert_eq!(bed.exchange(&jumbo).await, None, "{len}");
            }
        }
        // Short of an MTU, but padded beyond it.
        let mut padded = unknown(&bed, [192, 0, 2, 1].into(), 100);
        padded.resize(1_515, 0);
        assert_eq!(bed.exchange(&padded).await, None);
        assert_eq!((bed.stats().dropped.jumbo, bed.stats().dropped.protocol), (7, 2));
    });
}

#[test]
fn every_tag_is_a_vlan() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let good = datagram(&bed, [192, 0, 2, 1].into(), 100);
        // 802.1Q, priority only, 802.1ad, and one in the other.
        let tags: [&[u8]; 4] =
            [&[0x81, 0, 0, 7], &[0x81, 0, 0xe0, 0], &[0x88, 0xa8, 0, 7], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]];
        for tag in tags {
            let tagged = [&good[..12], tag, &good[12..]].concat();
            assert_eq!(bed.exchange(&tagged).await, None, "{tag:?}");
        }
        assert_eq!(bed.stats().dropped.vlan, 4);
    });
}

#[test]
fn every_option_and_extension_header_is_dropped_and_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        // Record route, source routes, router alert: up to the most a header holds.
        for words in 6..=15_u8 {
            let mut packet = datagram(&bed, [192, 0, 2, 1].into(), 100)[14..].to_vec();
            packet[0] = 0x40 | words;
            let frame = bed.frame(&packet);
            assert_eq!(bed.exchange(&frame).await, None, "{words}");
        }
        // Hop-by-hop, routing, authentication, destination options.
        for header in [0, 43, 51, 60] {
            let body = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &[0, 9, 0, 9, 0, 8, 0, 0]].concat();
            let packet = packet::ip(bed.config.guest_v6.into(), far(V6).ip(), header, body, None);
            let frame = bed.frame(&packet);
            assert_eq!(bed.exchange(&frame).await, None, "{header}");
        }
        // A host that joins a group says so behind a hop-by-hop header, before it has an address too.
        for source in ["fe80::1", "::"] {
            let report = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &[143, 0, 0, 0, 0, 0, 0, 0]].concat();
            let packet = packet::ip(source.parse().unwrap(), "ff02::16".parse().unwrap(), 0, report, None);
            let frame = bed.frame(&packet);
            assert_eq!(bed.exchange(&frame).await, None, "{source}");
        }
        assert_eq!((bed.stats().dropped.ip_options, bed.stats().dropped.source_ip), (16, 0));
    });
}

#[test]
fn headers_that_lie_are_malformed() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let good4 = datagram(&bed, [192, 0, 2, 1].into(), 100);
        let good6 = datagram(&bed, far(V6).ip(), 100);
        // Version and header length; total length under the header's, over the frame's; the other version.
        let lies = [
            (&good4, 14, 0x44),
            (&good4, 14, 0x35),
            (&good4, 14, 0x65),
            (&good4, 17, 19),
            (&good4, 17, 101),
            (&good6, 14, 0x45),
            (&good6, 14, 0x50),
            (&good6, 19, 61),
        ];
        for (good, at, value) in lies {
            let mut lie = good.clone();
            lie[at] = value;
            assert_eq!(bed.exchange(&lie).await, None, "{at} {value:#x}");
        }
        assert_eq!(bed.stats().dropped.malformed, lies.len() as u64);
    });
}

#[test]
fn every_source_that_is_not_the_guests_is_dropped_and_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let gateway = bed.config.gateway_v4;
        let spoofs = [
            gateway.to_string(),
            "0.0.0.0".into(),
            "127.0.0.1".into(),
            "255.255.255.255".into(),
            "224.0.0.1".into(),
        ];
        for source in &spoofs {
            let packet = packet::ip(
                source.parse().unwrap(),
                [192, 0, 2, 1].into(),
                17,
                vec![0, 9, 0, 9, 0, 8, 0, 0],
                Some(6),
            );
            let frame = bed.frame(&packet);
            assert_eq!(bed.exchange(&frame).await, None, "{source}");
        }
        // The gateway's own MAC address, a group's, none.
        let good = datagram(&bed, [192, 0, 2, 1].into(), 100);
        for mac in [bed.config.gateway_mac, [0xff; 6], [0; 6]] {
            let mut frame = good.clone();
            frame[6..12].copy_from_slice(&mac);
            assert_eq!(bed.exchange(&frame).await, None, "{mac:?}");
        }
        // ARP that says other than the frame.
        let mut request = bed.arp(bed.config.guest_v4.octets(), gateway.octets());
        request[27] ^= 1;
        assert_eq!(bed.exchange(&request).await, None);
        let dropped = bed.stats().dropped;
        assert_eq!((dropped.source_ip, dropped.source_mac), (spoofs.len() as u64, 4));
        assert_eq!(bed.stats().frames_out, 0);
    });
}
