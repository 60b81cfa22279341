//! The gateway as an IPv6 router: advertisements, from which a stock guest makes itself an address.
//!
//! The guest configures itself by SLAAC, which every kernel can do alone, and picks its addresses in its /64: made
//! from its MAC address, stable-private or temporary, all are its own, so none is learnt. There is no DHCPv6.
//! One solicitation brings one advertisement. Unsolicited ones go only to a guest that configures itself; one whose
//! addresses were set by hand gets none, and no second address by them.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use smoltcp::time::Instant;

use super::config::{Config, PREFIX_V6};
use super::counters::Drop;
use super::emit::{self, Envelope, HOP_LIMIT, HOP_LIMIT_NDP};
use super::frame::{self, PROTOCOL_ICMPV6, Packet};

/// ICMPv6 types; RFC 4861 §4.
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
/// Options; RFC 4861 §4.6, and RFC 8106 §5.1 for the nameserver.
const SOURCE_ADDRESS: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const NAMESERVER: u8 = 25;
/// On-link, and for addresses the guest makes itself; RFC 4861 §4.6.2.
const ON_LINK_AUTONOMOUS: u8 = 0xc0;
/// For how long a prefix is valid and preferred, seconds: a month and a week, as RFC 4861 §6.2.1 has it by default.
const VALID: u32 = 30 * 24 * 3600;
const PREFERRED: u32 = 7 * 24 * 3600;
/// The least and the most that may lie between advertisements; RFC 4861 §6.2.1.
const INTERVAL: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(1_800)];
/// The router is believed for so many intervals; RFC 4861 §6.2.1.
const BELIEVED: u32 = 3;
/// The least MTU of IPv6; RFC 8200 §5.
const MTU_MIN: u16 = 1_280;

/// All nodes of the link, and all its routers; RFC 4291 §2.7.1.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// When the guest is next told unasked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Router {
    /// None until the guest has shown that it configures itself.
    next: Option<Instant>,
}

impl Router {
    /// Notes an ICMPv6 message, if only a guest that configures itself sends it.
    pub(super) fn hear(&mut self, packet: &Packet<'_>, config: &Config, now: Instant) {
        let kind = packet.payload.first().copied();
        let solicits = kind == Some(SOLICITATION);
        let made = kind == Some(NEIGHBOR_SOLICITATION) && packet.source != IpAddr::V6(config.guest_v6);
        if packet.protocol == PROTOCOL_ICMPV6 && (solicits || made) {
            self.next.get_or_insert(now + interval(config).into());
        }
    }

    /// When [`Router::due`] is next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Whether an advertisement is due; the next one is an interval later.
    pub(super) fn due(&mut self, config: &Config, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = Some(now + interval(config).into());
        }
        due
    }
}

/// Whether a packet is a router solicitation, to be answered or dropped here.
pub(super) fn owns(packet: &Packet<'_>) -> bool {
    packet.protocol == PROTOCOL_ICMPV6
        && packet.source.is_ipv6()
        && packet.payload.first() == Some(&SOLICITATION)
}

/// Answers a solicitation; RFC 4861 §6.1.1 and §6.2.6.
///
/// # Errors
/// Why there is no answer.
pub(super) fn solicited(
    out: &mut Vec<u8>,
    config: &Config,
    mtu: u16,
    packet: &Packet<'_>,
) -> Result<(), Drop> {
    let message = frame::icmp(packet)?;
    let here = [ALL_ROUTERS, config.gateway_link_local(), config.gateway_v6].map(IpAddr::V6);
    if !here.contains(&packet.destination) {
        return Err(Drop::DestinationIp);
    }
    let source = match packet.source {
        IpAddr::V6(source) if source.is_unspecified() => None,
        IpAddr::V6(source) => Some(source),
        IpAddr::V4(_) => return Err(Drop::Malformed),
    };
    let told = link_layer_address_is_told(message.rest).ok_or(Drop::Malformed)?;
    // An address of no one can be nobody's neighbour.
    if packet.hop_limit != HOP_LIMIT_NDP || message.code != 0 || (told && source.is_none()) {
        return Err(Drop::Malformed);
    }
    advertise(out, config, mtu, source.unwrap_or(ALL_NODES));
    Ok(())
}

/// Whether a source link-layer address is among options; none if one of them has no length or is cut.
fn link_layer_address_is_told(options: &[u8]) -> Option<bool> {
    let (mut options, mut told) = (options, false);
    while let Some((kind, rest)) = options.split_first() {
        let len = usize::from(*rest.first()?) * 8;
        if len == 0 {
            return None;
        }
        told |= *kind == SOURCE_ADDRESS;
        (_, options) = options.split_at_checked(len)?;
    }
    Some(told)
}

/// Writes an advertisement to all nodes.
pub(super) fn unsolicited(out: &mut Vec<u8>, config: &Config, mtu: u16) {
    advertise(out, config, mtu, ALL_NODES);
}

fn advertise(out: &mut Vec<u8>, config: &Config, mtu: u16, destination: Ipv6Addr) {
    let believed = (interval(config) * BELIEVED).as_secs();
    let [t0, t1] = u16::try_from(believed).unwrap_or(u16::MAX).to_be_bytes();
    // Neither managed nor other configuration: all there is to tell is told here.
    let header = [ADVERTISEMENT, 0, 0, 0, HOP_LIMIT, 0, t0, t1];
    // Reachable and retransmission time are the guest's choice.
    let mut rest = vec![0; 8];
    rest.extend([SOURCE_ADDRESS, 1]);
    rest.extend(config.gateway_mac);
    if mtu >= MTU_MIN {
        rest.extend([MTU, 1, 0, 0]);
        rest.extend(u32::from(mtu).to_be_bytes());
    }
    rest.extend([PREFIX, 4, PREFIX_V6, ON_LINK_AUTONOMOUS]);
    rest.extend([VALID, PREFERRED, 0].map(u32::to_be_bytes).as_flattened());
    rest.extend(config.network_v6().octets());
    rest.extend([NAMESERVER, 3, 0, 0, 0, 0, t0, t1]);
    rest.extend(config.gateway_v6.octets());
    let envelope = Envelope {
        source: config.gateway_link_local().into(),
        destination: destination.into(),
        protocol: PROTOCOL_ICMPV6,
        hop_limit: HOP_LIMIT_NDP,
    };
    emit::packet(out, &config.ends(), &envelope, &[&header, &rest]);
}

fn interval(config: &Config) -> Duration {
    let [least, most] = INTERVAL;
    config.limits.router_interval.clamp(least, most)
}
