//! The guest without a kernel's help: a TCP stack in this process, at the far end of a cable in memory.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use portcullis::link::memory;
use portcullis::net;
use portcullis::sandbox::Prepared;
use tokio::task::LocalSet;

use crate::guest::{Report, tour};
use crate::{Failure, TOKEN};

#[path = "../../tests/support/guest.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests' guest, which can do more")]
mod stack;

use stack::{Guest, GuestStream};

/// Frames the cable holds in each direction.
const FRAMES: usize = 256;
/// What the guest's interface takes, octets of IP.
const MTU: usize = 1500;

/// Serves the guest's network until it has done what it does.
pub(crate) fn play(prepared: Prepared) -> Result<Report, Failure> {
    let env = prepared.guest_env().clone();
    let trust = prepared.bundle_pem();
    let token = env.placeholders.into_iter().find(|(name, _)| name == TOKEN).ok_or("no placeholder")?.1;
    let resolver = SocketAddr::new(env.gateway_v4.into(), 53);

    let (near, far) = memory::pair(FRAMES, MTU);
    let sandbox = prepared.start(near)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let report = LocalSet::new().block_on(&runtime, async {
        let guest = Guest::new(far, &net::Config::for_slot(0));
        tour(async |host: &str| connect(&guest, resolver, host).await, &trust, &token).await
    })?;
    sandbox.shutdown_blocking();
    Ok(report)
}

async fn connect(guest: &Guest, resolver: SocketAddr, host: &str) -> io::Result<GuestStream> {
    let name = Name::from_ascii(format!("{host}.")).map_err(io::Error::other)?;
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name, RecordType::A));
    let question = question.to_vec().map_err(io::Error::other)?;
    let answer = guest.udp_exchange(resolver, &question).await?;
    let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
    let address: Option<IpAddr> = answer.answers.iter().find_map(|record| record.data.ip_addr());
    let address = address.ok_or_else(|| io::Error::other(format!("{host} has no address")))?;
    guest.connect(SocketAddr::new(address, 443)).await
}
