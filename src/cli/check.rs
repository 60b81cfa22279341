//! `portcullis check`: what would happen to a request, without making it.
//!
//! It resolves nothing, dials nothing and needs no secret's value. Invariant: what it allows is what policy
//! allows, since it asks the same policy.

mod upstream;

use std::fmt;
use std::io::{self, Write};

use clap::Args;

use crate::config::Config;
use crate::name::{Authority, Host, NameError, Origin, Scheme};
use crate::policy::{Denial, NamePermit, Verdict};

use super::OWN_FAILURE;
use super::options::Options;

/// Exit code for a request that would be denied.
const DENIED: u8 = 3;

/// Command line of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// What the sandbox would be started with.
    #[command(flatten)]
    pub options: Options,
    /// The request: a URL, with its method before it or GET
    #[arg(required = true, num_args = 1..=2, value_name = "[METHOD] URL")]
    pub request: Vec<String>,
}

/// Judges the request and says why; returns the exit code: 0 allowed, 3 denied, 125 not to be judged.
pub fn check(args: &CheckArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let config = match args.options.load() {
        Ok(config) => config,
        Err(error) => {
            writeln!(err, "portcullis: {error}")?;
            return Ok(OWN_FAILURE);
        }
    };
    match Request::parse(&args.request) {
        Ok(request) => judge(&config, &request, out),
        Err(Unreadable::Usage(usage)) => {
            writeln!(err, "portcullis: {usage}")?;
            Ok(OWN_FAILURE)
        }
        Err(Unreadable::Refused(refusal)) => {
            writeln!(out, "denied\nreason: {refusal}")?;
            Ok(DENIED)
        }
    }
}

fn judge(config: &Config, request: &Request, out: &mut impl Write) -> io::Result<u8> {
    let policy = config.policy();
    match policy.at_name(&request.origin) {
        Verdict::Allow(permit) => {
            writeln!(out, "allowed {request}")?;
            describe(config, request, &permit, out)?;
            Ok(0)
        }
        Verdict::Deny(Denial { reason, rule, hint, .. }) => {
            writeln!(out, "denied {request}\nreason: {reason}\nrule: {rule}\nto allow it: {hint}")?;
            Ok(DENIED)
        }
    }
}

/// Under which rule, to which address, with which secrets.
fn describe(config: &Config, request: &Request, permit: &NamePermit, out: &mut impl Write) -> io::Result<()> {
    let Origin { scheme, host, port } = &request.origin;
    writeln!(out, "rule: {}", permit.rule())?;
    let policy = config.policy();
    if let Some(to) = policy.connect_to(host, *port) {
        writeln!(out, "dialled at: {to}")?;
    }
    upstream::describe(&policy, &request.origin, out)?;
    if policy.is_passed_through(host) {
        return writeln!(out, "passed through: never decrypted, no secrets");
    }
    let held = config
        .secrets
        .iter()
        .filter(|secret| secret.hosts.iter().any(|(pattern, at)| at == port && pattern.matches(host)));
    let mut none = true;
    for secret in held {
        if *scheme == Scheme::Https {
            writeln!(out, "secret: {} in {}", secret.name, secret.swap.join(", "))?;
            none = false;
        }
    }
    if none {
        writeln!(out, "secrets: none")?;
    }
    Ok(())
}

/// A request as a guest would make it.
#[derive(Debug)]
struct Request {
    method: String,
    origin: Origin,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.origin)
    }
}

/// Why there is nothing to judge.
#[derive(Debug)]
enum Unreadable {
    /// The command line is wrong.
    Usage(Usage),
    /// It is a request, of a kind that is never let by.
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Usage {
    #[error("check takes a method in capitals, as in: check POST https://HOST/")]
    Method,
    #[error("check takes a URL that starts with http:// or https://")]
    Scheme,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refusal {
    #[error("CONNECT and TRACE are never let by")]
    Method,
    #[error("the host {0}")]
    Host(NameError),
    #[error("its host is an address, and rules go by name; use the name, with --connect-to if need be")]
    Address,
    #[error("the URL has a control character, a space or a backslash before its path")]
    Spelling,
}

impl Request {
    fn parse(words: &[String]) -> Result<Self, Unreadable> {
        let (method, url) = match words {
            [method, url] => (method.as_str(), url.as_str()),
            [url] => ("GET", url.as_str()),
            _ => return Err(Unreadable::Usage(Usage::Scheme)),
        };
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return Err(Unreadable::Usage(Usage::Method));
        }
        let origin = read_origin(url)?;
        if matches!(method, "CONNECT" | "TRACE") {
            return Err(Unreadable::Refused(Refusal::Method));
        }
        Ok(Self { method: method.to_owned(), origin })
    }
}

/// Reads the origin of a URL by the letter: where URL parsers differ, a request is refused and not guessed at.
fn read_origin(url: &str) -> Result<Origin, Unreadable> {
    let (scheme, rest) = url.split_once("://").ok_or(Unreadable::Usage(Usage::Scheme))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(Unreadable::Usage(Usage::Scheme)),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let refused = |refusal| Err(Unreadable::Refused(refusal));
    if authority.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return refused(Refusal::Spelling);
    }
    match Authority::parse(authority) {
        Ok(Authority { host: Host::Name(host), port }) => {
            Ok(Origin { scheme, host, port: port.unwrap_or_else(|| scheme.default_port()) })
        }
        Ok(Authority { host: Host::Address(_), .. }) => refused(Refusal::Address),
        Err(error) => refused(Refusal::Host(error)),
    }
}

#[cfg(test)]
mod tests;
