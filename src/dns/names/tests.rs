//! Bindings: their life, their caps, and the pins of live flows.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn names(bindings: usize, per_name: usize) -> Names {
    let limits = Limits { dns_bindings: bindings, dns_bindings_per_name: per_name, ..Limits::default() };
    let gateways = Gateways { v4: Ipv4Addr::new(172, 16, 0, 1), v6: "fd7a::1".parse().unwrap() };
    Names::new(Arc::new(limits), gateways, MappedPrefix::from_random([9; 7]))
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn addr(last: u8) -> IpAddr {
    IpAddr::from([8, 8, 8, last])
}

fn bound(names: &Names, addr: IpAddr, now: Instant) -> Vec<&str> {
    let mut bound: Vec<&str> = names.names_of(addr, now).map(HostName::as_str).collect();
    bound.sort_unstable();
    bound
}

/// The tests' clock starts where the process stands; only differences matter.
fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[test]
fn one_address_has_the_names_of_all_answers() {
    let (mut names, now) = (names(100, 100), start());
    names.bind(&name("a.example"), &[addr(1), addr(2)], 300 * SECOND, now);
    names.bind(&name("b.example"), &[addr(1)], 300 * SECOND, now);
    assert_eq!(bound(&names, addr(1), now), ["a.example", "b.example"]);
    assert_eq!(bound(&names, addr(2), now), ["a.example"]);
    assert_eq!(bound(&names, addr(3), now), [""; 0]);
}

#[test]
fn a_binding_ends_with_its_ttl_but_not_before_the_floor() {
    let (mut names, now) = (names(100, 100), start());
    names.bind(&name("long.example"), &[addr(1)], 300 * SECOND, now);
    names.bind(&name("short.example"), &[addr(2)], Duration::ZERO, now);
    names.bind(&name("ever.example"), &[addr(3)], Duration::from_secs(u64::from(u32::MAX)), now);
    assert_eq!(bound(&names, addr(2), now + 59 * SECOND), ["short.example"]);
    assert_eq!(bound(&names, addr(2), now + 60 * SECOND), [""; 0]);
    assert_eq!(bound(&names, addr(1), now + 299 * SECOND), ["long.example"]);
    assert_eq!(bound(&names, addr(1), now + 300 * SECOND), [""; 0]);
    let ceiling = Limits::default().dns_ttl_ceiling;
    assert_eq!(bound(&names, addr(3), now + ceiling), [""; 0]);
}

#[test]
fn a_later_answer_never_shortens_an_earlier_one() {
    let (mut names, now) = (names(100, 100), start());
    names.bind(&name("a.example"), &[addr(1)], 300 * SECOND, now);
    names.bind(&name("a.example"), &[addr(1)], Duration::ZERO, now);
    assert_eq!(bound(&names, addr(1), now + 200 * SECOND), ["a.example"]);
    assert_eq!(names.len(), 1);
}

#[test]
fn the_table_never_grows_beyond_its_cap_and_the_oldest_goes() {
    let (mut names, now) = (names(3, 100), start());
    for last in 1..=4 {
        names.bind(&name(&format!("n{last}.example")), &[addr(last)], 300 * SECOND, now);
        assert!(names.len() <= 3);
    }
    assert_eq!(bound(&names, addr(1), now), [""; 0]);
    assert_eq!(bound(&names, addr(4), now), ["n4.example"]);
    assert_eq!((names.by_addr.len(), names.by_name.len()), (3, 3));
}

#[test]
fn one_name_cannot_crowd_out_the_others() {
    let (mut names, now) = (names(100, 4), start());
    names.bind(&name("quiet.example"), &[addr(200)], 300 * SECOND, now);
    for last in 0..100 {
        names.bind(&name("loud.example"), &[addr(last)], 300 * SECOND, now + u32::from(last) * SECOND);
    }
    assert_eq!(names.len(), 5);
    assert_eq!(bound(&names, addr(200), now), ["quiet.example"]);
    assert_eq!(bound(&names, addr(99), now), ["loud.example"]);
    assert_eq!(bound(&names, addr(95), now), [""; 0]);
}

#[test]
fn a_crowded_address_keeps_the_names_that_last_longest() {
    let (mut names, now) = (names(1_000, 100), start());
    let most = u32::try_from(Limits::default().dns_names_per_address).unwrap();
    for index in 0..most + 50 {
        names.bind(&name(&format!("n{index}.example")), &[addr(1)], (60 + index) * SECOND, now);
    }
    assert_eq!(names.names_of(addr(1), now).count(), Limits::default().dns_names_per_address);
    assert!(bound(&names, addr(1), now).contains(&format!("n{}.example", most + 49).as_str()));
    assert!(!bound(&names, addr(1), now).contains(&"n0.example"));
}

#[test]
fn a_binding_with_a_live_flow_is_neither_evicted_nor_expired() {
    let (mut names, now) = (names(2, 100), start());
    names.bind(&name("a.example"), &[addr(1)], 60 * SECOND, now);
    assert!(names.pin(addr(1), &name("a.example")));
    assert!(names.pin(addr(1), &name("a.example")));
    for last in 2..10 {
        names.bind(&name("b.example"), &[addr(last)], 300 * SECOND, now);
    }
    let later = now + 600 * SECOND;
    assert_eq!(bound(&names, addr(1), later), ["a.example"]);
    names.unpin(addr(1), &name("a.example"));
    assert_eq!(bound(&names, addr(1), later), ["a.example"]);
    names.unpin(addr(1), &name("a.example"));
    assert_eq!(bound(&names, addr(1), later), [""; 0]);
    names.unpin(addr(1), &name("a.example"));
    assert!(names.len() <= 2);
}

#[test]
fn where_all_is_pinned_nothing_new_is_bound() {
    let (mut names, now) = (names(1, 100), start());
    names.bind(&name("a.example"), &[addr(1)], 60 * SECOND, now);
    assert!(names.pin(addr(1), &name("a.example")));
    assert_eq!(names.bind(&name("b.example"), &[addr(2)], 60 * SECOND, now), 0);
    assert_eq!(bound(&names, addr(2), now), [""; 0]);
    assert_eq!(names.len(), 1);
}

#[test]
fn what_is_not_bound_cannot_be_pinned() {
    let mut names = names(10, 10);
    assert!(!names.pin(addr(1), &name("a.example")));
}

#[test]
fn tables_return_to_nothing_when_all_has_expired() {
    let (mut names, now) = (names(100, 100), start());
    for last in 0..50 {
        names.bind(&name(&format!("n{last}.example")), &[addr(last)], 60 * SECOND, now);
    }
    names.bind(&name("late.example"), &[], 60 * SECOND, now + 61 * SECOND);
    assert!(names.is_empty() && names.by_addr.is_empty() && names.by_name.is_empty());
}

#[test]
fn gateway_mapped_range_and_the_rest_are_told_apart() {
    let mut names = names(10, 10);
    let mapped = names.map(&name("a.example"), Family::V4);
    assert_eq!(names.meaning("172.16.0.1".parse().unwrap()), Meaning::Gateway);
    assert_eq!(names.meaning("fd7a::1".parse().unwrap()), Meaning::Gateway);
    assert_eq!(names.meaning(mapped), Meaning::Mapped(Some(&name("a.example"))));
    assert_eq!(names.meaning("198.19.7.7".parse().unwrap()), Meaning::Mapped(None));
    assert_eq!(names.meaning("8.8.8.8".parse().unwrap()), Meaning::Elsewhere);
    assert_eq!(names.mapped_len(), 1);
}

#[test]
fn the_caps_of_a_sandbox_hold_and_what_flows_lean_on_outlives_them() {
    let limits = Limits::default();
    let (mut names, now) = (names(limits.dns_bindings, limits.dns_bindings_per_name), start());
    let many = |count: u32| {
        (0..count).map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0800_0000 + n))).collect::<Vec<_>>()
    };
    let loud = name("loud.example");
    names.bind(&loud, &many(1), 60 * SECOND, now);
    assert!(names.pin(many(1)[0], &loud));
    names.bind(&loud, &many(5_000), 300 * SECOND, now);
    assert_eq!(names.len(), limits.dns_bindings_per_name);
    for index in 0..40 {
        names.bind(&name(&format!("n{index}.example")), &many(1_000), 300 * SECOND, now);
        assert!(names.len() <= limits.dns_bindings);
    }
    assert_eq!(names.len(), limits.dns_bindings);
    assert!(bound(&names, many(1)[0], now + 400 * SECOND).contains(&"loud.example"));
    names.unpin(many(1)[0], &loud);
    names.bind(&name("late.example"), &[addr(1)], 300 * SECOND, now + 1_000 * SECOND);
    assert_eq!(
        (names.len(), names.by_addr.len(), names.by_name.len()),
        (1, 1, 1),
        "and all returns to nothing"
    );
}
