//! Questions for anything but addresses.

use hickory_proto::rr::rdata::{CAA, HTTPS, MX, NAPTR, NS, PTR, SOA, SRV, SSHFP, SVCB, TLSA, TXT};
use hickory_proto::rr::rdata::{sshfp, tlsa};

use super::*;
use crate::name::HOST_ALIAS;

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(wire(owner), 300, data)
}

fn soa() -> RData {
    RData::SOA(SOA::new(wire("ns.pypi.org"), wire("admin.pypi.org"), 1, 2, 3, 4, 600))
}

fn all(owner: &str) -> Vec<Record> {
    let digest = vec![7; 32];
    let svcb = SVCB::new(1, wire("."), Vec::new());
    let data = [
        RData::MX(MX::new(10, wire("mail.pypi.org"))),
        RData::TXT(TXT::new(vec!["v=spf1 -all".into()])),
        RData::SRV(SRV::new(1, 2, 443, wire("srv.pypi.org"))),
        RData::CAA(CAA::new_issue(false, None, Vec::new())),
        RData::NS(NS(wire("ns.pypi.org"))),
        soa(),
        RData::NAPTR(NAPTR::new(
            1,
            2,
            (*b"s").into(),
            (*b"SIP").into(),
            Box::default(),
            wire("sip.pypi.org"),
        )),
        RData::SSHFP(SSHFP::new(sshfp::Algorithm::Ed25519, sshfp::FingerprintType::SHA256, digest.clone())),
        RData::TLSA(TLSA::new(tlsa::CertUsage::DaneEe, tlsa::Selector::Spki, tlsa::Matching::Sha256, digest)),
        RData::A(rdata::A::new(151, 101, 0, 223)),
        RData::HTTPS(HTTPS(svcb.clone())),
        RData::SVCB(svcb),
        RData::PTR(PTR(wire("other.example"))),
    ];
    data.into_iter().map(|data| record(owner, data)).collect()
}

/// Says everything it has, whatever it is asked.
async fn talkative() -> Nameserver {
    Nameserver::start(|_| {
        Script::Custom(Rc::new(|query, _| {
            let mut reply = reply_to(query, all("pypi.org"));
            reply.add_authority(record("pypi.org", RData::NS(NS(wire("ns.evil.example")))));
            reply.add_additional(address("mail.pypi.org", 300, "10.0.0.1"));
            Some(reply)
        }))
    })
    .await
}

#[tokio::test]
async fn records_of_a_named_host_are_forwarded_and_only_of_the_type_asked_for() {
    local(async {
        let server = talkative().await;
        let world = World::new(&[&server], |_| {});
        for wanted in [
            RecordType::MX,
            RecordType::TXT,
            RecordType::SRV,
            RecordType::CAA,
            RecordType::NS,
            RecordType::SOA,
            RecordType::NAPTR,
            RecordType::SSHFP,
            RecordType::TLSA,
        ] {
            let answer = world.ask("pypi.org", wanted).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{wanted}");
            let types: Vec<RecordType> = answer.answers.iter().map(Record::record_type).collect();
            assert_eq!(types, [wanted]);
            let original = all("pypi.org").into_iter().find(|record| record.record_type() == wanted);
            assert_eq!(answer.answers[0].data, original.unwrap().data);
            assert!(answer.authorities.is_empty() && answer.additionals.is_empty(), "{wanted}: {answer}");
        }
        assert_eq!(server.asked().len(), 9);
        assert!(world.bound("10.0.0.1").is_empty() && world.denials.borrow().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_could_lead_past_policy_is_never_asked_for() {
    local(async {
        let server = talkative().await;
        let world = World::new(&[&server], |_| {});
        for wanted in [
            RecordType::HTTPS,
            RecordType::SVCB,
            RecordType::PTR,
            RecordType::NULL,
            RecordType::ANAME,
            RecordType::DNSKEY,
            RecordType::Unknown(38),
            RecordType::Unknown(42),
            RecordType::Unknown(65_400),
        ] {
            let expected = if wanted == RecordType::PTR { "NoError other.example." } else { "NoError" };
            assert_eq!(world.short("pypi.org", wanted).await, expected, "{wanted}");
        }
        assert_eq!(server.asked(), ["udp pypi.org. PTR"], "a name, and none of an address");
        assert_eq!(world.short("pypi.org", RecordType::ANY).await, "NoError RFC8482 ");
        for zone in [RecordType::AXFR, RecordType::IXFR] {
            assert_eq!(world.short("pypi.org", zone).await, "Refused");
        }
        assert_eq!(server.asked().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn records_of_other_names_never_leave_the_host() {
    local(async {
        let server = talkative().await;
        let world = World::new(&[&server], |_| {});
        for wanted in [RecordType::TXT, RecordType::MX, RecordType::SRV, RecordType::PTR] {
            assert_eq!(world.short("data.evil.example", wanted).await, "NXDomain");
            assert_eq!(world.short("data.pypi.org", wanted).await, "NXDomain");
            assert_eq!(world.short("api.example", wanted).await, "NoError", "the operator says where it is");
            assert_eq!(world.short(HOST_ALIAS, wanted).await, "NoError");
        }
        assert_eq!(server.asked(), [""; 0]);
        assert_eq!(world.denials.borrow().len(), 8, "each of them is told");
    })
    .await;
}

#[tokio::test]
async fn a_record_is_reached_through_aliases_and_an_alias_itself_can_be_asked_for() {
    local(async {
        let server = Nameserver::start(|_| {
            Script::Answer(vec![
                alias("pypi.org", 60, "mx.example"),
                record("mx.example", RData::TXT(TXT::new(vec!["one".into()]))),
                record("mx.example", RData::TXT(TXT::new(vec!["one".into()]))),
                record("other.example", RData::TXT(TXT::new(vec!["two".into()]))),
            ])
        })
        .await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::TXT).await, "NoError mx.example. one");
        assert_eq!(world.short("pypi.org", RecordType::CNAME).await, "NoError mx.example.");
    })
    .await;
}

#[tokio::test]
async fn records_and_octets_of_an_answer_are_bounded() {
    local(async {
        let server = Nameserver::start(|question| {
            let octets = if question.starts_with("pypi") { 20 } else { 255 };
            let text = |n: usize| format!("{n:0octets$}");
            let texts = (0..100).map(|n| record("pypi.org", RData::TXT(TXT::new(vec![text(n)])))).collect();
            Script::OverTcp(texts)
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let bytes = world.resolver.answer(&question("pypi.org", RecordType::TXT, None), Transport::Tcp).await;
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.answers.len(), Limits::default().dns_answer_records);
        let cut = world.ask("pypi.org", RecordType::TXT).await;
        assert!(cut.metadata.truncation && !cut.answers.is_empty() && cut.answers.len() < 20);
        // More than a message may have.
        assert_eq!(world.short("a.cdn.example", RecordType::TXT).await, "ServFail");
    })
    .await;
}

#[tokio::test]
async fn the_sandboxs_own_addresses_have_names_and_no_other_has() {
    local(async {
        let server = Nameserver::start(|question| match question {
            "pypi.org. A" => Script::Answer(vec![address("pypi.org", 300, "151.101.0.223")]),
            _ => Script::Answer(Vec::new()),
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let v6 = world.ask("evil.example", RecordType::AAAA).await.answers[0].data.ip_addr().unwrap();
        world.ask("pypi.org", RecordType::A).await;
        let mapped_v6 = Name::from(v6).to_string();
        let told = world.denials.borrow().len();
        for (name, expected) in [
            ("1.0.16.172.in-addr.arpa", "NoError host.portcullis.internal."),
            ("1.0.18.198.in-addr.arpa", "NoError evil.example."),
            (mapped_v6.as_str(), "NoError evil.example."),
            ("223.0.101.151.in-addr.arpa", "NoError pypi.org."),
            ("224.0.101.151.in-addr.arpa", "NXDomain"),
            ("9.0.18.198.in-addr.arpa", "NXDomain"),
            ("0.18.198.in-addr.arpa", "NXDomain"),
            ("lb._dns-sd._udp.0.0.16.172.in-addr.arpa", "NXDomain"),
        ] {
            assert_eq!(world.short(name, RecordType::PTR).await, expected, "{name}");
        }
        assert_eq!(server.asked(), ["udp pypi.org. A"]);
        assert_eq!(world.denials.borrow().len(), told, "no question for a name of an address is a denial");
        assert_eq!(world.resolver.stats().denied, 1);
        world.ask("secret.in-addr.arpa", RecordType::TXT).await;
        assert_eq!(world.resolver.stats().denied, 2, "but other questions there are");
    })
    .await;
}
