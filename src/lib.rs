//! Portcullis gives a sandbox one guarded way out.
//!
//! The guest's Ethernet frames end here; every flow is judged; TLS is terminated with a leaf minted from the
//! sandbox's own CA; placeholders in requests become secrets only on their way to a verified host that may
//! have them; and a secret that comes back becomes a placeholder again.
//!
//! Start at [`sandbox::Sandbox`], the facade that `portcullis run` uses and nothing else. Below it, from the
//! guest outwards: [`link`], [`net`], [`sniff`], [`policy`] with [`dns`], [`tls`], [`http`] with [`coding`],
//! [`websocket`], [`secret`].

pub mod audit;
#[doc(hidden)]
pub mod cli;
pub mod coding;
pub mod config;
pub mod control;
pub mod dns;
pub mod http;
pub mod limits;
pub mod link;
pub mod name;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod net;
pub mod policy;
mod proxy;
pub mod sandbox;
pub mod secret;
pub mod sniff;
mod sys;
pub mod tls;
pub mod upstream;
pub mod websocket;

#[doc(hidden)]
pub use sys::Allocator;
