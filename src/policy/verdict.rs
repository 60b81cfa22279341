//! What policy answers: leave with its proof, or a denial that explains itself.
//!
//! Invariant: a [`NamePermit`] is made by a rule that names its host and port, and by nothing else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::name::{HOST_ALIAS, Host, HostName, Origin};

use super::address::SpecialUse;
use super::path::Path;
use super::permit::{DatagramPermit, Permit};
use super::reason::Reason;
use super::rule::Rule;
use super::service::{Reserved, Service};
use super::source::RuleSource;
use super::target::{is_localhost, is_web};

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

/// Why something was refused, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The cause.
    pub reason: Reason,
    /// What was asked for: `host:port` or `address:port`, for UDP with `/udp` behind it; `host/icmp` for an echo;
    /// a name alone for a DNS question.
    pub target: String,
    /// The rule that decided, or `default`.
    pub rule: String,
    /// The flag that would allow it.
    pub hint: String,
    /// Whether it is let by all the same, since the sandbox only observes.
    pub observed: bool,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, target, rule, hint, observed: _ } = self;
        write!(f, "{target} is refused: {reason} (rule: {rule}); to allow it: {hint}")
    }
}

/// What decided where no rule did.
const DEFAULT: &str = "default";
/// Octets of a path that a hint repeats.
const HINTED_PATH: usize = 160;

impl Denial {
    /// A rule that denies.
    pub(super) fn by_rule(target: &str, rule: &Rule) -> Self {
        // What is said for everything else is overruled by any leave.
        let hint = if matches!(rule.source(), RuleSource::Default(_)) && !target.contains(' ') {
            let web = target.strip_suffix(":443").or_else(|| target.strip_suffix(":80"));
            format!("--allow {}", web.unwrap_or(target))
        } else {
            "change that rule, or put one that allows it before".to_owned()
        };
        Self {
            reason: Reason::Rule,
            target: target.to_owned(),
            rule: rule.source().to_string(),
            hint,
            observed: false,
        }
    }

    /// The platform's rules allow nothing of the kind.
    pub(super) fn by_floor(host: &HostName, service: Service) -> Self {
        Self {
            reason: Reason::Floor,
            target: format!("{host}{service}"),
            rule: "floor".to_owned(),
            hint: "ask whoever runs this machine".to_owned(),
            observed: false,
        }
    }

    /// `rule` allows other requests to that host.
    pub(super) fn by_requests(origin: &Origin, (method, path): (&str, &Path<'_>), rule: &Rule) -> Self {
        let Origin { host, port, .. } = origin;
        let at = if is_web(*port) { String::new() } else { format!(":{port}") };
        let literal = path.readings().next().unwrap_or("/");
        // What a guest wrote is put before a person who may paste it.
        let is_plain = |c: char| c.is_ascii_graphic() && !"*?[]{}\\'`$".contains(c);
        let hint = if path.is_ambiguous() {
            "let the client write the path plainly, or allow what it can be read as".to_owned()
        } else if literal.len() <= HINTED_PATH && method.chars().chain(literal.chars()).all(is_plain) {
            format!("--rule 'allow {method} {host}{at} {literal}'")
        } else {
            format!("a [[rule]] for {host}{at} with a pattern that its method and path match")
        };
        Self {
            reason: Reason::Requests { is_ambiguous: path.is_ambiguous() },
            target: format!("{method} {origin}"),
            rule: rule.source().to_string(),
            hint,
            observed: false,
        }
    }

    /// No rule names `host`, or `named` does, at other ports.
    pub(super) fn by_name(host: &HostName, service: Service, named: Option<&Rule>) -> Self {
        let reason = match named {
            _ if host.is_host_alias() => Reason::HostLoopback,
            Some(rule) => match rule.services().protocols() {
                protocols if protocols.contains(&service.protocol()) => {
                    Reason::OtherPorts(rule.services().ports().to_string())
                }
                [other, ..] => Reason::OtherProtocol(*other),
                [] => Reason::NoRule,
            },
            None => Reason::NoRule,
        };
        let rule = named.map_or_else(|| DEFAULT.to_owned(), |rule| rule.source().to_string());
        // No rule can be about localhost; who means this machine is told its name.
        let allowed = if is_localhost(host) { HOST_ALIAS } else { host.as_str() };
        Self {
            reason,
            target: format!("{host}{service}"),
            rule,
            hint: allow_hint(allowed, service),
            observed: false,
        }
    }

    /// A UDP port that no rule opens, at a name or an address.
    pub(super) fn by_reservation(host: &str, port: u16, reserved: Reserved) -> Self {
        Self {
            reason: Reason::Reserved(reserved),
            target: format!("{host}{}", Service::Udp(port)),
            rule: "reserved ports".to_owned(),
            hint: reserved.instead("HOST"),
            observed: false,
        }
    }

    /// `host` has an address of the sandbox's own, which leads nowhere for this service.
    pub(super) fn sent_nowhere(host: &HostName, service: Service) -> Self {
        let hint = match service.port() {
            Some(port) => format!("--connect-to {host}:{port}:ADDR:PORT"),
            None => format!("drop --connect-to for {host}"),
        };
        Self {
            reason: Reason::NotSentAnywhere,
            target: format!("{host}{service}"),
            rule: format!("--connect-to {host}"),
            hint,
            observed: false,
        }
    }

    /// No rule names `host`, which was asked for by a DNS question.
    pub(super) fn by_question(host: &HostName) -> Self {
        let hint = format!("--allow {host}");
        Self {
            reason: Reason::NoRule,
            target: host.to_string(),
            rule: DEFAULT.to_owned(),
            hint,
            observed: false,
        }
    }

    /// `host` is allowed, `addr` is not one to be dialled.
    pub(super) fn by_special_use(
        host: &HostName,
        service: Service,
        addr: IpAddr,
        special: SpecialUse,
    ) -> Self {
        let hint = match service.port() {
            Some(port) => format!("--connect-to {host}:{port}:{}", SocketAddr::new(addr, port)),
            None => "echo requests go to public addresses alone".to_owned(),
        };
        Self {
            reason: Reason::SpecialUse { addr, special: Box::new(special) },
            target: format!("{host}{service}"),
            rule: "special-use addresses".to_owned(),
            hint,
            observed: false,
        }
    }

    /// It leads to `addr`, which is this machine's own and was not named; `target` is what was asked for.
    pub(crate) fn this_machine(target: String, service: Service, addr: IpAddr) -> Self {
        Self {
            reason: Reason::ThisMachine(addr),
            target,
            rule: "this machine's addresses".to_owned(),
            hint: format!("--allow {}{service}", Host::Address(addr)),
            observed: false,
        }
    }

    /// `host` is to be dialled at `to` and nowhere else.
    pub(super) fn by_redirection(host: &HostName, port: u16, to: SocketAddr) -> Self {
        Self {
            reason: Reason::NotWhereSent { to },
            target: format!("{host}:{port}"),
            rule: format!("--connect-to {host}:{port}:{to}"),
            hint: format!("drop --connect-to for {host}:{port}"),
            observed: false,
        }
    }

    /// An address without a name.
    pub(super) fn unbound(addr: IpAddr, service: Service) -> Self {
        Self {
            reason: Reason::Unbound,
            target: format!("{}{service}", Host::Address(addr)),
            rule: DEFAULT.to_owned(),
            hint: format!("{}, and let the client use the name", allow_hint("HOST", service)),
            observed: false,
        }
    }

    /// A flow without a name, where only the name can decide.
    pub(crate) fn nameless(destination: SocketAddr) -> Self {
        Self {
            reason: Reason::Nameless,
            target: destination.to_string(),
            rule: DEFAULT.to_owned(),
            hint: "let the client use a host name".to_owned(),
            observed: false,
        }
    }

    /// A request for an address.
    pub(crate) fn addressed(host: &Host, port: u16) -> Self {
        Self {
            reason: Reason::Address,
            target: format!("{host}:{port}"),
            rule: DEFAULT.to_owned(),
            hint: format!("{}, and let the client use the name", allow_hint("HOST", Service::Tcp(port))),
            observed: false,
        }
    }

    /// A protocol that is neither HTTP nor TLS around it, where nothing else is relayed.
    pub(crate) fn uninspectable(target: String) -> Self {
        Self {
            reason: Reason::Uninspectable,
            target,
            rule: DEFAULT.to_owned(),
            hint: "pass the host through ([tls] passthrough), or use a port other than 80 and 443".to_owned(),
            observed: false,
        }
    }

    /// The host alias at an address that is not this machine's loopback.
    pub(super) fn not_loopback(addr: IpAddr, service: Service) -> Self {
        Self {
            reason: Reason::HostLoopback,
            target: format!("{}{service}", Host::Address(addr)),
            rule: DEFAULT.to_owned(),
            hint: format!("--allow {HOST_ALIAS}{service}"),
            observed: false,
        }
    }
}

fn allow_hint(host: &str, service: Service) -> String {
    match service {
        Service::Tcp(port) if is_web(port) && host != HOST_ALIAS => format!("--allow {host}"),
        Service::Tcp(_) | Service::Udp(_) | Service::Icmp => format!("--allow {host}{service}"),
    }
}
