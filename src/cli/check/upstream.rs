//! What `check` says of the way to an upstream and of its TLS, where that is not as usual.

use std::io::{self, Write};

use crate::name::{Origin, Scheme};
use crate::policy::Policy;
use crate::upstream::{MinTls, Resolve};

/// One line for each option that counts for `origin`.
pub(super) fn describe(policy: &Policy, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    if let Some(proxy) = policy.proxy_of(&origin.host, origin.port) {
        let who = match proxy.resolve() {
            Resolve::Here => "addresses judged here",
            Resolve::There => "addresses found by the proxy and not judged",
        };
        writeln!(out, "proxy: {proxy}, {who}")?;
    }
    let Some(options) = policy.options_of(&origin.host) else { return Ok(()) };
    if let Some(limit) = options.connect_timeout {
        writeln!(out, "connect timeout: {limit:?}")?;
    }
    if policy.is_passed_through(&origin.host) {
        return Ok(());
    }
    if origin.scheme == Scheme::Https {
        for file in &options.ca {
            writeln!(out, "trusted instead of the system's roots: {}", file.display())?;
        }
        if let Some(client) = &options.client {
            writeln!(out, "client certificate: {}", client.chain.display())?;
        }
        match options.min_tls {
            MinTls::Tls12 => {}
            MinTls::Tls13 => writeln!(out, "oldest TLS: 1.3")?,
        }
        if let Some(limit) = options.handshake_timeout {
            writeln!(out, "handshake timeout: {limit:?}")?;
        }
    }
    match options.response_timeout {
        Some(limit) => writeln!(out, "response timeout: {limit:?}"),
        None => Ok(()),
    }
}
