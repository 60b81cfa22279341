//! Frames that are no TCP: what is answered, what is dropped and counted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use portcullis::limits::Limits;
use portcullis::net::Arrival;

use super::run;
use super::wire::{Bed, V6, far};
use crate::guest::{datagram, packet};

#[test]
fn frames_that_are_not_the_guests_own_are_dropped_and_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, to) = (bed.config.guest_v4.into(), IpAddr::from([192, 0, 2, 1]));
        let good = bed.frame(&packet::ip(guest, to, 17, [0, 9, 0, 9, 0, 8, 0, 0].to_vec(), Some(6)));

        let mut source_mac = good.clone();
        source_mac[11] ^= 1;
        let mut destination_mac = good.clone();
        destination_mac[5] ^= 0x10;
        let vlan = [&good[..12], &[0x81, 0, 0, 1], &good[12..]].concat();
        let ether_type = [&good[..12], &[0x88, 0xcc], &good[14..]].concat();
        let spoofed = bed.frame(&packet::ip([10, 9, 8, 7].into(), to, 17, vec![0; 8], Some(6)));
        let other_v6: IpAddr = "2001:db8::bad".parse().unwrap();
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let spoofed_v6 = bed.frame(&packet::ip(other_v6, v6, 17, vec![0; 8], Some(6)));
        let multicast = bed.frame(&packet::ip(guest, [224, 0, 0, 251].into(), 17, vec![0; 8], Some(6)));
        let mut checksum = good.clone();
        checksum[24] ^= 0xff;
        let mut short = good.clone();
        short.truncate(good.len() - 1);
        for frame in [
            &source_mac,
            &destination_mac,
            &vlan,
            &ether_type,
            &spoofed,
            &spoofed_v6,
            &multicast,
            &checksum,
            &short,
        ] {
            assert_eq!(bed.exchange(frame).await, None);
        }
        for len in [0, 1, 13, 14, 20, 33] {
            assert_eq!(bed.exchange(&good[..len]).await, None);
        }
        let dropped = bed.stats().dropped;
        assert_eq!((dropped.source_mac, dropped.destination_mac), (1, 1));
        assert_eq!((dropped.vlan, dropped.ether_type, dropped.source_ip), (1, 1, 2));
        assert_eq!((dropped.destination_ip, dropped.checksum, dropped.malformed), (1, 1, 1));
        assert_eq!(dropped.runt, 6);
        assert_eq!(bed.stats().frames_out, 0);
    });
}

#[test]
fn ip_options_and_extension_headers_are_dropped_and_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, to) = (IpAddr::V4(bed.config.guest_v4), IpAddr::from([192, 0, 2, 1]));
        let mut options = packet::ip(guest, to, 17, [0, 9, 0, 9, 0, 8, 0, 0].to_vec(), Some(6));
        options[0] = 0x46;
        let (guest6, to6) = (IpAddr::V6(bed.config.guest_v6), far(V6).ip());
        let hop_by_hop = packet::ip(guest6, to6, 0, vec![6, 0, 5, 2, 0, 0, 0, 0], None);
        let behind_a_fragment_header = packet::ip(guest6, to6, 44, vec![60, 0, 0, 1, 0, 0, 0, 0], None);
        for packet in [options, hop_by_hop, behind_a_fragment_header] {
            let frame = bed.frame(&packet);
            assert_eq!(bed.exchange(&frame).await, None);
        }
        assert_eq!(bed.stats().dropped.ip_options, 3);
    });
}

#[test]
fn arp_is_answered_for_the_gateway_and_for_what_is_off_the_link() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, gateway) = (bed.config.guest_v4.octets(), bed.config.gateway_v4.octets());
        for target in [gateway, [1, 1, 1, 1], [192, 168, 1, 1]] {
            let request = bed.arp(guest, target);
            let reply = bed.exchange(&request).await.expect("a reply");
            assert_eq!(reply[..8], [0, 1, 8, 0, 6, 4, 0, 2]);
            assert_eq!(reply[8..14], bed.config.gateway_mac);
            assert_eq!((&reply[14..18], &reply[24..28]), (&target[..], &guest[..]));
        }
        // Its own address, others of its link, no host; a probe for what is not the gateway's; a forged sender.
        let neighbour = [gateway[0], gateway[1], gateway[2], gateway[3] + 2];
        for (sender, target) in [
            (guest, guest),
            (guest, neighbour),
            (guest, [224, 0, 0, 1]),
            ([0; 4], [1, 1, 1, 1]),
            ([9, 9, 9, 9], gateway),
        ] {
            let request = bed.arp(sender, target);
            assert_eq!(bed.exchange(&request).await, None, "{sender:?} {target:?}");
        }
        let probe = bed.arp([0; 4], gateway);
        assert!(bed.exchange(&probe).await.is_some());
    });
}

#[test]
fn neighbours_are_answered_for_the_gateway_and_for_what_is_off_the_link() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let [a, b, c, d, e, f] = bed.config.gateway_mac;
        let link_local = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        let own_link_local: IpAddr = "fe80::2".parse().unwrap();
        let guest = IpAddr::V6(bed.config.guest_v6);
        let gateway = bed.config.gateway_v6;
        let outside: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let on_link = Ipv6Addr::from(gateway.to_bits() + 9);
        let ask = |bed: &Bed, source: IpAddr, target: Ipv6Addr, hops: u8| {
            let body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
            let mut packet = packet::ip(source, target.into(), 58, body, Some(2));
            packet[7] = hops;
            bed.frame(&packet)
        };
        for (source, target) in
            [(guest, gateway), (guest, link_local), (own_link_local, link_local), (guest, outside)]
        {
            let frame = ask(&bed, source, target, 255);
            let reply = bed.exchange(&frame).await.expect("an advertisement");
            assert_eq!((reply[6], reply[7], reply[40], reply[44]), (58, 255, 136, 0xe0));
            assert_eq!(reply[48..64], target.octets());
            assert_eq!(reply[64..72], [&[2, 1][..], &bed.config.gateway_mac].concat());
        }
        let unspecified = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        for (source, target, hops) in [
            (guest, on_link, 255),
            (guest, bed.config.guest_v6, 255),
            (guest, gateway, 64),
            (unspecified, outside, 255),
        ] {
            let frame = ask(&bed, source, target, hops);
            assert_eq!(bed.exchange(&frame).await, None, "{source} {target} {hops}");
        }
    });
}

#[test]
fn gateway_answers_echo_and_a_group_does_not() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (v4, v6) = (IpAddr::V4(bed.config.guest_v4), IpAddr::V6(bed.config.guest_v6));
        let payload = [0, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'];
        let mut request4 = payload.to_vec();
        request4[0] = 8;
        let check = packet::sum(&request4).to_be_bytes();
        request4[2..4].copy_from_slice(&check);
        let mut request6 = payload.to_vec();
        request6[0] = 128;

        let gateways: [IpAddr; 2] = [bed.config.gateway_v4.into(), bed.config.gateway_v6.into()];
        let echo4 = bed.frame(&packet::ip(v4, gateways[0], 1, request4.clone(), None));
        let reply = bed.exchange(&echo4).await.unwrap();
        assert_eq!((reply[20], &reply[24..]), (0, &payload[4..]));
        let echo6 = bed.frame(&packet::ip(v6, gateways[1], 58, request6.clone(), Some(2)));
        let reply = bed.exchange(&echo6).await.unwrap();
        assert_eq!((reply[40], &reply[44..]), (129, &payload[4..]));

        // Nobody is asked about the gateway, nor about a group.
        for (to, request) in [("224.0.0.1", request4.clone()), ("255.255.255.255", request4)] {
            let frame = bed.frame(&packet::ip(v4, to.parse().unwrap(), 1, request, None));
            assert_eq!(bed.exchange(&frame).await, None);
        }
        let frame = bed.frame(&packet::ip(v6, "ff02::1".parse().unwrap(), 58, request6, Some(2)));
        assert_eq!(bed.exchange(&frame).await, None);
        assert_eq!((bed.stats().dropped.destination_ip, bed.stats().associations_opened), (3, 0));
    });
}

#[test]
fn unreachable_protocol_quotes_the_packet() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        for to in [far("192.0.2.1:443"), far("[2001:db8::1]:443")] {
            let sctp = packet::ip(bed.guest(to.ip()), to.ip(), 132, vec![0xa5; 1_400], None);
            let frame = bed.frame(&sctp);
            let error = bed.exchange(&frame).await.unwrap();
            let (header, most) = if to.is_ipv4() { (20, 576) } else { (40, 1_280) };
            assert_eq!(error.len(), most);
            assert_eq!((error[header], error[header + 1]), if to.is_ipv4() { (3, 2) } else { (4, 1) });
            assert_eq!(error[header + 8..], sctp[..most - header - 8]);
        }
        assert_eq!(bed.stats().dropped.protocol, 2);
    });
}

#[test]
fn queue_of_datagrams_is_bounded() {
    run(async {
        let mut bed = Bed::new(Limits { datagrams: 3, ..Limits::default() });
        for port in 0..5 {
            let from = SocketAddr::new(bed.config.guest_v4.into(), 9_000 + port);
            let frame = bed.frame(&datagram(from, far("8.8.8.8:53"), b"?"));
            bed.send(&frame);
        }
        assert_eq!(bed.receive().await, None);
        assert_eq!((bed.stats().datagrams, bed.stats().dropped.datagram), (3, 2));
        for _ in 0..3 {
            let Some(Arrival::Datagram(datagram)) = bed.arrivals.next().await else { panic!() };
            let capacity = datagram.reply_capacity();
            assert_eq!(capacity, 1_472);
            datagram.reply(&vec![0; capacity]);
            assert_eq!(bed.receive().await.unwrap().len(), 14 + 1_500);
        }
        let from = SocketAddr::new(bed.config.guest_v4.into(), 9_009);
        let frame = bed.frame(&datagram(from, far("8.8.8.8:53"), b"?"));
        bed.send(&frame);
        let Some(Arrival::Datagram(datagram)) = bed.arrivals.next().await else { panic!() };
        datagram.reply(&[0; 1_473]);
        for len in [14 + 1_500, 14 + 20 + 1] {
            assert_eq!(bed.receive().await.unwrap().len(), len);
        }
        assert_eq!(bed.receive().await, None);
    });
}
