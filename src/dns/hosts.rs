//! The host's own files: names in `/etc/hosts`, nameservers in `/etc/resolv.conf`.
//!
//! Reading of text alone; an entry that cannot be read is passed over, as the C library does. Invariant: a
//! name of the hosts file is canonical, or it is not there.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::name::HostName;

/// Names of a hosts file and their addresses, in its order.
pub(super) type Hosts = HashMap<HostName, Vec<IpAddr>>;

/// What `/etc/resolv.conf` says of nameservers. Its search lists are ignored: a guest asks for whole names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ResolvConf {
    /// In the order to ask.
    pub(super) servers: Vec<SocketAddr>,
    /// `options timeout:`, where it is there.
    pub(super) timeout: Option<Duration>,
    /// `options attempts:`, where it is there.
    pub(super) attempts: Option<u32>,
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
                let addr = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                if let Some(addr) = addr.filter(|_| conf.servers.len() < MAX_NAMESERVERS) {
                    conf.servers.push(SocketAddr::new(addr, PORT));
                }
            }
            Some("options") => words.for_each(|option| conf.option(option)),
            Some(_) | None => {}
        }
    }
    conf
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
        let expected: Vec<SocketAddr> = ["127.0.0.53:53", "[2001:4860:4860::8888]:53", "1.1.1.1:53"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(conf, ResolvConf { servers: expected, ..ResolvConf::default() });
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
