//! `portcullis::net` over links in memory, in paused time: frames by hand, and a guest with a TCP stack.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "every function here is part of a test")]

#[path = "support/attack.rs"]
mod attack;
#[expect(dead_code, reason = "each harness uses its part")]
#[path = "support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "the guest is shared with the tests of the whole path")]
#[path = "support/guest.rs"]
mod guest;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/lossy.rs"]
mod lossy;
#[path = "support/pieces.rs"]
mod pieces;

use guest::packet;

mod net {
    mod bed;
    mod dhcp;
    mod echo;
    mod ends;
    mod fragments;
    mod frames;
    mod headers;
    mod into;
    mod into_udp;
    mod mutation;
    mod router;
    mod segments;
    mod streams;
    mod torture;
    mod torture_segments;
    mod torture_windows;
    mod udp;
    mod wire;

    /// More than any test waits in its own time: what waits for ever is a failure.
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

    /// Runs a test as a sandbox runs: one thread, one `LocalSet`; time passes when nothing else can.
    fn run<F: Future<Output = ()>>(test: F) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        crate::canary::over(|| {
            tokio::task::LocalSet::new().block_on(&runtime, async {
                tokio::time::timeout(DAY, Box::pin(test)).await.expect("the test hangs");
            });
        });
    }
}
