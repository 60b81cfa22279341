//! The headers behind IP: TCP, UDP and ICMP.
//!
//! As in the file above: a value that holds all it promises, or the reason why the packet is dropped.

use std::net::IpAddr;

use super::{Checksums, Packet};
use crate::net::checksum;
use crate::net::counters::Drop;

/// Length of a TCP header without options, octets; RFC 9293 §3.1.
pub(in crate::net) const TCP: usize = 20;
/// Length of a UDP header, octets; RFC 768.
pub(in crate::net) const UDP: usize = 8;

/// The header of a TCP segment; RFC 9293 §3.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::net) struct Segment {
    pub(in crate::net) source_port: u16,
    pub(in crate::net) destination_port: u16,
    pub(in crate::net) sequence: u32,
    pub(in crate::net) acknowledgment: u32,
    pub(in crate::net) flags: Flags,
    pub(in crate::net) window: u16,
    /// Header with options, octets.
    pub(in crate::net) header: usize,
    /// Payload, octets.
    pub(in crate::net) payload: u32,
}

impl Segment {
    /// The sequence space the segment takes, SYN and FIN counted.
    pub(in crate::net) fn space(&self) -> u32 {
        self.payload + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }
}

/// The control bits of a TCP segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::net) struct Flags(pub(in crate::net) u8);

impl Flags {
    pub(in crate::net) const FIN: u8 = 0x01;
    pub(in crate::net) const SYN: u8 = 0x02;
    pub(in crate::net) const RST: u8 = 0x04;
    pub(in crate::net) const ACK: u8 = 0x10;

    pub(in crate::net) fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    pub(in crate::net) fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }

    pub(in crate::net) fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    pub(in crate::net) fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// Parses the TCP header of a packet.
///
/// # Errors
/// Why the packet is dropped.
pub(in crate::net) fn tcp(packet: &Packet<'_>, checksums: Checksums) -> Result<Segment, Drop> {
    let segment = tcp_header(packet.payload).ok_or(Drop::Malformed)?;
    if segment.source_port == 0 || segment.destination_port == 0 {
        return Err(Drop::Malformed);
    }
    if checksums == Checksums::Verify && !packet.transport_sum_is_right() {
        return Err(Drop::Checksum);
    }
    Ok(segment)
}

/// The TCP header at the start of `bytes`, if its lengths agree.
pub(in crate::net) fn tcp_header(bytes: &[u8]) -> Option<Segment> {
    let (header, _) = bytes.split_first_chunk::<TCP>()?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
    let header = usize::from(offset >> 4) * 4;
    let payload = bytes.len().checked_sub(header)?;
    if header < TCP {
        return None;
    }
    Some(Segment {
        source_port: u16::from_be_bytes([s0, s1]),
        destination_port: u16::from_be_bytes([d0, d1]),
        sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
        flags: Flags(flags),
        window: u16::from_be_bytes([w0, w1]),
        header,
        payload: u32::try_from(payload).ok()?,
    })
}

/// A UDP datagram; RFC 768.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Udp<'a> {
    pub(in crate::net) source_port: u16,
    pub(in crate::net) destination_port: u16,
    pub(in crate::net) payload: &'a [u8],
}

/// Parses the UDP header of a packet.
///
/// # Errors
/// Why the packet is dropped.
pub(in crate::net) fn udp<'a>(packet: &Packet<'a>, checksums: Checksums) -> Result<Udp<'a>, Drop> {
    let (header, _) = packet.payload.split_first_chunk::<UDP>().ok_or(Drop::Malformed)?;
    let [s0, s1, d0, d1, l0, l1, c0, c1] = *header;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let payload = packet.payload.get(UDP..len).ok_or(Drop::Malformed)?;
    // No checksum at all is legal in IPv4 and, but for tunnels, not in IPv6; RFC 8200 §8.1.
    let absent = [c0, c1] == [0, 0] && packet.source.is_ipv4();
    if checksums == Checksums::Verify && !absent && !packet.transport_sum_is_right() {
        return Err(Drop::Checksum);
    }
    let source_port = u16::from_be_bytes([s0, s1]);
    let destination_port = u16::from_be_bytes([d0, d1]);
    if source_port == 0 || destination_port == 0 {
        return Err(Drop::Malformed);
    }
    Ok(Udp { source_port, destination_port, payload })
}

/// Type, code, the 32 bits after the checksum, and the rest of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Icmp<'a> {
    pub(in crate::net) kind: u8,
    pub(in crate::net) code: u8,
    pub(in crate::net) word: [u8; 4],
    pub(in crate::net) rest: &'a [u8],
}

impl Icmp<'_> {
    /// The identifier of an echo request.
    pub(in crate::net) fn identifier(&self) -> u16 {
        let [i0, i1, ..] = self.word;
        u16::from_be_bytes([i0, i1])
    }
}

/// Parses an ICMP or ICMPv6 message, whose checksum is always verified: no offload covers it.
///
/// # Errors
/// Why the packet is dropped.
pub(in crate::net) fn icmp<'a>(packet: &Packet<'a>) -> Result<Icmp<'a>, Drop> {
    let (header, rest) = packet.payload.split_first_chunk::<8>().ok_or(Drop::Malformed)?;
    let [kind, code, _, _, w0, w1, w2, w3] = *header;
    let right = match packet.source {
        IpAddr::V4(_) => checksum::fold(checksum::sum(packet.payload)) == 0xffff,
        IpAddr::V6(_) => packet.transport_sum_is_right(),
    };
    if !right {
        return Err(Drop::Checksum);
    }
    Ok(Icmp { kind, code, word: [w0, w1, w2, w3], rest })
}
