//! What a guest is answered.

use super::*;
use crate::name::HOST_ALIAS;

fn public(_: &str) -> Script {
    Script::Answer(vec![
        address("pypi.org", 300, "151.101.0.223"),
        address("pypi.org", 300, "151.101.64.223"),
    ])
}

#[tokio::test]
async fn an_allowed_name_is_forwarded_answered_and_bound() {
    local(async {
        let server = Nameserver::start(public).await;
        let world = World::new(&[&server], |_| {});
        let answer = world.ask("PyPI.org", RecordType::A).await;
        assert_eq!(summary(&answer), "NoError 151.101.0.223 151.101.64.223");
        assert_eq!(answer.metadata.id, 0x1234);
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
        assert!(!answer.metadata.authentic_data && !answer.metadata.authoritative);
        assert!(answer.queries[0].name.eq_case(&wire("PyPI.org")), "the guest's own case");
        assert!(answer.answers.iter().all(|record| record.name.eq_case(&wire("PyPI.org"))));
        assert_eq!(server.asked(), ["udp pypi.org. A"], "one canonical question");
        assert_eq!(world.bound("151.101.64.223"), ["pypi.org"]);
        assert!(world.denials.borrow().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_denied_name_never_leaves_the_host() {
    local(async {
        let server = Nameserver::start(public).await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("evil.example", RecordType::A).await, "NoError 198.18.0.1");
        let answer = world.short("evil.example", RecordType::AAAA).await;
        assert!(answer.starts_with("NoError fd") && answer.ends_with("::1"), "{answer}");
        for (wanted, expected) in [
            (RecordType::TXT, "NXDomain"),
            (RecordType::MX, "NXDomain"),
            (RecordType::NULL, "NXDomain"),
            (RecordType::ANY, "NXDomain"),
            (RecordType::CNAME, "NXDomain"),
            (RecordType::Unknown(65_400), "NXDomain"),
            (RecordType::HTTPS, "NoError"),
            (RecordType::SVCB, "NoError"),
        ] {
            assert_eq!(world.short("data.evil.example", wanted).await, expected, "{wanted}");
        }
        for tunnel in ["secret.x.pypi.org", "pypi.org.evil.example", "evil-pypi.org", "4.3.2.1.in-addr.arpa"]
        {
            world.ask(tunnel, RecordType::A).await;
            world.ask(tunnel, RecordType::PTR).await;
        }
        assert_eq!(server.asked(), [""; 0]);
        assert!(world.denials.borrow()[0].ends_with("to allow it: --allow evil.example"));
    })
    .await;
}

#[tokio::test]
async fn a_name_that_a_rule_denies_does_not_exist_whatever_is_asked_for() {
    local(async {
        let server = Nameserver::start(public).await;
        let rules = ["deny ads.cdn.example", "allow *.cdn.example"];
        let rules = rules.map(|text| Rule::parse(text, RuleSource::Owner).unwrap());
        let policy = rules.into_iter().fold(Policy::builder(), |builder, rule| builder.rule(rule)).build();
        let world = World::new(&[&server], |setup| setup.policy = Arc::new(Live::new(policy)));
        for wanted in [
            RecordType::A,
            RecordType::AAAA,
            RecordType::HTTPS,
            RecordType::SVCB,
            RecordType::TXT,
            RecordType::ANY,
        ] {
            assert_eq!(world.short("ads.cdn.example", wanted).await, "NXDomain", "{wanted}");
        }
        assert_eq!(world.short("api.cdn.example", RecordType::HTTPS).await, "NoError");
        assert_eq!(
            world.short("ads.example", RecordType::HTTPS).await,
            "NoError",
            "by default, not by a rule"
        );
        assert_eq!(server.asked(), [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_asked_for_in_many_ways_at_once_is_told_of_once() {
    let policy = Policy::builder().rule(Rule::parse("deny ads.example", RuleSource::Owner).unwrap()).build();
    let world = World::new(&[], |setup| setup.policy = Arc::new(Live::new(policy)));
    for name in ["ads.example", "evil.example"] {
        for wanted in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::A] {
            world.ask(name, wanted).await;
        }
        let told = world.denials.take();
        assert!(told.len() == 1 && told[0].contains(name), "{told:?}");
    }
    tokio::time::advance(Limits::default().dns_local_ttl).await;
    world.ask("ads.example", RecordType::A).await;
    assert_eq!(world.denials.take().len(), 1, "later it is told again");
}

#[tokio::test]
async fn a_denied_names_address_leads_back_to_it() {
    let world = World::new(&[], |_| {});
    world.ask("evil.example", RecordType::A).await;
    let names = world.resolver.names().borrow();
    let evil = HostName::parse("evil.example").unwrap();
    assert_eq!(names.meaning("198.18.0.1".parse().unwrap()), Meaning::Mapped(Some(&evil)));
}

#[tokio::test]
async fn names_that_are_mapped_by_the_operator_are_answered_here() {
    local(async {
        let server = Nameserver::start(public).await;
        let world = World::new(&[&server], |_| {});
        let answer = world.ask("api.example", RecordType::A).await;
        assert_eq!(summary(&answer), "NoError 198.18.0.1");
        assert_eq!(u64::from(answer.answers[0].ttl), Limits::default().dns_local_ttl.as_secs());
        assert_eq!(world.short("api.example", RecordType::TXT).await, "NoError");
        assert_eq!(server.asked(), [""; 0]);
        assert!(world.denials.borrow().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_host_alias_is_the_gateway_and_localhost_the_guest_itself() {
    let world = World::new(&[], |_| {});
    assert_eq!(world.short(HOST_ALIAS, RecordType::A).await, "NoError 172.16.0.1");
    assert_eq!(world.short("HOST.portcullis.internal", RecordType::AAAA).await, "NoError fd7a::1");
    assert_eq!(world.short(HOST_ALIAS, RecordType::MX).await, "NoError");
    assert_eq!(world.short("localhost", RecordType::A).await, "NoError 127.0.0.1");
    assert_eq!(world.short("app.localhost", RecordType::AAAA).await, "NoError ::1");
}

#[tokio::test]
async fn names_no_host_can_have_do_not_exist() {
    let world = World::new(&[], |_| {});
    let odd: [&[&[u8]]; 6] = [
        &[b"a.b", b"cdn", b"example"],
        &[b"-", b"cdn", b"example"],
        &[b"b\xfccher", b"cdn", b"example"],
        &["bücher".as_bytes(), b"cdn", b"example"],
        &[b"a\0", b"cdn", b"example"],
        &[b"1", b"2", b"3", b"4"],
    ];
    for labels in odd {
        let mut message = Message::from_vec(&question("x", RecordType::A, None)).unwrap();
        message.queries[0].name = Name::from_labels(labels.iter().copied()).unwrap();
        let bytes = world.resolver.answer(&message.to_vec().unwrap(), Transport::Udp).await;
        assert_eq!(summary(&Message::from_vec(&bytes).unwrap()), "NXDomain", "{labels:?}");
    }
    assert_eq!(world.short(".", RecordType::NS).await, "NoError");
    assert_eq!(world.resolver.names().borrow().mapped_len(), 0);
}

#[tokio::test]
async fn special_addresses_in_an_answer_are_dropped() {
    local(async {
        let server = Nameserver::start(|question| {
            let owner = question.split(". ").next().unwrap();
            let addrs: &[&str] = match question {
                "a.cdn.example. A" => &["10.0.0.1", "151.101.0.223", "127.0.0.1", "198.18.0.1"],
                "b.cdn.example. A" => &["169.254.169.254", "0.0.0.0"],
                "b.cdn.example. AAAA" => &["::ffff:8.8.8.8", "fd00:ec2::254", "2002:7f00:1::1"],
                _ => &[],
            };
            Script::Answer(addrs.iter().map(|addr| address(owner, 0, addr)).collect())
        })
        .await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("a.cdn.example", RecordType::A).await, "NoError 151.101.0.223");
        let told = world.denials.take();
        assert!(told.len() == 1 && told[0].contains("resolves to 10.0.0.1"), "a part is told too: {told:?}");
        assert_eq!(world.short("b.cdn.example", RecordType::A).await, "NoError");
        assert_eq!(world.short("b.cdn.example", RecordType::AAAA).await, "NoError");
        assert!(world.denials.borrow()[0].contains("resolves to 169.254.169.254, a cloud metadata service"));
        for addr in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "fd00:ec2::254"] {
            assert!(world.bound(addr).is_empty(), "{addr}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_hosts_file_comes_first_is_judged_and_is_read_again_when_it_changes() {
    local(async {
        let server = Nameserver::start(public).await;
        let file = Scratch::new(
            "hosts",
            "93.184.216.34 pypi.org\n10.0.0.9 git.example\n93.184.216.9 evil.example\n",
        );
        let world = World::new(&[&server], |setup| setup.hosts.clone_from(&file.0));
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 93.184.216.34");
        assert_eq!(world.bound("93.184.216.34"), ["pypi.org"]);
        assert_eq!(world.short("pypi.org", RecordType::AAAA).await, "NoError", "the file has the last word");
        assert_eq!(world.short("git.example", RecordType::A).await, "NoError");
        assert!(world.denials.borrow()[0].contains("--connect-to git.example:22:10.0.0.9:22"));
        assert_eq!(
            world.short("evil.example", RecordType::A).await,
            "NoError 198.18.0.1",
            "no leave by a file"
        );
        assert_eq!(server.asked(), [""; 0]);

        file.replace("93.184.216.35 pypi.org\n");
        tokio::time::advance(Limits::default().dns_host_file_rest).await;
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 93.184.216.35");
        file.replace("# nothing\n");
        tokio::time::advance(Limits::default().dns_host_file_rest).await;
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 151.101.0.223 151.101.64.223");
    })
    .await;
}

#[tokio::test]
async fn an_answer_fits_what_the_guest_can_take_and_says_where_it_was_cut() {
    local(async {
        let server = Nameserver::start(|_| {
            Script::OverTcp((1..=60).map(|last| address("pypi.org", 60, &format!("8.8.8.{last}"))).collect())
        })
        .await;
        let world = World::new(&[&server], |_| {});
        for (payload, transport, room, whole) in [
            (None, Transport::Udp, 512, false),
            (Some(512), Transport::Udp, 512, false),
            (Some(0), Transport::Udp, 512, false),
            (Some(700), Transport::Udp, 700, false),
            (Some(65_535), Transport::Udp, 1232, true),
            (None, Transport::Tcp, 65_535, true),
        ] {
            let query = question("pypi.org", RecordType::A, payload);
            let bytes = world.resolver.answer(&query, transport).await;
            let answer = Message::from_vec(&bytes).unwrap();
            assert!(bytes.len() <= room, "{payload:?}: {}", bytes.len());
            assert_eq!(answer.metadata.truncation, !whole, "{payload:?}");
            assert_eq!(answer.answers.len() == 60, whole, "{payload:?}");
            assert!(bytes.len() + 16 > room || whole, "cut no more than needed: {}", bytes.len());
            assert_eq!(answer.edns.is_some(), payload.is_some(), "EDNS only where it is spoken");
        }
    })
    .await;
}
