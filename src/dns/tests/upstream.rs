//! How nameservers are asked, and what of theirs is believed.

use std::cell::Cell;
use std::time::Duration;

use super::*;

fn one(_: &str) -> Script {
    Script::Answer(vec![address("pypi.org", 300, "151.101.0.223")])
}

#[tokio::test]
async fn a_chain_of_aliases_is_kept_with_consistent_owners_and_its_least_ttl() {
    local(async {
        let server = Nameserver::start(|_| {
            Script::Answer(vec![
                address("unrelated.example", 5, "151.101.9.9"),
                address("edge.cdn.net", 300, "151.101.0.1"),
                alias("MID.cdn.net", 70, "Edge.cdn.net"),
                alias("pypi.org", 400, "mid.cdn.net"),
                address("pypi.org", 300, "151.101.8.8"),
            ])
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let answer = world.ask("Pypi.Org", RecordType::A).await;
        assert_eq!(summary(&answer), "NoError mid.cdn.net. edge.cdn.net. 151.101.0.1");
        let owners: Vec<String> = answer.answers.iter().map(|record| record.name.to_string()).collect();
        assert_eq!(owners, ["Pypi.Org.", "mid.cdn.net.", "edge.cdn.net."]);
        assert!(answer.answers.iter().all(|record| record.ttl == 70));
        assert_eq!(world.bound("151.101.0.1"), ["pypi.org"], "bound to the name that was judged");
        assert!(world.bound("151.101.8.8").is_empty() && world.bound("151.101.9.9").is_empty());
    })
    .await;
}

#[tokio::test]
async fn aliases_that_go_round_or_on_and_on_are_no_answer() {
    local(async {
        let server = Nameserver::start(|question| match question {
            "a.cdn.example. A" => Script::Answer(vec![
                alias("a.cdn.example", 60, "b.example"),
                alias("b.example", 60, "a.cdn.example"),
            ]),
            _ => Script::Answer(
                std::iter::once(alias("l.cdn.example", 60, "n0.example"))
                    .chain(
                        (0..40).map(|n| alias(&format!("n{n}.example"), 60, &format!("n{}.example", n + 1))),
                    )
                    .collect(),
            ),
        })
        .await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("a.cdn.example", RecordType::A).await, "ServFail");
        assert_eq!(world.short("l.cdn.example", RecordType::A).await, "ServFail");
    })
    .await;
}

#[tokio::test]
async fn what_is_cut_over_udp_is_fetched_over_tcp() {
    local(async {
        let server =
            Nameserver::start(|_| Script::OverTcp(vec![address("pypi.org", 300, "151.101.0.223")])).await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 151.101.0.223");
        assert_eq!(server.asked(), ["udp pypi.org. A", "tcp pypi.org. A"]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_another_id_or_question_is_not_believed() {
    local(async {
        let server = Nameserver::start(|_| {
            Script::Raw(vec![
                |mut reply| {
                    reply.metadata.id ^= 1;
                    reply.add_answer(address("pypi.org", 300, "151.101.6.6"));
                    reply
                },
                |mut reply| {
                    reply.queries = vec![Query::query(wire("evil.example"), RecordType::A)];
                    reply.add_answer(address("pypi.org", 300, "151.101.6.7"));
                    reply
                },
                |mut reply| {
                    reply.queries[0].query_type = RecordType::AAAA;
                    reply
                },
                |mut reply| {
                    reply.metadata.message_type = MessageType::Query;
                    reply
                },
                |mut reply| {
                    reply.add_answer(address("pypi.org", 300, "151.101.0.223"));
                    reply
                },
            ])
        })
        .await;
        let world = World::new(&[&server], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 151.101.0.223");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_nameserver_is_passed_over_and_asked_last_for_a_while() {
    local(async {
        let silent = Nameserver::start(|_| Script::Silence).await;
        let good = Nameserver::start(one).await;
        let world = World::new(&[&silent, &good], |_| {});
        let started = tokio::time::Instant::now();
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 151.101.0.223");
        assert_eq!(started.elapsed().as_secs(), Limits::default().dns_timeout.as_secs());
        world.ask("pypi.org", RecordType::AAAA).await;
        assert_eq!((silent.asked().len(), good.asked().len()), (1, 2));
        tokio::time::advance(Limits::default().dns_nameserver_rest).await;
        world.ask("a.cdn.example", RecordType::A).await;
        assert_eq!(silent.asked().len(), 2, "it gets its chance again");
    })
    .await;
}

#[tokio::test]
async fn an_error_moves_on_to_the_next_nameserver_and_no_such_name_does_not() {
    local(async {
        let failing = Nameserver::start(|_| Script::Code(ResponseCode::ServFail)).await;
        let refusing = Nameserver::start(|_| Script::Code(ResponseCode::Refused)).await;
        let knowing = Nameserver::start(|_| Script::Code(ResponseCode::NXDomain)).await;
        let never = Nameserver::start(one).await;
        let world = World::new(&[&failing, &refusing, &knowing, &never], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NXDomain");
        assert_eq!(never.asked(), [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_the_guest_hears_of_a_failure() {
    local(async {
        let silent = Nameserver::start(|_| Script::Silence).await;
        let world = World::new(&[&silent], |_| {});
        assert_eq!(world.short("pypi.org", RecordType::A).await, "ServFail");
        assert_eq!(silent.asked().len(), 2, "a datagram may be lost once");
        let alone = World::new(&[], |_| {});
        assert_eq!(alone.short("pypi.org", RecordType::A).await, "ServFail");
    })
    .await;
}

#[tokio::test]
async fn a_nameserver_that_is_not_there_is_passed_over_at_once() {
    local(async {
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let good = Nameserver::start(one).await;
        let world = World::new(&[], |setup| setup.nameservers = vec![closed.into(), good.addr.into()]);
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 151.101.0.223");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_datagram_is_sent_again_whatever_the_server_after_it_said() {
    local(async {
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let refusing = Nameserver::start(|_| Script::Code(ResponseCode::Refused)).await;
        for other in [closed, refusing.addr] {
            let lost = Cell::new(false);
            let losing = Nameserver::start(move |question| match lost.replace(true) {
                false => Script::Silence,
                true => one(question),
            })
            .await;
            let world = World::new(&[], |setup| setup.nameservers = vec![losing.addr.into(), other.into()]);
            assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 151.101.0.223");
            assert_eq!(losing.asked().len(), 2);
        }
        assert_eq!(refusing.asked().len(), 1, "it has said its word");
    })
    .await;
}

/// A nameserver that needs so long for each answer.
async fn slow(delay: Duration) -> SocketAddr {
    let socket = Rc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let addr = socket.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let mut datagram = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
            let query = Message::from_vec(&datagram[..length]).unwrap();
            let reply = reply_to(&query, vec![address("pypi.org", 300, "151.101.0.223")]);
            let socket = Rc::clone(&socket);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(delay).await;
                socket.send_to(&reply.to_vec().unwrap(), from).await.ok();
            });
        }
    });
    addr
}

#[tokio::test(start_paused = true)]
async fn a_slow_nameserver_is_waited_for_where_nobody_is_left_to_ask() {
    local(async {
        let limits = Limits::default();
        let slow = slow(Duration::from_secs(3)).await;
        let silent = Nameserver::start(|_| Script::Silence).await;
        let good = "NoError 151.101.0.223";
        for (servers, waited) in [(vec![slow], 2 + 3), (vec![silent.addr, slow], 3 * 2 + 3)] {
            let servers: Vec<_> = servers.into_iter().map(Into::into).collect();
            let world = World::new(&[], |setup| setup.nameservers = servers);
            let started = tokio::time::Instant::now();
            assert_eq!(world.short("pypi.org", RecordType::A).await, good);
            assert_eq!(started.elapsed().as_secs(), waited);
        }
        let world = World::new(&[&silent], |_| {});
        let started = tokio::time::Instant::now();
        assert_eq!(world.short("pypi.org", RecordType::A).await, "ServFail");
        assert_eq!(started.elapsed().as_secs(), (limits.dns_timeout + limits.dns_last_timeout).as_secs());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn resolv_conf_is_read_again_when_it_changes() {
    let (limits, file) = (Limits::default(), Scratch::new("resolv", "nameserver 127.0.0.11\n"));
    let read = watched::Watched::new(file.0.clone(), &limits, |text| {
        let servers = hosts::parse_resolv_conf(text).servers;
        servers.iter().filter_map(|server| server.socket_addr(|_| None)).collect::<Vec<_>>()
    });
    let later = || tokio::time::advance(limits.dns_host_file_rest);
    assert_eq!(*read.read(), ["127.0.0.11:53".parse().unwrap()]);
    assert!(Rc::ptr_eq(&read.read(), &read.read()), "read once while it stays the same");
    let first = read.read();
    later().await;
    assert!(Rc::ptr_eq(&first, &read.read()), "looked at, and the same");
    file.replace("nameserver 127.0.0.12\n");
    assert!(Rc::ptr_eq(&first, &read.read()), "not looked at for every question");
    later().await;
    assert_eq!(*read.read(), ["127.0.0.12:53".parse().unwrap()]);
    std::fs::remove_file(&file.0).unwrap();
    later().await;
    assert!(read.read().is_empty());
}

#[tokio::test]
async fn questions_in_flight_are_bounded_and_the_surplus_fails() {
    local(async {
        let silent = Nameserver::start(|_| Script::Silence).await;
        let world = World::new(&[&silent], |setup| {
            setup.limits = Arc::new(Limits { dns_in_flight: 1, ..Limits::default() });
        });
        let slow = world.ask("pypi.org", RecordType::A);
        let surplus = world.short("a.cdn.example", RecordType::A);
        tokio::select! {
            biased;
            answer = slow => panic!("the silent server answered: {answer}"),
            answer = surplus => assert_eq!(answer, "ServFail"),
        }
        // Its question is given up with the future; its place is free.
        let after = world.short("evil.example", RecordType::A).await;
        assert_eq!(after, "NoError 198.18.0.1", "what needs no nameserver is answered all the while");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_serves_again_until_its_ttl_ends() {
    local(async {
        let server = Nameserver::start(one).await;
        let world = World::new(&[&server], |_| {});
        world.ask("pypi.org", RecordType::A).await;
        tokio::time::advance(Duration::from_secs(100)).await;
        let answer = world.ask("pypi.org", RecordType::A).await;
        assert_eq!((answer.answers[0].ttl, server.asked().len()), (200, 1));
        tokio::time::advance(Duration::from_secs(200)).await;
        let answer = world.ask("pypi.org", RecordType::A).await;
        assert_eq!((answer.answers[0].ttl, server.asked().len()), (300, 2));
    })
    .await;
}
