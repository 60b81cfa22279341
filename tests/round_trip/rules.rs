//! Rules about requests and addresses, from the guest's stack to the upstream: what they open, and what they shut.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portcullis::cli::check::{CheckArgs, check};
use portcullis::cli::options::{Options, Ports};
use portcullis::policy::{Dial, Dialled, Dialling, Permit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::memory::{Bed, HOST, Http, OTHER, Origin, Plan, Reply, addresses, run};

on_h1_and_h2!(
    only_requests_that_a_rule_allows_go_upstream,
    no_spelling_of_a_path_gets_round_a_rule,
    what_check_says_of_a_thousand_requests_is_what_becomes_of_them,
);

/// Connects to one listener, whatever address was permitted; a permit for another than `expected` is a failure.
struct Aside {
    expected: SocketAddr,
    to: SocketAddr,
}

impl Dial for Aside {
    fn dial(&self, permit: Permit) -> Dialling<'_> {
        Box::pin(async move {
            assert_eq!(permit.addr(), self.expected);
            Ok(Dialled::new(TcpStream::connect(self.to).await?, permit))
        })
    }
}

async fn only_requests_that_a_rule_allows_go_upstream(http: Http) {
    let origin = Origin::start(Some(crate::good()), |seen| {
        Reply::text(seen.target.trim_start_matches("https://api.example.com").to_owned())
    })
    .await;
    let bed = Plan::new().rule(&format!("allow GET {HOST} /v1/** /health")).to(&origin).start();
    let bearer = format!("Bearer {}", bed.token());
    let fields = [("authorization", bearer.as_str())];
    let mut client = bed.https(http, HOST).await;
    for path in ["/v1/models", "/v1/a/b?x=/admin", "/health"] {
        let answer = client.get(path, &fields).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, path));
        assert!(origin.latest().field("authorization").contains(bed.canary.value()));
    }
    let before = origin.seen().len();
    // That the host may have a secret allows it nothing more: a rule says which requests there are.
    for path in ["/", "/v1", "/v2/models", "/healthy", "/admin?/v1/x"] {
        let answer = client.get(path, &fields).await;
        answer.assert_refused(403, "http_request_denied", "only for other methods or paths");
    }
    let answer = client.post("/v1/models", &fields, "x").await;
    answer.assert_refused(403, "http_request_denied", &format!("--rule 'allow POST {HOST} /v1/models'"));
    let answer = client.get("/v1/still-here", &fields).await;
    assert_eq!(answer.status, 200, "the connection goes on");
    assert_eq!(origin.seen().len(), before + 1);
    bed.finish().await;
}

async fn no_spelling_of_a_path_gets_round_a_rule(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("seen")).await;
    let plan = Plan::new().rule(&format!("deny {HOST} /admin /admin/**"));
    let bed = plan.rule(&format!("allow {HOST} /v1/** /admin-free/**")).to(&origin).start();
    let mut client = bed.https(http, HOST).await;
    for path in [
        "/admin",
        "/admin/users",
        "//admin/users",
        "/v1/../admin/users",
        "/v1/%2e%2e/admin/users",
        "/v1/..%2fadmin/users",
        "/v1/%252e%252e/admin",
        "/v1/..;/admin/users",
        "/v1/..;x=1/admin",
        "/%61dmin/users",
        "/v1/..%5cadmin/users",
        "/./admin",
        "/admin;x",
        "/admin%00",
        "/v1/x/../../../admin/users",
    ] {
        let answer = client.get(path, &[]).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
    for path in ["/v1/x", "/v1/a%20b", "/admin-free/x"] {
        assert_eq!(client.get(path, &[]).await.status, 200, "{path}");
    }
    bed.finish().await;
}

const RULES: [&str; 7] = [
    "deny DELETE any",
    "deny any /v1/secret/**",
    "allow GET,HEAD api.example.com /v1/**",
    "allow POST api.example.com /v1/chat /v1/files/*",
    "deny api.example.com /v1/files/9",
    "allow PUT *.example.com",
    "allow GET api.example.com /",
];

/// The exit code of `check`, and what it prints.
fn checked(method: &str, path: &str) -> (u8, String) {
    let options = Options { rule: RULES.map(str::to_owned).into(), ..Options::default() };
    let request = vec![method.to_owned(), format!("https://{HOST}{path}")];
    let args =
        CheckArgs { options, ports: Ports::default(), address: None, peer: None, json: false, request };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check(&args, &mut out, &mut err).unwrap();
    (code, String::from_utf8([out, err].concat()).unwrap())
}

async fn what_check_says_of_a_thousand_requests_is_what_becomes_of_them(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("x")).await;
    let plan = RULES.iter().fold(Plan::new(), |plan, rule| plan.rule(rule));
    let bed = plan.to(&origin).start();
    let mut client = bed.https(http, HOST).await;
    let (methods, firsts) = (["GET", "POST", "PUT", "DELETE", "PATCH"], ["", "v1", "v1//x", "v2", "%761"]);
    let (seconds, thirds) = (
        ["", "/chat", "/files", "/secret", "/../v1"],
        ["", "/7", "/9", "/a%2fb", "/;p", "?q=/v1", "/.", "/b/c"],
    );
    let mut allowed = 0;
    for case in 0..methods.len() * firsts.len() * seconds.len() * thirds.len() {
        let method = methods[case % 5];
        let path = format!("/{}{}{}", firsts[case / 5 % 5], seconds[case / 25 % 5], thirds[case / 125]);
        let (code, told) = checked(method, &path);
        let head = client.begin(method, (HOST, &path), &[], bytes::Bytes::new()).await.unwrap();
        let answer = client.finish(head).await;
        let expected = if code == 0 { 200 } else { 403 };
        assert_eq!(answer.status.as_u16(), expected, "{method} {path}: {told}");
        allowed += usize::from(expected == 200);
    }
    assert_eq!(origin.seen().len(), allowed);
    assert!(allowed > 100, "{allowed}");
    bed.finish().await;
}

#[test]
fn a_name_that_a_rule_denies_is_no_name_and_one_that_no_rule_allows_is_explained() {
    run(async {
        let bed = Plan::new().rule(&format!("deny {OTHER}")).start();
        let answer = bed.ask(OTHER, RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(addresses(&bed.ask("third.example.com", RecordType::A).await).len(), 1);
        bed.finish().await;
    });
}

/// A sandbox where `rules` decide about `address`, and who listens there.
async fn opened(address: &str, rules: &[&str]) -> (Bed, TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let expected: SocketAddr = address.parse().unwrap();
    let plan = rules.iter().fold(Plan::new(), |plan, rule| plan.rule(rule));
    let bed = plan.dial(Aside { expected, to: listener.local_addr().unwrap() }).start();
    (bed, listener, expected)
}

#[test]
fn an_address_that_a_rule_opens_is_relayed_unread() {
    run(async {
        for (rule, address) in [
            ("allow 93.184.216.0/24:5432", "93.184.216.34:5432"),
            ("allow 10.1.2.3:443", "10.1.2.3:443"),
            ("allow @private:80", "192.168.7.7:80"),
            ("allow @public", "93.184.216.34:22"),
            ("allow [2606:2800::/32]:9000", "[2606:2800::7]:9000"),
        ] {
            let (bed, listener, to) = opened(address, &[rule]).await;
            let mut guest = bed.guest.connect(to).await.unwrap();
            guest.write_all(b"SSH-2.0-hello\r\n").await.unwrap();
            let (mut there, _) = listener.accept().await.unwrap();
            let mut seen = [0; 15];
            there.read_exact(&mut seen).await.unwrap();
            assert_eq!(&seen, b"SSH-2.0-hello\r\n", "{rule}");
            there.write_all(b"back").await.unwrap();
            let mut back = [0; 4];
            guest.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"back", "{rule}");
            bed.finish().await;
        }
    });
}

#[test]
fn an_address_that_no_rule_is_about_is_refused_whatever_else_is_allowed() {
    run(async {
        for (rules, address) in [
            (&["allow @public"][..], "10.0.0.1:5432"),
            (&["allow any"], "10.0.0.1:5432"),
            (&["allow any"], "169.254.169.254:8080"),
            (&["allow 169.254.0.0/16"], "169.254.169.254:8080"),
            (&["allow 10.0.0.0/8"], "[64:ff9b::a00:1]:5432"),
            (&["deny 93.184.216.34", "allow @public"], "93.184.216.34:5432"),
            (&["deny 93.184.216.34", "allow @public"], "[64:ff9b::5db8:d822]:5432"),
            (&["allow 93.184.216.34:5432"], "93.184.216.34:5433"),
            (&["deny DELETE any:5432", "allow @public"], "93.184.216.34:5432"),
        ] {
            let (bed, _listener, to) = opened(address, rules).await;
            assert!(bed.guest.connect(to).await.is_err(), "{rules:?} {address}");
            bed.finish().await;
        }
    });
}

#[test]
fn a_name_that_a_rule_denies_is_denied_at_an_address_that_is_open() {
    run(async {
        let shut = format!("deny {OTHER}");
        let rules = [shut.as_str(), "allow 93.184.216.34"];
        let (bed, listener, to) = opened("93.184.216.34:443", &rules).await;
        let offer = Arc::new(bed.offer().alpn(&[b"http/1.1"]).0);
        let name = rustls::pki_types::ServerName::try_from(OTHER).unwrap();
        let stream = bed.guest.connect(to).await.unwrap();
        let mut denied = TlsConnector::from(offer).connect(name, stream).await.unwrap();
        denied.write_all(format!("GET / HTTP/1.1\r\nhost: {OTHER}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        denied.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 403");
        drop(denied);
        bed.finish().await;
        assert!(tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await.is_err());
    });
}
