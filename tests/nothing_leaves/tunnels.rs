//! Tunnels: data in questions, and to resolvers by other ways, does not leave; what is refused is refused at once.

use crate::world::{NAMESERVER, UPSTREAM, UPSTREAM_V6, as_host};
use crate::{GATEWAY, asks, goes_upstream};

/// In everything that must not leave.
const MARK: &str = "smuggled";

#[test]
fn what_a_guest_hides_in_questions_reaches_no_nameserver() {
    as_host(|world| {
        let label = format!("{MARK}{}", "x".repeat(63 - MARK.len()));
        let long = format!("{label}.{label}.{label}.{}.example.net", "y".repeat(40));
        let mut queries = Vec::new();
        // A, NS, CNAME, SOA, NULL, PTR, MX, TXT, AAAA, SRV, NAPTR, DS, DNSKEY, TLSA, SVCB, HTTPS, AXFR, ANY, private.
        for kind in [1, 2, 5, 6, 10, 12, 15, 16, 28, 33, 35, 43, 48, 52, 64, 65, 252, 255, 65280] {
            for name in
                [&long, &format!("{MARK}.api.example.com"), &format!("{MARK}.api.example.com.evil.net")]
            {
                queries.push(format!("message('{name}', {kind})"));
            }
        }
        let api = "'api.example.com'";
        for code in [3, 5, 8, 10, 11, 12, 15, 65001] {
            queries.push(format!("message({api}, 1, option({code}, b'{MARK}'))"));
        }
        queries.push(format!("message('SmUgGlEd.example.net', 16, option(12, b'{MARK}'))"));
        // Behind the question: octets, a second question, records that no question has.
        let record = format!("b'\\x08{MARK}\\0\\0\\x10\\0\\x01\\0\\0\\0\\0\\0\\x09\\x08{MARK}'");
        queries.push(format!("message({api}, 1, tail=b'{MARK}')"));
        queries.push(format!("message({api}, 1, tail=b'\\x08{MARK}\\0\\0\\x01\\0\\x01', counts=(2, 0, 0))"));
        queries.push(format!("message({api}, 1, tail={record}, counts=(1, 1, 0))"));
        queries.push(format!("message({api}, 1, tail={record}, counts=(1, 0, 1))"));
        for flags in ["0x8180", "0x2800", "0x2000", "0x1000"] {
            queries.push(format!("message('{MARK}.example.net', 1, flags={flags})"));
            queries.push(format!("message({api}, 1, flags={flags}, tail={record}, counts=(1, 0, 1))"));
        }
        for class in [3, 4, 254, 255] {
            queries.push(format!("message('{MARK}.bind', 16, klass={class})"));
        }
        let mut table = Vec::new();
        for server in [GATEWAY, "8.8.8.8", NAMESERVER, "2606:4700::1111"] {
            for over in ["udp", "tcp", "dot"] {
                let takes = |query: &String| (format!("smuggle('{server}', '{over}', {query})"), "smuggle");
                table.extend(queries.iter().map(takes));
            }
        }
        let ran = world.probe(world.sandbox(&[]).env("PORTCULLIS_LOG", "portcullis=warn"), &table);
        assert!(!ran.stdout().contains("timeout"), "{}", ran.stdout());
        let left = world.left();
        for packet in &left {
            let text = String::from_utf8_lossy(&packet.payload).to_lowercase();
            assert!(asks(packet) && !text.contains(MARK), "{packet}");
        }
        assert!(world.nameserver.asked().iter().all(|name| name == "api.example.com"));
        assert!(world.cut().is_empty());
        world.nothing_left();
    });
}

#[test]
fn the_letters_case_of_a_guests_question_is_not_that_of_the_hosts() {
    as_host(|world| {
        let name = "aPi.ExAmPlE.cOm";
        let table = [GATEWAY; 8].map(|server| (format!("dns('{server}', '{name}', 'A')"), "NOERROR 1"));
        world.probe(world.sandbox(&[]), &table);
        let left = world.left();
        let own = b"\x03aPi\x07ExAmPlE\x03cOm\0";
        let kept = left.iter().filter(|packet| packet.payload.windows(own.len()).any(|part| part == own));
        assert!(left.iter().all(asks) && left.len() >= 8 && kept.count() < 4);
    });
}

#[test]
fn no_other_way_to_a_resolver_and_no_quic_leads_out_or_lets_the_guest_wait() {
    as_host(|world| {
        world.echoes(443);
        world.echoes(853);
        let quic = "bytes([0xc3, 0, 0, 0, 1, 8]) + bytes(1194)";
        let mut table = Vec::new();
        for host in [UPSTREAM, UPSTREAM_V6, "8.8.8.8", "2606:4700::1111", NAMESERVER, GATEWAY, "9.9.9.9"] {
            for port in [443, 853, 784, 8853, 5353, 80] {
                table.push((format!("udp('{host}', {port}, {quic})"), "refused at once"));
            }
            let post = "b'POST /dns-query HTTP/1.1\\r\\nHost: dns.google\\r\\nContent-Type: application/dns-message\\r\\n\
                        Content-Length: 29\\r\\nConnection: close\\r\\n\\r\\n' + message('smuggled', 16)";
            table.push((format!("tls('{host}', 443, 'dns.google', {post})"), "HTTP/1.1 403 Forbidden"));
            table.push((
                format!("tls('{host}', 443, 'api.example.com', {post})"),
                "HTTP/1.1 421 Misdirected Request",
            ));
            table.push((format!("tls('{host}', 443, None, {post})"), "unrecognized name"));
            table.push((format!("tcp('{host}', 80, {post})"), "HTTP/1.1 403 Forbidden"));
            table.push((format!("tls('{host}', 8443, 'dns.google', {post})"), "refused"));
        }
        // Bound by DNS, and allowed by TCP at this very port.
        table.push((format!("udp(address('api.example.com', 4), 443, {quic})"), "refused at once"));
        table.push((format!("udp(address('api.example.com', 6), 443, {quic})"), "refused at once"));
        table.push((format!("udp(address('api.example.com', 4), 853, {quic})"), "refused at once"));
        let ran = world.probe(world.sandbox(&["api.example.com", "api.example.com:443"]), &table);
        // Who a name's server is was looked at, and nothing was asked of it.
        world.only(|packet| asks(packet) || goes_upstream(packet, 443));
        assert!(world.upstream.seen().is_empty(), "{:?}", world.upstream.seen());
        let told =
            ran.records("denial").iter().any(|denial| denial["reason"].as_str().unwrap().contains("QUIC"));
        assert!(told, "{}", ran.audit);
    });
}
