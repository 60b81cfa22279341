//! The DHCP server, asked in raw frames.

use std::net::{IpAddr, Ipv4Addr};

use portcullis::limits::Limits;

use super::run;
use super::wire::Bed;
use crate::guest::packet;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;

/// A request as a client sends it; a test changes what it is about.
#[derive(Clone)]
struct Ask {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ports: (u16, u16),
    octets: Vec<u8>,
}

impl Ask {
    fn new(bed: &Bed, kind: u8, options: &[(u8, &[u8])]) -> Self {
        let mut octets = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef];
        octets.extend([0; 20]);
        octets.extend(bed.config.guest_mac);
        octets.resize(236, 0);
        octets.extend([99, 130, 83, 99, 53, 1, kind]);
        for (code, value) in options {
            octets.extend([*code, value.len() as u8]);
            octets.extend(*value);
        }
        octets.push(255);
        Self { source: NOBODY, destination: ALL, ports: (68, 67), octets }
    }

    /// The client has this address, and may use it.
    fn has(mut self, address: Ipv4Addr) -> Self {
        self.octets[12..16].copy_from_slice(&address.octets());
        self.source = address;
        self
    }

    fn frame(&self, bed: &Bed) -> Vec<u8> {
        let mut body = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        body.extend((8 + self.octets.len() as u16).to_be_bytes());
        body.extend([0, 0]);
        body.extend(&self.octets);
        let packet = packet::ip(self.source.into(), self.destination.into(), 17, body, Some(6));
        let mut frame = bed.frame(&packet);
        if self.destination == ALL {
            frame[..6].fill(0xff);
        }
        frame
    }

    /// The one answer, if any.
    async fn exchange(&self, bed: &mut Bed) -> Option<Told> {
        let frame = self.frame(bed);
        bed.send(&frame);
        let frame = bed.receive().await?;
        assert_eq!(bed.receive().await, None, "more than one answer");
        Some(Told::read(bed, &frame))
    }
}

/// What a client is told.
#[derive(Debug, Eq, PartialEq)]
struct Told {
    kind: u8,
    to: Ipv4Addr,
    yours: Ipv4Addr,
    client: Ipv4Addr,
    /// All but its kind, in order.
    options: Vec<(u8, Vec<u8>)>,
}

impl Told {
    fn read(bed: &Bed, frame: &[u8]) -> Self {
        let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let (from, to) = (address(26), address(30));
        let mac = if to == ALL { [0xff; 6] } else { bed.config.guest_mac };
        assert_eq!((&frame[..6], &frame[6..12]), (&mac[..], &bed.config.gateway_mac[..]));
        assert_eq!((from, frame[23]), (bed.config.gateway_v4, 17));
        assert_eq!(packet::sum(&frame[14..34]), 0);
        assert_eq!(frame[34..38], [0, 67, 0, 68]);
        let message = &frame[42..];
        assert!(message.len() >= 300 && frame.len() <= 14 + 576);
        assert_eq!(message[..8], [2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(message[28..34], bed.config.guest_mac);
        assert!(message[34..236].iter().all(|octet| *octet == 0));
        assert_eq!(message[236..240], [99, 130, 83, 99]);
        let mut options = Vec::new();
        let mut rest = &message[240..];
        while rest[0] != 255 {
            let len = usize::from(rest[1]);
            options.push((rest[0], rest[2..2 + len].to_vec()));
            rest = &rest[2 + len..];
        }
        assert!(rest[1..].iter().all(|octet| *octet == 0));
        let (code, kind) = options.remove(0);
        assert_eq!((code, kind.len()), (53, 1));
        Self { kind: kind[0], to, yours: address(42 + 16), client: address(42 + 12), options }
    }

    fn codes(&self) -> Vec<u8> {
        self.options.iter().map(|(code, _)| *code).collect()
    }

    fn option(&self, code: u8) -> &[u8] {
        &self.options.iter().find(|(own, _)| *own == code).expect("the option").1
    }
}

#[test]
fn discovery_and_request_give_the_guest_its_address_and_all_it_needs() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, gateway) = (bed.config.guest_v4, bed.config.gateway_v4);
        let offer = Ask::new(&bed, DISCOVER, &[]).exchange(&mut bed).await.expect("an offer");
        assert_eq!((offer.kind, offer.to, offer.yours, offer.client), (OFFER, guest, guest, NOBODY));
        let request = Ask::new(&bed, REQUEST, &[(50, &offer.yours.octets()), (54, offer.option(54))]);
        let ack = request.exchange(&mut bed).await.expect("an acknowledgement");
        assert_eq!((ack.kind, ack.to, ack.yours), (ACK, guest, guest));
        assert_eq!(ack.options, offer.options);
        assert_eq!(ack.codes(), [54, 51, 1, 3, 6, 26, 28, 58, 59]);
        let last = u32::from(guest) | 3;
        for (code, value) in [
            (1, &[255, 255, 255, 252][..]),
            (3, &gateway.octets()),
            (6, &gateway.octets()),
            (26, &1_500_u16.to_be_bytes()),
            (28, &last.to_be_bytes()),
            (51, &86_400_u32.to_be_bytes()),
            (54, &gateway.octets()),
            (58, &43_200_u32.to_be_bytes()),
            (59, &75_600_u32.to_be_bytes()),
        ] {
            assert_eq!(ack.option(code), value, "{code}");
        }
        assert_eq!(bed.stats().dropped.dhcp, 0);
    });
}

#[test]
fn a_guest_is_told_what_it_asks_for_in_its_order_and_the_mtu() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        // Domain, time servers, and one thing twice.
        let told = Ask::new(&bed, DISCOVER, &[(55, &[6, 15, 1, 42, 6, 59, 3])]).exchange(&mut bed).await;
        assert_eq!(told.unwrap().codes(), [54, 51, 6, 1, 59, 3, 26]);
        let every: Vec<u8> = (0..=255).filter(|code| *code != 12).collect();
        let told = Ask::new(&bed, DISCOVER, &[(55, &every)]).exchange(&mut bed).await;
        assert_eq!(told.unwrap().codes(), [54, 51, 1, 3, 6, 26, 28, 58, 59]);
        let told = Ask::new(&bed, DISCOVER, &[(55, &[])]).exchange(&mut bed).await;
        assert_eq!(told.unwrap().codes(), [54, 51, 26]);
    });
}

#[test]
fn identifiers_come_back_as_they_were() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let duid: Vec<u8> = [255].into_iter().chain(1..=134).collect();
        let other = bed.config.gateway_v4.octets();
        for (kind, options) in [
            (DISCOVER, vec![(61, &duid[..])]),
            (REQUEST, vec![(61, &duid[..]), (50, &other[..])]),
            (INFORM, vec![(61, &[0, 9][..])]),
        ] {
            let ask = Ask::new(&bed, kind, &options).has(bed.config.guest_v4);
            let told = ask.exchange(&mut bed).await.expect("an answer");
            assert_eq!(told.option(61), options[0].1);
        }
    });
}

#[test]
fn answers_go_where_the_client_hears_them() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, gateway) = (bed.config.guest_v4, bed.config.gateway_v4);
        let mut deaf = Ask::new(&bed, DISCOVER, &[]);
        deaf.octets[10] = 0x80;
        assert_eq!(deaf.exchange(&mut bed).await.unwrap().to, ALL);
        // One that renews has its address, and asks the gateway itself; one that rebinds asks all.
        for destination in [gateway, ALL, Ipv4Addr::from(u32::from(guest) | 3)] {
            let renew = Ask { destination, ..Ask::new(&bed, REQUEST, &[]).has(guest) };
            let told = renew.exchange(&mut bed).await.expect("an acknowledgement");
            assert_eq!((told.kind, told.to, told.yours, told.client), (ACK, guest, guest, guest));
        }
    });
}

#[test]
fn another_address_is_refused_to_all() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let gateway = bed.config.gateway_v4;
        for options in [&[(50, &[10, 0, 0, 9][..])][..], &[(50, &[10, 0, 0, 9]), (54, &gateway.octets())]] {
            let told = Ask::new(&bed, REQUEST, options).exchange(&mut bed).await.expect("a refusal");
            assert_eq!((told.kind, told.to, told.yours), (NAK, ALL, NOBODY));
            assert_eq!(told.codes(), [54]);
        }
        let mut renew = Ask::new(&bed, REQUEST, &[]).has([10, 0, 0, 9].into());
        renew.source = NOBODY;
        let told = renew.exchange(&mut bed).await.expect("a refusal");
        assert_eq!((told.kind, told.to, told.client), (NAK, ALL, NOBODY));
    });
}

#[test]
fn rapid_commit_saves_a_round() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let told = Ask::new(&bed, DISCOVER, &[(80, &[]), (55, &[1])]).exchange(&mut bed).await.unwrap();
        assert_eq!((told.kind, told.yours), (ACK, bed.config.guest_v4));
        assert_eq!(told.codes(), [54, 80, 51, 1, 26]);
        let request = Ask::new(&bed, REQUEST, &[(50, &bed.config.guest_v4.octets()), (80, &[])]);
        assert!(!request.exchange(&mut bed).await.unwrap().codes().contains(&80));
    });
}

#[test]
fn a_guest_with_an_address_is_told_the_rest_and_given_no_lease() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let guest = bed.config.guest_v4;
        let told = Ask::new(&bed, INFORM, &[]).has(guest).exchange(&mut bed).await.unwrap();
        assert_eq!((told.kind, told.to, told.yours, told.client), (ACK, guest, NOBODY, guest));
        assert_eq!(told.codes(), [54, 1, 3, 6, 26, 28]);
        let told = Ask::new(&bed, INFORM, &[(55, &[58, 59, 51, 6])]).has(guest).exchange(&mut bed).await;
        assert_eq!(told.unwrap().codes(), [54, 6, 26]);
    });
}

#[test]
fn what_expects_no_answer_gets_none_and_is_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (guest, gateway) = (bed.config.guest_v4, bed.config.gateway_v4);
        let asks = [
            Ask::new(&bed, DECLINE, &[(50, &guest.octets())]),
            Ask { destination: gateway, ..Ask::new(&bed, RELEASE, &[]).has(guest) },
            Ask::new(&bed, REQUEST, &[]),
            Ask::new(&bed, INFORM, &[]),
            // To another server.
            Ask::new(&bed, REQUEST, &[(50, &guest.octets()), (54, &[10, 0, 0, 9])]),
            Ask { destination: [8, 8, 8, 8].into(), ..Ask::new(&bed, REQUEST, &[]).has(guest) },
            // What only a server sends.
            Ask::new(&bed, OFFER, &[]),
            Ask::new(&bed, 0, &[]),
        ];
        for ask in &asks {
            assert_eq!(ask.exchange(&mut bed).await, None);
        }
        assert_eq!(bed.stats().dropped.dhcp, asks.len() as u64);
    });
}

#[test]
fn malformed_requests_are_dropped_and_counted() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let good = Ask::new(&bed, DISCOVER, &[(55, &[1, 3])]);
        assert!(good.exchange(&mut bed).await.is_some());
        // Operation, hardware and its length; a relay; another client; the magic; the kind's length.
        let spots = [(0, 2), (1, 6), (2, 16), (24, 10), (33, 0), (236, 98), (241, 2)];
        let mut asks: Vec<Ask> = spots
            .iter()
            .map(|(at, value)| {
                let mut ask = good.clone();
                ask.octets[*at] = *value;
                ask
            })
            .collect();
        for options in [
            &[(52, &[1][..])][..],
            &[(53, &[1])],
            &[(50, &[1, 2, 3])],
            &[(54, &[])],
            &[(55, &[1]), (55, &[3])],
            &[(61, &[7; 136])],
            &[(80, &[0])],
        ] {
            asks.push(Ask::new(&bed, DISCOVER, options));
        }
        // Options past the end.
        for (code, len) in [(12, 200), (61, 3), (55, 255)] {
            let mut ask = Ask::new(&bed, DISCOVER, &[]);
            ask.octets.pop();
            ask.octets.extend([code, len, 1, 2]);
            asks.push(ask);
        }
        let mut lone = Ask::new(&bed, DISCOVER, &[]);
        lone.octets.pop();
        lone.octets.push(12);
        asks.push(lone);
        for ask in &asks {
            assert_eq!(ask.exchange(&mut bed).await, None, "{:?}", &ask.octets[..]);
        }
        assert_eq!(bed.stats().dropped.dhcp, asks.len() as u64);
    });
}

#[test]
fn a_request_cut_anywhere_or_damaged_anywhere_is_no_harm() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let options: [(u8, &[u8]); 4] = [(61, &[1; 7]), (50, &[1; 4]), (55, &[1, 3, 6]), (80, &[])];
        let whole = Ask::new(&bed, DISCOVER, &options);
        let len = whole.octets.len();
        for end in 0..len {
            let mut cut = whole.clone();
            cut.octets.truncate(end);
            let answered = cut.exchange(&mut bed).await.is_some();
            // Where an option ends, the message may.
            assert!(!answered || end >= 243, "cut at {end}");
        }
        for at in 0..len {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged.octets[at] = value;
                bed.send(&damaged.frame(&bed));
                let _ = bed.receive().await;
            }
        }
        let stats = bed.stats();
        assert_eq!(stats.frames_in, stats.frames_out + stats.dropped.dhcp);
    });
}

#[test]
fn nobody_but_a_client_that_asks_speaks_without_an_address() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let good = Ask::new(&bed, DISCOVER, &[]);
        for ports in [(68, 53), (67, 67), (68, 68), (1_068, 67)] {
            assert_eq!(Ask { ports, ..good.clone() }.exchange(&mut bed).await, None, "{ports:?}");
        }
        let tcp =
            packet::ip(IpAddr::V4(NOBODY), [192, 0, 2, 1].into(), 6, vec![0, 68, 0, 67, 0, 0, 0, 0], None);
        let frame = bed.frame(&tcp);
        assert_eq!(bed.exchange(&frame).await, None);
        let mut fragment = good.frame(&bed);
        fragment[20] = 0x20;
        fragment[24..26].fill(0);
        let check = packet::sum(&fragment[14..34]).to_be_bytes();
        fragment[24..26].copy_from_slice(&check);
        assert_eq!(bed.exchange(&fragment).await, None);
        assert_eq!(bed.stats().dropped.source_ip, 6);
        let mut stranger = good.frame(&bed);
        stranger[11] ^= 1;
        assert_eq!(bed.exchange(&stranger).await, None);
        assert_eq!((bed.stats().dropped.source_mac, bed.stats().dropped.dhcp), (1, 0));
    });
}

#[test]
fn ports_of_dhcp_lead_nowhere_else() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let guest = bed.config.guest_v4;
        let good = Ask::new(&bed, REQUEST, &[]).has(guest);
        for ports in [(9_000, 67), (9_000, 68), (67, 9_000), (68, 53), (67, 53)] {
            let ask = Ask { ports, destination: [192, 0, 2, 1].into(), ..good.clone() };
            assert_eq!(ask.exchange(&mut bed).await, None, "{ports:?}");
        }
        let mut body = vec![0, 68, 0, 53, 0, 9, 0, 0, 1];
        let (guest6, to6) = (bed.config.guest_v6.into(), "2001:db8::1".parse().unwrap());
        let packet6 = packet::ip(guest6, to6, 17, std::mem::take(&mut body), Some(6));
        let frame = bed.frame(&packet6);
        assert_eq!(bed.exchange(&frame).await, None);
        assert_eq!((bed.stats().dropped.dhcp, bed.stats().datagrams), (6, 0));
    });
}
