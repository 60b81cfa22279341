//! Upstreams that do not prove who they are.

use rustls::ALL_VERSIONS;

use crate::memory::{HOST, Http, Origin, Plan, Reply};
use crate::pki;

on_h1_and_h2!(no_injection_when_upstream_cert_invalid, a_good_certificate_is_served);

/// Each certificate that is not good enough, and what a guest is told of it.
const BAD: [(&str, &str); 6] = [
    ("expired", "has expired"),
    ("not-yet", "not valid yet"),
    ("wrong-name", "for another name"),
    ("self-signed", "no issuer trusted here"),
    ("self-signed-ca", "was not accepted"),
    ("untrusted", "no issuer trusted here"),
];

async fn no_injection_when_upstream_cert_invalid(http: Http) {
    for (certificate, cause) in BAD {
        let config = pki::server_config(certificate, ALL_VERSIONS, &[b"h2", b"http/1.1"]);
        let origin = Origin::start(Some(config), |_| Reply::text("never")).await;
        let bed = Plan::new().to(&origin).start();
        let mut client = bed.https(http, HOST).await;
        let token = bed.token();
        let answer = client.get("/", &[("authorization", &format!("Bearer {token}"))]).await;
        answer.assert_refused(502, "tls_certificate_error", cause);
        let answer = client.post("/again", &[("x-api-key", &token)], token.clone()).await;
        answer.assert_refused(502, "tls_certificate_error", cause);
        bed.finish().await;
        origin.idle().await;
        assert_eq!(origin.connections(), 1, "{certificate}");
        assert_eq!(origin.application(), b"", "{certificate}");
    }
}

async fn a_good_certificate_is_served(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("served")).await;
    let bed = Plan::new().to(&origin).start();
    let answer = bed.https(http, HOST).await.get("/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "served"));
    assert_eq!(origin.alpn(), [Some(http.alpn().to_vec())]);
    bed.finish().await;
}
