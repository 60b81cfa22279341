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
const PACKET_TOO_BIG_V6: u8 = 2;
const PARAMETER_PROBLEM_V6: u8 = 4;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// An ICMP error is at most 576 octets, RFC 1812 §4.3.2.3: this is what its headers leave of it.
const QUOTE_V4: usize = 576 - frame::IPV4 - 8;
/// The least MTU of IPv6; no path may ask for less. RFC 8200 §5.
const MTU_V6: u16 = 1_280;

/// An ICMPv6 error fits the least MTU; RFC 4443 §2.4 (c).
const QUOTE_V6: usize = MTU_V6 as usize - frame::IPV6 - 8;

/// The most an ICMP error quotes of a packet, octets.
pub(super) const QUOTE: usize = QUOTE_V6;

/// Why a packet did not arrive, as an ICMP error says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreachable {
    /// There is no way to its network.
    Network,
    /// Its host does not answer.
    Host,
    /// Its protocol is not relayed.
    Protocol,
    /// Nobody is at its UDP port.
    Port,
    /// It is not allowed.
    Prohibited,
}

/// What an ICMP error is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Problem {
    Unreachable(Unreachable),
    /// It is larger than the path takes: octets of IP.
    TooBig(u16),
}

/// A packet of the guest that an ICMP error is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted<'a> {
    /// The guest, who is told.
    pub(super) source: IpAddr,
    /// Whom the packet was for, and in whose name the guest is told.
    pub(super) destination: IpAddr,
    /// The packet from its IP header on, or as much of it as [`QUOTE`].
    pub(super) bytes: &'a [u8],
}

impl<'a> From<&Packet<'a>> for Quoted<'a> {
    fn from(packet: &Packet<'a>) -> Self {
        Self { source: packet.source, destination: packet.destination, bytes: packet.bytes }
    }
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

/// What an ICMP or ICMPv6 message asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// A reply of another host.
    Echo(Icmp<'a>),
    /// Nothing more: the answer is written.
    Answered,
}

/// Answers an ICMP or ICMPv6 message, unless it is an echo request to another than the gateway.
///
/// # Errors
/// Why there is no answer.
pub(super) fn icmp<'a>(out: &mut Vec<u8>, config: &Config, packet: &Packet<'a>) -> Result<Asked<'a>, Drop> {
    let message = frame::icmp(packet)?;
    match (packet.destination, message.kind, message.code) {
        (IpAddr::V6(_), NEIGHBOR_SOLICITATION, 0) => {
            neighbor(out, config, packet, &message).map(|()| Asked::Answered)
        }
        (IpAddr::V4(_), ECHO_REQUEST, 0) | (IpAddr::V6(_), ECHO_REQUEST_V6, 0) => {
            let gateways: [IpAddr; 3] =
                [config.gateway_v4.into(), config.gateway_v6.into(), config.gateway_link_local().into()];
            if gateways.contains(&packet.destination) {
                return echo(out, config, packet, &message).map(|()| Asked::Answered);
            }
            if config.is_host(packet.destination) {
                Ok(Asked::Echo(message))
            } else {
                Err(Drop::DestinationIp)
            }
        }
        _ => Err(Drop::Protocol),
    }
}

/// Answers an echo request.
fn echo(out: &mut Vec<u8>, config: &Config, packet: &Packet<'_>, message: &Icmp<'_>) -> Result<(), Drop> {
    let header = echo_header(packet.destination, message.identifier());
    let [_, _, s0, s1] = message.word;
    let envelope = Envelope {
        source: packet.destination,
        destination: packet.source,
        protocol: packet.protocol,
        hop_limit: HOP_LIMIT,
    };
    if emit::packet(out, &config.ends(), &envelope, &[&header, &[s0, s1], message.rest]) {
        Ok(())
    } else {
        Err(Drop::Malformed)
    }
}

/// What comes before the sequence number in a reply from an address to echo requests of an identifier.
pub(super) fn echo_header(from: IpAddr, identifier: u16) -> [u8; 6] {
    let kind = match from {
        IpAddr::V4(_) => ECHO_REPLY,
        IpAddr::V6(_) => ECHO_REPLY_V6,
    };
    let [i0, i1] = identifier.to_be_bytes();
    [kind, 0, 0, 0, i0, i1]
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
pub(super) fn error(out: &mut Vec<u8>, config: &Config, quoted: Quoted<'_>, problem: Problem) {
    let (protocol, most, [kind, code], word) = match quoted.source {
        IpAddr::V4(_) => {
            let ([kind, code], word) = error_v4(problem);
            (PROTOCOL_ICMP, QUOTE_V4, [kind, code], word)
        }
        IpAddr::V6(_) => {
            let ([kind, code], word) = error_v6(problem);
            (PROTOCOL_ICMPV6, QUOTE_V6, [kind, code], word)
        }
    };
    let [w0, w1, w2, w3] = word.to_be_bytes();
    let header = [kind, code, 0, 0, w0, w1, w2, w3];
    let quote = quoted.bytes.get(..most).unwrap_or(quoted.bytes);
    let Quoted { source, destination, .. } = quoted;
    let envelope = Envelope { source: destination, destination: source, protocol, hop_limit: HOP_LIMIT };
    emit::packet(out, &config.ends(), &envelope, &[&header, quote]);
}

/// Type, code and second word of an ICMP error; RFC 792, RFC 1812 §5.2.7.1, and RFC 1191 §4 for the MTU.
fn error_v4(problem: Problem) -> ([u8; 2], u32) {
    match problem {
        Problem::Unreachable(Unreachable::Network) => ([UNREACHABLE, 0], 0),
        Problem::Unreachable(Unreachable::Host) => ([UNREACHABLE, 1], 0),
        Problem::Unreachable(Unreachable::Protocol) => ([UNREACHABLE, 2], 0),
        Problem::Unreachable(Unreachable::Port) => ([UNREACHABLE, 3], 0),
        Problem::Unreachable(Unreachable::Prohibited) => ([UNREACHABLE, 13], 0),
        Problem::TooBig(mtu) => ([UNREACHABLE, 4], mtu.into()),
    }
}

/// Type, code and second word of an ICMPv6 error; RFC 4443 §3.
fn error_v6(problem: Problem) -> ([u8; 2], u32) {
    match problem {
        Problem::Unreachable(Unreachable::Network) => ([UNREACHABLE_V6, 0], 0),
        Problem::Unreachable(Unreachable::Host) => ([UNREACHABLE_V6, 3], 0),
        // An unrecognized next header, with the place of that field in the IPv6 header.
        Problem::Unreachable(Unreachable::Protocol) => ([PARAMETER_PROBLEM_V6, 1], 6),
        Problem::Unreachable(Unreachable::Port) => ([UNREACHABLE_V6, 4], 0),
        Problem::Unreachable(Unreachable::Prohibited) => ([UNREACHABLE_V6, 1], 0),
        Problem::TooBig(mtu) => ([PACKET_TOO_BIG_V6, 0], mtu.max(MTU_V6).into()),
    }
}
