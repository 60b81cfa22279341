//! The first octets of a flow: which protocol they are must not depend on how they come, and no ClientHello panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::limits::Limits;
use portcullis::sniff::{Glance, Rewind, glance, sniff};
use portcullis::tls;
use tokio::io::AsyncWriteExt as _;

fuzz_target!(|octets: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(look(octets));
});

async fn look(octets: &[u8]) {
    // Once it is decided, more octets change nothing.
    let mut told = Glance::Undecided;
    for end in 0..=octets.len().min(64) {
        match told {
            Glance::Undecided => told = glance(&octets[..end]),
            Glance::Decided(_) => assert_eq!(glance(&octets[..end]), told),
        }
    }
    let (mut guest, mut ours) = tokio::io::duplex(1 << 16);
    let limits = Limits::default();
    if guest.write_all(&octets[..octets.len().min(1 << 15)]).await.is_err() {
        return;
    }
    let _ = guest.shutdown().await;
    let Ok(sniffed) = sniff(&mut ours, &limits).await else { return };
    assert!(octets.starts_with(&sniffed.bytes));
    let _ = tls::hello(Rewind::new(ours, sniffed.bytes), &limits).await;
}
