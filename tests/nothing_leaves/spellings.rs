//! Spellings: denied addresses, written in every way, as hosts of requests and where an allowed host sends a client.

use crate::capture::{Interface, Packet, Transport};
use crate::world::{NAMESERVER, UPSTREAM, UPSTREAM_V6, as_host};
use crate::{GATEWAY, goes_upstream};

/// Loopback, private, link-local with a cloud's metadata, the gateway, the host's own card, another cloud's.
const DENIED: [&str; 6] =
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", GATEWAY, "192.0.2.2", "100.100.100.200"];
/// What some of the spellings lead to, read as octal numbers: public addresses.
const OCTAL: [&str; 2] = ["8.0.0.1", "172.14.0.1"];
/// As many as `encoded` and `everything` of the probes make of them.
const SPELLINGS: usize = 6 * 40 + 11;

/// A question of any name, where names may be asked for.
fn any_question(packet: &Packet) -> bool {
    packet.interface == Interface::Wan
        && packet.transport == Transport::Udp
        && packet.to.to_string() == format!("{NAMESERVER}:53")
}

#[test]
fn no_spelling_of_a_denied_address_in_a_request_leads_there() {
    as_host(|world| {
        for rule in ["deny evil.example", "allow any"] {
            let sandboxed = world.sandbox(&["api.example.com:80"]).env("PORTCULLIS_LOG", "portcullis=warn");
            let call = format!("spelled({DENIED:?}, ['8.8.8.8'])");
            let ran = world.probe(sandboxed.flag("--rule", rule), &[(call, "spelled")]);
            assert!(world.cut().is_empty());
            // The one whose Host is allowed may be dialled; it is asked nothing.
            let dialled = |packet: &Packet| any_question(packet) || goes_upstream(packet, 80);
            if rule == "allow any" {
                // An open address is relayed to whatever stands in the request.
                world.only(|packet| dialled(packet) || packet.to.to_string() == "8.8.8.8:80");
            } else {
                // Absolute targets with another Host than theirs are errors too, so nothing is good at all.
                assert_eq!(ran.stdout().trim(), format!("spelled {}", SPELLINGS * 4));
                world.only(dialled);
                assert!(world.plain.seen().is_empty(), "{:?}", world.plain.seen());
            }
        }
    });
}

#[test]
fn no_url_and_no_redirection_of_an_allowed_host_leads_to_a_denied_address() {
    as_host(|world| {
        world.answers(8080, |request| {
            let target = request.split(' ').nth(1).unwrap_or_default();
            let to = target.split_once("?to=").map(|(_, to)| to).unwrap_or_default();
            format!(
                "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                unhex(to)
            )
        });
        for rules in [&["deny evil.example"][..], &["allow any"]] {
            let sandboxed = world.sandbox(&["api.example.com:80", "api.example.com:8080"]);
            let sandboxed = sandboxed.env("PORTCULLIS_LOG", "portcullis=warn");
            let sandboxed = rules.iter().fold(sandboxed, |sandboxed, rule| sandboxed.flag("--rule", rule));
            let allowed = [UPSTREAM, UPSTREAM_V6, OCTAL[0], OCTAL[1]];
            let call = format!("followed({DENIED:?}, 'http://api.example.com:8080', {allowed:?})");
            let ran = world.probe(sandboxed, &[(call, "followed")]);
            let followed = format!("followed {} moved {SPELLINGS}", SPELLINGS * 3);
            assert_eq!(ran.stdout().trim(), followed, "{rules:?}");
            assert!(world.cut().is_empty());
            let upstream = |packet: &Packet| [80, 8080].iter().any(|port| goes_upstream(packet, *port));
            // By this rule so do other ports of the same host, and public addresses.
            let opened = |packet: &Packet| {
                let octal = OCTAL.contains(&packet.to.ip().to_string().as_str());
                rules == ["allow any"] && (octal || goes_upstream(packet, 2222))
            };
            world.only(|packet| upstream(packet) || opened(packet) || any_question(packet));
            // Some are no spellings of an address for this client, but of the allowed host with a name before it.
            for seen in world.plain.seen() {
                let [host] = seen.header("host")[..] else { panic!("{seen:?}") };
                let octal = rules == ["allow any"] && OCTAL.contains(&host);
                assert!(octal || host == "api.example.com", "{seen:?}");
            }
        }
    });
}

fn unhex(text: &str) -> String {
    let octets = text
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).ok());
    String::from_utf8_lossy(&octets.collect::<Vec<u8>>()).into_owned()
}
