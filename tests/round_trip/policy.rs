//! A policy that changes while flows are open: those that are no longer allowed end, and no other notices.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portcullis::audit::{Event, FlowKind, PolicyChange};
use portcullis::config::Config;
use portcullis::name::HOST_ALIAS;
use portcullis::policy::{ConnectTo, Rule, RuleSource};
use portcullis::sandbox::PolicyChanged;
use rustls::ALL_VERSIONS;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::memory::{Bed, End, HOST, Http, OTHER, Offer, Origin, Plan, Reply, run};
use crate::pki;

on_h1_and_h2!(
    an_idle_connection_ends_and_its_neighbor_goes_on,
    an_answer_ends_in_its_middle_and_its_neighbor_goes_on,
    a_request_under_way_ends_where_its_path_is_no_longer_allowed,
    a_request_that_is_over_is_not_judged_again,
    a_request_whose_path_is_too_long_to_keep_ends_where_paths_count,
    a_refused_connection_ends_when_its_host_is_allowed,
);

/// What a flow is given to end.
const SOON: Duration = Duration::from_secs(1);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it goes on")
}

/// Two upstreams by name, each with a certificate of its own, and a sandbox that may reach both.
async fn two(answer: fn() -> Reply) -> (Bed, Origin, Origin) {
    let first = Origin::start(Some(crate::good()), move |_| answer()).await;
    let config = pki::server_config("other", ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let second = Origin::start(Some(config), move |_| answer()).await;
    let bed = Plan::new().to(&first).allow(OTHER).connect(OTHER, 443, second.addr).start();
    (bed, first, second)
}

/// The next denial of a flow that the policy ended: its target.
async fn fallen(bed: &mut Bed) -> String {
    bed.event(|event| match event {
        Event::Denial { flow: Some(_), target, reason, .. } => {
            let reason = reason.strip_prefix("the policy changed: ")?;
            assert!(!reason.is_empty());
            Some(target.clone())
        }
        _ => None,
    })
    .await
}

fn counts(changed: &PolicyChanged) -> (PolicyChange, usize) {
    (changed.change, changed.ended)
}

async fn an_idle_connection_ends_and_its_neighbor_goes_on(http: Http) {
    let (mut bed, first, second) = two(|| Reply::text("here")).await;
    let (mut lost, mut kept) = (bed.https(http, HOST).await, bed.https(http, OTHER).await);
    for client in [&mut lost, &mut kept] {
        assert_eq!(client.get("/", &[]).await.status.as_u16(), 200);
    }
    let changed = bed.sandbox().deny(&format!("{HOST}:443/tcp")).await.unwrap();
    assert_eq!(counts(&changed), (PolicyChange::Replaced, 1));
    soon(first.idle()).await;
    assert!(soon(lost.begin("GET", (HOST, "/"), &[], Bytes::new())).await.is_err());
    let ended = bed.event(|event| match event {
        Event::Policy { change, reason, rules, ended } => Some((*change, reason.clone(), *rules, *ended)),
        _ => None,
    });
    assert_eq!(ended.await, (PolicyChange::Replaced, format!("1: deny {HOST}:443/tcp"), changed.rules, 1));
    assert_eq!(fallen(&mut bed).await, format!("{HOST}:443"));
    let recorded = bed.event(|event| match event {
        Event::Flow { kind: FlowKind::Https, host, upstream, .. } => Some((host.clone(), *upstream)),
        _ => None,
    });
    assert_eq!(recorded.await, (Some(HOST.to_owned()), Some(first.addr)));
    assert_eq!((kept.get("/", &[]).await.status.as_u16(), second.connections()), (200, 1));
    let answer = bed.ask(HOST, RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "nothing of it is left");
    bed.finish().await;
}

async fn an_answer_ends_in_its_middle_and_its_neighbor_goes_on(http: Http) {
    let (mut bed, first, second) = two(|| Reply::text("data: one\n\n").breaking()).await;
    let (mut lost, mut kept) = (bed.https(http, HOST).await, bed.https(http, OTHER).await);
    let lost_head = lost.begin("GET", (HOST, "/"), &[], Bytes::new()).await.unwrap();
    let kept_head = kept.begin("GET", (OTHER, "/"), &[], Bytes::new()).await.unwrap();
    assert_eq!(bed.sandbox().deny(HOST).await.unwrap().ended, 1);
    let answer = soon(lost.finish(lost_head)).await;
    assert_eq!(answer.end, End::Broken);
    soon(first.idle()).await;
    assert_eq!(fallen(&mut bed).await, format!("{HOST}:443"));
    assert_eq!(second.connections(), 1);
    // The neighbor's upstream ends it by itself, and not before.
    second.break_off();
    let answer = kept.finish(kept_head).await;
    assert_eq!((answer.text(), answer.end), ("data: one\n\n", End::Broken));
    bed.finish().await;
}

async fn a_request_under_way_ends_where_its_path_is_no_longer_allowed(http: Http) {
    let origin = Origin::start(Some(crate::good()), |seen| {
        let reply = Reply::text("data\n");
        if seen.target.ends_with("/done") { reply } else { reply.breaking() }
    })
    .await;
    let mut bed = Plan::new().allow(HOST).to(&origin).start();
    let (mut lost, mut kept) = (bed.https(http, HOST).await, bed.https(http, HOST).await);
    let lost_head = lost.begin("GET", (HOST, "/private/a?b"), &[], Bytes::new()).await.unwrap();
    let kept_head = kept.begin("GET", (HOST, "/public/a"), &[], Bytes::new()).await.unwrap();
    let rule = format!("GET {HOST} /private/**");
    assert_eq!(bed.sandbox().deny(&rule).await.unwrap().ended, 1);
    assert_eq!(soon(lost.finish(lost_head)).await.end, End::Broken);
    assert!(fallen(&mut bed).await.contains(HOST));
    // One of the two may be for the request that fell.
    origin.break_off();
    origin.break_off();
    assert_eq!(kept.finish(kept_head).await.text(), "data\n");
    let mut next = bed.https(http, HOST).await;
    next.get("/private/a", &[]).await.assert_refused(403, "http_request_denied", HOST);
    assert_eq!(next.get("/done", &[]).await.status, 200);
    bed.finish().await;
}

async fn a_request_that_is_over_is_not_judged_again(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("here")).await;
    let bed = Plan::new().allow(HOST).to(&origin).start();
    let mut client = bed.https(http, HOST).await;
    assert_eq!(client.post("/private/a", &[], "body").await.status, 200);
    assert_eq!(bed.sandbox().deny(&format!("POST {HOST} /private/**")).await.unwrap().ended, 0);
    client.post("/private/a", &[], "body").await.assert_refused(403, "http_request_denied", HOST);
    assert_eq!((client.get("/public", &[]).await.status.as_u16(), origin.connections()), (200, 1));
    bed.finish().await;
}

async fn a_request_whose_path_is_too_long_to_keep_ends_where_paths_count(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("data\n").breaking()).await;
    let bed = Plan::new().allow(HOST).to(&origin).limits(|limits| limits.path_kept = 16).start();
    let mut client = bed.https(http, HOST).await;
    let head = client.begin("GET", (HOST, "/longer-than-that/"), &[], Bytes::new()).await.unwrap();
    assert_eq!(bed.sandbox().deny("GET other.example /x").await.unwrap().ended, 0);
    assert_eq!(bed.sandbox().deny(&format!("GET {HOST} /x")).await.unwrap().ended, 1);
    assert_eq!(soon(client.finish(head)).await.end, End::Broken);
    bed.finish().await;
}

async fn a_refused_connection_ends_when_its_host_is_allowed(http: Http) {
    let config = pki::server_config("other", ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let origin = Origin::start(Some(config), |_| Reply::text("here")).await;
    let bed = Plan::new().connect(OTHER, 443, origin.addr).start();
    let mut client = bed.https(http, OTHER).await;
    client.get("/", &[]).await.assert_refused(403, "http_request_denied", OTHER);
    // Nothing was taken from anybody.
    assert_eq!(bed.sandbox().allow(&format!("{OTHER}:443")).await.unwrap().ended, 0);
    assert!(soon(client.begin("GET", (OTHER, "/"), &[], Bytes::new())).await.is_err());
    assert_eq!(bed.https(http, OTHER).await.get("/", &[]).await.status, 200);
    bed.finish().await;
}

/// A port of this machine's, opened in the sandbox's rules.
async fn listener(plan: Plan) -> (Plan, TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (plan.allow(&format!("{HOST_ALIAS}:{port}")), listener, port)
}

#[test]
fn an_opaque_flow_is_reset_and_its_neighbor_is_not() {
    run(async {
        let (plan, lost, port) = listener(Plan::new()).await;
        let (plan, kept, other) = listener(plan).await;
        let mut bed = plan.start();
        let (guest, server) = tokio::join!(bed.tcp(HOST_ALIAS, port), lost.accept());
        let (mut guest, (mut server, _)) = (guest.unwrap(), server.unwrap());
        let (next, neighbor) = tokio::join!(bed.tcp(HOST_ALIAS, other), kept.accept());
        let (mut next, (mut neighbor, _)) = (next.unwrap(), neighbor.unwrap());
        guest.write_all(b"\0hello").await.unwrap();
        server.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(bed.sandbox().deny(&format!("{HOST_ALIAS}:{port}")).await.unwrap().ended, 1);
        let error = soon(guest.read(&mut [0; 8])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(soon(server.read(&mut [0; 8])).await.unwrap_or(0), 0);
        assert!(fallen(&mut bed).await.contains(HOST_ALIAS));
        next.write_all(b"\0still").await.unwrap();
        let mut heard = [0; 6];
        neighbor.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"\0still");
        assert!(bed.tcp(HOST_ALIAS, port).await.is_err());
        bed.finish().await;
    });
}

#[test]
fn a_flow_that_is_passed_through_ends_with_its_rule_and_with_being_passed_through() {
    run(async {
        let origin = Origin::start(Some(pki::server_config("other", ALL_VERSIONS, &[b"http/1.1"])), |_| {
            Reply::text("here")
        })
        .await;
        let plan = Plan::new().allow(OTHER).passthrough(OTHER).connect(OTHER, 443, origin.addr);
        let mut bed = plan.start();
        let authority = std::fs::read_to_string(pki::path("ca.pem")).unwrap();
        let offer = || Offer::trusting(&authority, ALL_VERSIONS).alpn(&[b"http/1.1"]);
        let mut first = bed.tls(OTHER, offer()).await.unwrap();
        let denied = bed.sandbox().deny(OTHER).await.unwrap();
        assert_eq!(denied.ended, 1);
        assert!(soon(first.read(&mut [0; 8])).await.is_err());
        assert_eq!(fallen(&mut bed).await, format!("{OTHER}:443"));
        soon(origin.idle()).await;

        let config = |passthrough: Vec<_>| Config {
            allow: vec![Rule::allowing(OTHER, RuleSource::Owner).unwrap()],
            connect_to: vec![ConnectTo::parse(&format!("{OTHER}:443:{}", origin.addr)).unwrap()],
            passthrough,
            ..Config::default()
        };
        let pattern = || vec![portcullis::name::HostPattern::parse(OTHER).unwrap()];
        let set = bed.sandbox().set_policy(&config(pattern())).await.unwrap();
        assert_eq!(set.ended, 0);
        assert!(set.warnings.iter().any(|warning| warning.contains("1 rules")), "{:?}", set.warnings);
        let mut second = bed.tls(OTHER, offer()).await.unwrap();
        assert_eq!(bed.sandbox().set_policy(&config(Vec::new())).await.unwrap().ended, 1);
        assert!(soon(second.read(&mut [0; 8])).await.is_err());
        assert!(bed.tls(OTHER, bed.offer()).await.is_ok(), "it is intercepted from now on");
        bed.finish().await;
    });
}

#[test]
fn an_association_ends_and_the_next_datagram_is_judged_anew() {
    run(async {
        let service = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = service.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let mut datagram = [0; 64];
            while let Ok((length, client)) = service.recv_from(&mut datagram).await {
                service.send_to(&datagram[..length], client).await.unwrap();
            }
        });
        let rule = format!("{HOST_ALIAS}:{}/udp", to.port());
        let mut bed = Plan::new().allow(&rule).start();
        let gateway = SocketAddr::new(bed.gateway(), to.port());
        assert_eq!(bed.guest.udp_exchange(gateway, b"one").await.unwrap(), b"one");
        assert_eq!(bed.sandbox().allow("a.example:443").await.unwrap().ended, 0);
        assert_eq!(bed.sandbox().stats().await.unwrap().net.associations, 1, "it did not notice");
        assert_eq!(bed.sandbox().deny(&rule).await.unwrap().ended, 1);
        assert!(fallen(&mut bed).await.ends_with("/udp"));
        let kind = bed.event(|event| match event {
            Event::Flow { kind, .. } => Some(*kind),
            _ => None,
        });
        assert_eq!(kind.await, FlowKind::Udp);
        let error = bed.guest.udp_exchange(gateway, b"two").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        bed.finish().await;
    });
}

#[test]
fn a_published_connection_is_reset_and_its_neighbor_is_not() {
    run(async {
        let mut bed = Plan::new().publish("0:80").publish("0:81").start();
        let (mut inside, mut neighbor) = (bed.guest.listen(80), bed.guest.listen(81));
        let published = bed.sandbox().published().to_vec();
        let mut lost = TcpStream::connect(published[0].address).await.unwrap();
        let mut kept = TcpStream::connect(published[1].address).await.unwrap();
        lost.write_all(b"hello").await.unwrap();
        inside.read_exact(&mut [0; 5]).await.unwrap();
        kept.write_all(b"hello").await.unwrap();
        neighbor.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(bed.sandbox().deny("ingress 127.0.0.0/8:80").await.unwrap().ended, 1);
        let error = soon(lost.read(&mut [0; 8])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(soon(inside.read(&mut [0; 8])).await.is_err(), "and so is the guest's end");
        assert!(fallen(&mut bed).await.starts_with("127.0.0.1 to "));
        kept.write_all(b"again").await.unwrap();
        neighbor.read_exact(&mut [0; 5]).await.unwrap();
        bed.finish().await;
    });
}

#[test]
fn a_peer_of_a_published_udp_port_is_judged_anew() {
    run(async {
        let mut bed = Plan::new().publish("0:53/udp").start();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let published = bed.sandbox().published()[0].address;
        let opened = async |bed: &Bed, opened, left| {
            loop {
                let stats = bed.sandbox().stats().await.unwrap().net;
                if (stats.associations_opened, stats.associations) == (opened, left) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        peer.send_to(b"hello", published).await.unwrap();
        opened(&bed, 1, 1).await;
        assert_eq!(bed.sandbox().deny("ingress 127.0.0.0/8:53/udp").await.unwrap().ended, 1);
        assert!(fallen(&mut bed).await.starts_with("127.0.0.1 to "));
        soon(opened(&bed, 1, 0)).await;
        peer.send_to(b"hello", published).await.unwrap();
        let denied = bed.event(|event| match event {
            Event::Denial { target, .. } => Some(target.clone()),
            _ => None,
        });
        assert!(denied.await.starts_with("127.0.0.1 to "));
        opened(&bed, 1, 0).await;
        bed.finish().await;
    });
}

#[test]
fn what_does_not_hold_together_changes_nothing() {
    run(async {
        let (plan, listener, port) = listener(Plan::new()).await;
        let mut bed = plan.start();
        let (guest, server) = tokio::join!(bed.tcp(HOST_ALIAS, port), listener.accept());
        let (mut guest, (mut server, _)) = (guest.unwrap(), server.unwrap());
        let before = bed.sandbox().policy();
        let pattern = portcullis::name::HostPattern::parse(HOST).unwrap();
        let passing = Config {
            allow: vec![Rule::allowing(HOST, RuleSource::Owner).unwrap()],
            passthrough: vec![pattern],
            ..Config::default()
        };
        let error = bed.sandbox().set_policy(&passing).await.unwrap_err().to_string();
        assert!(error.contains("TOKEN"), "{error}");
        let rule = |text: &str| Rule::parse(text, RuleSource::Owner).unwrap();
        let torn = Config {
            rules: vec![rule("allow a.example:443"), rule("deny a.example:443/tcp")],
            ..Config::default()
        };
        let error = bed.sandbox().set_policy(&torn).await.unwrap_err().to_string();
        assert!(error.contains("contradicts"), "{error}");
        let error = bed.sandbox().allow("https://a.example/").await.unwrap_err().to_string();
        assert!(error.contains("https://a.example/"), "{error}");
        assert!(bed.sandbox().reload().await.unwrap_err().to_string().contains("without a file"));
        for _ in 0..4 {
            let rejected = bed.event(|event| match event {
                Event::Policy { change, ended, .. } => Some((*change, *ended)),
                _ => None,
            });
            assert_eq!(rejected.await, (PolicyChange::Rejected, 0));
        }
        assert_eq!(bed.sandbox().policy(), before);
        guest.write_all(b"\0").await.unwrap();
        server.read_exact(&mut [0; 1]).await.unwrap();
        bed.finish().await;
    });
}

#[test]
fn of_a_thousand_flows_those_that_fell_are_told_and_the_others_are_not_woken() {
    const FLOWS: usize = 500;
    run(async {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
        let (plan, lost, port) = listener(Plan::new()).await;
        let (plan, kept, other) = listener(plan).await;
        let bed = plan.start();
        let mut ends = Vec::new();
        for _ in 0..FLOWS {
            for (listener, port) in [(&lost, port), (&kept, other)] {
                let (guest, server) = tokio::join!(bed.tcp(HOST_ALIAS, port), listener.accept());
                ends.push((guest.unwrap(), server.unwrap().0, port));
            }
        }
        assert_eq!(bed.sandbox().stats().await.unwrap().net.flows, 2 * FLOWS as u64);
        assert_eq!(bed.sandbox().allow("a.example:443").await.unwrap().ended, 0);
        let changed = bed.sandbox().deny(&format!("{HOST_ALIAS}:{port}")).await.unwrap();
        assert_eq!(changed.ended, FLOWS);
        for (guest, server, at) in &mut ends {
            if *at == port {
                assert_eq!(soon(server.read(&mut [0; 1])).await.unwrap_or(0), 0);
            } else {
                guest.write_all(b"\0").await.unwrap();
                assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 1);
            }
        }
        assert_eq!(bed.sandbox().deny(&format!("{HOST_ALIAS}:{port}")).await.unwrap().ended, 0);
        drop(ends);
        bed.finish().await;
    });
}
