//! Ranges and ports: a rule about some opens these and nothing beside them.

use std::io::Write as _;
use std::net::{IpAddr, TcpListener, UdpSocket};

use crate::GATEWAY;
use crate::capture::{Interface, Transport};
use crate::world::{HOST, as_host};

#[test]
fn a_scan_of_every_port_of_the_gateway_finds_the_one_that_a_rule_opens() {
    as_host(|world| {
        let opened = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap()];
        closed.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        let port = opened.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in opened.incoming().map_while(Result::ok) {
                let _ = stream.write_all(b"opened\r\n");
            }
        });
        let alias = "host.portcullis.internal";
        // The sandbox's own DNS takes connections at 53 and 853; at 80 and 443 stands who explains a denial.
        let mut own = [53, 80, 443, 853, port];
        own.sort_unstable();
        let own = own.map(|port| port.to_string()).join(" ");
        let found = format!("65535 open {own}");
        let sandboxed = world.sandbox(&[&format!("{alias}:{port}")]).env("PORTCULLIS_LOG", "portcullis=warn");
        world.probe(
            sandboxed,
            &[
                (format!("scan('{GATEWAY}')"), found.as_str()),
                (format!("scan(address('{alias}', 6))"), &found),
                // It speaks first and takes nothing.
                (format!("tcp(address('{alias}', 4), {port})"), "opened"),
                (format!("tcp(address('{alias}', 6), {port})"), "opened"),
                (format!("tcp('{GATEWAY}', 80, get('{alias}:8080'))"), "HTTP/1.1 403"),
                (format!("tcp('{GATEWAY}', 80, get('{alias}'))"), "HTTP/1.1 403"),
            ],
        );
        for listener in &closed {
            assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
        world.only(|packet| {
            packet.interface == Interface::Loopback
                && packet.transport == Transport::Tcp
                && (packet.to.port() == port || packet.from.port() == port)
        });
    });
}

#[test]
fn a_rule_about_a_range_and_a_port_opens_that_range_at_that_port() {
    as_host(|world| {
        world.answers(8080, |_| "sink".to_owned());
        world.answers(8081, |_| "sink".to_owned());
        world.echoes(8080);
        let mut table = Vec::new();
        for inside in ["10.9.0.0", "10.9.0.1", "10.9.77.8", "10.9.255.255"] {
            table.push((format!("tcp('{inside}', 8080, b'x')"), "sink"));
            for port in [8081, 8079, 22, 2222] {
                table.push((format!("tcp('{inside}', {port}, b'x')"), "refused"));
            }
            table.push((format!("udp('{inside}', 8080)"), "refused at once"));
            // Where the default denies, it is explained.
            table.push((format!("tcp('{inside}', 80, get('{inside}'))"), "HTTP/1.1 403"));
            table.push((format!("tcp('{inside}', 80, get('{inside}:8080'))"), "HTTP/1.1 403"));
        }
        let outside = ["10.8.255.255", "10.10.0.0", "10.10.0.1", "10.0.9.1", "11.9.0.1", "8.8.8.8"];
        let disguised = ["64:ff9b::a09:1", "2002:a09:1::1", "2001::f5f6:fffe", "::a09:1", "64:ff9b:1::a09:1"];
        for host in outside.into_iter().chain(disguised) {
            table.push((format!("tcp('{host}', 8080, b'x')"), "refused"));
            table.push((format!("udp('{host}', 8080)"), "refused at once"));
        }
        world.probe(world.sandbox(&[]).flag("--rule", "allow 10.9.0.0/16:8080"), &table);
        assert!(!world.has_tripwires() || world.cut() == ["10.0.0.0/8"]);
        let mut reached = Vec::new();
        world.only(|packet| {
            reached.push(packet.to.ip().to_string());
            packet.transport == Transport::Tcp
                && packet.to.port() == 8080
                && packet.to.ip().to_string().starts_with("10.9.")
        });
        reached.sort();
        reached.dedup();
        assert_eq!(reached, ["10.9.0.0", "10.9.0.1", "10.9.255.255", "10.9.77.8"]);
    });
}

#[test]
fn each_tripwire_counts_what_the_host_itself_sends_there() {
    as_host(|world| {
        if !world.has_tripwires() {
            return;
        }
        let v6 = UdpSocket::bind("[::]:0").unwrap();
        let v4 = UdpSocket::bind("0.0.0.0:0").unwrap();
        for (address, ranges) in [
            ("10.9.0.1", &["10.0.0.0/8"][..]),
            ("100.100.100.200", &["100.64.0.0/10"]),
            ("127.0.0.1", &["127.0.0.0/8"]),
            ("169.254.169.254", &["169.254.0.0/16"]),
            (GATEWAY, &["172.16.0.0/12"]),
            ("192.168.1.1", &["192.168.0.0/16"]),
            ("198.18.0.1", &["198.18.0.0/15"]),
            ("168.63.129.16", &["168.63.129.16/32"]),
            (HOST[1], &["93.184.216.10/32"]),
            (HOST[3], &["2606:2800:220:1::10/128"]),
            ("::1", &["::1/128", "::/96"]),
            ("64:ff9b::a00:1", &["64:ff9b::/96"]),
            ("2002:a00:1::1", &["2002::/16"]),
            ("2001::a00:1", &["2001::/32", "2001::/23"]),
            ("fd00::1", &["fc00::/7"]),
            ("93.184.216.34", &[]),
            ("2606:2800:220:1::34", &[]),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let from = if address.is_ipv4() { &v4 } else { &v6 };
            world.cut();
            from.send_to(b"tripwire", (address, 9999)).unwrap();
            assert_eq!(world.cut(), ranges, "{address}");
        }
    });
}

#[test]
fn the_public_addresses_of_this_machine_are_not_public_to_its_guests() {
    as_host(|world| {
        world.nameserver.set("r.example.org", &[HOST[1], HOST[3]]);
        let (v4, v6) = (HOST[1], HOST[3]);
        let table = [
            (format!("tcp('{v4}', 2222, b'x')"), "refused"),
            (format!("tcp('{v6}', 2222, b'x')"), "refused"),
            (format!("udp('{v4}', 2222)"), "refused at once"),
            ("look_up('r.example.org')".to_owned(), "2606:2800:220:1::10,93.184.216.10"),
            (format!("tcp('{v4}', 2222, b'x')"), "refused"),
            ("tcp('8.8.8.8', 80, get('r.example.org'))".to_owned(), "HTTP/1.1 403"),
        ];
        world.probe(
            world.sandbox(&["*.example.org", "*.example.org:2222"]).flag("--rule", "allow any"),
            &table,
        );
        world.only(|packet| packet.to.port() == 53 || packet.from.port() == 53);
    });
}
