//! Frames of every kind, mutated, by the hundred thousand.

use std::time::Instant;

use crate::attack::{self, Outcome, dropped};
use crate::hostile::Coin;

#[test]
fn mutated_frames_do_no_harm() {
    for seed in 1..=4 {
        let Outcome { stats, tombstones } = attack::run(50_000, Coin::new(&[], seed));
        // It got everywhere: what is dropped for each reason, connections that carry bytes, and every cap.
        let by = stats.dropped;
        let reasons = [
            by.runt,
            by.vlan + by.ether_type,
            by.source_mac,
            by.destination_mac,
            by.source_ip,
            by.malformed,
            by.checksum,
            by.ip_options,
            by.protocol,
            by.stray,
            by.fragment,
        ];
        assert!(reasons.iter().all(|count| *count > 0), "{stats:?}");
        assert!(stats.flows_opened > 500 && stats.refused > 0 && stats.refused_over_limit > 0, "{stats:?}");
        assert!(stats.retransmits > 0 && stats.reset_over_limit > 0 && tombstones > 0, "{stats:?}");
        assert!(stats.associations_opened > 100 && stats.reassembled > 0, "{stats:?}");
        assert!(stats.associations_evicted > 0 && stats.fragment_sets_lost > 0, "{stats:?}");
        assert!(dropped(&stats) < stats.frames_in * 9 / 10, "{stats:?}");
    }
}

/// The same for long: `cargo test --release --test net -- --ignored --nocapture ten_million`.
#[test]
#[ignore = "takes minutes"]
fn ten_million_mutated_frames_do_no_harm() {
    #[expect(clippy::disallowed_methods, reason = "it says how long it took")]
    let started = Instant::now();
    for seed in 100..110 {
        let outcome = attack::run(1_000_000, Coin::new(&[], seed));
        println!("seed {seed}, {:?} so far: {outcome:?}", started.elapsed());
    }
}
