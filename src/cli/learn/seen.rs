//! What an audit file tells that a guest did.
//!
//! It trusts no text of it: a guest chose most of them. Invariant: it keeps `Limits::learned` of each kind at most, and
//! only what is a rule by itself.

use std::collections::BTreeMap;

use crate::audit::{Line, Told};
use crate::limits::Limits;
use crate::name::{Authority, Host, HostPattern, Origin, Scheme};
use crate::policy::{Action, Destination, Policy, Ports, Protocol, Rule, RuleError, RuleSource, Verdict};

/// Octets from which a text in a record may have been cut.
const CUT: usize = 256;

/// Leave that was, or would have been, made use of, with how often.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Flows by what would allow them, as in `[net] allow`.
    pub(super) flows: BTreeMap<String, Count>,
    /// Hosts that were never decrypted.
    pub(super) passed_through: BTreeMap<String, Count>,
    /// Requests by the flow's text, then by method and path.
    pub(super) requests: BTreeMap<String, BTreeMap<(String, String), Count>>,
    /// What no rule of these kinds would have allowed, and why.
    pub(super) unwritten: BTreeMap<String, Count>,
    /// What there was no room for.
    pub(super) left_out: u64,
    most: usize,
}

/// How often something was seen: as it was let by, and as it was denied or told of. Mostly both tell of the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    let_by: u64,
    denied: u64,
}

impl Count {
    pub(super) fn total(self) -> u64 {
        self.let_by.max(self.denied)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { let_by: self.let_by + other.let_by, denied: self.denied + other.denied }
    }
}

/// How a record tells of something.
#[derive(Clone, Copy, Debug)]
enum Way {
    LetBy,
    Denied,
}

/// Which denials count as seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// Those that were only observed.
    Observed,
    /// Real ones too.
    All,
}

impl Seen {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { most: limits.learned, ..Self::default() }
    }

    /// Takes a record in.
    pub(super) fn take(&mut self, line: Line, denied: Denied) {
        match line.event.as_str() {
            "flow" => self.take_flow(&line),
            "request" => self.take_request(&line),
            "denial" => {
                if let Some(told) = line.denial().filter(|told| told.observed || denied == Denied::All) {
                    self.take_denial(&told);
                }
            }
            _ => {}
        }
    }

    /// One without a rule was refused, and its denial says so.
    fn take_flow(&mut self, line: &Line) {
        let (Some(kind), Some(destination), Some(_)) = (&line.kind, &line.destination, &line.rule) else {
            return;
        };
        let Some((address, port)) = destination.rsplit_once(':') else { return };
        let host = line.host.as_deref().unwrap_or(address);
        let target = match kind.as_str() {
            "https" | "http" | "opaque" => format!("{host}:{port}"),
            "passthrough" => {
                add(&mut self.passed_through, (host.to_owned(), Way::LetBy), self.most, &mut self.left_out);
                format!("{host}:{port}")
            }
            "udp" => format!("{host}:{port}/udp"),
            "icmp" => format!("{host}/icmp"),
            _ => return,
        };
        self.add_flow(&target, Way::LetBy);
    }

    /// What was denied is for its denial to tell of.
    fn take_request(&mut self, line: &Line) {
        if line.denial.is_some() {
            return;
        }
        let (Some(method), Some(origin), Some(path)) = (&line.method, &line.origin, &line.path) else {
            return;
        };
        self.add_request(method, (origin, path), Way::LetBy);
    }

    fn take_denial(&mut self, told: &Told) {
        let Told { target, rule, hint, .. } = told;
        if let Some((method, url)) = target.split_once(' ').filter(|(_, url)| url.contains("://")) {
            // What is no request, or holds a placeholder in a wrong place, is not for rules to allow.
            if rule.starts_with("http_request_") {
                return;
            }
            let start = url.find("://").map_or(0, |at| at + 3);
            let end = url.get(start..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| at + start);
            let (origin, path) = url.split_at(end);
            if let Some(known) = origin_of(origin) {
                self.add_flow(&flow_of(&known), Way::Denied);
            }
            let path = if path.is_empty() { "/" } else { path };
            return self.add_request(method, (origin, path), Way::Denied);
        }
        // A name that was only looked up: what it was for is told by its flows.
        if !target.contains([':', '/']) {
            return;
        }
        if rule == "special-use addresses" {
            return self.leave_unwritten(&format!("{target}: {}; {hint}", told.reason));
        }
        self.add_flow(target, Way::Denied);
    }

    fn add_flow(&mut self, text: &str, way: Way) {
        match Rule::allowing(text, RuleSource::Owner) {
            Ok(rule) if is_one(&rule) && text.len() < CUT => {
                add(&mut self.flows, (text.to_owned(), way), self.most, &mut self.left_out);
            }
            Ok(_) => self.leave_unwritten(&format!("{text}: no guest can ask for that")),
            Err(error) => self.leave_unwritten(&format!("{text}: {error}")),
        }
    }

    fn leave_unwritten(&mut self, text: &str) {
        add(&mut self.unwritten, (text.to_owned(), Way::Denied), self.most, &mut self.left_out);
    }

    fn add_request(&mut self, method: &str, (origin, target): (&str, &str), way: Way) {
        let Some(known_origin) = origin_of(origin) else { return };
        let (flow, glob) = (flow_of(&known_origin), glob(target));
        let rule = match request_rule(&flow, method, [glob.as_str()]) {
            Ok(rule) => rule,
            Err(error) => return self.leave_unwritten(&format!("{method} {origin}{target}: {error}")),
        };
        let policy = Policy::builder().rule(rule).build();
        if let Verdict::Deny(denial) = policy.at_request(&known_origin, None, (method, target)) {
            return self.leave_unwritten(&format!("{method} {origin}{target}: {}", denial.reason));
        }
        let known = self.requests.len();
        if known >= self.most && !self.requests.contains_key(&flow) {
            self.left_out += 1;
            return;
        }
        let own = self.requests.entry(flow).or_default();
        add(own, ((method.to_owned(), glob), way), self.most, &mut self.left_out);
    }
}

/// Whether it is about one service of one host, as a flow is.
fn is_one(rule: &Rule) -> bool {
    let is_one_host = match rule.destination() {
        Destination::Host(HostPattern::Exact(_)) => true,
        Destination::Subnet(subnet) => subnet.only().is_some(),
        Destination::Any | Destination::Host(HostPattern::Below(_)) | Destination::Group(_) => false,
    };
    let services = rule.services();
    is_one_host && (services.ports().only().is_some() || *services.protocols() == [Protocol::Icmp])
}

fn add<K: Ord>(counts: &mut BTreeMap<K, Count>, (key, way): (K, Way), most: usize, left_out: &mut u64) {
    if counts.len() >= most && !counts.contains_key(&key) {
        *left_out += 1;
        return;
    }
    let count = counts.entry(key).or_default();
    match way {
        Way::LetBy => count.let_by += 1,
        Way::Denied => count.denied += 1,
    }
}

fn origin_of(text: &str) -> Option<Origin> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return None,
    };
    let Authority { host: Host::Name(host), port } = Authority::parse(authority).ok()? else { return None };
    Some(Origin { scheme, host, port: port.unwrap_or_else(|| scheme.default_port()) })
}

/// As `[net] allow` has it.
fn flow_of(Origin { host, port, .. }: &Origin) -> String {
    format!("{host}:{port}")
}

/// The narrowest pattern for the path of a request: `*` for a segment that is no plain text, and `**` for what was cut.
fn glob(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let is_odd = |segment: &str| {
        segment.contains(['*', '[', ']', '{', '}', '%', ';', '\\'])
            || !segment.bytes().all(|b| b.is_ascii_graphic())
    };
    let segments: Vec<&str> =
        path.split('/').map(|segment| if is_odd(segment) { "*" } else { segment }).collect();
    let plain = segments.join("/");
    match plain.rsplit_once('/') {
        Some((before, _)) if path.len() == target.len() && target.len() >= CUT => format!("{before}/**"),
        Some(_) | None => plain,
    }
}

/// The rule for requests of one method on a flow `HOST:PORT`.
pub(super) fn request_rule<'a>(
    flow: &str,
    method: &str,
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<Rule, RuleError> {
    let (host, port) = flow.rsplit_once(':').unwrap_or((flow, ""));
    let mut builder =
        Rule::builder(Action::Allow, Destination::host(host)?).ports(Ports::parse(port)?).method(method);
    for path in paths {
        builder = builder.path(path);
    }
    builder.build(RuleSource::Owner)
}
