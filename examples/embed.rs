//! Portcullis in a sandbox runtime: give the guest the CA and its placeholders, give Portcullis the guest's cable.
//!
//! The cable here is one in memory with a small TCP stack for a guest. A runtime hands over a TAP
//! ([`portcullis::link::tap`]) or implements [`portcullis::link::Link`] for what its VMM speaks. Run it with
//! `cargo run --example embed`.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

#[path = "../tests/support/guest.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests' guest, in the place of a VM")]
mod guest;

use std::net::SocketAddr;

use portcullis::config::Config;
use portcullis::link::memory;
use portcullis::net;
use portcullis::sandbox::Sandbox;
use portcullis::secret::{SecretSpec, SecretValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;

type Failure = Box<dyn std::error::Error>;

/// Which of the guests of this machine it is; the addresses follow from it.
const SLOT: u16 = 7;
/// Frames the cable holds in each direction.
const FRAMES: usize = 256;
/// What the guest's interface takes, octets of IP.
const MTU: usize = 1500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    // 1. What the guest may reach, and with which secrets. This checks everything and starts nothing.
    let config = Config::parse("[net]\nallow = ['pypi.org', '*.pythonhosted.org:443']")?;
    let from_your_vault = SecretValue::new(b"sk-proj-0123456789abcdefghijkl".to_vec())?;
    let prepared = Sandbox::builder()
        .config(config)
        .secret(SecretSpec::new("OPENAI_API_KEY", from_your_vault, &["api.openai.com"])?)
        .slot(SLOT)
        .on_termination(|why| println!("ended        {why:?}"))
        .prepare()?;

    // 2. What the guest is given before it starts.
    let env = prepared.guest_env();
    println!("trust store  add {} bytes of PEM", prepared.ca_cert_pem().len());
    println!("addresses    {}/{} and {}/{}", env.v4.0, env.v4.1, env.v6.0, env.v6.1);
    println!("gateways     {} and {}, also its nameservers", env.gateway_v4, env.gateway_v6);
    print!("variables    {}", env.to_env_file());

    // 3. The guest's cable: one end for Portcullis, which serves it on a thread of its own, one for the guest.
    let (ours, the_guests) = memory::pair(FRAMES, MTU);
    let sandbox = prepared.start(ours)?;

    // 4. While the guest does as it likes: events and counters.
    let mut events = sandbox.events();
    let answer = LocalSet::new().run_until(visit(the_guests, "other.host")).await?;
    println!("guest got    {}", answer.replace("\r\n", "\n             ").trim_end());
    if let Some(stats) = sandbox.stats().await {
        println!("frames       {} from the guest, {} to it", stats.net.frames_in, stats.net.frames_out);
    }

    // 5. The end: no new flows, and those there are may finish. Here the guest has left before.
    sandbox.shutdown().await;
    while let Ok(record) = events.try_recv() {
        println!("event        {}", serde_json::to_string(&record)?);
    }
    Ok(())
}

/// The guest: asks `host` for a page over plain HTTP, at an address that it need not even be able to resolve.
async fn visit(cable: memory::MemoryLink, host: &str) -> Result<String, Failure> {
    let guest = guest::Guest::new(cable, &net::Config::for_slot(SLOT));
    let mut stream = guest.connect(SocketAddr::from(([192, 0, 2, 1], 80))).await?;
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
