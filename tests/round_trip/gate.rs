//! Requests that must not go where they ask to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::memory::{HOST, Http, OTHER, Origin, Plan, Reply};
use crate::pki;

on_h1_and_h2!(
    a_request_for_another_host_than_the_sni_is_misdirected,
    a_placeholder_toward_another_host_is_denied,
    a_denied_name_is_told_which_flag_allows_it,
    a_body_may_hold_placeholders_for_anyone,
);

async fn a_request_for_another_host_than_the_sni_is_misdirected(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("never")).await;
    let bed = Plan::new().to(&origin).allow(OTHER).start();
    let bearer = format!("Bearer {}", bed.token());
    let mut client = bed.https(http, HOST).await;
    for authority in
        [OTHER, "evil.example", "api.example.com:8443", "api.example.com.evil.example", "127.0.0.1"]
    {
        let answer = client.get_for(authority, "/", &[("authorization", &bearer)]).await;
        answer.assert_refused(421, "http_request_error", HOST);
    }
    bed.finish().await;
    drop(client);
    origin.idle().await;
    assert_eq!(origin.request_octets(), b"");
    assert!(origin.seen().is_empty());
}

async fn a_placeholder_toward_another_host_is_denied(http: Http) {
    let config = pki::server_config("other", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let origin = Origin::start(Some(config), |_| Reply::text("never")).await;
    let bed = Plan::new().allow(OTHER).connect(OTHER, 443, origin.addr).start();
    let mut client = bed.https(http, OTHER).await;
    let token = bed.token();
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{token}")));
    for (name, value) in [
        ("authorization", format!("Bearer {token}")),
        ("authorization", basic),
        ("x-api-key", token.clone()),
        ("user-agent", format!("tool/1 {token}")),
        ("cookie", format!("session={token}")),
    ] {
        let answer = client.get("/", &[(name, &value)]).await;
        answer.assert_refused(403, "http_request_denied", "--secret TOKEN@other.example.com");
    }
    let answer = client.get(&format!("/?token={token}"), &[]).await;
    answer.assert_refused(403, "http_request_denied", "(url)");
    bed.finish().await;
    drop(client);
    origin.idle().await;
    assert_eq!(origin.request_octets(), b"");
}

async fn a_denied_name_is_told_which_flag_allows_it(http: Http) {
    let bed = Plan::new().start();
    let mut client = bed.https(http, "denied.example").await;
    let answer = client.get("/", &[]).await;
    answer.assert_refused(403, "http_request_denied", "--allow denied.example");
    bed.finish().await;
}

async fn a_body_may_hold_placeholders_for_anyone(http: Http) {
    let config = pki::server_config("other", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let origin = Origin::start(Some(config), |seen| Reply::text(seen.body.clone())).await;
    let bed = Plan::new().allow(OTHER).connect(OTHER, 443, origin.addr).start();
    let transcript = format!("export TOKEN={}", bed.token());
    let answer = bed.https(http, OTHER).await.post("/", &[], transcript.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*transcript));
    assert_eq!(origin.latest().body, transcript);
    bed.finish().await;
}

#[test]
fn a_placeholder_over_plain_http_is_denied_even_to_its_own_host() {
    crate::memory::run(async {
        let origin = Origin::start(None, |_| Reply::text("never")).await;
        let bed = Plan::new().allow(HOST).connect(HOST, 80, origin.addr).start();
        let token = bed.token();
        let mut client = bed.http(HOST).await;
        let answer = client.get("/", &[("authorization", &format!("Bearer {token}"))]).await;
        answer.assert_refused(403, "http_request_denied", "TOKEN");
        let answer = client.get(&format!("/{token}"), &[]).await;
        answer.assert_refused(403, "http_request_denied", "TOKEN");
        bed.finish().await;
        drop(client);
        origin.idle().await;
        assert_eq!(origin.application(), b"");
    });
}

#[test]
fn a_request_for_another_host_than_the_first_is_misdirected_on_a_plain_connection() {
    crate::memory::run(async {
        let origin = Origin::start(None, |_| Reply::text("served")).await;
        let bed = Plan::new().allow(OTHER).connect(OTHER, 80, origin.addr).allow(HOST).start();
        let mut client = bed.http(OTHER).await;
        assert_eq!(client.get("/", &[]).await.text(), "served");
        client.get_for(HOST, "/", &[]).await.assert_refused(421, "http_request_error", OTHER);
        assert_eq!(origin.seen().len(), 1);
        bed.finish().await;
    });
}
