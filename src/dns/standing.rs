//! What is remembered of nameservers: who failed lately, and who does not understand how we ask.
//!
//! It asks nobody and logs nothing: it says what would be news. Invariant: only servers that may still be asked are
//! remembered, nothing of them for longer than [`Limits`] says, and of each there are at most two pieces of news in
//! [`Limits::dns_nameserver_rest`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::limits::Limits;

use super::answer::Manner;

/// Of all nameservers of one sandbox.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Those that failed, and until when they are asked last.
    resting: HashMap<SocketAddr, Instant>,
    /// Those that are spoken to in another manner than others, and until when.
    manners: HashMap<SocketAddr, (Manner, Instant)>,
    /// Those that people were told of.
    told: HashMap<SocketAddr, Told>,
}

/// What people were told of a server last.
#[derive(Debug)]
struct Told {
    failing: bool,
    /// Before that it may fail anew without a word: who flaps is told of once in a while.
    quiet_until: Instant,
}

impl Standing {
    /// Sorts those that failed lately to the end, and forgets all other servers.
    pub(super) fn order(&mut self, servers: &mut [SocketAddr], now: Instant) {
        self.resting.retain(|server, until| *until > now && servers.contains(server));
        self.manners.retain(|server, (_, until)| *until > now && servers.contains(server));
        let is_known = |told: &Told| told.failing || told.quiet_until > now;
        self.told.retain(|server, told| is_known(told) && servers.contains(server));
        servers.sort_by_key(|server| self.resting.contains_key(server));
    }

    /// It failed; whether that is news.
    #[must_use = "people are to hear of it"]
    pub(super) fn failed(&mut self, server: SocketAddr, limits: &Limits, now: Instant) -> bool {
        let rested = now + limits.dns_nameserver_rest;
        self.resting.insert(server, rested);
        let is_news = self.told.get(&server).is_none_or(|told| !told.failing && told.quiet_until <= now);
        if is_news {
            self.told.insert(server, Told { failing: true, quiet_until: rested });
        }
        is_news
    }

    /// It answered, when spoken to in this manner; whether that is news.
    #[must_use = "people are to hear of it"]
    pub(super) fn answered(
        &mut self,
        server: SocketAddr,
        manner: Manner,
        (limits, now): (&Limits, Instant),
    ) -> bool {
        self.resting.remove(&server);
        if manner != self.manner(server) {
            self.manners.insert(server, (manner, now + limits.dns_nameserver_memory));
        }
        self.told.get_mut(&server).is_some_and(|told| std::mem::take(&mut told.failing))
    }

    /// How it is to be spoken to.
    pub(super) fn manner(&self, server: SocketAddr) -> Manner {
        self.manners.get(&server).map(|(manner, _)| *manner).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_and_manners_are_remembered_for_their_time() {
        let (limits, now) = (Limits::default(), tokio::time::Instant::now().into_std());
        let [one, two, three] = ["9.9.9.1:53", "9.9.9.2:53", "9.9.9.3:53"].map(|text| text.parse().unwrap());
        let mut standing = Standing::default();
        let plain = Manner { edns: false, mixed: false };
        assert!(standing.failed(one, &limits, now));
        assert!(!standing.answered(two, plain, (&limits, now)));
        let order = |standing: &mut Standing, now| {
            let mut servers = [one, two, three];
            standing.order(&mut servers, now);
            servers
        };
        assert_eq!(order(&mut standing, now), [two, three, one]);
        assert_eq!((standing.manner(one), standing.manner(two)), (Manner::default(), plain));
        assert_eq!(order(&mut standing, now + limits.dns_nameserver_rest), [one, two, three]);
        let later = now + limits.dns_nameserver_memory - Duration::from_secs(1);
        order(&mut standing, later);
        // Each answer in the same manner is no new reason to believe it.
        assert!(!standing.answered(two, plain, (&limits, later)));
        order(&mut standing, now + limits.dns_nameserver_memory);
        assert_eq!(standing.manner(two), Manner::default());
    }

    #[test]
    fn servers_that_are_asked_no_more_are_forgotten() {
        let (limits, now) = (Limits::default(), tokio::time::Instant::now().into_std());
        let mut standing = Standing::default();
        for port in 1..100 {
            let server = SocketAddr::from(([9, 9, 9, 9], port));
            assert!(standing.failed(server, &limits, now));
            assert!(standing.answered(server, Manner { edns: false, mixed: true }, (&limits, now)));
            assert!(!standing.failed(server, &limits, now));
        }
        standing.order(&mut [SocketAddr::from(([9, 9, 9, 9], 5))], now);
        assert_eq!((standing.resting.len(), standing.manners.len(), standing.told.len()), (1, 1, 1));
    }

    #[test]
    fn a_server_is_news_when_it_begins_to_fail_and_when_it_answers_again() {
        let (limits, mut now) = (Limits::default(), tokio::time::Instant::now().into_std());
        let server = SocketAddr::from(([9, 9, 9, 9], 53));
        let mut standing = Standing::default();
        let answered =
            |standing: &mut Standing, now| standing.answered(server, Manner::default(), (&limits, now));
        assert!(!answered(&mut standing, now), "it never failed");
        assert!(standing.failed(server, &limits, now));
        for _ in 0..5 {
            now += limits.dns_nameserver_rest * 2;
            standing.order(&mut [server], now);
            assert!(!standing.failed(server, &limits, now), "it fails still");
        }
        assert!(answered(&mut standing, now));
        assert!(!answered(&mut standing, now));
        assert!(standing.failed(server, &limits, now), "the last word about it was long ago");
        let mut news = 0;
        for _ in 0..1_000 {
            news += usize::from(answered(&mut standing, now))
                + usize::from(standing.failed(server, &limits, now));
        }
        assert_eq!(news, 1, "a server that flaps");
    }
}
