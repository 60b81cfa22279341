//! What the integration tests share.
#![expect(dead_code, reason = "each test uses its own part")]

pub(crate) mod apis;
pub(crate) mod canary;
pub(crate) mod git;
pub(crate) mod pki;
pub(crate) mod sandboxed;
pub(crate) mod upstream;
pub(crate) mod websocket;
