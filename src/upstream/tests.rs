//! What is said to proxies at every split, and which options count for whom.

use bytes::BytesMut;

use super::tunnel::{Handshake, Next, Target, TunnelError};
use super::*;
use crate::limits::Limits;
use crate::name::{HostName, HostPattern};
use crate::secret::{SecretValue, Source};

const PASSWORD: &str = "s3cr3t-password";

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn credentials(scheme: &str) -> Credentials {
    let proxy = Proxy::parse("corp", &format!("{scheme}://proxy.example:3128")).unwrap();
    let proxy = proxy.with_login("agent", Source::parse("env://PASSWORD").unwrap()).unwrap();
    proxy.credentials(SecretValue::new(PASSWORD.into()).unwrap()).unwrap().unwrap()
}

/// What came of a conversation in which the proxy says `answers`, each once we have spoken.
#[derive(Debug)]
struct Outcome {
    said: Vec<Vec<u8>>,
    end: Result<Vec<u8>, TunnelError>,
}

/// The proxy's answers arrive in pieces of `size` octets.
fn converse(scheme: Scheme, login: bool, target: &Target, (answers, size): (&[&[u8]], usize)) -> Outcome {
    let credentials = login.then(|| credentials(if scheme == Scheme::Socks5 { "socks5" } else { "http" }));
    let (mut handshake, first) = Handshake::begin(scheme, credentials.as_ref(), target, &Limits::default());
    let mut said = vec![first.to_vec()];
    let mut heard = BytesMut::new();
    let mut answers = answers.iter();
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        match handshake.hear(&mut heard) {
            Ok(Next::Open) => {
                heard.extend(pieces.into_iter().flatten());
                return Outcome { said, end: Ok(heard.to_vec()) };
            }
            Ok(Next::Send(message)) => said.push(message.to_vec()),
            Ok(Next::Read) => {
                if pieces.is_empty() {
                    let Some(answer) = answers.next() else {
                        return Outcome { said, end: Err(TunnelError::Closed) };
                    };
                    pieces = answer.chunks(size).map(<[u8]>::to_vec).collect();
                }
                heard.extend(pieces.drain(..1.min(pieces.len())).flatten());
            }
            Err(error) => return Outcome { said, end: Err(error) },
        }
    }
}

fn address() -> Target {
    Target::Address("93.184.216.34:443".parse().unwrap())
}

fn name() -> Target {
    Target::Name(host("api.example.com"), 443)
}

#[test]
fn a_connect_request_names_its_target_twice_and_its_login_once() {
    let answer: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\n\r\n"];
    let said = |login, target: &Target| converse(Scheme::Http, login, target, (answer, 1)).said.concat();
    assert_eq!(
        said(false, &address()),
        b"CONNECT 93.184.216.34:443 HTTP/1.1\r\nHost: 93.184.216.34:443\r\n\r\n"
    );
    let v6 = Target::Address("[2001:db8::1]:8443".parse().unwrap());
    assert_eq!(said(false, &v6), b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n");
    // base64 of agent:s3cr3t-password
    let expected = "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\
                    Proxy-Authorization: Basic YWdlbnQ6czNjcjN0LXBhc3N3b3Jk\r\n\r\n";
    assert_eq!(String::from_utf8(said(true, &name())).unwrap(), expected);
}

#[test]
fn a_tunnel_by_connect_opens_at_every_split_and_leaves_what_is_behind_its_head() {
    let answers = [
        &b"HTTP/1.1 200 Connection established\r\n\r\n220 mail\r\n"[..],
        b"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n220 mail\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 \r\nContent-Length: 100\r\n\r\n220 mail\r\n",
    ];
    for answer in answers {
        for size in 1..=answer.len() {
            let outcome = converse(Scheme::Http, false, &address(), (&[answer], size));
            assert_eq!(outcome.end.unwrap(), b"220 mail\r\n", "{size}");
        }
    }
}

#[test]
fn a_connect_that_is_refused_or_misspoken_says_how() {
    let end =
        |answer: &[u8], size| converse(Scheme::Https, true, &name(), (&[answer], size)).end.unwrap_err();
    let cases: [(&[u8], &str, &str); 10] = [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy_configuration_error", "status 407"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "proxy_configuration_error", "status 401"),
        (b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n<html>", "http_request_denied", "403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "destination_unavailable", "502"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "destination_unavailable", "301"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "destination_unavailable", "101"),
        (b"HTTP/1.1 999 What\r\n\r\n", "http_protocol_error", "no HTTP"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "http_protocol_error", "no HTTP"),
        (b"HTTP/1.1 2", "connection_terminated", "closed the connection"),
        (b"", "connection_terminated", "closed the connection"),
    ];
    for (answer, token, text) in cases {
        for size in 1..=answer.len().max(1) {
            let error = end(answer, size);
            assert_eq!(error.proxy_status(), token, "{error:?}");
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.is_of_the_address(), error.to_string().contains("502"));
        }
    }
}

#[test]
fn an_endless_head_is_given_up() {
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(Limits::default().header_fields + 1));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(Limits::default().header_bytes));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(Limits::default().header_bytes / 20);
    for answer in [fields, long, interim] {
        let end = converse(Scheme::Http, false, &name(), (&[answer.as_bytes()], 1_000)).end;
        assert!(matches!(end, Err(TunnelError::TooLarge)), "{end:?}");
    }
}

const OK_V4: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0x1f, 0x90];

#[test]
fn a_tunnel_by_socks_opens_at_every_split_and_leaves_what_is_behind_its_reply() {
    let bound: [&[u8]; 3] = [
        OK_V4,
        &[5, 0, 0, 3, 4, b'h', b'o', b's', b't', 0, 80],
        &[5, 0, 0, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 80],
    ];
    for reply in bound {
        let reply = [reply, b"220 mail"].concat();
        for size in 1..=reply.len() {
            let outcome = converse(Scheme::Socks5, false, &address(), (&[&[5, 0], &reply], size));
            assert_eq!(outcome.end.unwrap(), b"220 mail");
            let request = vec![5, 1, 0, 1, 93, 184, 216, 34, 1, 0xbb];
            assert_eq!(outcome.said, [vec![5, 1, 0], request]);
            let outcome = converse(Scheme::Socks5, true, &name(), (&[&[5, 2], &[1, 0], &reply], size));
            assert_eq!(outcome.end.unwrap(), b"220 mail");
            let [methods, login, request] = outcome.said.as_slice() else { panic!() };
            assert_eq!(methods, &[5, 2, 0, 2]);
            assert_eq!(*login, [&[1, 5][..], b"agent", &[15], PASSWORD.as_bytes()].concat());
            assert_eq!(*request, [&[5, 1, 0, 3, 15][..], b"api.example.com", &[1, 0xbb]].concat());
        }
    }
}

#[test]
fn a_socks_proxy_that_wants_no_login_is_not_given_one() {
    let outcome = converse(Scheme::Socks5, true, &name(), (&[&[5, 0], OK_V4], 1));
    assert!(outcome.end.is_ok());
    assert!(!outcome.said.concat().windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
}

#[test]
fn socks_that_is_refused_or_misspoken_says_how() {
    let cases: [(bool, &[&[u8]], &str); 10] = [
        (false, &[&[5, 0xff]], "proxy_configuration_error"),
        (false, &[&[5, 2]], "http_protocol_error"),
        (true, &[&[5, 1]], "http_protocol_error"),
        (true, &[&[5, 2], &[1, 1]], "proxy_configuration_error"),
        (false, &[b"HTTP/1.1 400 Bad Request\r\n"], "http_protocol_error"),
        (false, &[&[5, 0], b"HT"], "http_protocol_error"),
        (false, &[&[5, 0], &[5, 0, 0, 9, 0]], "http_protocol_error"),
        (false, &[&[5, 0], &[5, 2, 0, 1]], "destination_ip_prohibited"),
        (false, &[&[5, 0], &[5, 5]], "connection_refused"),
        (false, &[&[5, 0], &[5, 0, 0, 1, 0]], "connection_terminated"),
    ];
    for (login, answers, token) in cases {
        for size in 1..6 {
            let error = converse(Scheme::Socks5, login, &name(), (answers, size)).end.unwrap_err();
            assert_eq!(error.proxy_status(), token, "{error:?}");
        }
    }
    for code in 1..=255 {
        let reply: &[&[u8]] = &[&[5, 0], &[5, code]];
        let error = converse(Scheme::Socks5, false, &name(), (reply, 1)).end.unwrap_err();
        assert_eq!(error.is_of_the_address(), matches!(code, 1 | 3..=6 | 8), "{error}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_password_is_in_no_debug_text() {
    let credentials = credentials("http");
    assert_eq!(format!("{credentials:?}"), "Credentials { username: \"agent\", .. }");
    assert!(credentials.stand_in(format!("x{PASSWORD}y").as_bytes()) && !credentials.stand_in(b"agent"));
}

#[test]
fn a_proxys_url_is_its_scheme_host_and_port() {
    for good in ["http://proxy.example:3128", "https://10.0.0.1:443/", "socks5://[::1]:1080"] {
        assert!(Proxy::parse("corp", good).is_ok(), "{good}");
    }
    let fault = |url| Proxy::parse("corp", url).unwrap_err();
    assert_eq!(fault("proxy.example:3128"), ProxyError::Scheme);
    assert_eq!(fault("ftp://proxy.example:3128"), ProxyError::Scheme);
    assert_eq!(fault("socks5h://proxy.example:1080"), ProxyError::RemoteSocks);
    assert_eq!(fault("http://agent:hunter2@proxy.example:3128"), ProxyError::Userinfo);
    assert_eq!(fault("http://proxy.example:3128/x"), ProxyError::Path);
    assert_eq!(fault("http://proxy.example"), ProxyError::Port);
    assert!(matches!(fault("http://proxy.example:0"), ProxyError::Host(_)));
    assert_eq!(Proxy::parse("direct", "http://p:1").unwrap_err(), ProxyError::Name);
    let source = || Source::parse("env://PASSWORD").unwrap();
    let named = |scheme: &str, name: &str| {
        Proxy::parse("corp", &format!("{scheme}://p:1")).unwrap().with_login(name, source()).err()
    };
    assert_eq!(named("http", "a:b"), Some(ProxyError::Username));
    assert_eq!(named("socks5", "a:b"), None);
    assert_eq!(named("socks5", &"a".repeat(256)), Some(ProxyError::Username));
    assert_eq!(named("http", ""), Some(ProxyError::Username));
    let socks = Proxy::parse("corp", "socks5://p:1").unwrap().with_login("a", source()).unwrap();
    let long = SecretValue::new(vec![b'x'; 256]).unwrap();
    assert!(matches!(socks.credentials(long), Err(ProxyError::Password)));
}

fn options(hosts: &[&str], via: Via) -> Options {
    let hosts = hosts.iter().map(|text| HostPattern::parse(text).unwrap()).collect();
    Options { hosts, via, ..Options::default() }
}

fn proxy(name: &str) -> Proxy {
    Proxy::parse(name, "http://proxy.example:3128").unwrap()
}

#[test]
fn the_first_entry_that_names_a_host_decides_alone() {
    let strict = Options { min_tls: MinTls::Tls13, ..options(&["*.corp.example"], Via::Direct) };
    let entries = vec![
        options(&["git.corp.example"], Via::parse("corp")),
        strict,
        options(&["*.example", "else.where"], Via::Default),
    ];
    let upstreams = Upstreams::new(entries, vec![proxy("corp"), proxy("all").by_default()]).unwrap();
    let found = |name| {
        let tls = upstreams.of(&host(name)).map(|own| own.min_tls);
        (tls, upstreams.proxy_of(&host(name)).map(Proxy::name))
    };
    assert_eq!(found("git.corp.example"), (Some(MinTls::Tls12), Some("corp")));
    assert_eq!(found("a.corp.example"), (Some(MinTls::Tls13), None));
    assert_eq!(found("corp.example"), (Some(MinTls::Tls12), Some("all")));
    assert_eq!(found("nobody.net"), (None, Some("all")));
}

#[test]
fn proxies_that_are_not_there_or_of_no_use_are_refused() {
    let none = Upstreams::new(vec![options(&["a.example"], Via::parse("corp"))], Vec::new());
    assert_eq!(none, Err(UpstreamsError::NoSuchProxy { at: 0, name: "corp".to_owned() }));
    let unused = Upstreams::new(Vec::new(), vec![proxy("corp")]);
    assert_eq!(unused, Err(UpstreamsError::Unused { name: "corp".to_owned() }));
    let two = Upstreams::new(Vec::new(), vec![proxy("a").by_default(), proxy("b").by_default()]);
    let error = UpstreamsError::SecondDefault { name: "b".to_owned(), other: "a".to_owned() };
    assert_eq!(two, Err(error));
}

#[test]
fn options_of_tls_contradict_passing_through_unless_an_earlier_entry_takes_the_host() {
    let pattern = |text| HostPattern::parse(text).unwrap();
    let strict = |hosts: &[&str]| Options { min_tls: MinTls::Tls13, ..options(hosts, Via::Default) };
    let upstreams = |entries| Upstreams::new(entries, Vec::new()).unwrap();
    let contradicts = |entries, passed| upstreams(entries).contradiction(&pattern(passed)).is_some();
    assert!(contradicts(vec![strict(&["a.example"])], "a.example"));
    assert!(contradicts(vec![strict(&["*.example"])], "a.example"));
    assert!(contradicts(vec![strict(&["a.b.example"])], "*.example"));
    assert!(!contradicts(vec![strict(&["a.example"])], "b.example"));
    assert!(!contradicts(vec![options(&["a.example"], Via::Direct)], "a.example"));
    let shielded = || vec![options(&["a.example"], Via::Direct), strict(&["*.example"])];
    assert!(!contradicts(shielded(), "a.example"));
    assert!(contradicts(shielded(), "*.example"));
    let timed = |change: fn(&mut Options)| {
        let mut entry = options(&["a.example"], Via::Direct);
        change(&mut entry);
        contradicts(vec![entry], "a.example")
    };
    assert!(!timed(|entry| entry.connect_timeout = Some(std::time::Duration::from_secs(1))));
    assert!(timed(|entry| entry.handshake_timeout = Some(std::time::Duration::from_secs(1))));
    assert!(timed(|entry| entry.response_timeout = Some(std::time::Duration::from_secs(1))));
}

#[tokio::test]
async fn what_came_behind_the_proxys_last_word_is_read_first_and_once() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for size in 1..=10 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connected = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(connected, listener.accept());
        let mut stream = Stream::tunnel(stream::Wire::Plain(ours.unwrap()), b"ahead ".as_slice().into());
        let mut theirs = theirs.unwrap().0;
        theirs.write_all(b"behind").await.unwrap();
        drop(theirs);
        let mut read = Vec::new();
        loop {
            let mut piece = vec![0; size];
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                count => read.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(read, b"ahead behind");
    }
}
