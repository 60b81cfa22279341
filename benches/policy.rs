//! What a verdict costs as the rules grow: a host that the last rule names, one that none names, a request with a
//! path to be matched, and an address among rules about addresses.
//!
//! `cargo bench --bench policy`

use std::hint::black_box;
use std::net::SocketAddr;

use divan::Bencher;
use portcullis::name::{HostName, Origin, Scheme};
use portcullis::policy::{Policy, Rule, RuleSource, Service, Verdict};

const RULES: [usize; 3] = [10, 1_000, 10_000];

fn main() {
    divan::main();
}

fn policy(rules: usize, text: impl Fn(usize) -> String) -> Policy {
    let rule =
        |number| Rule::parse(&text(number), RuleSource::Owner).unwrap_or_else(|error| panic!("{error}"));
    (0..rules).map(rule).fold(Policy::builder(), |builder, rule| builder.rule(rule)).build()
}

fn hosts(rules: usize) -> Policy {
    policy(rules, |number| {
        let star = if number % 10 == 9 { "*." } else { "" };
        format!("allow {star}host-{number}.zone-{}.example", number % 97)
    })
}

fn origin(host: &str) -> Origin {
    let host = HostName::parse(host).unwrap_or_else(|error| panic!("{error}"));
    Origin { scheme: Scheme::Https, host, port: 443 }
}

#[divan::bench(args = RULES)]
fn a_host_that_the_last_rule_names(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = hosts(rules);
    let number = rules - 2;
    let origin = origin(&format!("host-{number}.zone-{}.example", number % 97));
    assert!(matches!(policy.at_name(&origin), Verdict::Allow(_)));
    bencher.bench(|| policy.at_name(black_box(&origin)));
}

#[divan::bench(args = RULES)]
fn a_host_that_no_rule_names(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = hosts(rules);
    let origin = origin("some.where.else.example");
    bencher.bench(|| policy.at_name(black_box(&origin)));
}

#[divan::bench(args = RULES)]
fn a_request_with_a_path(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = policy(rules, |number| format!("allow GET host-{number}.example /repos/acme-{number}/**"));
    let origin = origin(&format!("host-{}.example", rules - 1));
    let target = format!("/repos/acme-{}/portcullis/issues?page=2", rules - 1);
    assert!(matches!(policy.at_request(&origin, None, ("GET", &target)), Verdict::Allow(_)));
    bencher.bench(|| policy.at_request(black_box(&origin), None, ("GET", black_box(&target))));
}

#[divan::bench(args = RULES)]
fn an_address_among_rules_about_addresses(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = policy(rules, |number| format!("allow 93.{}.{}.0/24:5432", number / 256, number % 256));
    let last = rules - 1;
    let destination = SocketAddr::from(([93, (last / 256) as u8, (last % 256) as u8, 7], 5432));
    let service = Service::Tcp(destination.port());
    assert!(matches!(policy.at_nameless(destination.ip(), service), Verdict::Allow(_)));
    bencher.bench(|| policy.at_nameless(black_box(destination.ip()), service));
}
