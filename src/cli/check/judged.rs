//! The verdict on what was asked, and its words.
//!
//! Invariant: every denial says its reason, its rule and what would allow it.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::asked::{Asked, Refused};
use super::upstream;
use crate::config::Config;
use crate::name::{HostName, Origin, Scheme};
use crate::policy::{Denial, Policy, Service};

/// What would become of it.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(in crate::cli) enum Judged {
    /// It would be let by.
    Allowed {
        request: String,
        rule: String,
        /// What holds of its address.
        address: String,
        /// What else is to know.
        notes: Vec<String>,
        /// Nothing for what is no request of the guest's.
        #[serde(skip_serializing_if = "Option::is_none")]
        secrets: Option<Vec<Given>>,
    },
    /// It would not.
    Denied {
        /// Nothing where it cannot be written down safely.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        reason: String,
        rule: String,
        #[serde(rename = "allow_with")]
        hint: String,
        /// What else is to know.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
}

/// A secret that would be injected where its placeholder is.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Given {
    secret: String,
    places: Vec<String>,
}

/// What policy says of it.
struct Leave {
    rule: String,
    address: String,
}

/// Judges what is asked by the policy of `config`, at `address` where one is given.
pub(in crate::cli) fn judge(config: &Config, asked: &Asked, address: Option<IpAddr>) -> Judged {
    if let Some(denied) = own_dns(asked) {
        return denied;
    }
    let policy = config.policy();
    match leave(&policy, asked, address) {
        Ok(Leave { rule, address }) => Judged::Allowed {
            request: asked.to_string(),
            rule,
            address,
            notes: notes(&policy, asked),
            secrets: Some(secrets(config, &policy, asked)),
        },
        Err(denial) => Judged::denied(asked.to_string(), denial),
    }
}

/// TCP ports at which the sandbox's own DNS answers, to whatever address: in the clear and under TLS.
const DNS: [u16; 2] = [53, 853];

/// Policy is not asked about what never gets out.
fn own_dns(asked: &Asked) -> Option<Judged> {
    let port = match asked {
        Asked::Request { origin, .. } => origin.port,
        Asked::Name(_, Service::Tcp(port)) | Asked::Address(_, Service::Tcp(port)) => *port,
        Asked::Name(_, Service::Udp(_) | Service::Icmp)
        | Asked::Address(_, Service::Udp(_) | Service::Icmp) => {
            return None;
        }
    };
    DNS.contains(&port).then(|| Judged::Denied {
        request: Some(asked.to_string()),
        reason: format!("TCP port {port} is answered by the sandbox's own DNS"),
        rule: "reserved ports".to_owned(),
        hint: "nothing does; set [net] nameservers to choose who is asked".to_owned(),
        notes: Vec::new(),
    })
}

fn leave(policy: &Policy, asked: &Asked, addr: Option<IpAddr>) -> Result<Leave, Denial> {
    match asked {
        Asked::Request { method, origin, target } => request(policy, origin, (method, target), addr),
        Asked::Name(host, service) => {
            let rule = policy.at_service(host, *service).into_result()?.source().to_string();
            if let Some(addr) = dialled(policy, (host, *service), addr) {
                policy.at_service_addr(host, *service, addr).into_result()?;
            }
            Ok(Leave { rule, address: told(policy, host, *service, addr) })
        }
        Asked::Address(own, service) => {
            let rule = policy.at_nameless(*own, *service).into_result()?.source().to_string();
            Ok(Leave { rule, address: format!("{own}, allowed by itself") })
        }
    }
}

/// Step by step as the proxy does it: the name, its address, then what is asked.
fn request(
    policy: &Policy,
    origin: &Origin,
    (method, target): (&str, &str),
    addr: Option<IpAddr>,
) -> Result<Leave, Denial> {
    let permit = policy.at_name(origin).into_result()?;
    let service = Service::Tcp(origin.port);
    let address = told(policy, &origin.host, service, addr);
    let addr = dialled(policy, (&origin.host, service), addr);
    if let Some(addr) = addr {
        drop(policy.at_addr(&permit, addr).into_result()?);
    }
    if policy.is_passed_through(&origin.host) && origin.scheme == Scheme::Https {
        policy.at_unread(&permit, addr).into_result()?;
        return Ok(Leave { rule: permit.rule().to_string(), address });
    }
    let rule = policy.at_request(origin, addr, (method, target)).into_result()?;
    Ok(Leave { rule: rule.source().to_string(), address })
}

/// The address to be judged: the one that is asked about, or an operator's, which a floor may deny.
fn dialled(policy: &Policy, (host, service): (&HostName, Service), addr: Option<IpAddr>) -> Option<IpAddr> {
    let sent = || service.port().and_then(|port| policy.connect_to(host, port)).map(|to| to.ip());
    addr.or_else(sent)
}

fn told(policy: &Policy, host: &HostName, service: Service, addr: Option<IpAddr>) -> String {
    let sent = service.port().and_then(|port| policy.connect_to(host, port));
    match (addr, sent) {
        (Some(addr), _) => format!("{addr}, allowed"),
        (None, Some(to)) => format!("{to}, by --connect-to"),
        (None, None) if host.is_host_alias() => "this machine's loopback".to_owned(),
        (None, None) => "not judged, the name is not resolved here".to_owned(),
    }
}

fn notes(policy: &Policy, asked: &Asked) -> Vec<String> {
    let mut notes = match asked {
        Asked::Request { origin, .. } => upstream::describe(policy, origin),
        Asked::Name(..) | Asked::Address(..) => Vec::new(),
    };
    match asked {
        Asked::Request { origin, .. }
            if policy.is_passed_through(&origin.host) && origin.scheme == Scheme::Https =>
        {
            notes.push(
                "passed through: never decrypted, no secrets; method and path are not judged".to_owned(),
            );
        }
        Asked::Name(host, Service::Tcp(port)) => {
            if policy.reads_requests_of(host) {
                notes.push("requests: some rules are about methods and paths; ask with a URL".to_owned());
            }
            if !matches!(port, 80 | 443) && !host.is_host_alias() {
                notes.push("names: it counts while the guest has looked the name up".to_owned());
            }
        }
        Asked::Address(_, Service::Tcp(80 | 443)) => {
            notes.push("names: one that the flow carries is judged instead".to_owned());
        }
        Asked::Request { .. } | Asked::Name(_, Service::Udp(_) | Service::Icmp) | Asked::Address(_, _) => {}
    }
    notes
}

fn secrets(config: &Config, policy: &Policy, asked: &Asked) -> Vec<Given> {
    let Asked::Request { origin: Origin { scheme: Scheme::Https, host, port }, .. } = asked else {
        return Vec::new();
    };
    if policy.is_passed_through(host) {
        return Vec::new();
    }
    let held = config
        .secrets
        .iter()
        .filter(|secret| secret.hosts.iter().any(|(pattern, at)| at == port && pattern.matches(host)));
    held.map(|secret| Given { secret: secret.name.clone(), places: secret.swap.clone() }).collect()
}

impl Judged {
    pub(in crate::cli) fn refused(refused: &Refused) -> Self {
        Self::Denied {
            request: None,
            reason: refused.to_string(),
            rule: refused.rule().to_owned(),
            hint: refused.hint().to_owned(),
            notes: Vec::new(),
        }
    }

    pub(super) fn denied(request: String, denial: Denial) -> Self {
        let Denial { reason, rule, hint, .. } = denial;
        let (request, reason) = (Some(request), reason.to_string());
        Self::Denied { request, reason, rule, hint, notes: Vec::new() }
    }

    /// With these notes.
    pub(super) fn with(mut self, told: Vec<String>) -> Self {
        match &mut self {
            Self::Allowed { notes, .. } | Self::Denied { notes, .. } => *notes = told,
        }
        self
    }

    pub(in crate::cli) fn is_allowed(&self) -> bool {
        match self {
            Self::Allowed { .. } => true,
            Self::Denied { .. } => false,
        }
    }

    /// The rule that decided.
    pub(in crate::cli) fn rule(&self) -> &str {
        match self {
            Self::Allowed { rule, .. } | Self::Denied { rule, .. } => rule,
        }
    }

    /// For people: a word, then a line for each thing to know.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Allowed { request, rule, address, notes, secrets } => {
                writeln!(out, "allowed {request}\nrule: {rule}\naddress: {address}")?;
                for note in notes {
                    writeln!(out, "{note}")?;
                }
                for Given { secret, places } in secrets.iter().flatten() {
                    writeln!(out, "secret: {secret} in {}", places.join(", "))?;
                }
                let none = secrets.as_ref().is_some_and(Vec::is_empty);
                if none { writeln!(out, "secrets: none") } else { Ok(()) }
            }
            Self::Denied { request, reason, rule, hint, notes } => {
                let request = request.as_ref().map(|request| format!(" {request}")).unwrap_or_default();
                writeln!(out, "denied{request}\nreason: {reason}\nrule: {rule}\nto allow it: {hint}")?;
                notes.iter().try_for_each(|note| writeln!(out, "{note}"))
            }
        }
    }
}
