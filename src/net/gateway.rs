//! The gateway as a neighbour: ARP, NDP, echo, and the ICMP errors that say what is not relayed.
//!
//! Every function writes at most one frame in answer to one frame, so a storm costs its sender as much as us.
//! Nothing is learnt from the guest.

use std::net::{IpAddr, Ipv6Addr};

use super::config::Config;
use super::counters::Drop;
use super::emit::{self, Envelope, HOP_LIMIT, HOP_LIMIT_NDP};
use super::frame::{self, Arp, Icmp, PROTOCOL_ICMP, PROTOCOL_ICMPV6, Packet};

/// ICMP types; RFC 792.
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
/// ICMPv6 types; RFC 4443 and RFC 4861.
const UNREACHABLE_V6: u8 = 1;
const PARAMETER_PROBLEM_V6: u8 = 4;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// An ICMP error is at most 576 octets, RFC 1812 §4.3.2.3: this is what its headers leave of it.
const QUOTE_V4: usize = 576 - frame::IPV4 - 8;
/// An ICMPv6 error fits the least MTU; RFC 4443 §2.4 (c).
const QUOTE_V6: usize = 1280 - frame::IPV6 - 8;

/// Why a packet is answered with an ICMP error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unreachable {
    /// Nobody is at the UDP port.
    Port,
    /// The protocol is not relayed.
    Protocol,
    /// It is not allowed.
    Prohibited,
}

/// Answers an ARP request: the gateway and every off-link address are at the gateway's MAC address.
///
/// # Errors
/// The target is for no one to answer.
pub(super) fn arp(out: &mut Vec<u8>, config: &Config, arp: &Arp) -> Result<(), Drop> {
    let target = IpAddr::V4(arp.target);
    let gateway = arp.target == config.gateway_v4;
    // A probe, RFC 5227, asks whether its target is taken; only the gateway's own address is.
    let off_link = !arp.sender.is_unspecified() && config.is_host(target) && !config.is_on_link(target);
    if !gateway && !off_link {
        return Err(Drop::DestinationIp);
    }
    emit::arp_reply(out, &config.ends(), arp.target, arp.sender);
    Ok(())
}

/// Answers an ICMP or ICMPv6 message.
///
/// # Errors
/// Why there is no answer.
pub(super) fn icmp(out: &mut Vec<u8>, config: &Config, packet: &Packet<'_>) -> Result<(), Drop> {
    let message = frame::icmp(packet)?;
    match (packet.destination, message.kind, message.code) {
        (IpAddr::V6(_), NEIGHBOR_SOLICITATION, 0) => neighbor(out, config, packet, &message),
        (IpAddr::V4(_), ECHO_REQUEST, 0) => echo(out, config, packet, &message, ECHO_REPLY),
        (IpAddr::V6(_), ECHO_REQUEST_V6, 0) => echo(out, config, packet, &message, ECHO_REPLY_V6),
        _ => Err(Drop::Protocol),
    }
}

fn echo(
    out: &mut Vec<u8>,
    config: &Config,
    packet: &Packet<'_>,
    message: &Icmp<'_>,
    reply: u8,
) -> Result<(), Drop> {
    let gateways: [IpAddr; 3] =
        [config.gateway_v4.into(), config.gateway_v6.into(), config.gateway_link_local().into()];
    if !gateways.contains(&packet.destination) {
        unreachable(out, config, packet, Unreachable::Prohibited);
        return Err(Drop::Protocol);
    }
    let [w0, w1, w2, w3] = message.word;
    let header = [reply, 0, 0, 0, w0, w1, w2, w3];
    let envelope = Envelope {
        source: packet.destination,
        destination: packet.source,
        protocol: packet.protocol,
        hop_limit: HOP_LIMIT,
    };
    if emit::packet(out, &config.ends(), &envelope, &[&header, message.rest]) {
        Ok(())
    } else {
        Err(Drop::Malformed)
    }
}

/// Answers a neighbour solicitation; RFC 4861 §7.2.3 and §7.2.4.
fn neighbor(out: &mut Vec<u8>, config: &Config, packet: &Packet<'_>, message: &Icmp<'_>) -> Result<(), Drop> {
    let target = message.rest.first_chunk::<16>().ok_or(Drop::Malformed)?;
    let target = Ipv6Addr::from(*target);
    if packet.hop_limit != HOP_LIMIT_NDP {
        return Err(Drop::Malformed);
    }
    // A solicitation from no address checks for duplicates; only an address that is taken answers it.
    let probe = packet.source.is_unspecified();
    let own = target == config.gateway_v6 || target == config.gateway_link_local();
    let off_link =
        config.is_host(target.into()) && !config.is_on_link(target.into()) && !target.is_unicast_link_local();
    if !own && (probe || !off_link) {
        return Err(Drop::DestinationIp);
    }
    // Router, override; solicited too unless all nodes are answered.
    let (flags, destination) =
        if probe { (0xa0, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into()) } else { (0xe0, packet.source) };
    let header = [NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let [a, b, c, d, e, f] = config.gateway_mac;
    let link_layer_address = [2, 1, a, b, c, d, e, f];
    let envelope =
        Envelope { source: target.into(), destination, protocol: PROTOCOL_ICMPV6, hop_limit: HOP_LIMIT_NDP };
    emit::packet(out, &config.ends(), &envelope, &[&header, &target.octets(), &link_layer_address]);
    Ok(())
}

/// Writes an ICMP error that quotes a packet, from the address the packet was for.
///
/// The packet must be to one host, and be no ICMP error itself; RFC 1122 §3.2.2, RFC 4443 §2.4 (e).
pub(super) fn unreachable(out: &mut Vec<u8>, config: &Config, packet: &Packet<'_>, why: Unreachable) {
    let ((protocol, most), [kind, code, pointer]) = match (packet.source, why) {
        (IpAddr::V4(_), Unreachable::Port) => ((PROTOCOL_ICMP, QUOTE_V4), [UNREACHABLE, 3, 0]),
        (IpAddr::V4(_), Unreachable::Protocol) => ((PROTOCOL_ICMP, QUOTE_V4), [UNREACHABLE, 2, 0]),
        (IpAddr::V4(_), Unreachable::Prohibited) => ((PROTOCOL_ICMP, QUOTE_V4), [UNREACHABLE, 13, 0]),
        (IpAddr::V6(_), Unreachable::Port) => ((PROTOCOL_ICMPV6, QUOTE_V6), [UNREACHABLE_V6, 4, 0]),
        // An unrecognized next header, with the place of that field in the IPv6 header.
        (IpAddr::V6(_), Unreachable::Protocol) => ((PROTOCOL_ICMPV6, QUOTE_V6), [PARAMETER_PROBLEM_V6, 1, 6]),
        (IpAddr::V6(_), Unreachable::Prohibited) => ((PROTOCOL_ICMPV6, QUOTE_V6), [UNREACHABLE_V6, 1, 0]),
    };
    let header = [kind, code, 0, 0, 0, 0, 0, pointer];
    let quote = packet.bytes.get(..most).unwrap_or(packet.bytes);
    let envelope =
        Envelope { source: packet.destination, destination: packet.source, protocol, hop_limit: HOP_LIMIT };
    emit::packet(out, &config.ends(), &envelope, &[&header, quote]);
}
