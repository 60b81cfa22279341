//! Rules, a platform's floor under them, and a policy that changes while the guest runs.
//!
//! The guest is a small TCP stack on an in-memory cable, its upstream a listener on loopback. Run it with
//! `cargo run --example live_policy`.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

#[path = "../tests/support/guest.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests' guest, in the place of a VM")]
mod guest;

use std::net::SocketAddr;

use portcullis::config::Config;
use portcullis::link::memory;
use portcullis::net;
use portcullis::policy::{Action, ConnectTo, Destination, Ports, Protocol, Rule, RuleSource};
use portcullis::sandbox::Sandbox;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

type Failure = Box<dyn std::error::Error>;

/// Which of the guests of this machine it is; the addresses follow from it.
const SLOT: u16 = 8;
/// Frames the cable holds in each direction.
const FRAMES: usize = 256;
/// What the guest's interface takes, octets of IP.
const MTU: usize = 1500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let upstream = TcpListener::bind("127.0.0.1:0").await?;
    let upstream_addr = upstream.local_addr()?;

    // The sandbox's own rules: in order, the first that is about a request decides.
    let mut config = Config {
        rules: vec![
            Rule::builder(Action::Deny, Destination::host("api.example")?)
                .path("/admin/**")
                .build(RuleSource::Owner)?,
            Rule::parse("allow GET,HEAD api.example /repos/**", RuleSource::Owner)?,
        ],
        connect_to: vec![ConnectTo::parse(&format!("api.example:80:{upstream_addr}"))?],
        ..Config::default()
    };
    // The platform's: nothing is allowed that these do not allow too. That `api.example` is on loopback here is
    // something that they have to allow as well.
    config.floor = Some(vec![
        Rule::builder(Action::Allow, Destination::host("*.example")?).build(RuleSource::Owner)?,
        Rule::builder(Action::Allow, Destination::Subnet(upstream_addr.ip().to_string().parse()?))
            .protocol(Protocol::Tcp)
            .ports(Ports::one(upstream_addr.port()))
            .build(RuleSource::Owner)?,
    ]);
    for finding in config.findings() {
        println!("warning      {finding}");
    }

    let (ours, the_guests) = memory::pair(FRAMES, MTU);
    let sandbox = Sandbox::builder().config(config).slot(SLOT).prepare()?.start(ours)?;
    LocalSet::new()
        .run_until(async {
            tokio::task::spawn_local(answer_all(upstream));
            let guest = guest::Guest::new(the_guests, &net::Config::for_slot(SLOT));
            println!("read         {}", ask(&guest, "GET", "/repos/acme").await?);
            println!("write        {}", ask(&guest, "POST", "/repos/acme").await?);

            // From here on this may be done too, by every new request and by those on open connections.
            let changed = sandbox.allow("POST api.example /repos/acme").await?;
            println!("changed      {}, {} rules, {} flows ended", changed.what, changed.rules, changed.ended);
            println!("write        {}", ask(&guest, "POST", "/repos/acme").await?);
            println!("admin        {}", ask(&guest, "GET", "/repos/../admin/keys").await?);

            // A whole host goes at once, and the flows that lead there with it.
            let changed = sandbox.deny("api.example").await?;
            println!("changed      {}, {} flows ended", changed.what, changed.ended);
            println!("read         {}", ask(&guest, "GET", "/repos/acme").await?);
            for rule in sandbox.policy() {
                println!("rule         {}", serde_json::to_string(&rule)?);
            }
            Ok::<(), Failure>(())
        })
        .await?;
    sandbox.shutdown().await;
    Ok(())
}

/// What a guest is told: the status, and for a denial the reason.
async fn ask(guest: &guest::Guest, method: &str, path: &str) -> Result<String, Failure> {
    let mut stream = guest.connect(SocketAddr::from(([192, 0, 2, 1], 80))).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: api.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no whole answer")?;
    let status = head.lines().next().unwrap_or_default();
    Ok(format!("{status}: {}", body.trim_end()))
}

/// The upstream: says hello to whoever asks.
async fn answer_all(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        if stream.read(&mut request).await.is_ok() {
            // Whoever has left needs no answer.
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
                .await;
        }
    }
}
