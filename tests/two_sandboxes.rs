//! Two sandboxes in one process share nothing that can be changed.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test does not reckon with ends it"
)]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "the guest is shared with the tests of the network")]
#[path = "support/guest.rs"]
mod guest;
#[expect(dead_code, unused_imports, reason = "the harness is shared with the round trip")]
#[path = "support/memory.rs"]
mod memory;
#[path = "support/pki.rs"]
mod pki;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use memory::{Bed, HOST, Http, Offer, Origin, Plan, Reply, run};
use portcullis::audit::Event;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind, ServerConfig};

fn tls() -> ServerConfig {
    pki::server_config("good", ALL_VERSIONS, &[b"h2", b"http/1.1"])
}

/// Two sandboxes with secrets of their own for one upstream.
async fn two() -> (Origin, Bed, Bed) {
    let origin = Origin::start(Some(tls()), |seen| Reply::text(seen.field("x-api-key").to_owned())).await;
    let (one, other) = (Plan::new().to(&origin).slot(1).start(), Plan::new().to(&origin).slot(2).start());
    (origin, one, other)
}

#[test]
fn a_placeholder_is_inert_text_in_another_sandbox() {
    run(async {
        for http in [Http::One, Http::Two] {
            let (origin, one, other) = two().await;
            assert_ne!(one.token(), other.token());
            let stranger = one.token();
            let answer = other.https(http, HOST).await.get("/", &[("x-api-key", &stranger)]).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, &*stranger));
            assert_eq!(origin.latest().field("x-api-key"), stranger);
            let own = other.token();
            assert_eq!(other.https(http, HOST).await.get("/", &[("x-api-key", &own)]).await.text(), own);
            assert_eq!(origin.latest().field("x-api-key"), other.canary.value());
            one.finish().await;
            other.finish().await;
        }
    });
}

#[test]
fn a_guest_trusts_no_other_sandboxs_ca() {
    run(async {
        let (_origin, one, other) = two().await;
        assert_ne!(one.sandbox().ca_cert_pem(), other.sandbox().ca_cert_pem());
        let error = other.tls(HOST, one.offer()).await.err().expect("the leaf is not of that CA");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        assert!(other.tls(HOST, other.offer()).await.is_ok());
        one.finish().await;
        other.finish().await;
    });
}

#[test]
fn an_address_means_what_its_own_sandbox_said() {
    run(async {
        let (_origin, mut one, mut other) = two().await;
        one.address("first.example").await;
        let told = SocketAddr::new(one.address("second.example").await, 8443);
        assert_eq!(denied(&mut one, told).await, "second.example:8443");
        assert_eq!(denied(&mut other, told).await, told.to_string(), "nobody was told of it");
        // Both ranges begin alike, so there the same address comes to stand for another name.
        other.address("third.example").await;
        assert_eq!(other.address("fourth.example").await, told.ip());
        assert_eq!(denied(&mut other, told).await, "fourth.example:8443");
        assert_eq!(denied(&mut one, told).await, "second.example:8443");
        one.finish().await;
        other.finish().await;
    });
}

/// Connects to where nothing may be reached, and tells what the sandbox took it for.
async fn denied(bed: &mut Bed, to: SocketAddr) -> String {
    let error = bed.guest.connect(to).await.err().expect("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    bed.event(|event| match event {
        Event::Denial { flow: Some(_), target, .. } => Some(target.clone()),
        _ => None,
    })
    .await
}

/// A guest that trusts both CAs and takes the sessions of one to the other.
fn promiscuous(
    one: &Bed,
    other: &Bed,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let both = one.sandbox().ca_cert_pem().to_owned() + other.sandbox().ca_cert_pem();
    Arc::new(Offer::trusting(&both, &[version]).alpn(&[b"http/1.1"]).0)
}

#[test]
fn a_session_of_one_is_not_resumed_in_the_other() {
    run(async {
        for version in [&TLS12, &TLS13] {
            let (origin, one, other) = two().await;
            let config = promiscuous(&one, &other, version);
            let mut kinds = Vec::new();
            for bed in [&one, &one, &other, &other] {
                let stream = bed.tls_with(HOST, Arc::clone(&config)).await.unwrap();
                kinds.extend(stream.get_ref().1.handshake_kind());
                // The tickets of TLS 1.3 come with the answer.
                bed.client(Http::One, stream, ("https", HOST)).await.get("/", &[]).await;
            }
            let expected =
                [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full, HandshakeKind::Resumed];
            assert_eq!(kinds, expected, "toward the guests, {version:?}");
            assert_eq!(origin.handshakes(), expected, "toward the upstream, {version:?}");
            one.finish().await;
            other.finish().await;
        }
    });
}

#[test]
fn counters_and_denials_are_apart() {
    run(async {
        let (_origin, one, other) = two().await;
        one.https(Http::One, "denied.example").await.get("/", &[]).await;
        let (busy, idle) =
            (one.sandbox().stats().await.unwrap().net, other.sandbox().stats().await.unwrap().net);
        assert!(busy.flows_opened == 1 && busy.frames_in > 0 && busy.datagrams > 0, "{busy:?}");
        assert_eq!((idle.flows_opened, idle.frames_in, idle.datagrams), (0, 0, 0));
        assert!(one.sandbox().denials().unwrap().contains("denied.example:443"));
        assert_eq!(other.sandbox().denials(), None);
        one.finish().await;
        other.finish().await;
    });
}

#[test]
fn one_that_ends_leaves_the_other_at_work() {
    run(async {
        let (_origin, one, other) = two().await;
        let mut ending = one.https(Http::Two, HOST).await;
        let mut staying = other.https(Http::Two, HOST).await;
        assert_eq!(ending.get("/", &[]).await.status, 200);
        assert_eq!(staying.get("/", &[]).await.status, 200);
        one.finish().await;
        let token = other.token();
        assert_eq!(staying.get("/", &[("x-api-key", &token)]).await.text(), token, "on a connection it had");
        assert_eq!(other.https(Http::One, HOST).await.get("/", &[]).await.status, 200, "on a new one");
        other.finish().await;
    });
}
