//! Tripwires: nftables counters, one for each range where nothing may go, beside the capture.
//!
//! They count what the host's own stack sends, over loopback too, whatever the capture made of it. What a link says by
//! itself and the questions to the nameserver do not count. Invariant: a wire that was cut once is told once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use crate::world::NAMESERVER;

/// The special-use registries, metadata services, transition encodings, and the host's own addresses.
const RANGES: [&str; 43] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "93.184.216.10/32",
    "2606:2800:220:1::10/128",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Whether nftables works for `nft`, which is that program, wherever it runs.
pub(crate) fn possible(mut nft: Command) -> bool {
    let listed = nft.args(["list", "ruleset"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    listed.is_ok_and(|status| status.success())
}

/// The counters of the calling thread's network namespace.
pub(crate) struct Tripwires {
    told: RefCell<BTreeMap<&'static str, u64>>,
}

impl Tripwires {
    /// Stretches all wires.
    pub(crate) fn stretch() -> Self {
        let mut rules = format!(
            "table inet tripwires {{\nchain out {{\ntype filter hook output priority -300\n\
             ip daddr {NAMESERVER} udp dport 53 accept\nmeta l4proto igmp accept\n\
             icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept\n\
             icmpv6 type {{ mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report }} accept\n"
        );
        for range in RANGES {
            let family = if range.contains(':') { "ip6" } else { "ip" };
            writeln!(rules, "{family} daddr {range} counter comment \"{range}\"").unwrap();
        }
        rules.push_str("}\n}\n");
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "{rules}");
        Self { told: RefCell::default() }
    }

    /// The ranges to which something was sent since this was last asked.
    pub(crate) fn cut(&self) -> Vec<&'static str> {
        let now = counted();
        let before = self.told.replace(now.clone());
        RANGES.into_iter().filter(|range| now[range] > before.get(range).copied().unwrap_or(0)).collect()
    }
}

/// Packets by range since the wires were stretched.
fn counted() -> BTreeMap<&'static str, u64> {
    let listed =
        Command::new("nft").args(["-j", "list", "chain", "inet", "tripwires", "out"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let rules = listed["nftables"].as_array().unwrap().iter().map(|entry| &entry["rule"]);
    let counts: BTreeMap<&str, u64> = rules
        .filter_map(|rule| {
            let counter =
                rule["expr"].as_array()?.iter().find_map(|part| part["counter"]["packets"].as_u64())?;
            Some((rule["comment"].as_str()?, counter))
        })
        .collect();
    RANGES.into_iter().map(|range| (range, counts[range])).collect()
}

/// Whether `range`, as this module writes them, has the address in it.
pub(crate) fn contains(range: &str, address: IpAddr) -> bool {
    let (start, length) = range.split_once('/').unwrap();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let ((width, start), (own, address)) = (bits(start.parse().unwrap()), bits(address));
    let rest: u32 = width - length.parse::<u32>().unwrap();
    width == own && (start ^ address).checked_shr(rest).unwrap_or(0) == 0
}
