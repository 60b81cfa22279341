//! What is remembered of nameservers: who failed lately, and who does not understand how we ask.
//!
//! It asks nobody. Invariant: only servers that may still be asked are remembered, and nothing of them for longer than
//! [`Limits`] says.

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
}

impl Standing {
    /// Sorts those that failed lately to the end, and forgets all other servers.
    pub(super) fn order(&mut self, servers: &mut [SocketAddr], now: Instant) {
        self.resting.retain(|server, until| *until > now && servers.contains(server));
        self.manners.retain(|server, (_, until)| *until > now && servers.contains(server));
        servers.sort_by_key(|server| self.resting.contains_key(server));
    }

    /// It failed.
    pub(super) fn failed(&mut self, server: SocketAddr, limits: &Limits, now: Instant) {
        self.resting.insert(server, now + limits.dns_nameserver_rest);
    }

    /// It answered, when spoken to in this manner.
    pub(super) fn answered(&mut self, server: SocketAddr, manner: Manner, (limits, now): (&Limits, Instant)) {
        self.resting.remove(&server);
        if manner != self.manner(server) {
            self.manners.insert(server, (manner, now + limits.dns_nameserver_memory));
        }
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
        standing.failed(one, &limits, now);
        standing.answered(two, plain, (&limits, now));
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
        standing.answered(two, plain, (&limits, later));
        order(&mut standing, now + limits.dns_nameserver_memory);
        assert_eq!(standing.manner(two), Manner::default());
    }

    #[test]
    fn servers_that_are_asked_no_more_are_forgotten() {
        let (limits, now) = (Limits::default(), tokio::time::Instant::now().into_std());
        let mut standing = Standing::default();
        for port in 1..100 {
            let server = SocketAddr::from(([9, 9, 9, 9], port));
            standing.failed(server, &limits, now);
            standing.answered(server, Manner { edns: false, mixed: true }, (&limits, now));
            standing.failed(server, &limits, now);
        }
        standing.order(&mut [SocketAddr::from(([9, 9, 9, 9], 5))], now);
        assert_eq!((standing.resting.len(), standing.manners.len()), (1, 1));
    }
}
