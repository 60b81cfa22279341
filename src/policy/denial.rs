//! Denials, which explain themselves: what was refused, why, by which rule, and what would allow it.
//!
//! Words for people; it judges nothing. Invariant: every denial has a hint that a person can follow, and a text that a
//! guest chose is in its target alone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::name::{HOST_ALIAS, Host, HostName, Origin};

use super::address::{self, Kind, SpecialUse};
use super::judge::{Blocked, Layer};
use super::path::Path;
use super::reason::Reason;
use super::requests::Requests;
use super::rule::Rule;
use super::service::{Reserved, Service};
use super::target::{is_localhost, is_web};

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

/// Whom to ask for what the platform's rules do not allow.
const PLATFORM: &str = "ask whoever runs this machine";
/// What decided where no rule did.
const DEFAULT: &str = "default";
/// What decided of an address that only a rule about it opens.
const SPECIAL: &str = "special-use addresses";
/// Octets of a path that a hint repeats.
const HINTED_PATH: usize = 160;

impl Denial {
    /// A rule that denies.
    pub(super) fn by_rule(target: String, rule: &Rule, layer: Layer) -> Self {
        let source = rule.source();
        let (reason, rule, hint) = match layer {
            Layer::Floor => (Reason::Floor, format!("floor {source}"), PLATFORM),
            Layer::Own => {
                (Reason::Rule, source.to_string(), "change that rule, or put one that allows it before")
            }
        };
        Self { reason, target, rule, hint: hint.to_owned(), observed: false }
    }

    /// The platform's rules allow nothing of the kind.
    pub(super) fn by_floor(target: String) -> Self {
        let (rule, hint) = ("floor".to_owned(), PLATFORM.to_owned());
        Self { reason: Reason::Floor, target, rule, hint, observed: false }
    }

    /// Rules say who may come in, and none of them means this peer.
    pub(super) fn by_ingress(target: String, peer: IpAddr, service: Service) -> Self {
        Self {
            reason: Reason::Peer,
            target,
            rule: DEFAULT.to_owned(),
            hint: format!("--rule 'allow ingress {}{service}'", Host::Address(peer)),
            observed: false,
        }
    }

    /// What no name opened is not allowed by its address.
    pub(super) fn of_address(addr: IpAddr, service: Service, blocked: Blocked<'_>) -> Self {
        let target = format!("{}{service}", Host::Address(addr));
        match blocked {
            Blocked::By(rule, layer) => Self::by_rule(target, rule, layer),
            Blocked::Unmentioned(Layer::Floor) => Self::by_floor(target),
            Blocked::Unmentioned(Layer::Own) => Self::unbound(addr, service),
            Blocked::Special(of, special) => Self {
                reason: Reason::SpecialAddress { addr: of, special: Box::new(special) },
                target,
                rule: SPECIAL.to_owned(),
                hint: by_itself(addr, service),
                observed: false,
            },
        }
    }

    /// `rule` allows other requests to that host.
    pub(super) fn by_requests(origin: &Origin, (method, path): (&str, &Path<'_>), rule: &Rule) -> Self {
        let Origin { host, port, .. } = origin;
        let at = if is_web(*port) { String::new() } else { format!(":{port}") };
        let canonical = path.readings().next().unwrap_or("/");
        // What a guest wrote is put before a person who may paste it.
        let is_plain = |c: char| c.is_ascii_graphic() && !"*?[]{}\\'`$".contains(c);
        let is_told = canonical.len() <= HINTED_PATH
            && method.chars().chain(canonical.chars()).all(is_plain)
            && Requests::new([method], [canonical]).is_ok();
        let hint = if is_told {
            format!("--rule 'allow {method} {host}{at} {canonical}'")
        } else {
            format!("a [[rule]] for {host}{at} with a pattern that its method and path match")
        };
        let reason = Reason::Requests { is_ambiguous: false };
        Self { reason, hint, ..Self::by_reading(origin, method, rule) }
    }

    /// `rule` allows it as some servers read its path, and not as others do.
    pub(super) fn by_reading(origin: &Origin, method: &str, rule: &Rule) -> Self {
        Self {
            reason: Reason::Requests { is_ambiguous: true },
            target: format!("{method} {origin}"),
            rule: rule.source().to_string(),
            hint: "let the client write the path plainly, or allow what it can be read as".to_owned(),
            observed: false,
        }
    }

    /// The leave that came with a secret gave way to `rule`s about requests, which do not allow this.
    pub(super) fn by_displaced(host: &HostName, service: Service, rule: &Rule) -> Self {
        Self {
            reason: Reason::Displaced,
            target: format!("{host}{service}"),
            rule: rule.source().to_string(),
            hint: format!("{}, for what those rules say nothing about", allow_hint(host.as_str(), service)),
            observed: false,
        }
    }

    /// `rule` allows some requests, and what this is nobody will read.
    pub(super) fn by_unread(host: &HostName, service: Service, rule: &Rule) -> Self {
        Self {
            reason: Reason::Unread,
            target: format!("{host}{service}"),
            rule: rule.source().to_string(),
            hint: format!("{}, for all that goes there", allow_hint(host.as_str(), service)),
            observed: false,
        }
    }

    /// No rule names `host`, or `named` does, at other ports.
    pub(super) fn by_name(host: &HostName, service: Service, named: Option<&Rule>) -> Self {
        let reason = match named {
            _ if host.is_host_alias() => Reason::HostLoopback,
            Some(rule) => match rule.services().protocols() {
                protocols if protocols.contains(&service.protocol()) => {
                    let ports = rule.services().ports();
                    let word = if ports.only().is_some() { "port" } else { "ports" };
                    Reason::OtherPorts(format!("{word} {ports}"))
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
            hint: reserved.instead(if HostName::parse(host).is_ok() { host } else { "HOST" }),
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
            _ if special.kind == Kind::Metadata => "only a rule for that very address opens it".to_owned(),
            Some(port) => format!("--connect-to {host}:{port}:{}", SocketAddr::new(addr, port)),
            None => by_itself(addr, service),
        };
        Self {
            reason: Reason::SpecialUse { addr, special: Box::new(special) },
            target: format!("{host}{service}"),
            rule: SPECIAL.to_owned(),
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
            hint: by_itself(addr, service),
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
    fn unbound(addr: IpAddr, service: Service) -> Self {
        let hint = by_name_or_address(addr, service);
        Self { hint, ..Self::forgotten(addr, service) }
    }

    /// An address of the sandbox's own, which stands for no name any more.
    pub(super) fn forgotten(addr: IpAddr, service: Service) -> Self {
        Self {
            reason: Reason::Unbound,
            target: format!("{}{service}", Host::Address(addr)),
            rule: DEFAULT.to_owned(),
            hint: by_name(service),
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

    /// A request for an address, on a flow to `destination` that is not one of the sandbox's own, if any.
    pub(crate) fn addressed(host: &Host, port: u16, destination: Option<IpAddr>) -> Self {
        let service = Service::Tcp(port);
        Self {
            reason: Reason::Address,
            target: format!("{host}:{port}"),
            rule: DEFAULT.to_owned(),
            hint: destination.map_or_else(|| by_name(service), |addr| by_name_or_address(addr, service)),
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

fn by_name(service: Service) -> String {
    format!("{}, and let the client use the name", allow_hint("HOST", service))
}

/// A name never leads to an address of special use by itself.
fn by_name_or_address(addr: IpAddr, service: Service) -> String {
    if address::special_use(addr).is_some() {
        return by_itself(addr, service);
    }
    format!("{}; or, by its address, {}", by_name(service), by_itself(addr, service))
}

/// The flags that open an address, whatever is there, and those that it carries.
fn by_itself(addr: IpAddr, service: Service) -> String {
    let mut forms: Vec<IpAddr> = address::carried(addr).map(IpAddr::V4).chain([addr]).collect();
    forms.sort_unstable();
    forms.dedup();
    let flags = forms.iter().map(|form| format!("--allow {}{service}", Host::Address(*form)));
    flags.collect::<Vec<_>>().join(" ")
}

fn allow_hint(host: &str, service: Service) -> String {
    match service {
        Service::Tcp(port) if is_web(port) && host != HOST_ALIAS => format!("--allow {host}"),
        Service::Tcp(_) | Service::Udp(_) | Service::Icmp => format!("--allow {host}{service}"),
    }
}
