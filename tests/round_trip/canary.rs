//! The watch itself: a canary that gets out is noticed, or all the other tests prove nothing.

use crate::memory::{Canary, run};

#[test]
fn a_canary_is_noticed_in_one_piece_and_at_every_split() {
    let length = Canary::new().value().len();
    for split in 0..=length {
        let canary = Canary::new();
        let (head, tail) = canary.value().split_at(split);
        let mut scan = canary.scan("a stream");
        scan.push(b"before");
        scan.push(head.as_bytes());
        assert!(canary.sightings().is_empty() || split == length);
        scan.push(tail.as_bytes());
        assert!(!canary.sightings().is_empty(), "split at {split}");
    }
}

#[test]
fn a_canary_is_noticed_in_a_log_line_of_a_sandbox_and_of_no_one_else() {
    run(async {
        let canary = Canary::new();
        tracing::info!(value = canary.value(), "the test's own line");
        assert!(canary.sightings().is_empty());
        let value = canary.value().to_owned();
        let sandbox = std::thread::Builder::new().name("portcullis-like".into());
        sandbox.spawn(move || tracing::trace!(target: "another_crate", value)).unwrap().join().unwrap();
        assert!(!canary.sightings().is_empty());
    });
}
