//! What a guest's first and next connections to a name cost before their handshake.
//!
//! `cargo bench --bench leaf`

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use divan::{Bencher, black_box};
use portcullis::limits::Limits;
use portcullis::name::HostName;
use portcullis::tls::{Alpn, CertificateAuthority, Leaves};

fn main() {
    divan::main();
}

/// Any fixed time will do.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[expect(clippy::expect_used, reason = "a bench may end where it cannot go on")]
fn leaves() -> Leaves {
    let ca = CertificateAuthority::new(wall()).expect("a CA");
    Leaves::new(Arc::new(ca), &Limits::default()).expect("a leaf key")
}

#[expect(clippy::expect_used, reason = "a bench may end where it cannot go on")]
fn host(name: &str) -> HostName {
    HostName::parse(name).expect("a host name")
}

/// A sandbox's start: the CA and its key.
#[divan::bench]
fn authority() {
    drop(black_box(CertificateAuthority::new(wall())));
}

/// The first connection to a name.
#[divan::bench]
fn mint(bencher: Bencher<'_, '_>) {
    let leaves = leaves();
    let mut count = 0_u64;
    bencher
        .with_inputs(|| {
            count += 1;
            host(&format!("h{count}.example.com"))
        })
        .bench_local_values(|name| drop(black_box(leaves.server_config(&name, &[Alpn::H2], wall()))));
}

/// Every later one.
#[divan::bench]
fn kept(bencher: Bencher<'_, '_>) {
    let leaves = leaves();
    let name = host("api.example.com");
    bencher.bench_local(|| drop(black_box(leaves.server_config(&name, &[Alpn::H2], wall()))));
}
