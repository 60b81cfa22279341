//! Links of guests that somebody else starts: what crosses them, how guests come and go, and `portcullis serve`.
#![cfg(target_os = "linux")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test does not reckon with ends it"
)]

#[expect(dead_code, reason = "each harness uses its part")]
#[path = "../support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "the guest is shared with the tests of the network")]
#[path = "../support/guest.rs"]
mod guest;
#[expect(dead_code, unused_imports, reason = "the harness is shared with the round trip")]
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/served.rs"]
mod served;

mod command;
mod datagram;
mod passed;
mod reconnect;
mod stream;

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;

use portcullis::link::{Frame, Link};

/// The IP MTU of every guest.
const MTU: usize = 1500;

/// A path in a directory of the test's own.
fn scratch() -> (served::Scratch, PathBuf) {
    let scratch = served::Scratch::new();
    let path = scratch.join("net");
    (scratch, path)
}

/// The next frame, or why there is none.
async fn receive(link: &mut impl Link) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; 70_000];
    loop {
        poll_fn(|cx| link.poll_receive_ready(cx)).await?;
        match link.try_receive(&mut buf) {
            Ok(len) => return Ok(buf[..len].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why there is no next frame.
async fn ends(link: &mut impl Link) -> io::ErrorKind {
    receive(link).await.unwrap_err().kind()
}

/// Sends a frame, however long it has to be held.
async fn send(link: &mut impl Link, bytes: &[u8]) {
    while let Err(error) = link.try_send(Frame { bytes, partial: None }) {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        poll_fn(|cx| link.poll_send_ready(cx)).await.unwrap();
    }
}
