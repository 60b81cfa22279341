//! A policy that changes, names that move, and flows that lean on either.

use std::cell::Cell;
use std::collections::HashSet;

use super::*;
use crate::policy::address::special_use;

const GOOD: &str = "151.101.0.223";

fn allowing(hosts: &[&str]) -> Policy {
    let rule = |text: &&str| Rule::allowing(text, RuleSource::Flag((*text).to_owned())).unwrap();
    hosts.iter().map(rule).fold(Policy::builder(), |builder, rule| builder.rule(rule)).build()
}

async fn good() -> Nameserver {
    Nameserver::start(|question| {
        let owner = question.split(". ").next().unwrap();
        Script::Answer(vec![address(owner, 300, GOOD)])
    })
    .await
}

#[tokio::test]
async fn what_is_known_of_a_name_is_worth_nothing_once_it_is_denied() {
    local(async {
        let server = good().await;
        let live = Arc::new(Live::new(allowing(&["pypi.org", "git.example:22"])));
        let world = World::new(&[&server], |setup| setup.policy = Arc::clone(&live));
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        assert_eq!(world.short("git.example", RecordType::A).await, format!("NoError {GOOD}"));
        live.replace(allowing(&["git.example:22"]));
        world.resolver.policy_changed();
        assert_eq!(world.resolver.cache.borrow().len(), 1);
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 198.18.0.1");
        assert_eq!(world.short("git.example", RecordType::A).await, format!("NoError {GOOD}"));
        assert_eq!(server.asked().len(), 2);
        // Its address has no name any more, and a flow to it no leave by that name.
        assert_eq!(world.short("223.0.101.151.in-addr.arpa", RecordType::PTR).await, "NoError git.example.");
        let names = world.resolver.names().borrow();
        let now = tokio::time::Instant::now().into_std();
        let to = |port| live.current().at_syn(SocketAddr::new(GOOD.parse().unwrap(), port), &names, now);
        assert!(matches!(to(22), crate::policy::AtSyn::DialFirst { .. }));
        live.replace(allowing(&["pypi.org"]));
        let to = |port| live.current().at_syn(SocketAddr::new(GOOD.parse().unwrap(), port), &names, now);
        assert!(matches!(to(22), crate::policy::AtSyn::Refuse(_)));
    })
    .await;
}

#[tokio::test]
async fn a_change_is_noticed_without_being_told() {
    local(async {
        let server = good().await;
        let live = Arc::new(Live::new(allowing(&["pypi.org"])));
        let world = World::new(&[&server], |setup| setup.policy = Arc::clone(&live));
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        live.replace(allowing(&[]));
        assert_eq!(world.short("other.example", RecordType::A).await, "NoError 198.18.0.1");
        assert_eq!(world.resolver.cache.borrow().len(), 0);
        assert_eq!(world.short("pypi.org", RecordType::A).await, "NoError 198.18.0.2");
        live.replace(allowing(&["pypi.org", "other.example"]));
        assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        let names = world.resolver.names().borrow();
        let other = HostName::parse("other.example").unwrap();
        assert_eq!(names.meaning("198.18.0.1".parse().unwrap()), Meaning::Mapped(Some(&other)), "those stay");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_denied_while_it_is_asked_for_is_not_answered_nor_kept() {
    local(async {
        let live = Arc::new(Live::new(allowing(&["pypi.org"])));
        let changed = Arc::clone(&live);
        let server = Nameserver::start(move |_| {
            changed.replace(allowing(&[]));
            Script::Answer(vec![address("pypi.org", 300, GOOD)])
        })
        .await;
        for wanted in [RecordType::A, RecordType::TXT] {
            live.replace(allowing(&["pypi.org"]));
            let world = World::new(&[&server], |setup| setup.policy = Arc::clone(&live));
            assert_eq!(world.short("pypi.org", wanted).await, "ServFail");
            assert!(world.bound(GOOD).is_empty());
            assert_eq!(world.resolver.cache.borrow().len(), 0);
        }
    })
    .await;
}

/// Addresses a guest must never reach by an allowed name, of either family.
const INSIDE: [&str; 16] = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "198.18.0.1",
    "0.0.0.0",
    "::1",
    "fd00:ec2::254",
    "fe80::1",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
];

#[tokio::test]
async fn a_name_that_flips_to_the_inside_is_never_told_bound_nor_dialled_there() {
    local(async {
        let turn = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turn);
        let server = Nameserver::start(move |question| {
            let turn: usize = counted.replace(counted.get() + 1);
            let (owner, wanted) = question.split_once(' ').unwrap();
            let (good, beside) =
                if wanted == "A" { (GOOD, "151.101.64.223") } else { ("2a04:4e42::1", "2a04:4e42::2") };
            let inside: Vec<&str> =
                INSIDE.into_iter().filter(|addr| addr.contains(':') == good.contains(':')).collect();
            let addr = if turn.is_multiple_of(3) { good } else { inside[turn / 3 % inside.len()] };
            let mut records = vec![address(owner, 0, addr)];
            // With a public one beside it now and then.
            if turn.is_multiple_of(5) {
                records.push(address(owner, 0, beside));
            }
            Script::Answer(records)
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let (mut told, mut dialled) = (HashSet::new(), HashSet::new());
        for _ in 0..2_500 {
            for wanted in [RecordType::A, RecordType::AAAA] {
                let answer = world.ask("a.cdn.example", wanted).await;
                told.extend(answer.answers.iter().filter_map(|record| record.data.ip_addr()));
            }
            if let Ok(permits) = world.resolver.resolve(&world.permit("a.cdn.example", 443)).await {
                dialled.extend(permits.iter().map(|permit| permit.addr().ip()));
            }
        }
        for addrs in [&told, &dialled] {
            assert!(addrs.contains(&GOOD.parse().unwrap()) && addrs.len() == 4, "{addrs:?}");
            assert!(addrs.iter().all(|addr| special_use(*addr).is_none()), "{addrs:?}");
        }
        for addr in INSIDE {
            assert!(world.bound(addr).is_empty(), "{addr}");
        }
        assert_eq!(turn.get(), 10_000, "it was asked each time");
        let names = world.resolver.names().borrow();
        assert!(names.len() <= 4, "{}", names.len());
    })
    .await;
}
