//! The host's own files: names in `/etc/hosts`, nameservers in `/etc/resolv.conf`.
//!
//! Reading of text alone; an entry that cannot be read is passed over, as the C library does. Invariant: a
//! name of the hosts file is canonical, or it is not there.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::name::HostName;

/// Names of a hosts file and their addresses, in its order.
pub(super) type Hosts = HashMap<HostName, Vec<IpAddr>>;

/// What `/etc/resolv.conf` says of nameservers. Its search lists are ignored: a guest asks for whole names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ResolvConf {
    /// In the order to ask.
    pub(super) servers: Vec<Listed>,
    /// `options timeout:`, where it is there.
    pub(super) timeout: Option<Duration>,
    /// `options attempts:`, where it is there.
    pub(super) attempts: Option<u32>,
}

/// A nameserver as resolv.conf writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    addr: IpAddr,
    /// The interface behind which a link-local address is: its name or its number.
    zone: Option<String>,
}

/// Nameservers the C library would use; it looks at no more.
const MAX_NAMESERVERS: usize = 3;
/// The C library's bounds for `timeout`, seconds, and for `attempts`.
const TIMEOUT: RangeInclusive<u64> = 1..=30;
const ATTEMPTS: RangeInclusive<u32> = 1..=5;
/// Where nameservers listen.
pub(super) const PORT: u16 = 53;

/// Reads [hosts(5)](https://man7.org/linux/man-pages/man5/hosts.5.html).
pub(super) fn parse_hosts(text: &str) -> Hosts {
    let mut hosts = Hosts::new();
    for line in text.lines() {
        let mut words = words(line, &['#']);
        let Some(addr) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        for name in words.filter_map(|word| HostName::parse(word).ok()) {
            let addrs = hosts.entry(name).or_default();
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
    }
    hosts
}

/// Reads [resolv.conf(5)](https://man7.org/linux/man-pages/man5/resolv.conf.5.html).
pub(super) fn parse_resolv_conf(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in text.lines() {
        let mut words = words(line, &['#', ';']);
        match words.next() {
            Some("nameserver") => {
                let server = words.next().and_then(Listed::parse);
                conf.servers.extend(server.filter(|_| conf.servers.len() < MAX_NAMESERVERS));
            }
            Some("options") => words.for_each(|option| conf.option(option)),
            Some(_) | None => {}
        }
    }
    conf
}

impl Listed {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('%') {
            None => Some(Self { addr: text.parse().ok()?, zone: None }),
            Some((addr, zone)) => {
                let addr: Ipv6Addr = addr.parse().ok()?;
                Some(Self { addr: addr.into(), zone: Some(zone.to_owned()) })
            }
        }
    }

    /// Where it is asked; `None` where this host has no such interface. `number` finds an interface by its name.
    pub(super) fn socket_addr(&self, number: impl FnOnce(&str) -> Option<u32>) -> Option<SocketAddr> {
        match (self.addr, &self.zone) {
            (IpAddr::V6(addr), Some(zone)) => {
                let number = zone.parse().ok().or_else(|| number(zone))?;
                Some(SocketAddrV6::new(addr, PORT, 0, number).into())
            }
            (addr, _) => Some(SocketAddr::new(addr, PORT)),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{}", self.addr, zone.escape_debug()),
            None => self.addr.fmt(f),
        }
    }
}

impl ResolvConf {
    fn option(&mut self, option: &str) {
        let Some((key, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match key {
            "timeout" => {
                let seconds = u64::from(value).clamp(*TIMEOUT.start(), *TIMEOUT.end());
                self.timeout = Some(Duration::from_secs(seconds));
            }
            "attempts" => self.attempts = Some(value.clamp(*ATTEMPTS.start(), *ATTEMPTS.end())),
            _ => {}
        }
    }
}

fn words<'a>(line: &'a str, comment: &[char]) -> impl Iterator<Item = &'a str> {
    line.split(comment).next().unwrap_or_default().split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_the_c_library_reads_them() {
        let hosts = parse_hosts(
            "127.0.0.1 localhost\n\
             # 10.0.0.9 commented.example\n\
             \t93.184.216.34\tWWW.Example.com. alias # and more\n\
             2606:2800::1 www.example.com\n\
             93.184.216.34 www.example.com\n\
             fe80::1%eth0 scoped.example\n\
             not-an-address broken.example\n\
             1.2.3.4\n\
             1.2.3.4 bad/name good.example",
        );
        let find = |text| hosts.get(&HostName::parse(text).unwrap()).cloned().unwrap_or_default();
        let expected: Vec<IpAddr> = vec!["93.184.216.34".parse().unwrap(), "2606:2800::1".parse().unwrap()];
        assert_eq!(find("www.example.com"), expected);
        assert_eq!(find("alias").len(), 1);
        assert_eq!(find("good.example").len(), 1);
        for absent in ["commented.example", "scoped.example", "broken.example"] {
            assert!(find(absent).is_empty(), "{absent}");
        }
    }

    #[test]
    fn nameservers_are_the_first_three_that_can_be_read() {
        let conf = parse_resolv_conf(
            "search a.example\nnameserver 127.0.0.53 # stub\n; nameserver 9.9.9.9\nnameserver nonsense\n\
             nameserver\noptions edns0\nnameserver 2001:4860:4860::8888\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n",
        );
        let asked: Vec<_> = conf.servers.iter().map(|server| server.socket_addr(|_| None).unwrap()).collect();
        let expected = ["127.0.0.53:53", "[2001:4860:4860::8888]:53", "1.1.1.1:53"];
        assert_eq!(asked, expected.map(|text| text.parse().unwrap()));
        assert_eq!((conf.timeout, conf.attempts), (None, None));
    }

    #[test]
    fn a_link_local_nameserver_is_behind_its_interface() {
        let conf = parse_resolv_conf(
            "nameserver fe80::1%eth0\nnameserver fe80::2%7\nnameserver fe80::3%\nnameserver 10.0.0.1%eth0\n",
        );
        let number = |name: &str| (name == "eth0").then_some(2);
        let asked: Vec<_> = conf.servers.iter().map(|server| server.socket_addr(number)).collect();
        let [one, other] = ["[fe80::1%2]:53", "[fe80::2%7]:53"].map(|text| text.parse().ok());
        assert_eq!(asked, [one, other, None]);
    }

    #[test]
    fn options_are_held_within_the_c_librarys_bounds() {
        let read = |text| {
            let conf = parse_resolv_conf(text);
            (conf.timeout.map(|timeout| timeout.as_secs()), conf.attempts)
        };
        assert_eq!(read("options timeout:3 attempts:4 rotate\n"), (Some(3), Some(4)));
        assert_eq!(read("options timeout:0 attempts:0"), (Some(1), Some(1)));
        assert_eq!(read("options timeout:4000000000 attempts:99"), (Some(30), Some(5)));
        assert_eq!(read("options timeout:9\noptions timeout:2"), (Some(2), None), "the last word counts");
        for odd in ["options timeout", "options timeout:", "options timeout:-1 attempts:x", "timeout:3"] {
            assert_eq!(read(odd), (None, None), "{odd}");
        }
    }
}
