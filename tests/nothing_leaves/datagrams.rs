//! What datagrams and echo requests do where they are allowed, and what they meet where they are not.

use std::net::UdpSocket;
use std::process::Command;

use crate::capture::{Interface, Packet, Transport};
use crate::support::sandboxed::client;
use crate::world::{UPSTREAM, UPSTREAM_V6, as_host, echo};
use crate::{GATEWAY, asks, asks_about};

const NAME: &str = "api.example.com";
/// Echo service, as good as any port.
const PORT: u16 = 7;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Address that the allowed name does not have.
const ELSEWHERE: &str = "93.184.216.35";

/// Extension header of an IPv6 fragment.
const FRAGMENT: u8 = 44;

/// A datagram to the one allowed host and port, or a fragment of one.
fn goes_upstream(packet: &Packet) -> bool {
    packet.interface == Interface::Wan
        && [UPSTREAM, UPSTREAM_V6].contains(&packet.to.ip().to_string().as_str())
        && match packet.transport {
            Transport::Udp => packet.to.port() == PORT || is_later_fragment(packet),
            Transport::Other(number) => number == FRAGMENT,
            Transport::Tcp => false,
        }
}

/// An IPv4 fragment after the first has no ports to be seen by: here it is part of a run of one letter.
fn is_later_fragment(packet: &Packet) -> bool {
    packet.to.port() == u16::from_be_bytes(*b"??") && packet.payload.iter().all(|octet| *octet == b'?')
}

/// A call that uses the address of the allowed name, which DNS then binds.
fn by_name(function: &str, version: u8, rest: &str) -> String {
    format!("{function}(address('{NAME}', {version}), {rest})")
}

#[test]
fn an_allowed_name_is_reached_over_udp_and_answers_of_any_size_come_whole() {
    as_host(|world| {
        world.echoes(PORT);
        let mut table = Vec::new();
        for version in [4, 6] {
            table.push((by_name("udp", version, "7, b'word'"), "answered 4 at once"));
            table.push((by_name("udp", version, "7, b'big 20000'"), "answered 20000 at once"));
            table.push((by_name("udp", version, "7, b'?' * 20000"), "answered 20000 at once"));
            table.push((by_name("udp", version, "7, b''"), "answered 0 at once"));
            table.push((by_name("udp_twice", version, "7"), "once twice"));
        }
        let ran = world.probe(world.sandbox(&["api.example.com:7/udp"]), &table);
        let left = world.left();
        // Over IPv6 the one that left in fragments has its port behind another header.
        for (address, seen) in [(UPSTREAM, 5), (UPSTREAM_V6, 4)] {
            let whole = |packet: &&Packet| {
                packet.transport == Transport::Udp
                    && packet.to.port() == PORT
                    && packet.to.ip().to_string() == address
            };
            let mut ports: Vec<u16> = left.iter().filter(whole).map(|packet| packet.from.port()).collect();
            ports.sort_unstable();
            ports.dedup();
            let all: Vec<_> = left.iter().map(ToString::to_string).collect();
            assert_eq!(
                ports.len(),
                seen,
                "each port of the guest's is one of the host's: {ports:?} in {all:#?}"
            );
        }
        for packet in &left {
            assert!(goes_upstream(packet) || asks(packet), "{packet}");
        }
        world.nothing_left();
        let flows = ran.records("flow");
        let udp: Vec<_> = flows.iter().filter(|flow| flow["kind"] == "udp").collect();
        assert_eq!(udp.len(), 10, "one for each association: {flows:?}");
        for flow in udp {
            assert_eq!((&flow["host"], &flow["upstream"]), (&NAME.into(), &flow["destination"]), "{flow}");
        }
    });
}

#[test]
fn what_nobody_listens_to_is_refused_by_the_one_who_was_asked() {
    as_host(|world| {
        let table = [4, 6].map(|version| (by_name("udp", version, "7"), "refused at once"));
        world.probe(world.sandbox(&["api.example.com:7/udp"]), &table);
        world.only(|packet| goes_upstream(packet) || asks(packet));
    });
}

#[test]
fn datagrams_that_no_rule_of_udp_allows_are_refused_at_once_and_do_not_leave() {
    as_host(|world| {
        world.echoes(PORT);
        world.echoes(443);
        let mut table = Vec::new();
        for version in [4, 6] {
            // Bound by DNS now, and allowed by TCP at this port.
            for port in [22, 443, 80, 123, 853, 5353, 5355, 137] {
                table.push((by_name("udp", version, &port.to_string()), "refused at once"));
            }
        }
        for address in [ELSEWHERE, "8.8.8.8", "2606:4700::1111", "198.18.0.1", GATEWAY, "169.254.169.254"] {
            table.push((format!("udp('{address}', {PORT})"), "refused at once"));
        }
        table.push(("udp(address('other.example.net', 4), 7)".to_owned(), "refused at once"));
        let sandboxed = world.sandbox(&["api.example.com:7/udp", "api.example.com:22", "api.example.com"]);
        let ran = world.probe(sandboxed, &table);
        world.only(asks);
        let denials = ran.records("denial");
        for (target, reason) in [
            (format!("{UPSTREAM}:443/udp"), "QUIC"),
            (format!("[{UPSTREAM_V6}]:853/udp"), "DNS"),
            (format!("{NAME}:22/udp"), "only at port 7"),
            (format!("{ELSEWHERE}:7/udp"), "no allowed name"),
            ("other.example.net:7/udp".to_owned(), "no rule"),
        ] {
            let told = |denial: &&serde_json::Value| denial["target"] == target.as_str();
            let denial = denials.iter().find(told).unwrap_or_else(|| panic!("{target}: {denials:#?}"));
            assert!(denial["reason"].as_str().unwrap().contains(reason), "{denial}");
        }
    });
}

#[test]
fn a_name_that_leads_inside_leads_no_datagram_there() {
    as_host(|world| {
        world.nameserver.set("in.example.org", &["127.0.0.1", "::1", "10.0.0.5", "192.0.2.2", "2001:db8::2"]);
        let table = ["10.0.0.5", "192.0.2.2", "2001:db8::2"]
            .map(|address| (format!("udp('{address}', 2222)"), "refused at once"));
        let rules = ["*.example.org:2222/udp", "*.example.org/icmp"];
        let look_up = [("look_up('in.example.org')".to_owned(), "nothing")];
        world.probe(world.sandbox(&rules), &look_up.into_iter().chain(table).collect::<Vec<_>>());
        world.only(|packet| asks_about(packet, b"\x07example\x03org\0"));
    });
}

#[test]
fn an_allowed_port_of_the_hosts_loopback_takes_datagrams_on_either_family() {
    as_host(|world| {
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let service = UdpSocket::bind(bound).unwrap();
            let port = service.local_addr().unwrap().port();
            std::thread::spawn(move || echo(&service));
            let alias = "host.portcullis.internal";
            world.probe(
                world.sandbox(&[&format!("{alias}:{port}/udp")]),
                &[
                    (format!("udp(address('{alias}', 4), {port}, b'four')"), "answered 4 at once"),
                    (format!("udp(address('{alias}', 6), {port}, b'six')"), "answered 3 at once"),
                    (format!("udp_twice('{GATEWAY}', {port})"), "once twice"),
                    (format!("udp('{GATEWAY}', {port}, b'big 40000')"), "answered 40000 at once"),
                    (format!("udp('{GATEWAY}', {port} + 1)"), "refused at once"),
                    (format!("tcp('{GATEWAY}', {port})"), "refused"),
                    (format!("udp('127.0.0.1', {port})"), "refused at once"),
                ],
            );
            // What was refused on 127.0.0.1 is told by loopback itself.
            world.only(|packet| {
                let ours = packet.to.port() == port || packet.from.port() == port;
                packet.interface == Interface::Loopback
                    && (packet.transport == Transport::Udp && ours
                        || packet.transport == Transport::Other(ICMP))
            });
        }
    });
}

#[test]
fn a_path_of_a_smaller_mtu_is_made_known_to_the_guest() {
    as_host(|world| {
        world.echoes(PORT);
        let script = format!(
            "ip route add {UPSTREAM} via 192.0.2.1 mtu 1300; ip -6 route add {UPSTREAM_V6} via 2001:db8::1 mtu 1300"
        );
        assert!(Command::new("sh").args(["-e", "-c", &script]).status().unwrap().success());
        let mut table = Vec::new();
        for version in [4, 6] {
            table.push((by_name("path_mtu", version, "7, 1400"), "Message too long 1300 1400"));
            table.push((by_name("path_mtu", version, "7, 1200"), "answered 1200 1300 1200"));
        }
        world.probe(world.sandbox(&["api.example.com:7/udp"]), &table);
        world.only(|packet| goes_upstream(packet) || asks(packet));
    });
}

/// `ping` of iputils, on its own line of outcome.
fn ping(flags: &str, host: &str) -> String {
    format!("ping -n -c1 -W8 {flags} {host} 2>&1 | grep -E 'bytes from|From' || echo silence; ")
}

#[test]
fn ping_is_answered_by_the_gateway_and_the_allowed_and_refused_at_once_for_all_others() {
    if !client("ping -V") {
        return;
    }
    as_host(|world| {
        let calls = [
            (ping("-4", NAME), format!("64 bytes from {UPSTREAM}: icmp_seq=1")),
            (ping("-6", NAME), format!("64 bytes from {UPSTREAM_V6}: icmp_seq=1")),
            (ping("-4 -s 4000", NAME), format!("4008 bytes from {UPSTREAM}")),
            (ping("-6 -s 4000", NAME), format!("4008 bytes from {UPSTREAM_V6}")),
            (ping("-4", GATEWAY), format!("64 bytes from {GATEWAY}")),
            (ping("-6", "host.portcullis.internal"), "64 bytes from".to_owned()),
            (ping("-4", ELSEWHERE), "Packet filtered".to_owned()),
            (ping("-6", "2606:4700::1111"), "Administratively prohibited".to_owned()),
            (ping("-4", "other.example.net"), "Packet filtered".to_owned()),
            (ping("-4", "10.0.0.1"), "Packet filtered".to_owned()),
        ];
        let script: String = calls.iter().map(|(call, _)| call.as_str()).collect();
        let ran = world.sandbox(&["api.example.com/icmp"]).sh(&script);
        let said = ran.ok();
        assert_eq!(said.lines().count(), calls.len(), "{said}");
        for (line, (call, expected)) in said.lines().zip(&calls) {
            assert!(line.contains(expected.as_str()), "{call} said {line}");
        }
        world.only(|packet| {
            let icmp = [Transport::Other(ICMP), Transport::Other(ICMPV6)].contains(&packet.transport);
            let upstream = [UPSTREAM, UPSTREAM_V6].contains(&packet.to.ip().to_string().as_str());
            asks(packet) || upstream && (icmp || packet.transport == Transport::Other(FRAGMENT))
        });
        let denials = ran.records("denial");
        assert!(denials.iter().any(|denial| denial["target"] == format!("{ELSEWHERE}/icmp")), "{denials:?}");
    });
}

#[test]
fn where_the_host_lets_nobody_ping_the_guest_hears_so_and_the_log_says_it_once() {
    if !client("ping -V") {
        return;
    }
    as_host(|world| {
        std::fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0").unwrap();
        let script = [ping("-4", NAME), ping("-6", NAME), ping("-4", NAME)].concat();
        let ran = world.sandbox(&["api.example.com/icmp"]).sh(&script);
        let said = ran.ok();
        assert_eq!(said.matches("Packet filtered").count(), 2, "{said}");
        assert_eq!(said.matches("Administratively prohibited").count(), 1, "{said}");
        assert_eq!(ran.log.matches("ping_group_range").count(), 1, "{}", ran.log);
        world.only(asks);
    });
}
