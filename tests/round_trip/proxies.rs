//! Upstreams behind a proxy of the operator's: what it is asked for, and what a guest is told when it does not serve.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use portcullis::audit::{Event, FlowKind};
use portcullis::name::HOST_ALIAS;
use rustls::ALL_VERSIONS;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::flows::{nameserver, nameserver_of};
use crate::memory::{HOST, Http, OTHER, Offer, Origin, Plan, Reply, run};
use crate::pki;
use crate::proxy::{Does, Kind, Proxy};

on_h1_and_h2!(
    a_proxy_is_asked_for_the_judged_address_and_tls_is_verified_through_it,
    a_proxy_that_resolves_is_asked_for_the_name,
    a_proxy_inside_of_tls_is_verified_too,
    a_login_is_shown_to_the_proxy_and_to_nobody_else,
    a_refusal_of_the_proxy_is_a_clear_502,
    a_proxy_that_hangs_closes_or_talks_nonsense_is_told,
    an_upstream_behind_a_proxy_that_is_someone_else_is_refused,
    a_host_that_is_passed_through_goes_through_the_proxy_too,
);

/// A default proxy.
fn default(proxy: &Proxy, scheme: &str, more: &str) -> String {
    format!("[proxy.corp]\nurl = '{scheme}://{}'\ndefault = true\n{more}\n", proxy.addr)
}

/// An origin that says what it was given.
async fn echo() -> Origin {
    Origin::start(Some(crate::good()), |seen| Reply::text(seen.field("x-api-key").to_owned())).await
}

async fn a_proxy_is_asked_for_the_judged_address_and_tls_is_verified_through_it(http: Http) {
    let origin = echo().await;
    for (kind, scheme) in [(Kind::Http, "http"), (Kind::Socks, "socks5")] {
        let proxy = Proxy::start(kind, Does::Connect(origin.addr)).await;
        let plan = Plan::new().nameserver(nameserver().await).toml(&default(&proxy, scheme, ""));
        let canary = plan.canary();
        let mut bed = plan.start();
        let token = bed.token();
        let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &token)]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*token));
        assert_eq!(origin.latest().field("x-api-key"), canary);
        if kind == Kind::Http {
            assert_eq!(proxy.line(), "CONNECT 93.184.216.34:443 HTTP/1.1");
        } else {
            assert_eq!(proxy.asked(), [[5, 1, 0, 1, 93, 184, 216, 34, 1, 0xbb]]);
        }
        let upstream = |event: &Event| match event {
            Event::Flow { upstream, kind: FlowKind::Https, .. } => Some(*upstream),
            _ => None,
        };
        assert_eq!(bed.event(upstream).await.unwrap().ip(), Ipv4Addr::new(93, 184, 216, 34));
        bed.finish().await;
    }
}

async fn a_proxy_that_resolves_is_asked_for_the_name(http: Http) {
    let origin = echo().await;
    for (kind, scheme) in [(Kind::Http, "http"), (Kind::Socks, "socks5")] {
        let proxy = Proxy::start(kind, Does::Connect(origin.addr)).await;
        // No nameserver answers, and none is needed.
        let bed = Plan::new().toml(&default(&proxy, scheme, "resolve = 'there'")).start();
        let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
        assert_eq!(answer.status.as_u16(), 200);
        if kind == Kind::Http {
            assert_eq!(proxy.line(), format!("CONNECT {HOST}:443 HTTP/1.1"));
        } else {
            assert_eq!(proxy.asked(), [[&[5, 1, 0, 3, 15][..], HOST.as_bytes(), &[1, 0xbb]].concat()]);
        }
        bed.finish().await;
    }
}

async fn a_proxy_inside_of_tls_is_verified_too(http: Http) {
    let origin = echo().await;
    for (certificate, status) in [("good", 200), ("other", 502)] {
        let config = pki::server_config(certificate, ALL_VERSIONS, &[b"http/1.1"]);
        let proxy = Proxy::inside(Some(config), Kind::Http, Does::Connect(origin.addr)).await;
        let port = proxy.addr.port();
        let text = format!(
            "[proxy.corp]\nurl = 'https://localhost:{port}'\nresolve = 'there'\n\
             [[upstream]]\nhosts = ['{HOST}']\nproxy = 'corp'"
        );
        let bed = Plan::new().toml(&text).start();
        let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        if status == 200 {
            assert_eq!(answer.text(), bed.token());
        } else {
            answer.assert_refused(502, "tls_certificate_error", "the proxy corp");
            assert!(proxy.asked().is_empty());
        }
        bed.finish().await;
    }
}

/// A file that holds a password, while it lives.
struct PasswordFile(PathBuf);

impl PasswordFile {
    fn new(password: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-proxy-{:016x}", getrandom::u64().unwrap()));
        std::fs::write(&path, password).unwrap();
        Self(path)
    }

    fn login(&self) -> String {
        format!("username = 'agent'\npassword = 'file://{}'", self.0.display())
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The canary is the password here, which [`Bed::finish`](crate::memory::Bed::finish) looks for everywhere.
async fn a_login_is_shown_to_the_proxy_and_to_nobody_else(http: Http) {
    let origin = echo().await;
    for (kind, scheme, ok) in
        [(Kind::Http, "http", true), (Kind::SocksWithLogin, "socks5", true), (Kind::Http, "http", false)]
    {
        let refusal =
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n".to_vec();
        let does = if ok { Does::Connect(origin.addr) } else { Does::SayAndClose(refusal) };
        let proxy = Proxy::start(kind, does).await;
        let plan = Plan::new();
        let password = PasswordFile::new(&plan.canary());
        let canary = plan.canary();
        let more = format!("{}\nresolve = 'there'", password.login());
        let bed = plan.toml(&default(&proxy, scheme, &more)).start();
        let answer = bed.https(http, HOST).await.get("/", &[]).await;
        if ok {
            assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
        } else {
            answer.assert_refused(502, "proxy_configuration_error", "see its username and password");
        }
        if kind == Kind::Http {
            let head = String::from_utf8(proxy.asked().remove(0)).unwrap();
            let field =
                head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: Basic ")).unwrap();
            use base64::Engine as _;
            let shown = base64::engine::general_purpose::STANDARD.decode(field).unwrap();
            assert_eq!(shown, format!("agent:{canary}").into_bytes());
        } else {
            assert_eq!(proxy.logins(), [format!("\u{1} agent {canary}").into_bytes()]);
        }
        bed.finish().await;
    }
}

async fn a_refusal_of_the_proxy_is_a_clear_502(http: Http) {
    let cases: [(Kind, &str, &[u8], &str, &str); 4] = [
        (Kind::Http, "http", b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n", "http_request_denied", "status 403"),
        (Kind::Http, "http", b"HTTP/1.1 502 Bad\r\n\r\n", "destination_unavailable", "status 502"),
        (Kind::Socks, "socks5", &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0], "destination_ip_prohibited", "by its rules"),
        (Kind::Socks, "socks5", &[5, 5], "connection_refused", "was refused the connection"),
    ];
    for (kind, scheme, words, token, text) in cases {
        let proxy = Proxy::start(kind, Does::Say(words.to_vec())).await;
        let bed = Plan::new().nameserver(nameserver().await).toml(&default(&proxy, scheme, "")).start();
        let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
        answer.assert_refused(502, token, text);
        assert!(answer.text().contains("api.example.com:443 is reached through the proxy corp"));
        bed.finish().await;
        proxy.idle().await;
    }
}

async fn a_proxy_that_hangs_closes_or_talks_nonsense_is_told(http: Http) {
    let endless = || [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 100_000]].concat();
    let cases: [(Kind, Does, u16, &str, &str); 7] = [
        (Kind::Http, Does::Say(Vec::new()), 504, "connection_timeout", "did not open the tunnel in time"),
        (Kind::Http, Does::Say(b"HTTP/1.1 200 O".to_vec()), 504, "connection_timeout", "in time"),
        (Kind::Socks, Does::Say(vec![5, 0, 0]), 504, "connection_timeout", "in time"),
        (Kind::Http, Does::SayAndClose(b"HTTP/1.1 ".to_vec()), 502, "connection_terminated", "closed"),
        (Kind::Http, Does::Say(b"\x00\x01 nonsense\r\n\r\n".to_vec()), 502, "http_protocol_error", "no HTTP"),
        (Kind::Socks, Does::Say(b"HTTP/1.1 400 Bad\r\n".to_vec()), 502, "http_protocol_error", "no SOCKS 5"),
        (Kind::Http, Does::Say(endless()), 502, "http_response_header_section_size", "too large"),
    ];
    for (kind, does, status, token, text) in cases {
        let proxy = Proxy::start(kind, does).await;
        let scheme = if kind == Kind::Http { "http" } else { "socks5" };
        // Only what hangs needs so short a time.
        let limit = if status == 504 { "50ms" } else { "20s" };
        let entry = format!("[[upstream]]\nhosts = ['{HOST}']\nconnect_timeout = '{limit}'");
        let more = format!("resolve = 'there'\n{entry}");
        let bed = Plan::new().toml(&default(&proxy, scheme, &more)).start();
        let answer = bed.https(http, HOST).await.get("/", &[]).await;
        answer.assert_refused(status, token, text);
        proxy.idle().await;
        bed.finish().await;
    }
}

async fn an_upstream_behind_a_proxy_that_is_someone_else_is_refused(http: Http) {
    let config = pki::server_config("other", ALL_VERSIONS, &[http.alpn()]);
    let origin = Origin::start(Some(config), |_| Reply::text("never")).await;
    let proxy = Proxy::start(Kind::Http, Does::Connect(origin.addr)).await;
    let bed = Plan::new().toml(&default(&proxy, "http", "resolve = 'there'")).start();
    let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
    answer.assert_refused(502, "tls_certificate_error", "another name");
    assert!(origin.seen().is_empty());
    bed.finish().await;
}

async fn a_host_that_is_passed_through_goes_through_the_proxy_too(http: Http) {
    let config = pki::server_config("other", ALL_VERSIONS, &[http.alpn()]);
    let origin = Origin::start(Some(config), |_| Reply::text("untouched")).await;
    let certificate = pki::server_config("good", ALL_VERSIONS, &[]);
    let proxy = Proxy::inside(Some(certificate), Kind::Http, Does::Connect(origin.addr)).await;
    let port = proxy.addr.port();
    let text = format!("[proxy.corp]\nurl = 'https://localhost:{port}'\nresolve = 'there'\ndefault = true");
    let bed = Plan::new().allow(OTHER).passthrough(OTHER).toml(&text).start();
    let authority = std::fs::read_to_string(pki::path("ca.pem")).unwrap();
    let offer = Offer::trusting(&authority, ALL_VERSIONS).alpn(&[http.alpn()]);
    let stream = bed.tls(OTHER, offer).await.unwrap();
    let answer = bed.client(http, stream, ("https", OTHER)).await.get("/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "untouched"));
    assert_eq!(proxy.line(), format!("CONNECT {OTHER}:443 HTTP/1.1"));
    bed.finish().await;
}

/// The proxy's last word and the server's first one come in one piece.
#[test]
fn an_opaque_flow_goes_through_the_proxy_and_hears_a_server_that_speaks_first() {
    run(async {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (resolve, line) in [
            ("here", "CONNECT 93.184.216.34:5432 HTTP/1.1"),
            ("there", "CONNECT db.example.net:5432 HTTP/1.1"),
        ] {
            let does = Does::Greet(server.local_addr().unwrap(), b"greeting");
            let proxy = Proxy::start(Kind::Http, does).await;
            let text = default(&proxy, "http", &format!("resolve = '{resolve}'"));
            let plan = Plan::new().allow("db.example.net:5432").nameserver(nameserver().await).toml(&text);
            let bed = plan.start();
            let (stream, accepted) = tokio::join!(bed.tcp("db.example.net", 5432), server.accept());
            let (mut guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
            let mut heard = [0; 8];
            guest.read_exact(&mut heard).await.unwrap();
            guest.write_all(b"\0\0\0\x08login").await.unwrap();
            let mut said = [0; 9];
            server.read_exact(&mut said).await.unwrap();
            assert_eq!((&heard, &said), (b"greeting", b"\0\0\0\x08login"));
            assert_eq!(proxy.line(), line);
            bed.finish().await;
        }
    });
}

#[test]
fn an_opaque_flow_that_the_proxy_refuses_is_a_reset() {
    run(async {
        let proxy = Proxy::start(Kind::Http, Does::Say(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec())).await;
        let text = default(&proxy, "http", "resolve = 'there'");
        let bed = Plan::new().allow("db.example.net:5432").toml(&text).start();
        let error = bed.tcp("db.example.net", 5432).await.err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        bed.finish().await;
    });
}

#[test]
fn a_guest_that_resets_its_flow_ends_the_tunnel_that_is_being_opened() {
    run(async {
        let proxy = Proxy::start(Kind::Http, Does::Say(Vec::new())).await;
        let bed = Plan::new().allow(HOST).toml(&default(&proxy, "http", "resolve = 'there'")).start();
        let mut stream = bed.tcp(HOST, 80).await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        proxy.until_asked().await;
        stream.inner.reset();
        proxy.idle().await;
        bed.finish().await;
    });
}

#[test]
fn this_machine_and_connect_to_are_never_reached_through_a_proxy() {
    run(async {
        let proxy = Proxy::start(Kind::Http, Does::Say(Vec::new())).await;
        let origin = echo().await;
        let local = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = local.local_addr().unwrap().port();
        let text = default(&proxy, "http", "resolve = 'there'");
        let bed = Plan::new().to(&origin).allow(&format!("{HOST_ALIAS}:{port}")).toml(&text).start();
        let answer = bed.https(Http::One, HOST).await.get("/", &[]).await;
        assert_eq!(answer.status.as_u16(), 200);
        let (stream, accepted) = tokio::join!(bed.tcp(HOST_ALIAS, port), local.accept());
        drop((stream.unwrap(), accepted.unwrap()));
        assert!(proxy.asked().is_empty());
        bed.finish().await;
    });
}

/// The address is judged before the proxy hears of it.
#[test]
fn a_name_in_a_private_network_is_not_asked_for_by_its_address() {
    run(async {
        let proxy = Proxy::start(Kind::Http, Does::Say(Vec::new())).await;
        let nameserver = nameserver_of(Ipv4Addr::new(10, 0, 0, 1)).await;
        let bed = Plan::new().allow(HOST).nameserver(nameserver).toml(&default(&proxy, "http", "")).start();
        let mut stream = bed.guest.connect("93.184.216.34:80".parse().unwrap()).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("private"), "{answer}");
        assert!(proxy.asked().is_empty());
        bed.finish().await;
    });
}

/// A proxy is the operator's own address: it may be in a private network, and a guest is not told of it.
#[test]
fn a_proxys_own_name_is_resolved_and_not_judged() {
    run(async {
        let origin = echo().await;
        let proxy = Proxy::start(Kind::Http, Does::Connect(origin.addr)).await;
        let port = proxy.addr.port();
        let text = format!(
            "[proxy.corp]\nurl = 'http://proxy.corp.example:{port}'\nresolve = 'there'\ndefault = true"
        );
        let plan = Plan::new().nameserver(nameserver_of(Ipv4Addr::LOCALHOST).await).toml(&text);
        let bed = plan.start();
        for _ in 0..2 {
            let answer = bed.https(Http::One, HOST).await.get("/", &[]).await;
            assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
        }
        let denied = bed.https(Http::One, "proxy.corp.example").await.get("/", &[]).await;
        denied.assert_refused(403, "http_request_denied", "no rule allows it");
        bed.finish().await;
    });
}
