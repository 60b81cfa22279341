//! TLS on both legs: versions, resumption, names, protocols, and hosts that are passed through.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, AlertDescription, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::memory::{HOST, Http, OTHER, Offer, Origin, Plan, Reply, run};
use crate::pki;

on_h1_and_h2!(
    every_version_is_spoken_on_either_leg,
    both_legs_resume,
    the_guest_gets_what_the_upstream_chose,
    a_passed_through_host_is_not_looked_into,
);

/// The alert that ended a handshake.
fn alert<T>(result: io::Result<T>) -> AlertDescription {
    let error = result.err().expect("the handshake succeeded");
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("{other:?}, {error}"),
    }
}

async fn every_version_is_spoken_on_either_leg(http: Http) {
    let versions: [&'static SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for (guest, upstream) in versions.into_iter().flat_map(|one| versions.map(|other| (one, other))) {
        let config = pki::server_config("good", &[upstream], &[http.alpn()]);
        let origin = Origin::start(Some(config), |_| Reply::text("ok")).await;
        let bed = Plan::new().to(&origin).start();
        let offer = Offer::trusting(bed.sandbox().ca_cert_pem(), &[guest]).alpn(&[http.alpn()]);
        let stream = bed.tls(HOST, offer).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(guest.version));
        let mut client = bed.client(http, stream, ("https", HOST)).await;
        assert_eq!(client.get("/", &[("x-api-key", &bed.token())]).await.text(), "ok");
        assert_eq!(origin.latest().field("x-api-key"), bed.canary.value());
        bed.finish().await;
    }
}

async fn both_legs_resume(http: Http) {
    let versions: [&'static SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for version in versions {
        let config = pki::server_config("good", &[version], &[http.alpn()]);
        let origin = Origin::start(Some(config), |_| Reply::text("ok")).await;
        let bed = Plan::new().to(&origin).start();
        let offer = Offer::trusting(bed.sandbox().ca_cert_pem(), &[version]).alpn(&[http.alpn()]);
        let offer = Arc::new(offer.0);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = bed.tls_with(HOST, Arc::clone(&offer)).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
            let mut client = bed.client(http, stream, ("https", HOST)).await;
            assert_eq!(client.get("/", &[("x-api-key", &bed.token())]).await.text(), "ok");
            assert_eq!(origin.latest().field("x-api-key"), bed.canary.value());
        }
        assert_eq!(origin.handshakes(), [HandshakeKind::Full, HandshakeKind::Resumed], "{version:?}");
        bed.finish().await;
    }
}

async fn the_guest_gets_what_the_upstream_chose(http: Http) {
    let config = pki::server_config("good", ALL_VERSIONS, &[http.alpn()]);
    let origin = Origin::start(Some(config), |_| Reply::text("ok")).await;
    let bed = Plan::new().to(&origin).start();
    for offered in [[&b"h2"[..], b"http/1.1"], [b"http/1.1", b"h2"]] {
        let stream = bed.tls(HOST, bed.offer().alpn(&offered)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(http.alpn()));
        let answer = bed.client(http, stream, ("https", HOST)).await.get("/", &[]).await;
        assert_eq!(answer.text(), "ok");
    }
    bed.finish().await;
}

async fn a_passed_through_host_is_not_looked_into(http: Http) {
    let config = pki::server_config("other", ALL_VERSIONS, &[http.alpn()]);
    let origin = Origin::start(Some(config), |seen| Reply::text(seen.field("x-api-key").to_owned())).await;
    let plan = Plan::new().allow(OTHER).passthrough(OTHER).connect(OTHER, 443, origin.addr);
    let bed = plan.start();
    assert!(bed.tls(OTHER, bed.offer()).await.is_err(), "there is no leaf of the sandbox's for it");
    let authority = std::fs::read_to_string(pki::path("ca.pem")).unwrap();
    let offer = Offer::trusting(&authority, ALL_VERSIONS).alpn(&[http.alpn()]);
    let stream = bed.tls(OTHER, offer).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, CertificateDer::from_pem_file(pki::path("other.pem")).unwrap());
    let token = bed.token();
    let answer = bed.client(http, stream, ("https", OTHER)).await.get("/", &[("x-api-key", &token)]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*token));
    assert_eq!(origin.latest().field("x-api-key"), token);
    bed.finish().await;
}

#[test]
fn a_pass_through_pattern_opens_nothing_by_itself() {
    run(async {
        let plan = Plan::new().allow("one.example.net").passthrough("*.example.net");
        let bed = plan.start();
        let answer = bed.tls("two.example.net", bed.offer()).await;
        assert_eq!(alert(answer), AlertDescription::AccessDenied);
        bed.finish().await;
    });
}

#[test]
fn a_secret_for_a_passed_through_host_does_not_start() {
    let error = Plan::new().allow(HOST).passthrough("*.example.com").refusal();
    assert!(error.contains("TOKEN") && error.contains("*.example.com"), "{error}");
}

#[test]
fn a_hello_without_a_name_gets_an_alert() {
    run(async {
        let origin = Origin::start(Some(crate::good()), |_| Reply::text("never")).await;
        let bed = Plan::new().to(&origin).start();
        let answer = bed.tls(HOST, bed.offer().without_sni()).await;
        assert_eq!(alert(answer), AlertDescription::UnrecognisedName);
        assert_eq!(origin.connections(), 0);
        bed.finish().await;
    });
}

#[test]
fn a_protocol_that_cannot_be_inspected_gets_an_alert() {
    run(async {
        let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
        let bed = Plan::new().to(&origin).start();
        let answer = bed.tls(HOST, bed.offer().alpn(&[b"foo"])).await;
        assert_eq!(alert(answer), AlertDescription::NoApplicationProtocol);
        assert_eq!(origin.connections(), 0);
        let stream = bed.tls(HOST, bed.offer().alpn(&[b"foo", b"http/1.1"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = bed.client(Http::One, stream, ("https", HOST)).await.get("/", &[]).await;
        assert_eq!(answer.text(), "ok");
        assert_eq!(origin.alpn(), [Some(b"http/1.1".to_vec())], "foo was not offered on");
        bed.finish().await;
    });
}

#[test]
fn without_alpn_http_1_is_spoken_on_both_legs() {
    run(async {
        let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
        let bed = Plan::new().to(&origin).start();
        let stream = bed.tls(HOST, bed.offer()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        let mut client = bed.client(Http::One, stream, ("https", HOST)).await;
        assert_eq!(client.get("/", &[("x-api-key", &bed.token())]).await.text(), "ok");
        assert_eq!(origin.alpn(), [None]);
        bed.finish().await;
    });
}

#[test]
fn an_upstream_without_alpn_means_http_1() {
    run(async {
        let config = pki::server_config("good", ALL_VERSIONS, &[]);
        let origin = Origin::start(Some(config), |_| Reply::text("ok")).await;
        let bed = Plan::new().to(&origin).start();
        let stream = bed.tls(HOST, bed.offer().alpn(&[b"h2", b"http/1.1"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut client = bed.client(Http::One, stream, ("https", HOST)).await;
        assert_eq!(client.get("/", &[("x-api-key", &bed.token())]).await.text(), "ok");
        bed.finish().await;
    });
}

/// The versions are mirrored, so there is none to answer in but the guest's own.
#[test]
fn a_guest_that_wants_another_version_than_its_upstream_is_told_in_its_own() {
    run(async {
        let config = pki::server_config("good", ALL_VERSIONS, &[b"http/1.1"]);
        let origin = Origin::start(Some(config), |_| Reply::text("never")).await;
        let bed = Plan::new().to(&origin).start();
        let answer = bed.https(Http::Two, HOST).await.get("/", &[]).await;
        assert_eq!(answer.status, 502);
        assert!(answer.field("proxy-status").contains("error=tls_"), "{answer:?}");
        assert_eq!(origin.application(), b"");
        bed.finish().await;
    });
}

#[test]
fn a_clean_end_inside_tls_is_announced_before_the_fin() {
    run(async {
        let origin = Origin::start(Some(crate::good()), |_| Reply::text("the end")).await;
        let bed = Plan::new().to(&origin).start();
        let mut stream = bed.tls(HOST, bed.offer().alpn(&[b"http/1.1"])).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A FIN without close_notify would be an error here.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("the end"), "{answer}");
        bed.finish().await;
    });
}
