//! What policy answers: leave with its proof, or a denial.
//!
//! Invariant: a [`NamePermit`] is made by a rule that names its host and port, and by nothing else.

use std::sync::Arc;

use crate::name::HostName;

use super::denial::Denial;
use super::permit::{DatagramPermit, Permit};
use super::rule::Rule;
use super::source::RuleSource;

/// Allowed, with the proof; or denied, with the reason.
#[derive(Debug)]
#[must_use = "a verdict that is not obeyed is a hole"]
pub enum Verdict<T> {
    /// Allowed.
    Allow(T),
    /// Denied.
    Deny(Denial),
}

impl<T> Verdict<T> {
    /// The verdict as a `Result`, for `?` where a denial ends the way.
    pub fn into_result(self) -> Result<T, Denial> {
        match self {
            Self::Allow(proof) => Ok(proof),
            Self::Deny(denial) => Err(denial),
        }
    }
}

/// Proof that a rule allows this host at this TCP port; which address it has is not judged yet.
#[derive(Clone, Debug)]
#[must_use = "a name permit leads to a dial or is a decision thrown away"]
pub struct NamePermit {
    host: HostName,
    port: u16,
    rule: Arc<Rule>,
}

impl NamePermit {
    pub(super) fn new(host: HostName, port: u16, rule: Arc<Rule>) -> Self {
        Self { host, port, rule }
    }

    /// The host allowed.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The port allowed.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the rule was written.
    #[must_use]
    pub fn rule(&self) -> &RuleSource {
        self.rule.source()
    }
}

/// What to do with a SYN.
#[derive(Debug)]
#[must_use = "a SYN waits for it"]
pub enum AtSyn {
    /// Accept, and judge by the name the flow carries.
    Sniff,
    /// Dial first, in this order, and accept when one connects. TLS and HTTP then go by the name they carry.
    DialFirst {
        /// The destinations, each judged.
        permits: Vec<Permit>,
        /// What opened it.
        opened: Opened,
    },
    /// The same by the name alone: a proxy finds its addresses.
    DialByName(NamePermit),
    /// Answer with RST.
    Refuse(Denial),
}

/// What opened a flow before anything was known of what it carries.
#[derive(Debug)]
pub enum Opened {
    /// Names that DNS bound to its address; never none.
    Names(Vec<NamePermit>),
    /// A rule about its address.
    Address(Arc<Rule>),
}

/// What to do with the first datagram of an association; `A` is the kind of address it goes to.
#[derive(Debug)]
#[must_use = "a datagram waits for it"]
pub enum AtDatagram<A> {
    /// Relay to this one, or to the next of the others where it refuses before it has answered anything.
    Dial(DatagramPermit<A>, Vec<DatagramPermit<A>>),
    /// Answer with an ICMP error.
    Refuse(Denial),
}

/// What a DNS question may get.
#[derive(Debug)]
pub enum AtQuestion {
    /// The gateway's addresses: it is the host alias.
    Gateway,
    /// The guest's own loopback: it is `localhost`.
    Loopback,
    /// An address of the sandbox's mapped range: allowed, but reached by `--connect-to`, or by a proxy that resolves.
    Map,
    /// What the host's resolvers know.
    Forward,
    /// An address of the mapped range, where the denial can be explained.
    Deny(Denial),
    /// No such name: a rule denies it.
    Forbid(Denial),
}
