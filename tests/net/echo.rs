//! Echo requests: the gateway's own, and those that are an association with another host.

use std::net::{IpAddr, SocketAddr};

use portcullis::limits::Limits;
use portcullis::net::{Carried, Unreachable};

use super::run;
use super::udp::read;
use super::wire::{Bed, far};
use crate::guest::packet;
use crate::pieces;

const HOSTS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// An echo message of the guest, or a reply to it.
fn echo(from: IpAddr, to: IpAddr, kind: [u8; 2], identifier: u16, payload: &[u8]) -> Vec<u8> {
    let [v4, v6] = kind;
    let [i0, i1] = identifier.to_be_bytes();
    let mut body = [&[v4, 0, 0, 0, i0, i1], payload].concat();
    if from.is_ipv4() {
        let check = packet::sum(&body).to_be_bytes();
        body[2..4].copy_from_slice(&check);
        return packet::ip(from, to, 1, body, None);
    }
    body[0] = v6;
    packet::ip(from, to, 58, body, Some(2))
}

const REQUEST: [u8; 2] = [8, 128];
const REPLY: [u8; 2] = [0, 129];

impl Bed {
    fn ping(&mut self, to: IpAddr, identifier: u16, payload: &[u8]) {
        let packet = echo(self.guest(to), to, REQUEST, identifier, payload);
        let frame = self.frame(&packet);
        self.send(&frame);
    }
}

#[test]
fn echo_to_another_host_is_an_association_of_its_identifier() {
    run(async {
        for host in HOSTS {
            let mut bed = Bed::new(Limits::default());
            let host: IpAddr = host.parse().unwrap();
            bed.ping(host, 0x1234, b"\0\x01ping");
            let new = bed.association().await.unwrap();
            assert_eq!(new.carried(), Carried::Echo);
            assert_eq!(new.source(), SocketAddr::new(bed.guest(host), 0x1234));
            assert_eq!(new.destination(), SocketAddr::new(host, 0));
            let mut association = new.accept();
            bed.ping(host, 0x1234, b"\0\x02");
            bed.ping(host, 0x4321, b"\0\x01");
            assert_eq!(read(&mut association).await.unwrap(), b"\0\x01ping");
            assert_eq!(read(&mut association).await.unwrap(), b"\0\x02");
            assert_eq!(read(&mut association).await, None);
            let other = bed.association().await.unwrap();
            assert_eq!(other.source().port(), 0x4321);

            assert!(association.send(b"\0\x01ping"));
            let reply = echo(host, bed.guest(host), REPLY, 0x1234, b"\0\x01ping");
            assert_eq!(bed.receive().await.unwrap()[14..], reply);
            assert!(!association.send(b"\0"), "half a sequence number");
            assert!(!association.send(&[0; 65_536]));
            assert_eq!((bed.receive().await, bed.stats().dropped.egress), (None, 2));
        }
    });
}

#[test]
fn refused_echo_is_unreachable_and_quotes_the_request() {
    run(async {
        for (host, kind) in [(HOSTS[0], [3, 13]), (HOSTS[1], [1, 1])] {
            let mut bed = Bed::new(Limits::default());
            let host: IpAddr = host.parse().unwrap();
            bed.ping(host, 7, b"\0\x01ping");
            bed.association().await.unwrap().refuse(Unreachable::Prohibited);
            let error = bed.receive().await.unwrap()[14..].to_vec();
            let header = if host.is_ipv4() { 20 } else { 40 };
            assert_eq!(error[header..header + 2], kind);
            assert_eq!(error[header + 8..], echo(bed.guest(host), host, REQUEST, 7, b"\0\x01ping"));
            assert_eq!(bed.stats().associations, 0);
        }
    });
}

#[test]
fn echo_and_udp_of_equal_numbers_are_two_associations_under_one_cap() {
    run(async {
        let mut bed = Bed::new(Limits { associations: 1, ..Limits::default() });
        bed.ping(far("192.0.2.1:0").ip(), 9_000, b"\0\x01");
        let mut echo = bed.association().await.unwrap().accept();
        assert_eq!(read(&mut echo).await.unwrap(), b"\0\x01");
        bed.datagram(9_000, "192.0.2.1:1", b"udp");
        let mut udp = bed.association().await.unwrap().accept();
        assert_eq!(read(&mut udp).await.unwrap(), b"udp");
        assert!(!echo.send(b"\0\x01"));
        assert_eq!(bed.stats().associations_evicted, 1);
    });
}

#[test]
fn large_echo_to_the_gateway_comes_back_in_fragments() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        for gateway in [IpAddr::V4(bed.config.gateway_v4), bed.config.gateway_v6.into()] {
            let payload: Vec<u8> = (0..4_000_u32).map(|octet| octet as u8).collect();
            let request = echo(bed.guest(gateway), gateway, REQUEST, 5, &payload);
            let len = request.len() - if gateway.is_ipv4() { 20 } else { 40 };
            for start in (0..len).step_by(1_448) {
                let part = pieces::fragment(&request, start..(start + 1_448).min(len), 1);
                let frame = bed.frame(&part);
                bed.send(&frame);
            }
            let mut parts = Vec::new();
            while let Some(frame) = bed.receive().await {
                assert!(frame.len() <= 14 + 1_500);
                parts.push(frame[14..].to_vec());
            }
            assert_eq!(parts.len(), 3);
            let whole = echo(gateway, bed.guest(gateway), REPLY, 5, &payload);
            let header = if gateway.is_ipv4() { 20 } else { 40 };
            assert_eq!(pieces::joined(&parts).1, whole[header..]);
        }
        assert_eq!(bed.stats().associations_opened, 0);
    });
}
