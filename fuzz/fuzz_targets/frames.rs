//! The whole network against sequences of frames: the octets decide which, how mutated, and what the proxy does.
#![no_main]

#[expect(dead_code, reason = "shared with a test that looks at more of the outcome")]
#[path = "../../tests/support/attack.rs"]
mod attack;
#[path = "../../tests/support/hostile.rs"]
mod hostile;
#[path = "../../tests/support/packet.rs"]
mod packet;
#[expect(dead_code, reason = "what is put together is looked at by the tests of the network")]
#[path = "../../tests/support/pieces.rs"]
mod pieces;

use libfuzzer_sys::fuzz_target;

/// Octets that a frame and what is done after it use up, about.
const OCTETS: usize = 16;
/// The least frames that are worth a start.
const FRAMES: usize = 100;

fuzz_target!(|octets: &[u8]| {
    let frames = FRAMES.max(octets.len() / OCTETS);
    let outcome = attack::run(frames as u64, hostile::Coin::new(octets, 1));
    assert!(attack::dropped(&outcome.stats) <= outcome.stats.frames_in + outcome.stats.datagrams);
});
