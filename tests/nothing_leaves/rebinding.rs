//! Rebinding: names that a rule allows and whose addresses lead inside, always or now and then.

use crate::capture::Transport;
use crate::nameserver::Pace;
use crate::world::{HOST, UPSTREAM, UPSTREAM_V6, as_host};
use crate::{GATEWAY, asks_about, goes_upstream};

/// Where an allowed name may never lead; the guest's own loopback is not asked for.
const DENIED: [&str; 9] = [
    "10.0.0.1",
    "169.254.169.254",
    GATEWAY,
    HOST[0],
    HOST[2],
    "100.100.100.200",
    "fd00::1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
];

#[test]
fn two_thousand_tries_at_names_that_flip_reach_the_public_address_and_no_other() {
    as_host(|world| {
        let turns: [&[&str]; 8] = [
            &[UPSTREAM, UPSTREAM_V6],
            &["127.0.0.1", "::1"],
            &[UPSTREAM, "10.0.0.1", UPSTREAM_V6, "fd00::1"],
            &["169.254.169.254", "64:ff9b::a00:1"],
            &[GATEWAY, UPSTREAM, "::ffff:10.0.0.1", UPSTREAM_V6],
            &[HOST[0], HOST[2], "100.100.100.200"],
            &[UPSTREAM_V6, UPSTREAM],
            &["0.0.0.0", "::", "2002:a00:1::1"],
        ];
        for (name, pace) in [
            ("asked.example.org", Pace::Questions),
            ("again.example.org", Pace::Questions),
            ("timed.example.org", Pace::Milliseconds),
            ("clock.example.org", Pace::Milliseconds),
        ] {
            world.nameserver.set_paced(name, &turns, pace);
        }
        world.answers(2222, |_| "sink".to_owned());
        let names = ["asked", "timed", "again", "clock"].map(|name| format!("{name}.example.org"));
        let call = format!("rebound({names:?}, 2000, {DENIED:?}, '{UPSTREAM}', 2222)");
        let rules = ["*.example.org", "*.example.org:2222"];
        let sandboxed = world.sandbox(&rules).env("PORTCULLIS_LOG", "portcullis=warn");
        let ran = world.probe(sandboxed, &[(call, "rebound 2000 ")]);
        let said: Vec<String> = ran.stdout().split_whitespace().map(str::to_owned).collect();
        let number = |key: &str| -> u32 {
            let told = said.iter().find_map(|word| word.strip_prefix(&format!("{key}="))).unwrap();
            told.parse().unwrap()
        };
        // By whatever address the guest dials, a name that it carries leads where that name leads now; an opaque flow
        // goes to the address itself.
        assert!(number("200") > 500 && number("403") > 100 && number("sink") > 500, "{said:?}");
        assert_eq!(number("inside"), 0, "a denied address took a flow: {said:?}");
        let told = said.iter().find_map(|word| word.strip_prefix("told=")).unwrap();
        assert_eq!(told, format!("{UPSTREAM_V6},{UPSTREAM}"), "{said:?}");
        assert!(world.nameserver.asked().len() > 2000);
        assert_eq!(world.plain.seen().len(), number("200") as usize);
        let public = |packet: &crate::Packet| {
            packet.transport == Transport::Tcp && [80, 2222].iter().any(|port| goes_upstream(packet, *port))
        };
        assert!(world.cut().is_empty());
        world.only(|packet| public(packet) || asks_about(packet, b"\x07example\x03org\0"));
    });
}

#[test]
fn a_name_that_resolves_to_where_nothing_may_go_is_not_dialled() {
    as_host(|world| {
        let rebound: &[&[&str]] = &[
            &["127.0.0.1"],
            &["::1"],
            &["10.0.0.5", "fd00::5"],
            &["169.254.169.254", "fe80::1"],
            &["172.16.0.1"],
            &["198.18.0.9"],
            &["192.0.2.2", "2001:db8::2"],
            &["0.0.0.0", "::"],
            &["::ffff:127.0.0.1", "::ffff:8.8.8.8"],
            &["64:ff9b::7f00:1", "2002:a00:1::", "2001:0:7f00:1::"],
            &["224.0.0.1", "255.255.255.255", "ff02::1"],
            &["100.64.0.1", "100.100.100.200", "168.63.129.16"],
        ];
        let mut table = Vec::new();
        for (number, addresses) in rebound.iter().enumerate() {
            let name = format!("r{number}.example.org");
            world.nameserver.set(&name, addresses);
            table.push((format!("look_up('{name}')"), "nothing".to_owned()));
            table.push((
                format!("tls('8.8.8.8', 443, '{name}', get('{name}'))"),
                "HTTP/1.1 403 Forbidden".to_owned(),
            ));
            table.push((format!("tcp('8.8.8.8', 80, get('{name}'))"), "HTTP/1.1 403 Forbidden".to_owned()));
            for address in *addresses {
                if !["172.16.0.1", "127.0.0.1", "::1", "0.0.0.0", "::"].contains(address) {
                    table.push((format!("tcp('{address}', 2222, b'x')"), String::new()));
                }
            }
        }
        let table: Vec<(String, &str)> =
            table.iter().map(|(call, outcome)| (call.clone(), outcome.as_str())).collect();
        let ran = world.probe(world.sandbox(&["*.example.org", "*.example.org:2222"]), &table);
        world.only(|packet| asks_about(packet, b"\x07example\x03org\0"));
        assert!(
            ran.records("denial")
                .iter()
                .any(|denial| denial["reason"].as_str().unwrap().contains("169.254.169.254"))
        );
    });
}

#[test]
fn a_name_that_changes_its_address_is_judged_anew_each_time() {
    as_host(|world| {
        let name = "flips.example.org";
        // The guest is told of the first; what is dialled later may only be what was judged.
        world.nameserver.set_turns(name, &[&[UPSTREAM], &["127.0.0.1"], &["169.254.169.254", UPSTREAM]]);
        let table: Vec<(String, &str)> = (0..6)
            .flat_map(|_| {
                [
                    (format!("look_up('{name}')"), ""),
                    (format!("tcp('{UPSTREAM}', 80, get('{name}'))"), ""),
                    (format!("tls('{UPSTREAM}', 443, '{name}', get('{name}'))"), ""),
                    ("tcp('127.0.0.1', 2222)".to_owned(), "refused"),
                ]
            })
            .collect();
        world.probe(world.sandbox(&["*.example.org", "*.example.org:2222"]), &table);
        world.only(|packet| {
            asks_about(packet, b"\x07example\x03org\0")
                || goes_upstream(packet, 80)
                || goes_upstream(packet, 443)
        });
    });
}
