//! What `check` says of the way to an upstream and of its TLS, where that is not as usual.

use std::path::PathBuf;

use crate::name::{Origin, Scheme};
use crate::policy::Policy;
use crate::upstream::{MinTls, Resolve};

/// One line for each option that counts for `origin`.
pub(super) fn describe(policy: &Policy, origin: &Origin) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(proxy) = policy.proxy_of(&origin.host, origin.port) {
        let who = match proxy.resolve() {
            Resolve::Here => "addresses judged here",
            Resolve::There => "addresses found by the proxy and not judged",
        };
        lines.push(format!("proxy: {proxy}, {who}"));
    }
    let Some(options) = policy.options_of(&origin.host) else { return lines };
    lines.extend(options.connect_timeout.map(|limit| format!("connect timeout: {limit:?}")));
    if policy.is_passed_through(&origin.host) {
        return lines;
    }
    if origin.scheme == Scheme::Https {
        let trusted = |file: &PathBuf| format!("trusted instead of the system's roots: {}", file.display());
        lines.extend(options.ca.iter().map(trusted));
        let client = options.client.as_ref();
        lines.extend(client.map(|client| format!("client certificate: {}", client.chain.display())));
        match options.min_tls {
            MinTls::Tls12 => {}
            MinTls::Tls13 => lines.push("oldest TLS: 1.3".to_owned()),
        }
        lines.extend(options.handshake_timeout.map(|limit| format!("handshake timeout: {limit:?}")));
    }
    lines.extend(options.response_timeout.map(|limit| format!("response timeout: {limit:?}")));
    lines
}
