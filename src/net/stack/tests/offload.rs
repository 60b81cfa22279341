//! What goes to a link that sums and cuts for us.

use super::{Bed, noise};
use crate::limits::Limits;
use crate::link::Offload;
use crate::net::emit;
use crate::net::frame::{self, ETHERNET, PROTOCOL_TCP, TCP};

#[test]
fn offloading_link_gets_large_segments_to_cut_at_the_guests_mss() {
    for (to, mss, expected) in [
        ("192.0.2.1", 9_000, 1_460),
        ("2001:db8::1", 9_000, 1_440),
        ("192.0.2.1", 1_000, 1_000),
        ("2001:db8::1", 1_000, 1_000),
        ("192.0.2.1", 1, 216),
    ] {
        let mut bed = Bed::new(Offload::Vnet, to, Limits::default());
        let (id, _) = bed.open(5_000, mss);
        let octets = noise(150_000);
        assert_eq!(bed.write(id, &octets), octets.len());
        bed.turn();
        let (mut received, mut largest) = (Vec::new(), 0);
        while let Some((segment, payload, partial)) = bed.sent() {
            let partial = partial.expect("work for the link");
            let cut = u32::from(expected) < segment.payload;
            assert_eq!(partial.segment.map(u16::from), cut.then_some(expected), "{to} {mss}");
            largest = largest.max(payload.len());
            received.extend(payload);
        }
        assert!(received == octets);
        assert!(largest > 60_000, "{largest}");
    }
}

#[test]
fn syn_ack_announces_the_real_mss_where_the_link_cuts_segments() {
    for (to, expected) in [("192.0.2.1", 1_460_u16), ("2001:db8::1", 1_440)] {
        for offload in [Offload::None, Offload::Vnet] {
            let mut bed = Bed::new(offload, to, Limits::default());
            bed.syn(5_000, 77, 9_000);
            let id = bed.arrival().unwrap();
            bed.stack.accept(id);
            bed.turn();
            let (bytes, _) = bed.link.sent.pop_front().unwrap();
            let start = if bed.to.is_ipv4() { ETHERNET + frame::IPV4 } else { ETHERNET + frame::IPV6 };
            let [two, four, value @ ..] = &bytes[start + TCP..] else { panic!() };
            assert_eq!((*two, *four), (2, 4));
            assert_eq!(u16::from_be_bytes([value[0], value[1]]), expected);
        }
    }
}

#[test]
fn partial_checksum_is_the_sum_of_the_pseudo_header() {
    for to in ["192.0.2.1", "2001:db8::1"] {
        let mut bed = Bed::new(Offload::Vnet, to, Limits::default());
        let (id, _) = bed.open(5_000, 1_460);
        bed.write(id, b"some octets");
        bed.turn();
        let (mut bytes, partial) = bed.link.sent.pop_front().unwrap();
        let start = usize::from(partial.unwrap().start);
        // What the link does: sum all from the start, the partial sum included, and complement.
        let check = crate::net::checksum::finish(crate::net::checksum::sum(&bytes[start..]));
        emit::patch(&mut bytes, start + 16, check);
        let (source, destination) = (bed.to, bed.guest());
        let len = u32::try_from(bytes.len() - start).unwrap();
        let pseudo = crate::net::checksum::pseudo(source, destination, PROTOCOL_TCP, len);
        let sum = pseudo + crate::net::checksum::sum(&bytes[start..]);
        assert_eq!(crate::net::checksum::fold(sum), 0xffff);
    }
}
