//! Names that share an address: one of them neither opens nor closes another.

use crate::capture::{Packet, Transport};
use crate::world::{UPSTREAM, UPSTREAM_V6, as_host};
use crate::{asks, asks_about, goes_upstream};

#[test]
fn where_names_share_an_address_the_one_a_flow_carries_decides_both_ways() {
    as_host(|world| {
        world.nameserver.set("evil.example", &[UPSTREAM, UPSTREAM_V6]);
        world.answers(8080, |_| "sink".to_owned());
        let mut table = vec![
            ("look_up('evil.example')".to_owned(), "nothing"),
            ("look_up('api.example.com')".to_owned(), UPSTREAM),
            ("look_up('evil.example')".to_owned(), "nothing"),
        ];
        for host in [UPSTREAM, UPSTREAM_V6] {
            for (call, outcome) in [
                ("tls(H, 443, 'api.example.com', get('api.example.com'))", "HTTP/1.1 200 OK"),
                ("tls(H, 443, 'evil.example', get('evil.example'))", "HTTP/1.1 403 Forbidden"),
                ("tls(H, 443, 'EVIL.example', get('api.example.com'))", "HTTP/1.1 403 Forbidden"),
                ("tls(H, 443, 'api.example.com', get('evil.example'))", "HTTP/1.1 421 Misdirected Request"),
                ("tcp(H, 80, get('evil.example'))", "HTTP/1.1 403 Forbidden"),
                ("tcp(H, 80, get('evil.example.'))", "HTTP/1.1 40"),
                ("tcp(H, 80, get('api.example.com'))", "HTTP/1.1 200 OK"),
                // On other ports too, where the address is dialled before anything is known.
                ("tls(H, 8080, 'evil.example', get('evil.example'))", "HTTP/1.1 403 Forbidden"),
                ("tcp(H, 8080, get('evil.example'))", "HTTP/1.1 403 Forbidden"),
                ("tcp(H, 8080, b'neither')", "sink"),
            ] {
                table.push((call.replace("(H,", &format!("('{host}',")), outcome));
            }
        }
        let sandboxed = world.sandbox(&[]).flag("--rule", "deny evil.example").flag("--rule", "allow any");
        world.probe(sandboxed, &table);
        world.only(|packet| {
            let evil = packet.payload.windows(12).any(|part| part.eq_ignore_ascii_case(b"evil.example"));
            let opened = [80, 443, 8080].iter().any(|port| goes_upstream(packet, *port));
            asks(packet) || opened && !evil
        });
        assert_eq!((world.upstream.seen().len(), world.plain.seen().len()), (2, 2));
        assert!(world.nameserver.asked().iter().all(|name| name == "api.example.com"));
    });
}

#[test]
fn an_opaque_flow_goes_by_the_names_that_its_address_was_told_for() {
    as_host(|world| {
        world.answers(2222, |_| "sink".to_owned());
        for name in ["good.example.org", "ads.example.org"] {
            world.nameserver.set(name, &[UPSTREAM, UPSTREAM_V6]);
        }
        world.nameserver.set("other.example.com", &["93.184.216.77"]);
        let table = [
            // Nobody has asked yet, so the address has no name.
            (format!("tcp('{UPSTREAM}', 2222, b'x')"), "refused"),
            ("look_up('ads.example.org')".to_owned(), "nothing"),
            (format!("tcp('{UPSTREAM}', 2222, b'x')"), "refused"),
            ("look_up('other.example.com')".to_owned(), "93.184.216.77"),
            // That name has an address, but another port.
            ("tcp('93.184.216.77', 2222, b'x')".to_owned(), "refused"),
            ("look_up('good.example.org')".to_owned(), UPSTREAM),
            (format!("tcp('{UPSTREAM}', 2222, b'x')"), "sink"),
            (format!("tcp('{UPSTREAM_V6}', 2222, b'x')"), "sink"),
            // The name that shares it is denied, and that closes nothing.
            ("look_up('ads.example.org')".to_owned(), "nothing"),
            (format!("tcp('{UPSTREAM}', 2222, b'x')"), "sink"),
            (format!("tcp('{UPSTREAM}', 2223, b'x')"), "refused"),
            ("tcp('93.184.216.77', 2222, b'x')".to_owned(), "refused"),
        ];
        let sandboxed = world.sandbox(&[]).flag("--rule", "deny ads.example.org");
        let sandboxed = sandboxed.flag("--rule", "allow *.example.org:2222");
        world.probe(sandboxed.flag("--rule", "allow other.example.com:443"), &table);
        let sunk = |packet: &Packet| packet.transport == Transport::Tcp && goes_upstream(packet, 2222);
        let about = |packet: &Packet| {
            asks_about(packet, b"\x04good\x07example\x03org\0")
                || asks_about(packet, b"\x05other\x07example\x03com\0")
        };
        world.only(|packet| sunk(packet) || about(packet));
    });
}

#[test]
fn what_shows_no_name_reaches_nobody_at_the_address_of_an_allowed_name() {
    as_host(|world| {
        let mut table = vec![("look_up('api.example.com')".to_owned(), UPSTREAM)];
        for host in [UPSTREAM, UPSTREAM_V6] {
            for (call, outcome) in [
                ("tls(H, 443, None, b'x')", "unrecognized name"),
                ("tcp(H, 443, b'raw')", "reset"),
                ("tcp(H, 80, bytes(9))", "reset"),
                ("tcp(H, 80, b'GET / HTTP/1.0' + 2 * b'\\r\\n')", "HTTP/1.0 400"),
                ("tcp(H, 80, get('93.184.216.34'))", "HTTP/1.1 403"),
            ] {
                table.push((call.replace("(H,", &format!("('{host}',")), outcome));
            }
        }
        world.probe(world.sandbox(&["api.example.com"]), &table);
        world.only(|packet| asks_about(packet, b"\x03api\x07example\x03com\0"));
    });
}
