//! Frames we write ourselves: everything toward the guest that no smoltcp socket emits.
//!
//! Each function writes one whole frame into a reused buffer, checksums included. Nothing here decides
//! whether to send it.

use std::net::{IpAddr, Ipv6Addr};

use super::checksum;
use super::frame::{
    ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ends, Flags, IPV4, IPV6, PROTOCOL_ICMPV6,
    PROTOCOL_TCP, PROTOCOL_UDP, TCP,
};
use super::syn::Syn;

/// The IP header around what is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
}

/// The hop limit of what a host sends; RFC 1700.
pub(super) const HOP_LIMIT: u8 = 64;
/// NDP messages must come from this link; RFC 4861 §7.1.
pub(super) const HOP_LIMIT_NDP: u8 = 255;

/// Where all stations of a link listen.
const BROADCAST: [u8; 6] = [0xff; 6];

/// Writes an IP packet of `parts` in a frame to the guest, and the checksum of its transport.
///
/// False if it is longer than IP can say; `out` is of no use then.
pub(super) fn packet(out: &mut Vec<u8>, ends: &Ends, envelope: &Envelope, parts: &[&[u8]]) -> bool {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.clear();
    let start = match (envelope.source, envelope.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let Ok(total) = u16::try_from(IPV4 + len) else { return false };
            let to = if destination.is_broadcast() { BROADCAST } else { ends.guest_mac };
            ethernet(out, ends, to, ETHERTYPE_IPV4);
            out.extend([0x45, 0]);
            out.extend(total.to_be_bytes());
            // No identification, don't fragment, offset 0: an atomic datagram. RFC 6864 §4.
            out.extend([0, 0, 0x40, 0, envelope.hop_limit, envelope.protocol, 0, 0]);
            out.extend(source.octets());
            out.extend(destination.octets());
            let header = checksum::finish(checksum::sum(out.get(ETHERNET..).unwrap_or_default()));
            patch(out, ETHERNET + 10, header);
            ETHERNET + IPV4
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let Ok(len) = u16::try_from(len) else { return false };
            ethernet(out, ends, mac_of(ends, destination), ETHERTYPE_IPV6);
            out.extend([0x60, 0, 0, 0]);
            out.extend(len.to_be_bytes());
            out.extend([envelope.protocol, envelope.hop_limit]);
            out.extend(source.octets());
            out.extend(destination.octets());
            ETHERNET + IPV6
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    for part in parts {
        out.extend_from_slice(part);
    }
    transport_checksum(out, start, envelope);
    true
}

fn ethernet(out: &mut Vec<u8>, ends: &Ends, destination: [u8; 6], kind: u16) {
    out.extend(destination);
    out.extend(ends.gateway_mac);
    out.extend(kind.to_be_bytes());
}

/// The guest's address, or the group's where all nodes are answered; RFC 2464 §7.
fn mac_of(ends: &Ends, destination: Ipv6Addr) -> [u8; 6] {
    if !destination.is_multicast() {
        return ends.guest_mac;
    }
    let [.., a, b, c, d] = destination.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Fills in the checksum of the transport that starts at `start`, whose field must be zero.
fn transport_checksum(out: &mut [u8], start: usize, envelope: &Envelope) {
    let body = out.get(start..).unwrap_or_default();
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let pseudo = checksum::pseudo(envelope.source, envelope.destination, envelope.protocol, len);
    let sum = checksum::sum(body);
    let (at, check) = match envelope.protocol {
        PROTOCOL_TCP => (16, checksum::finish(pseudo + sum)),
        // Zero would say "no checksum"; RFC 768.
        PROTOCOL_UDP => (6, Some(checksum::finish(pseudo + sum)).filter(|sum| *sum != 0).unwrap_or(0xffff)),
        PROTOCOL_ICMPV6 => (2, checksum::finish(pseudo + sum)),
        // ICMP sums no pseudo-header; RFC 792.
        _ => (2, checksum::finish(sum)),
    };
    patch(out, start + at, check);
}

/// Overwrites a big-endian 16-bit field; a place past the end is left alone.
pub(super) fn patch(out: &mut [u8], at: usize, value: u16) {
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// Writes the reply to an ARP request for `target`: it is at the gateway.
pub(super) fn arp_reply(out: &mut Vec<u8>, ends: &Ends, target: std::net::Ipv4Addr, to: std::net::Ipv4Addr) {
    out.clear();
    ethernet(out, ends, ends.guest_mac, ETHERTYPE_ARP);
    // Ethernet and IPv4, lengths 6 and 4, reply. RFC 826.
    out.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    out.extend(ends.gateway_mac);
    out.extend(target.octets());
    out.extend(ends.guest_mac);
    out.extend(to.octets());
}

/// A TCP segment without payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bare {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
}

impl Bare {
    fn header(&self, options: u8) -> [u8; TCP] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [q0, q1, q2, q3] = self.sequence.to_be_bytes();
        let [a0, a1, a2, a3] = self.acknowledgment.to_be_bytes();
        let [w0, w1] = self.window.to_be_bytes();
        let offset = (5 + options / 4) << 4;
        [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, self.flags, w0, w1, 0, 0, 0, 0]
    }
}

/// Writes a TCP segment without options or payload.
pub(super) fn tcp(out: &mut Vec<u8>, ends: &Ends, addresses: (IpAddr, IpAddr), bare: &Bare) {
    let (source, destination) = addresses;
    let envelope = Envelope { source, destination, protocol: PROTOCOL_TCP, hop_limit: HOP_LIMIT };
    packet(out, ends, &envelope, &[&bare.header(0)]);
}

/// Writes a SYN anew from what was understood of it, with `mss` as its maximum segment size.
///
/// The frame goes to smoltcp, not to the wire, so its Ethernet header means nothing.
pub(super) fn syn(out: &mut Vec<u8>, ends: &Ends, ends_of_flow: (IpAddr, IpAddr), syn: &Syn, mss: u16) {
    let (source, destination) = ends_of_flow;
    let envelope = Envelope { source, destination, protocol: PROTOCOL_TCP, hop_limit: HOP_LIMIT };
    let [m0, m1] = mss.to_be_bytes();
    let [k0, k1, k2, k3] = match syn.scale {
        Some(shift) => [1, 3, 3, shift],
        None => [1, 1, 1, 1],
    };
    let [p0, p1] = if syn.selective { [4, 2] } else { [1, 1] };
    let options = [2, 4, m0, m1, k0, k1, k2, k3, 1, 1, p0, p1];
    let bare = Bare {
        source_port: syn.source_port,
        destination_port: syn.destination_port,
        sequence: syn.sequence,
        acknowledgment: 0,
        flags: Flags::SYN,
        window: syn.window,
    };
    packet(out, ends, &envelope, &[&bare.header(12), &options]);
}
