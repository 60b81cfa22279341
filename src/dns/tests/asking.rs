//! Each question to a nameserver: hard to forge, and plain to those that understand no other.

use std::cell::Cell;
use std::time::Duration;

use hickory_proto::rr::rdata::SOA;

use super::*;

const GOOD: &str = "151.101.0.223";
const FORGED: &str = "6.6.6.6";

fn named(query: &Message, addr: &str) -> Message {
    reply_to(query, vec![address(&query.queries[0].name.to_string(), 300, addr)])
}

fn lowered(mut reply: Message) -> Message {
    reply.queries[0].name = reply.queries[0].name.to_lowercase();
    reply
}

fn is_lower(query: &Message) -> bool {
    query.queries[0].name.eq_case(&query.queries[0].name.to_lowercase())
}

/// A server that says what this makes of a question, however it came.
async fn saying(say: impl Fn(&Message, Transport) -> Option<Message> + 'static) -> Nameserver {
    let say: Custom = Rc::new(say);
    Nameserver::start(move |_| Script::Custom(Rc::clone(&say))).await
}

#[tokio::test]
async fn ids_and_letters_are_random_and_the_guests_are_not_passed_on() {
    local(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&seen);
        let server = saying(move |query, _| {
            heard.borrow_mut().push((query.metadata.id, query.queries[0].name.to_string()));
            Some(reply_to(query, vec![address("pypi.org", 0, GOOD)]))
        })
        .await;
        let world = World::new(&[&server], |_| {});
        for _ in 0..20 {
            assert_eq!(world.short("PYPI.org", RecordType::A).await, format!("NoError {GOOD}"));
        }
        let seen = seen.borrow();
        let mut ids: Vec<u16> = seen.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() > 15 && !ids.contains(&0x1234), "{ids:?}");
        let mut spelled: Vec<&str> = seen.iter().map(|(_, name)| name.as_str()).collect();
        spelled.sort_unstable();
        spelled.dedup();
        assert!(spelled.len() > 10, "{spelled:?}");
        assert!(spelled.iter().all(|name| name.eq_ignore_ascii_case("pypi.org.")));
    })
    .await;
}

#[tokio::test]
async fn the_letters_of_our_question_do_not_come_back_to_the_guest() {
    local(async {
        let server = saying(|query, _| {
            let name = query.queries[0].name.clone();
            let target = RData::MX(rdata::MX::new(10, name.clone()));
            Some(reply_to(query, vec![Record::from_rdata(name, 0, target)]))
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let long = "a-name-of-many-letters.cdn.example";
        for _ in 0..5 {
            assert_eq!(world.short(long, RecordType::MX).await, format!("NoError 10 {long}."));
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_in_other_letters_is_checked_over_tcp_and_not_believed() {
    local(async {
        let server = saying(|query, transport| match transport {
            Transport::Udp => Some(lowered(named(query, FORGED))),
            Transport::Tcp => Some(named(query, GOOD)),
        })
        .await;
        let world = World::new(&[&server], |_| {});
        for name in ["pypi.org", "a.cdn.example", "b.cdn.example"] {
            assert_eq!(world.short(name, RecordType::A).await, format!("NoError {GOOD}"));
        }
        assert!(world.bound(FORGED).is_empty());
        let ways: Vec<String> = server.asked().iter().map(|asked| asked[..3].to_owned()).collect();
        assert_eq!(ways, ["udp", "tcp"].repeat(3), "the server keeps letters, so they stay mixed");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_keeps_no_letters_is_asked_without_them_from_then_on() {
    local(async {
        let server = saying(|query, _| Some(lowered(named(query, GOOD)))).await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        assert_eq!(world.short("a.cdn.example", RecordType::A).await, format!("NoError {GOOD}"));
        let asked = server.asked();
        assert_eq!(asked, ["udp pypi.org. A", "tcp pypi.org. A", "udp pypi.org. A", "udp a.cdn.example. A"]);
    })
    .await;
}

#[tokio::test]
async fn a_server_without_tcp_that_keeps_no_letters_is_believed_when_it_always_does_so() {
    local(async {
        let mixed = Rc::new(Cell::new(0));
        let count = Rc::clone(&mixed);
        let server = saying(move |query, transport| {
            if transport == Transport::Tcp {
                return None;
            }
            if !is_lower(query) {
                count.set(count.get() + 1);
            }
            Some(lowered(named(query, GOOD)))
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let long = "a-name-of-many-letters.cdn.example";
        assert_eq!(world.short(long, RecordType::A).await, format!("NoError {GOOD}"));
        assert_eq!(mixed.get(), 2, "never at the first time");
        assert_eq!(server.asked().len(), 5, "{:?}", server.asked());
    })
    .await;
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without_it_from_then_on() {
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        local(async {
            let with_edns = Rc::new(Cell::new(0));
            let count = Rc::clone(&with_edns);
            let server = saying(move |query, _| {
                if query.edns.is_none() {
                    return Some(named(query, GOOD));
                }
                count.set(count.get() + 1);
                let mut reply = reply_to(query, Vec::new());
                reply.metadata.response_code = code;
                // As old servers do: the header alone.
                reply.queries.clear();
                Some(reply)
            })
            .await;
            let world = World::new(&[&server], |_| {});
            for name in ["pypi.org", "a.cdn.example", "b.cdn.example"] {
                assert_eq!(world.short(name, RecordType::A).await, format!("NoError {GOOD}"));
            }
            assert_eq!((with_edns.get(), server.asked().len()), (1, 4));
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_never_understands_is_given_up_and_nothing_is_learnt_of_it() {
    local(async {
        let wrong = Nameserver::start(|_| Script::Code(ResponseCode::FormErr)).await;
        let good = Nameserver::start(|_| Script::Answer(vec![address("pypi.org", 300, GOOD)])).await;
        let world = World::new(&[&wrong, &good], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        assert_eq!((wrong.asked().len(), good.asked().len()), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn under_a_rain_of_guesses_the_question_goes_over_tcp() {
    local(async {
        let forged: fn(Message) -> Message = |mut reply| {
            reply.metadata.id = reply.metadata.id.wrapping_add(1);
            reply.add_answer(address("pypi.org", 300, FORGED));
            reply
        };
        let server = Nameserver::start(move |_| Script::Raw(vec![forged; 64])).await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, "ServFail");
        assert_eq!(server.asked(), ["udp pypi.org. A", "tcp pypi.org. A"]);
        assert!(world.bound(FORGED).is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_answer_and_the_next_server_is_asked() {
    local(async {
        let broken = saying(|query, _| {
            let mut reply = named(query, FORGED);
            reply.add_answer(alias("x.example", 60, "y.example"));
            reply.answers[0].ttl = 300;
            // The CNAME of the name itself leads back to it.
            reply.answers.insert(0, alias("pypi.org", 60, "pypi.org"));
            Some(reply)
        })
        .await;
        let good = Nameserver::start(|_| Script::Answer(vec![address("pypi.org", 300, GOOD)])).await;
        let world = World::new(&[&broken, &good], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_is_none_is_believed_as_long_as_the_zone_says_within_bounds() {
    let (limits, ask) = (Limits::default(), |ttl: u32, minimum: u32, zone: &'static str| async move {
        let server = saying(move |query, _| {
            let mut reply = reply_to(query, Vec::new());
            reply.metadata.response_code = ResponseCode::NXDomain;
            let soa = SOA::new(wire("ns.example"), wire("admin.example"), 1, 2, 3, 4, minimum);
            reply.add_authority(Record::from_rdata(wire(zone), ttl, RData::SOA(soa)));
            Some(reply)
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let mut held = 0;
        while server.asked().len() < 2 && held < 1_000 {
            assert_eq!(world.short("pypi.org", RecordType::A).await, "NXDomain");
            tokio::time::advance(Duration::from_secs(1)).await;
            held += 1;
        }
        held - 1
    });
    let (floor, ceiling) = (limits.dns_negative_ttl_floor, limits.dns_negative_ttl_ceiling);
    for (ttl, minimum, zone, expected) in [
        (600, 100, "org", 100),
        (100, 600, "pypi.org", 100),
        (600, 100, ".", 100),
        (0, 600, "org", floor.as_secs()),
        (86_400, 86_400, "org", ceiling.as_secs()),
        (100, u32::MAX, "org", floor.as_secs()),
        (100, 100, "example", floor.as_secs()),
        (100, 100, "x.pypi.org", floor.as_secs()),
    ] {
        let held = local(ask(ttl, minimum, zone)).await;
        assert_eq!(held, expected, "{ttl} {minimum} {zone}");
    }
}

#[tokio::test]
async fn equal_questions_at_once_are_asked_once() {
    local(async {
        let server = Nameserver::start(|_| Script::Answer(vec![address("pypi.org", 0, GOOD)])).await;
        let world = World::new(&[&server], |_| {});
        let ask = || world.short("pypi.org", RecordType::A);
        let (one, two, three, other) =
            tokio::join!(ask(), ask(), ask(), world.short("pypi.org", RecordType::AAAA));
        assert!([one, two, three].iter().all(|answer| *answer == format!("NoError {GOOD}")));
        assert_eq!(other, "NoError");
        assert_eq!(server.asked().len(), 2);
        assert!(world.resolver.flights.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_asks_when_the_one_who_asked_gives_up() {
    local(async {
        let silent = Nameserver::start(|_| Script::Silence).await;
        let world = World::new(&[&silent], |_| {});
        let impatient = tokio::time::timeout(Duration::from_secs(1), world.ask("pypi.org", RecordType::A));
        let (gone, answer) = tokio::join!(impatient, world.short("pypi.org", RecordType::A));
        assert!(gone.is_err());
        assert_eq!(answer, "ServFail");
        assert_eq!(silent.asked().len(), 3, "once by the first, twice by the second");
        assert!(world.resolver.flights.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_question_ends_however_many_servers_are_silent() {
    local(async {
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(Nameserver::start(|_| Script::Silence).await);
        }
        let world = World::new(&silent.iter().collect::<Vec<_>>(), |_| {});
        let started = tokio::time::Instant::now();
        assert_eq!(world.short("pypi.org", RecordType::A).await, "ServFail");
        assert_eq!(started.elapsed().as_secs(), Limits::default().dns_patience.as_secs());
        let asked = silent.iter().filter(|server| !server.asked().is_empty()).count();
        assert_eq!(asked, 6, "each for its time");
    })
    .await;
}

#[tokio::test]
async fn a_nameserver_may_be_named_and_is_looked_up_here() {
    local(async {
        let server = Nameserver::start(|_| Script::Answer(vec![address("pypi.org", 300, GOOD)])).await;
        let file = Scratch::new("named", "127.0.0.1 ns.corp.example\n");
        let name = HostName::parse("ns.corp.example").unwrap();
        let named = super::super::Nameserver::Name(name, server.addr.port());
        let world = World::new(&[], |setup| {
            setup.hosts.clone_from(&file.0);
            setup.nameservers = vec![named.clone()];
        });
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        let lost = World::new(&[], |setup| setup.nameservers = vec![named.clone()]);
        let failure = lost.resolver.resolve(&lost.permit("pypi.org", 443)).await.unwrap_err();
        assert!(failure.to_string().contains("the nameserver ns.corp.example has no address"), "{failure}");
        assert_eq!(failure.proxy_status(), "dns_error");
        let beside = World::new(&[], |setup| setup.nameservers = vec![named, server.addr.into()]);
        assert_eq!(beside.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
    })
    .await;
}
