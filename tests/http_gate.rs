//! Odd, ambiguous and hostile requests, as bytes on the wire.
//!
//! Each is either refused with nothing sent upstream, or arrives there as exactly one canonical request (read
//! by a strict parser that is not ours), or, where its body is at fault, as a message that never completes.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "support/canary.rs"]
mod canary;
#[path = "support/h2_frames.rs"]
mod h2_frames;
#[path = "support/h2_upstream.rs"]
mod h2_upstream;
#[path = "support/raw_upstream.rs"]
mod raw_upstream;

#[path = "http_gate/h1.rs"]
mod h1;
#[path = "http_gate/h1_body.rs"]
mod h1_body;
#[path = "http_gate/h2.rs"]
mod h2;

use std::rc::Rc;
use std::sync::Arc;

use canary::{Canary, Tapped};
use portcullis::http::{Leave, Mirror};
use portcullis::limits::Limits;
use portcullis::name::{HostName, Origin, Scheme};
use portcullis::secret::Secrets;
use tokio::io::{DuplexStream, duplex};
use tokio::task::LocalSet;

/// The context of a guest's connection to port 80 of a.example.
fn mirror() -> Mirror {
    Mirror {
        origin: Origin { scheme: Scheme::Http, host: HostName::parse("a.example").unwrap(), port: 80 },
        secrets: Secrets::new(vec![Canary::of_test().secret()]).unwrap(),
        limits: Arc::new(Limits::default()),
        response_timeout: None,
        events: Rc::new(|_| {}),
        can_record: Rc::new(|| true),
        denial_id: Rc::new(|| None),
        judge: Rc::new(|_, _| Ok(Leave::default())),
    }
}

/// A guest's connection, watched for the canary, and its other end; so many octets fit into it.
fn connection(room: usize) -> (Tapped<DuplexStream>, DuplexStream) {
    let (guest, other) = duplex(room);
    (Canary::of_test().tapped("the guest's connection", guest), other)
}

/// Runs `test` as a sandbox runs: one thread, with a clock that jumps when nothing else can happen.
fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    canary::over(|| LocalSet::new().block_on(&runtime, test));
}
