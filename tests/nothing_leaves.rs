//! What a guest cannot make leave: the test is the host, in namespaces of its own, and hears every packet.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "nothing_leaves/capture.rs"]
mod capture;
#[path = "nothing_leaves/datagrams.rs"]
mod datagrams;
#[path = "nothing_leaves/nameserver.rs"]
mod nameserver;
#[path = "nothing_leaves/ranges.rs"]
mod ranges;
#[path = "nothing_leaves/rebinding.rs"]
mod rebinding;
#[path = "nothing_leaves/shared.rs"]
mod shared;
#[path = "nothing_leaves/spellings.rs"]
mod spellings;
#[path = "nothing_leaves/tripwires.rs"]
mod tripwires;
#[path = "nothing_leaves/tunnels.rs"]
mod tunnels;
#[path = "nothing_leaves/world.rs"]
mod world;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use capture::{Interface, Packet, Transport};
use http::Version;
use world::{HOST, NAMESERVER, SERVICES, UPSTREAM, UPSTREAM_V6, as_host};

/// The gateway's addresses as a sandbox has them by default.
const GATEWAY: &str = "172.16.0.1";

/// A question about the allowed host, to the nameserver.
fn asks(packet: &Packet) -> bool {
    asks_about(packet, b"\x03api\x07example\x03com\0")
}

fn asks_about(packet: &Packet, name: &[u8]) -> bool {
    packet.interface == Interface::Wan
        && packet.transport == Transport::Udp
        && packet.to.to_string() == format!("{NAMESERVER}:53")
        && packet.payload.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name))
}

/// A segment to the one allowed host.
fn goes_upstream(packet: &Packet, port: u16) -> bool {
    packet.interface == Interface::Wan
        && packet.transport == Transport::Tcp
        && packet.to.port() == port
        && [UPSTREAM, UPSTREAM_V6].contains(&packet.to.ip().to_string().as_str())
}

#[test]
fn what_is_allowed_leaves_and_nothing_else() {
    as_host(|world| {
        let sandboxed = world.sandbox(&["api.example.com:80"]);
        let secret = sandboxed.secret.clone();
        let ran = sandboxed.sh(
            "for family in -4 -6; do curl -sS $family -H \"Authorization: Bearer $TOKEN\" https://api.example.com/x; \
             curl -sS $family http://api.example.com/x; done",
        );
        assert_eq!(ran.ok(), "hello\n".repeat(4));
        for seen in world.upstream.seen() {
            assert_eq!(seen.version, Version::HTTP_2);
            assert_eq!(seen.header("authorization"), [format!("Bearer {secret}")]);
        }
        assert_eq!((world.upstream.seen().len(), world.plain.seen().len()), (2, 2));
        let left = world.left();
        assert!(
            left.iter().any(asks)
                && [80, 443].iter().all(|port| left.iter().any(|packet| goes_upstream(packet, *port)))
        );
        for packet in &left {
            assert!(goes_upstream(packet, 80) || goes_upstream(packet, 443) || asks(packet), "{packet}");
            assert!(!String::from_utf8_lossy(&packet.payload).contains(&secret), "{packet}");
        }
        world.nothing_left();
    });
}

#[test]
fn an_allowed_port_of_the_hosts_loopback_is_a_plain_stream_with_two_ends() {
    as_host(|world| {
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let service = TcpListener::bind(bound).unwrap();
            let port = service.local_addr().unwrap().port();
            let served = std::thread::spawn(move || {
                for _ in 0..3 {
                    let mut stream = service.accept().unwrap().0;
                    let mut word = String::new();
                    // Ends only when the guest's half does, and answers only then.
                    stream.read_to_string(&mut word).unwrap();
                    stream.write_all(format!("{word}, to its end\r\n").as_bytes()).unwrap();
                }
            });
            let alias = "host.portcullis.internal";
            world.probe(
                world.sandbox(&[&format!("{alias}:{port}")]),
                &[
                    (format!("tcp(address('{alias}', 4), {port}, b'ends')"), "ends, to its end"),
                    (
                        format!("tcp(address('{alias}', 6), {port}, b'GET / HTTP/1.1')"),
                        "GET / HTTP/1.1, to its end",
                    ),
                    (format!("tcp('{GATEWAY}', {port}, b'\\x16\\x03\\x01')"), "\u{16}\u{3}\u{1}, to its end"),
                    (format!("tcp('127.0.0.1', {port})"), "refused"),
                    (format!("tcp('8.8.8.8', {port})"), "refused"),
                    (format!("tcp('{GATEWAY}', {port} + 1)"), "refused"),
                    (
                        format!("tls('{GATEWAY}', 443, '{alias}', get('{alias}:{port}'))"),
                        "HTTP/1.1 403 Forbidden",
                    ),
                ],
            );
            served.join().unwrap();
            world.only(|packet| {
                packet.interface == Interface::Loopback
                    && packet.transport == Transport::Tcp
                    && (packet.to.port() == port || packet.from.port() == port)
            });
        }
    });
}

#[test]
fn no_address_of_the_host_or_its_cloud_is_reached_on_any_port() {
    as_host(|world| {
        let inside = ["127.0.0.1", "::1", "0.0.0.0", "::", "172.16.0.2"];
        let outside = HOST.into_iter().chain(["172.16.0.1", "169.254.169.254", "fd00:ec2::254", "10.0.0.1"]);
        let outside = outside.chain(["192.0.2.1", "8.8.8.8", "100.100.100.200", "168.63.129.16", UPSTREAM]);
        let outside =
            outside.chain(["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "198.18.0.1"]);
        let mut table = Vec::new();
        for host in outside.chain(inside) {
            for port in SERVICES.into_iter().filter(|port| *port != 53) {
                let explained = [80, 443].contains(&port) && !inside.contains(&host);
                let ended = if port == 853 && !inside.contains(&host) { "reset" } else { "refused" };
                let outcome = if explained { "HTTP/1.1 403 Forbidden" } else { ended };
                table.push((format!("tcp('{host}', {port}, get('{host}', '/latest/meta-data/'))"), outcome));
            }
        }
        let ran = world.probe(world.sandbox(&["host.portcullis.internal:9"]), &table);
        world.nothing_left();
        assert!(ran.records("denial").iter().any(|denial| denial["target"] == "169.254.169.254:80"));
    });
}

#[test]
fn an_address_by_any_spelling_is_refused_by_that_name() {
    as_host(|world| {
        let spelled =
            ["0x7f.1", "2130706433", "0177.0.0.1", "127.1", "0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"];
        let more = [
            "[64:ff9b::7f00:1]",
            "[::1]",
            "[::]",
            "169.254.43518",
            "0xa9fea9fe",
            "api.example.com@127.0.0.1",
        ];
        let mut table = Vec::new();
        for host in spelled.into_iter().chain(more) {
            // To an address that would lead to the Internet, as a guest's own resolver may make of the name.
            for port in [80, 443] {
                table.push((format!("tcp('8.8.8.8', {port}, get('{host}'))"), "HTTP/1.1 40"));
            }
        }
        world.probe(world.sandbox(&[]), &table);
        let ran = world.sandbox(&[]).sh(
            "for host in 0x7f.1 2130706433 127.1 0 '[::ffff:127.0.0.1]' '[64:ff9b::7f00:1]' 169.254.169.254 0xa9fea9fe '[::1]'; do \
             for scheme in http https; do for port in '' :8080; do \
             curl -gksS -m 8 -o /dev/null -w '%{http_code}\\n' $scheme://$host$port/ 2>/dev/null; done; done; done",
        );
        for code in ran.stdout().lines() {
            assert!(["000", "400", "403"].contains(&code), "{}", ran.stdout());
        }
        assert_eq!(ran.stdout().lines().count(), 36);
        world.nothing_left();
    });
}

#[test]
fn datagrams_that_are_no_questions_are_unreachable_at_once() {
    as_host(|world| {
        let hosts = [
            "8.8.8.8",
            UPSTREAM,
            UPSTREAM_V6,
            NAMESERVER,
            GATEWAY,
            "192.0.2.2",
            "169.254.169.254",
            "2606:4700::1111",
        ];
        let mut table = Vec::new();
        for host in hosts {
            for port in [443, 80, 123, 137, 853, 5353, 5355, 2222, 8080, 4500] {
                table.push((
                    format!("udp('{host}', {port}, bytes([0xc0, 0, 0, 0, 1]) + bytes(1195))"),
                    "refused at once",
                ));
            }
        }
        table.push(("udp('255.255.255.255', 67)".into(), "Permission denied at once"));
        world.probe(world.sandbox(&["host.portcullis.internal:8080"]), &table);
        world.nothing_left();
    });
}

#[test]
fn a_question_about_another_name_stays_inside() {
    as_host(|world| {
        let label = "x".repeat(63);
        let long = format!("{label}.{label}.{label}.{}.example.net", "y".repeat(40));
        let names = [
            "other.example.net",
            "api.example.com.evil.net",
            "evil-api.example.com",
            "example.com",
            "com",
            &long,
        ];
        let mut table = Vec::new();
        for (server, over) in
            [(GATEWAY, "udp"), (GATEWAY, "tcp"), ("8.8.8.8", "udp"), ("8.8.8.8", "tcp"), (NAMESERVER, "udp")]
        {
            for name in names {
                for (kind, outcome) in [
                    ("A", "NOERROR 1 198.18"),
                    ("AAAA", "NOERROR 1"),
                    ("HTTPS", "NOERROR 0"),
                    ("TXT", "NXDOMAIN 0"),
                    ("MX", "NXDOMAIN 0"),
                    ("NULL", "NXDOMAIN 0"),
                    ("SRV", "NXDOMAIN 0"),
                    ("CNAME", "NXDOMAIN 0"),
                    ("ANY", "NXDOMAIN 0"),
                ] {
                    table.push((format!("dns('{server}', '{name}', '{kind}', '{over}')"), outcome));
                }
            }
            // Of an allowed name too, nothing is asked for that is not understood.
            table.push((format!("dns('{server}', 'api.example.com', 'NULL', '{over}')"), "NOERROR 0"));
            table.push((format!("dns('{server}', '1.0.0.127.in-addr.arpa', 'PTR', '{over}')"), "NXDOMAIN 0"));
        }
        table.push(("udp('8.8.8.8', 53, b'GET / HTTP/1.1')".into(), "answered 12"));
        table.push(("tcp('8.8.8.8', 53, b'SSH-2.0-x' * 9999)".into(), ""));
        table.push(("tls('8.8.8.8', 853, 'dns.google', b'GET / HTTP/1.1')".into(), "closed"));
        world.probe(world.sandbox(&[]), &table);
        assert_eq!(world.nameserver.asked(), Vec::<String>::new());
        world.nothing_left();
    });
}

#[test]
fn an_echo_is_answered_by_the_gateway_alone() {
    as_host(|world| {
        let others =
            ["8.8.8.8", UPSTREAM, UPSTREAM_V6, NAMESERVER, "192.0.2.2", "169.254.169.254", "10.0.0.1"];
        let answered = format!("ping {GATEWAY}");
        let call = format!("ping('{GATEWAY}', {others:?})");
        world.probe(world.sandbox(&[]), &[(call, answered.as_str())]);
        world.nothing_left();
    });
}

#[test]
fn a_connection_that_carries_no_allowed_name_ends_inside() {
    as_host(|world| {
        let mut table = Vec::new();
        for host in [UPSTREAM, UPSTREAM_V6, "8.8.8.8", GATEWAY] {
            for (call, outcome) in [
                ("tls(H, 443, None, get('api.example.com'))", "unrecognized name"),
                ("tls(H, 443, 'evil.example', get('evil.example'))", "HTTP/1.1 403 Forbidden"),
                ("tls(H, 443, 'evil.example', get('api.example.com'))", "HTTP/1.1 403 Forbidden"),
                ("tls(H, 443, '93.184.216.34', get('api.example.com'))", "unrecognized name"),
                (
                    "tls(H, 443, 'api.example.com.evil.example', get('api.example.com'))",
                    "HTTP/1.1 403 Forbidden",
                ),
                ("tls(H, 443, 'evil.example', b'', ['ssh'])", "no application protocol"),
                ("tcp(H, 80, get('evil.example'))", "HTTP/1.1 403 Forbidden"),
                (
                    "tcp(H, 80, get('api.example.com', extra='Host: evil.example\\r\\n'))",
                    "HTTP/1.1 400 Bad Request",
                ),
                (
                    "tcp(H, 80, b'CONNECT api.example.com:443 HTTP/1.1\\r\\nHost: api.example.com:443\\r\\n\\r\\n')",
                    "",
                ),
                (
                    "tcp(H, 80, b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))",
                    "",
                ),
                ("tcp(H, 443, b'SSH-2.0-OpenSSH_9.9\\r\\n')", "reset"),
                ("tcp(H, 80, b'\\x00' * 40000)", "reset"),
                ("tcp(H, 443, b'\\x16\\x03\\x01\\xff\\xff' + b'A' * 40000)", ""),
                ("tcp(H, 443, get('evil.example:443'))", "HTTP/1.1 403 Forbidden"),
                ("tcp(H, 443, b'')", "reset"),
                ("tcp(H, 22, b'SSH-2.0-OpenSSH_9.9\\r\\n')", "refused"),
            ] {
                table.push((call.replace("(H,", &format!("('{host}',")), outcome));
            }
        }
        world.probe(world.sandbox(&[]), &table);
        world.nothing_left();
    });
}

#[test]
fn an_allowed_name_leads_to_its_own_address_whatever_address_the_guest_dials() {
    as_host(|world| {
        let mut table = Vec::new();
        for host in ["8.8.8.8", "169.254.169.254", "2606:2800:220:1::10", GATEWAY, "198.18.77.77"] {
            for (call, outcome) in [
                ("tls(H, 443, 'api.example.com', get('api.example.com'))", "HTTP/1.1 200 OK"),
                ("tls(H, 443, 'API.Example.COM', get('api.example.com:443'))", "HTTP/1.1 200 OK"),
                ("tls(H, 443, 'api.example.com', get('evil.example'))", "HTTP/1.1 421 Misdirected Request"),
                (
                    "tls(H, 443, 'api.example.com', get('169.254.169.254'))",
                    "HTTP/1.1 421 Misdirected Request",
                ),
                ("tcp(H, 80, get('api.example.com'))", "HTTP/1.1 200 OK"),
            ] {
                table.push((call.replace("(H,", &format!("('{host}',")), outcome));
            }
        }
        world.probe(world.sandbox(&["api.example.com:80"]), &table);
        let mut connections = 0;
        world.only(|packet| {
            connections += 1;
            asks(packet) || goes_upstream(packet, 443) || goes_upstream(packet, 80)
        });
        assert!(connections > 0);
        assert_eq!((world.upstream.seen().len(), world.plain.seen().len()), (10, 5));
    });
}
