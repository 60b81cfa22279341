//! The guest's DHCPv4 server: one lease, which is the guest's one address; RFC 2131.
//!
//! It keeps no state, so an answer after a restart is the answer from before, and a storm of requests costs its
//! sender as much as us. There is no domain to search: every name the guest can reach is a full one. Invariant: a
//! datagram from or to the ports of DHCP is answered here or dropped here, and reaches nothing else.

mod message;

use std::net::{IpAddr, Ipv4Addr};

use super::config::Config;
use super::counters::Drop;
use super::emit::{self, Envelope, HOP_LIMIT};
use super::frame::{PROTOCOL_UDP, Packet, UDP, Udp};
use message::{Answer, Hears, Kind, Message, Reply, option};

/// Where servers listen, and where clients do; RFC 2131 §4.1.
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// Whether the ports of a UDP datagram, as they stand in its header, are those of a client that asks a server.
pub(super) fn is_request(ports: [u8; 4]) -> bool {
    let [s0, s1, d0, d1] = ports;
    (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])) == (CLIENT, SERVER)
}

/// Whether a packet is DHCP's, to be answered or dropped here and nowhere else.
pub(super) fn owns(packet: &Packet<'_>) -> bool {
    let Some([s0, s1, d0, d1]) = packet.payload.first_chunk().copied() else { return false };
    let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
    packet.protocol == PROTOCOL_UDP && ports.iter().any(|port| [SERVER, CLIENT].contains(port))
}

/// What the guest is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease<'a> {
    pub(super) config: &'a Config,
    /// The IP MTU of the link, octets.
    pub(super) mtu: u16,
}

/// Answers a datagram of DHCP.
///
/// # Errors
/// It is no request to this server, or none that is answered.
pub(super) fn answer(
    out: &mut Vec<u8>,
    lease: &Lease<'_>,
    packet: &Packet<'_>,
    datagram: &Udp<'_>,
) -> Result<(), Drop> {
    let config = lease.config;
    let here = [Ipv4Addr::BROADCAST, lease.broadcast(), config.gateway_v4].map(IpAddr::V4);
    if (datagram.source_port, datagram.destination_port) != (CLIENT, SERVER)
        || !here.contains(&packet.destination)
    {
        return Err(Drop::Dhcp);
    }
    let message = Message::parse(datagram.payload).ok_or(Drop::Dhcp)?;
    if message.mac != config.guest_mac {
        return Err(Drop::Dhcp);
    }
    let verdict = lease.judge(&message).ok_or(Drop::Dhcp)?;
    let to = match (verdict, message.hears) {
        // It has the wrong address, if any.
        (Verdict::Refuse, _) => Ipv4Addr::BROADCAST,
        (Verdict::Offer | Verdict::Commit | Verdict::Inform, _) if message.client == config.guest_v4 => {
            config.guest_v4
        }
        (Verdict::Offer | Verdict::Commit | Verdict::Inform, Hears::Broadcast) => Ipv4Addr::BROADCAST,
        (Verdict::Offer | Verdict::Commit | Verdict::Inform, Hears::Unicast) => config.guest_v4,
    };
    let octets = lease.reply(verdict, &message);
    let Ok(len) = u16::try_from(UDP + octets.len()) else { return Err(Drop::Dhcp) };
    let [[s0, s1], [c0, c1], [l0, l1]] = [SERVER, CLIENT, len].map(u16::to_be_bytes);
    let header = [s0, s1, c0, c1, l0, l1, 0, 0];
    let envelope = Envelope {
        source: config.gateway_v4.into(),
        destination: to.into(),
        protocol: PROTOCOL_UDP,
        hop_limit: HOP_LIMIT,
    };
    emit::packet(out, &config.ends(), &envelope, &[&header, &octets]);
    Ok(())
}

/// What a message comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Offer,
    /// The lease is the client's.
    Commit,
    /// The client has an address and asks for the rest.
    Inform,
    /// The client believes in an address that is not its own.
    Refuse,
}

impl Lease<'_> {
    /// RFC 2131 §4.3; none where the client expects no answer, or another server's.
    fn judge(&self, message: &Message<'_>) -> Option<Verdict> {
        let (guest, options) = (self.config.guest_v4, &message.options);
        if options.server.is_some_and(|server| server != self.config.gateway_v4) {
            return None;
        }
        match message.kind {
            Kind::Discover if options.rapid_commit.is_some() => Some(Verdict::Commit),
            Kind::Discover => Some(Verdict::Offer),
            Kind::Request => {
                // One that selects or has rebooted names the address; one that renews has it.
                let held = Some(message.client).filter(|client| !client.is_unspecified());
                let address = options.requested.or(held)?;
                Some(if address == guest { Verdict::Commit } else { Verdict::Refuse })
            }
            Kind::Inform => (message.client == guest).then_some(Verdict::Inform),
            Kind::Decline | Kind::Release => None,
        }
    }

    fn reply(&self, verdict: Verdict, message: &Message<'_>) -> Vec<u8> {
        let (answer, yours) = match verdict {
            Verdict::Offer => (Answer::Offer, self.config.guest_v4),
            Verdict::Commit => (Answer::Ack, self.config.guest_v4),
            Verdict::Inform => (Answer::Ack, Ipv4Addr::UNSPECIFIED),
            Verdict::Refuse => (Answer::Nak, Ipv4Addr::UNSPECIFIED),
        };
        let mut reply = Reply::new(answer, message, yours);
        reply.put(option::SERVER, &self.config.gateway_v4.octets());
        if verdict == Verdict::Refuse {
            return reply.finish();
        }
        if verdict == Verdict::Commit && message.kind == Kind::Discover {
            reply.put(option::RAPID_COMMIT, &[]);
        }
        let times: &[u8] =
            if verdict == Verdict::Inform { &[] } else { &[option::RENEWAL, option::REBINDING] };
        if verdict != Verdict::Inform {
            reply.put(option::LEASE, &self.seconds().to_be_bytes());
        }
        let all = [PARAMETERS, times].concat();
        let mut left = all.clone();
        for code in message.options.wanted.unwrap_or(&all) {
            if left.contains(code) {
                left.retain(|own| own != code);
                self.put(&mut reply, *code);
            }
        }
        // Some clients that do not ask set an MTU of their own.
        if left.contains(&option::MTU) {
            self.put(&mut reply, option::MTU);
        }
        reply.finish()
    }

    fn put(&self, reply: &mut Reply, code: u8) {
        let seconds = self.seconds();
        match code {
            option::SUBNET_MASK => reply.put(code, &self.config.mask_v4().octets()),
            option::ROUTER | option::DNS => reply.put(code, &self.config.gateway_v4.octets()),
            option::MTU => reply.put(code, &self.mtu.to_be_bytes()),
            option::BROADCAST => reply.put(code, &self.broadcast().octets()),
            // Half of the lease, and seven eighths of it; RFC 2131 §4.4.5.
            option::RENEWAL => reply.put(code, &(seconds / 2).to_be_bytes()),
            option::REBINDING => reply.put(code, &(seconds - seconds / 8).to_be_bytes()),
            _ => {}
        }
    }

    fn broadcast(&self) -> Ipv4Addr {
        self.config.gateway_v4 | !self.config.mask_v4()
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.config.limits.dhcp_lease.as_secs()).unwrap_or(u32::MAX)
    }
}

/// What is told to a client that does not say what it wants; the mask goes before the router, RFC 2132 §3.3.
const PARAMETERS: &[u8] = &[option::SUBNET_MASK, option::ROUTER, option::DNS, option::MTU, option::BROADCAST];
