//! The module as its callers see it.

mod body;
mod inject;
mod live;
mod misplaced;
mod scrub;
mod store;
mod url;
mod walk;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Request};

use super::*;
use crate::name::{HostName, Origin, Scheme};
use crate::tls::VerifiedPeer;

const TOKEN: &str = "sk-proj-Tcanary0123456789abcdefghijklmnop";
const OTHER: &str = "ghp_Ocanary0123456789abcdefghijklmnopqr";

/// `TOKEN` may go to api.example, `OTHER` to git.example and *.git.example at 8443; both by the default places.
fn secrets() -> Arc<Secrets> {
    Secrets::new(vec![
        spec("TOKEN", TOKEN, &["api.example:443"]),
        spec("OTHER", OTHER, &["git.example:443", "*.git.example:8443"]),
    ])
    .unwrap()
}

fn spec(name: &str, value: &str, hosts: &[&str]) -> SecretSpec {
    let value = SecretValue::new(value.as_bytes().to_vec()).unwrap();
    SecretSpec::new(name, value, hosts).unwrap()
}

fn swapped(mut spec: SecretSpec, swap: &[&str]) -> SecretSpec {
    spec.swap = swap.iter().map(|text| Location::parse(text).unwrap()).collect();
    spec
}

fn only(spec: SecretSpec) -> Arc<Secrets> {
    Secrets::new(vec![spec]).unwrap()
}

fn placeholder(secrets: &Secrets, name: &str) -> String {
    secrets.placeholders().into_iter().find(|(own, _)| own == name).unwrap().1.to_string()
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn peer(name: &str) -> VerifiedPeer {
    VerifiedPeer::new(host(name), 443)
}

fn origin(scheme: Scheme, name: &str) -> Origin {
    Origin { scheme, host: host(name), port: scheme.default_port() }
}

fn request(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap().to_str().unwrap()
}

/// A type that does implement one of these makes the choice of `item` ambiguous, and the build fails.
macro_rules! assert_not_implemented {
    ($type:ty: $($trait:path),+) => {
        const _: fn() = || {
            trait Ambiguous<Which> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            $({
                struct Implemented;
                impl<T: ?Sized + $trait> Ambiguous<Implemented> for T {}
            })+
            let _ = <$type as Ambiguous<_>>::item;
        };
    };
}

assert_not_implemented!(
    SecretValue: std::fmt::Debug, std::fmt::Display, Clone, PartialEq, std::hash::Hash, serde::Serialize, AsRef<[u8]>
);
assert_not_implemented!(SecretSpec: std::fmt::Debug, Clone, PartialEq, serde::Serialize);
assert_not_implemented!(Secrets: std::fmt::Debug, Clone, PartialEq, serde::Serialize);
assert_not_implemented!(Injector: std::fmt::Debug, serde::Serialize);
assert_not_implemented!(Scrubber: std::fmt::Debug, serde::Serialize);
assert_not_implemented!(ScrubStream: std::fmt::Debug, serde::Serialize);
assert_not_implemented!(TextSecrets: std::fmt::Debug, serde::Serialize);
assert_not_implemented!(TextStream: std::fmt::Debug, serde::Serialize);
assert_not_implemented!(Replacements: std::fmt::Debug, serde::Serialize);
assert_not_implemented!(Replacer: std::fmt::Debug, serde::Serialize);
