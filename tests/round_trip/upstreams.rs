//! Hosts whose upstreams have options of their own: roots, a certificate of ours, versions, times.

use portcullis::audit::Event;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, HandshakeKind, SupportedProtocolVersion};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::memory::{HOST, Http, OTHER, Origin, Plan, Reply};
use crate::pki;
use crate::pki_made::Authority;

on_h1_and_h2!(
    roots_of_a_host_count_for_it_and_for_nobody_else,
    a_client_certificate_is_shown_to_its_host_and_resumes,
    a_host_that_wants_a_certificate_and_gets_none_is_a_clear_502,
    a_host_of_tls_1_3_is_not_spoken_to_in_1_2,
    a_handshake_and_an_answer_have_the_times_of_their_host,
);

/// `[[upstream]]` for some hosts.
fn entry(hosts: &str, options: &str) -> String {
    format!("[[upstream]]\nhosts = [{hosts}]\n{options}\n")
}

async fn roots_of_a_host_count_for_it_and_for_nobody_else(http: Http) {
    let authority = Authority::new();
    let served = |name: &str| authority.server(name, ALL_VERSIONS, (false, &[http.alpn()]));
    let own = Origin::start(Some(served(HOST)), |seen| Reply::text(seen.field("x-api-key").to_owned())).await;
    let other = Origin::start(Some(served(OTHER)), |_| Reply::text("never")).await;
    let usual = Origin::start(Some(crate::good()), |_| Reply::text("never")).await;
    let ca = format!("ca = ['{}']", authority.path("ca.pem").display());
    let text = entry(&format!("'{HOST}'"), &ca);

    let plan = Plan::new().to(&own).allow(OTHER).connect(OTHER, 443, other.addr).toml(&text);
    let canary = plan.canary();
    let bed = plan.start();
    let token = bed.token();
    let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &token)]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*token));
    assert_eq!(own.latest().field("x-api-key"), canary, "its peer is verified, and may have the secret");
    let answer = bed.https(http, OTHER).await.get("/", &[]).await;
    answer.assert_refused(502, "tls_certificate_error", "no issuer trusted here");
    bed.finish().await;

    // What every other host is trusted by is not trusted here any more.
    let bed = Plan::new().to(&usual).toml(&text).start();
    let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
    answer.assert_refused(502, "tls_certificate_error", "[[upstream]] ca");
    bed.finish().await;
    assert!(other.seen().is_empty() && usual.seen().is_empty());
}

/// An origin that takes clients of `authority` alone, and the entry that makes us one.
async fn closed(authority: &Authority, version: &'static SupportedProtocolVersion, http: Http) -> Origin {
    let config = authority.server(HOST, &[version], (true, &[http.alpn()]));
    Origin::start(Some(config), |_| Reply::text("come in")).await
}

async fn a_client_certificate_is_shown_to_its_host_and_resumes(http: Http) {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new();
        authority.client();
        let origin = closed(&authority, version, http).await;
        let options = "ca = ['ca.pem']\nclient_cert = 'client.pem'\nclient_key = 'client.key'";
        let text = entry(&format!("'{HOST}'"), options);
        let bed = Plan::new().to(&origin).toml_in(authority.directory(), &text).start();
        for _ in 0..2 {
            let answer = bed.https(http, HOST).await.get("/", &[]).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "come in"));
        }
        assert_eq!(origin.handshakes(), [HandshakeKind::Full, HandshakeKind::Resumed]);
        bed.finish().await;
    }
}

async fn a_host_that_wants_a_certificate_and_gets_none_is_a_clear_502(http: Http) {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new();
        let origin = closed(&authority, version, http).await;
        let text = entry(&format!("'{HOST}'"), "ca = ['ca.pem']");
        let bed = Plan::new().to(&origin).toml_in(authority.directory(), &text).start();
        let answer = bed.https(http, HOST).await.get("/", &[]).await;
        answer.assert_refused(502, "tls_alert_received", "alert");
        assert_eq!(version.version == TLS13.version, answer.text().contains("[[upstream]] client_cert"));
        assert!(origin.seen().is_empty());
        bed.finish().await;
    }
}

async fn a_host_of_tls_1_3_is_not_spoken_to_in_1_2(http: Http) {
    for (version, status) in [(&TLS12, 502), (&TLS13, 200)] {
        let config = pki::server_config("good", &[version], &[http.alpn()]);
        let origin = Origin::start(Some(config), |_| Reply::text("ok")).await;
        let bed = Plan::new().to(&origin).toml(&entry("'*.example.com'", "min_tls = '1.3'")).start();
        let answer = bed.https(http, HOST).await.get("/", &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        if status == 502 {
            answer.assert_refused(502, "tls_alert_received", "alert");
        }
        bed.finish().await;
    }
}

async fn a_handshake_and_an_answer_have_the_times_of_their_host(http: Http) {
    // Accepts by the kernel alone.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = pki::server_config("good", ALL_VERSIONS, &[http.alpn()]);
    let mute = Origin::raw(Some(config), |mut stream| async move {
        while stream.read(&mut [0; 1000]).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let times = "handshake_timeout = '50ms'\nresponse_timeout = '50ms'";
    let text = entry("'*.example.com'", times);
    let bed = Plan::new().connect(HOST, 443, silent.local_addr().unwrap()).toml(&text).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    answer.assert_refused(504, "connection_timeout", "handshake");
    bed.finish().await;

    // An h2 connection answers nothing at all without its settings, and a request waits for them too.
    let text = entry("'*.example.com'", "response_timeout = '50ms'");
    let mut bed = Plan::new().to(&mute).toml(&text).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    answer.assert_refused(504, "http_response_timeout", "did not answer within 50ms");
    let status = |event: &Event| if let Event::Request { status, .. } = event { Some(*status) } else { None };
    assert_eq!(bed.event(status).await, 504);
    bed.finish().await;
}

#[test]
fn files_that_are_not_what_they_should_be_start_nothing() {
    let authority = Authority::new();
    authority.client();
    let refusal = |options: &str| {
        let text = entry(&format!("'{HOST}'"), options);
        Plan::new().toml_in(authority.directory(), &text).refusal()
    };
    for (options, says) in [
        ("ca = ['none.pem']", "cannot read the upstream CA file"),
        ("ca = ['client.key']", "no PEM certificate in the upstream CA file"),
        ("client_cert = 'none.pem'\nclient_key = 'client.key'", "cannot read the file"),
        ("client_cert = 'client.key'\nclient_key = 'client.key'", "the client_cert of an [[upstream]]"),
        ("client_cert = 'client.pem'\nclient_key = 'client.pem'", "the client_key of an [[upstream]]"),
        ("client_cert = 'ca.pem'\nclient_key = 'client.key'", "are of no use together"),
    ] {
        let error = refusal(options);
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    }
}
