//! How published ports are written, and whom they are open to.

use super::*;

fn shown(text: &str) -> String {
    Publish::parse(text).map_or_else(|error| error.to_string(), |publish| publish.to_string())
}

#[test]
fn published_ports_are_read() {
    for (text, expected) in [
        ("8080:80", "127.0.0.1:8080:80"),
        ("0:80", "127.0.0.1:0:80"),
        ("53:53/udp", "127.0.0.1:53:53/udp"),
        ("1:65535/tcp", "127.0.0.1:1:65535"),
        ("0.0.0.0:8080:80", "0.0.0.0:8080:80"),
        ("[::1]:8080:80", "[::1]:8080:80"),
        ("[::]:0:80/udp", "[::]:0:80/udp"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_publishes_nothing_says_what_to_write() {
    for (text, part) in [
        ("", "[ADDR:]HOST:GUEST"),
        ("8080", "[ADDR:]HOST:GUEST"),
        ("8080:", "'' is no port"),
        (":80", "'' is no port"),
        ("8080:+80", "'+80' is no port"),
        ("8080:80/sctp", "'80/sctp' is no port"),
        ("70000:80", "'70000' is no port"),
        ("8080:0", "no port 0"),
        ("localhost:8080:80", "an address of this machine"),
        ("::1:8080:80", "in brackets"),
        ("[::1:8080:80", "in brackets"),
        ("[127.0.0.1]:8080:80", "in brackets"),
        (":8080:80", "an address of this machine"),
    ] {
        assert!(shown(text).contains(part), "{text}: {}", shown(text));
    }
}

#[test]
fn collisions_are_of_one_address_port_and_transport() {
    let collide = |a, b| Publish::parse(a).unwrap().collides(&Publish::parse(b).unwrap());
    assert!(collide("8080:80", "127.0.0.1:8080:81"));
    for other in ["8081:80", "8080:80/udp", "127.0.0.2:8080:80"] {
        assert!(!collide("8080:80", other), "{other}");
    }
    assert!(!collide("0:80", "0:80"), "two free ports are two");
}

fn admits(from: &[&str], peer: &str) -> bool {
    let from = from.iter().map(|text| text.parse().unwrap()).collect();
    let publish = Publish::parse("0.0.0.0:8080:80").unwrap().only_from(from);
    let peer = SocketAddr::new(peer.parse().unwrap(), 5_000);
    match Policy::default().at_peer(&publish, peer) {
        Verdict::Allow(admission) => {
            assert_eq!(admission.peer(), peer);
            true
        }
        Verdict::Deny(denial) => {
            assert_eq!(denial.reason, Reason::Peer);
            assert!(denial.hint.contains(&peer.ip().to_canonical().to_string()), "{denial}");
            false
        }
    }
}

#[test]
fn peers_are_judged_by_their_address() {
    assert!(admits(&[], "203.0.113.9") && admits(&[], "2001:db8::9"));
    let from = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "fe80::1"];
    for peer in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:7fff::1", "fe80::1", "::ffff:10.1.2.3"]
    {
        assert!(admits(&from, peer), "{peer}");
    }
    for peer in ["11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db8:8000::", "fe80::2", "127.0.0.1", "::1"] {
        assert!(!admits(&from, peer), "{peer}");
    }
    assert!(admits(&["0.0.0.0/0"], "1.2.3.4") && !admits(&["0.0.0.0/0"], "::1"));
    assert!(admits(&["::/0"], "::1") && !admits(&["::/0"], "1.2.3.4"));
}

#[test]
fn what_is_no_subnet_says_what_to_write() {
    for (text, part) in [
        ("host", "ADDR/PREFIX"),
        ("", "ADDR/PREFIX"),
        ("10.0.0.0/33", "between 0 and 32"),
        ("10.0.0.0/", "between 0 and 32"),
        ("::/129", "between 0 and 128"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
    ] {
        let error = text.parse::<Subnet>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
