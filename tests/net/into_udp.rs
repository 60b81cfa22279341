//! UDP associations into the guest.

use std::io;
use std::net::SocketAddr;

use portcullis::limits::Limits;
use portcullis::link::Family;
use portcullis::net::Carried;

use super::bed::kind;
use super::run;
use super::udp::read;
use super::wire::Bed;
use crate::guest::datagram;

#[test]
fn guest_hears_the_gateway_and_its_answers_come_back() {
    run(async {
        for family in [Family::V4, Family::V6] {
            let mut bed = Bed::new(Limits::default());
            let mut one = bed.into.associate(family, 5_353).unwrap();
            let mut other = bed.into.associate(family, 5_353).unwrap();
            let gateway = if family == Family::V4 {
                std::net::IpAddr::V4(bed.config.gateway_v4)
            } else {
                bed.config.gateway_v6.into()
            };
            assert_eq!((one.carried(), one.destination().ip()), (Carried::Udp, gateway));
            assert_eq!(one.source(), SocketAddr::new(bed.guest(gateway), 5_353));
            assert_ne!(one.destination().port(), other.destination().port(), "peers are told apart");
            assert!(one.destination().port() >= 32_768);

            assert!(one.send(b"question"));
            let frame = bed.receive().await.unwrap();
            assert_eq!(frame[14..], datagram(one.destination(), one.source(), b"question"));
            bed.datagram(5_353, &other.destination().to_string(), b"for the other");
            bed.datagram(5_353, &one.destination().to_string(), b"for the one");
            assert_eq!(read(&mut one).await.unwrap(), b"for the one");
            assert_eq!(read(&mut other).await.unwrap(), b"for the other");
            assert!(bed.association().await.is_none(), "nothing to be judged");
            assert_eq!((bed.stats().associations, bed.stats().associations_opened), (2, 2));

            // Another port of the guest's is a stranger.
            bed.datagram(5_354, &one.destination().to_string(), b"me too");
            assert_eq!(bed.association().await.unwrap().source().port(), 5_354);
            assert_eq!(read(&mut one).await, None);
            drop((one, other));
            assert_eq!(bed.stats().associations, 0);
        }
    });
}

#[test]
fn associations_into_the_guest_give_way_to_later_ones() {
    run(async {
        let bed = Bed::new(Limits { associations: 2, ..Limits::default() });
        let mut first = bed.into.associate(Family::V4, 80).unwrap();
        let mut second = bed.into.associate(Family::V4, 80).unwrap();
        assert!(first.send(b"still here"));
        let _third = bed.into.associate(Family::V4, 80).unwrap();
        assert_eq!(second.receive(&mut [0; 8]).await, None);
        assert!(!second.send(b"gone") && first.send(b"still here"));
        assert_eq!((bed.stats().associations, bed.stats().associations_evicted), (2, 1));
    });
}

#[test]
fn port_0_and_a_guest_that_is_gone_are_errors() {
    run(async {
        let Bed { link, into, .. } = Bed::new(Limits::default());
        assert_eq!(kind(into.associate(Family::V4, 0)), io::ErrorKind::InvalidInput);
        let mut open = into.associate(Family::V4, 80).unwrap();
        drop(link);
        assert_eq!(open.receive(&mut [0; 8]).await, None);
        assert_eq!(kind(into.associate(Family::V4, 80)), io::ErrorKind::NetworkDown);
    });
}
