//! `portcullis check`: what would happen to a request, a flow or a peer, without there being one.
//!
//! It resolves nothing, dials nothing and needs no secret's value. Invariant: what it allows is what policy
//! allows, since it asks the same policy.

pub(super) mod asked;
pub(super) mod judged;
mod peer;
mod upstream;

use std::io::{self, Write};
use std::net::IpAddr;

use clap::Args;

use crate::config::Config;

use self::asked::{Asked, Unreadable};
use self::judged::{Judged, judge};
use self::peer::Inward;
use super::options::{Options, Ports};
use super::{DENIED, OWN_FAILURE};

/// Command line of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// What the sandbox would be started with.
    #[command(flatten)]
    pub options: Options,
    /// Who may come in.
    #[command(flatten)]
    pub ports: Ports,
    /// Judge this address of the host too, as if its name had been resolved to it
    #[arg(long, value_name = "IP", conflicts_with = "peer")]
    pub address: Option<IpAddr>,
    /// Say whether this address would be let in by a published port that leads to the guest's port named in place of
    /// a URL, as in --peer 10.0.0.5 80 or 53/udp
    #[arg(long, value_name = "IP")]
    pub peer: Option<IpAddr>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The request: a URL, with its method before it or GET; or a flow: HOST:PORT, HOST:PORT/udp or HOST/icmp, where
    /// HOST may be an address. The exit status is 0 where it would be allowed, 3 where it would be denied, 125 where
    /// nothing could be judged
    #[arg(required = true, num_args = 1..=2, value_name = "[METHOD] URL")]
    pub request: Vec<String>,
}

/// Judges the request and says why; returns the exit code: 0 allowed, 3 denied, 125 not to be judged.
pub fn check(args: &CheckArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let config = match args.options.load_with(&args.ports) {
        Ok(config) => config,
        Err(error) => {
            writeln!(err, "portcullis: {error}")?;
            return Ok(OWN_FAILURE);
        }
    };
    let judged = match args.peer {
        Some(peer) => Inward::parse(&args.request).map(|inward| peer::judge(&config, peer, inward)),
        None => Asked::parse(&args.request).map(|asked| judge(&config, &asked, args.address)),
    };
    let judged = match judged {
        Ok(judged) => judged,
        Err(Unreadable::Refused(refused)) => Judged::refused(&refused),
        Err(Unreadable::Usage(usage)) => {
            writeln!(err, "portcullis: {usage}")?;
            return Ok(OWN_FAILURE);
        }
    };
    warn(&config, err)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&judged)?)?
    } else {
        judged.write(out)?
    }
    Ok(if judged.is_allowed() { 0 } else { DENIED })
}

/// Tells of rules that do nothing, or not what they seem to.
pub(super) fn warn(config: &Config, err: &mut (impl Write + ?Sized)) -> io::Result<()> {
    config.findings().iter().try_for_each(|finding| writeln!(err, "portcullis: warning: {finding}"))
}

#[cfg(test)]
mod tests;
