//! Verdicts on datagrams.

use std::fmt::Debug;
use std::time::Duration;

use super::*;
use crate::dns::Family;
use crate::policy::tests::{PUBLIC, name, names, policy, start};
use crate::policy::{Protocol, Reason};

fn refused<A: Debug>(verdict: AtDatagram<A>) -> Denial {
    match verdict {
        AtDatagram::Refuse(denial) => denial,
        AtDatagram::Dial(permit, _) => panic!("not refused: {permit:?}"),
    }
}

fn dialled<A: Copy + Debug + ToString>(verdict: AtDatagram<A>) -> Vec<String> {
    match verdict {
        AtDatagram::Dial(first, others) => std::iter::once(&first)
            .chain(&others)
            .map(|permit| {
                format!(
                    "{} {} by {}",
                    permit.addr().to_string(),
                    permit.host().map_or("address", HostName::as_str),
                    permit.rule()
                )
            })
            .collect(),
        AtDatagram::Refuse(denial) => panic!("refused: {denial}"),
    }
}

fn at(addr: &str, port: u16) -> SocketAddr {
    SocketAddr::new(addr.parse().unwrap(), port)
}

#[test]
fn a_datagram_needs_a_live_binding_to_a_name_that_is_allowed_for_its_protocol() {
    let policy = policy(&["ntp.example:123/udp", "ntp.example:22", "*.pool.example/icmp"], &[]);
    let (mut names, now) = (names(), start());
    let denial = refused(policy.at_datagram(at(PUBLIC, 123), &names, now));
    assert_eq!(denial.reason, Reason::Unbound);
    assert_eq!(denial.target, format!("{PUBLIC}:123/udp"));
    let by_name = "--allow HOST:123/udp, and let the client use the name";
    assert_eq!(denial.hint, format!("{by_name}; or, by its address, --allow {PUBLIC}:123/udp"));

    names.bind(&name("ntp.example"), &[PUBLIC.parse().unwrap()], Duration::ZERO, now);
    let permits = dialled(policy.at_datagram(at(PUBLIC, 123), &names, now));
    assert_eq!(permits, [format!("{PUBLIC}:123 ntp.example by --allow ntp.example:123/udp")]);
    let denial = refused(policy.at_datagram(at(PUBLIC, 22), &names, now));
    assert_eq!(
        (denial.reason, denial.hint.as_str()),
        (Reason::OtherPorts("port 123".into()), "--allow ntp.example:22/udp")
    );
    let denial = refused(policy.at_echo(PUBLIC.parse().unwrap(), &names, now));
    assert_eq!(
        (denial.reason, denial.hint.as_str()),
        (Reason::OtherProtocol(Protocol::Udp), "--allow ntp.example/icmp")
    );
    assert_eq!(denial.target, "ntp.example/icmp");

    names.bind(&name("a.pool.example"), &[PUBLIC.parse().unwrap()], Duration::ZERO, now);
    let permits = dialled(policy.at_echo(PUBLIC.parse().unwrap(), &names, now));
    assert_eq!(permits, [format!("{PUBLIC} a.pool.example by --allow *.pool.example/icmp")]);
    let later = now + Duration::from_secs(61);
    assert_eq!(refused(policy.at_datagram(at(PUBLIC, 123), &names, later)).reason, Reason::Unbound);
    assert_eq!(refused(policy.at_echo(PUBLIC.parse().unwrap(), &names, later)).reason, Reason::Unbound);
}

#[test]
fn a_tcp_rule_opens_no_datagrams() {
    let policy = policy(&["api.example:123", "api.example", "host.portcullis.internal:123"], &[]);
    let (mut names, now) = (names(), start());
    names.bind(&name("api.example"), &[PUBLIC.parse().unwrap()], Duration::ZERO, now);
    let reason = refused(policy.at_datagram(at(PUBLIC, 123), &names, now)).reason;
    assert_eq!(reason, Reason::OtherProtocol(Protocol::Tcp));
    refused(policy.at_echo(PUBLIC.parse().unwrap(), &names, now));
    assert_eq!(refused(policy.at_datagram(at("172.16.0.1", 123), &names, now)).reason, Reason::HostLoopback);
}

#[test]
fn reserved_ports_are_refused_whatever_they_would_lead_to() {
    let policy = policy(&["a.example:123/udp", "a.example"], &["a.example:443:127.0.0.1:443"]);
    let (mut names, now) = (names(), start());
    let mapped = names.map(&name("a.example"), Family::V4).to_string();
    names.bind(&name("a.example"), &[PUBLIC.parse().unwrap()], Duration::ZERO, now);
    for addr in [PUBLIC, "172.16.0.1", "8.8.8.8", &mapped, "2606:2800:220:1::34"] {
        for port in [53, 137, 443, 853, 5353, 5355] {
            let denial = refused(policy.at_datagram(at(addr, port), &names, now));
            assert!(matches!(denial.reason, Reason::Reserved(_)), "{denial}");
        }
    }
    let denial = refused(policy.at_datagram(at("2606:2800:220:1::34", 443), &names, now));
    assert_eq!(denial.target, "[2606:2800:220:1::34]:443/udp");
}

#[test]
fn a_binding_never_leads_a_datagram_to_a_special_address() {
    let policy = policy(&["ntp.example:123/udp", "ntp.example/icmp"], &[]);
    let (mut names, now) = (names(), start());
    for text in ["10.0.0.1", "169.254.169.254", "127.0.0.1", "::1", "64:ff9b::a00:1", "fe80::1", "224.0.0.1"]
    {
        let addr: IpAddr = text.parse().unwrap();
        names.bind(&name("ntp.example"), &[addr], Duration::ZERO, now);
        let denial = refused(policy.at_datagram(SocketAddr::new(addr, 123), &names, now));
        assert!(matches!(denial.reason, Reason::SpecialUse { .. }), "{denial}");
        let denial = refused(policy.at_echo(addr, &names, now));
        assert!(matches!(denial.reason, Reason::SpecialUse { .. }), "{denial}");
    }
}

#[test]
fn the_gateway_leads_to_loopback_by_a_rule_of_udp_alone() {
    let policy = policy(&["host.portcullis.internal:8080/udp", "*.internal:9/udp"], &[]);
    for gateway in ["172.16.0.1", "fd7a::1"] {
        let permits = dialled(policy.at_datagram(at(gateway, 8080), &names(), start()));
        let by = "host.portcullis.internal by --allow host.portcullis.internal:8080/udp";
        assert_eq!(permits, [format!("127.0.0.1:8080 {by}"), format!("[::1]:8080 {by}")]);
        let denial = refused(policy.at_datagram(at(gateway, 9), &names(), start()));
        assert_eq!(denial.hint, "--allow host.portcullis.internal:9/udp");
        refused(policy.at_echo(gateway.parse().unwrap(), &names(), start()));
    }
    assert!(matches!(
        policy.at_syn(at("172.16.0.1", 8080), &names(), start()),
        crate::policy::AtSyn::Refuse(_)
    ));
}

#[test]
fn connect_to_leads_the_datagrams_of_its_name_and_port() {
    let allow = ["dtls.example:4433/udp", "dtls.example:5000/udp", "dtls.example/icmp"];
    let policy = policy(&allow, &["dtls.example:4433:127.0.0.1:6000", "evil.example:4433:127.0.0.1:6000"]);
    let (mut names, now) = (names(), start());
    let mapped = names.map(&name("dtls.example"), Family::V6);
    let permits = dialled(policy.at_datagram(SocketAddr::new(mapped, 4433), &names, now));
    assert_eq!(permits, ["127.0.0.1:6000 dtls.example by --allow dtls.example:4433/udp"]);
    let denial = refused(policy.at_datagram(SocketAddr::new(mapped, 5000), &names, now));
    assert_eq!(denial.hint, "--connect-to dtls.example:5000:ADDR:PORT");
    assert_eq!(refused(policy.at_echo(mapped, &names, now)).reason, Reason::NotSentAnywhere);
    let evil = names.map(&name("evil.example"), Family::V4);
    assert_eq!(refused(policy.at_datagram(SocketAddr::new(evil, 4433), &names, now)).reason, Reason::NoRule);
    names.bind(&name("dtls.example"), &[PUBLIC.parse().unwrap()], Duration::ZERO, now);
    let denial = refused(policy.at_datagram(at(PUBLIC, 4433), &names, now));
    assert!(matches!(denial.reason, Reason::NotWhereSent { .. }), "{denial}");
}
