//! What a frame of the guest is: Ethernet, ARP, IPv4, IPv6, TCP and UDP headers, parsed once.
//!
//! Not a place for decisions about flows: a parser here either yields a value that holds all it promises, or
//! the reason why the frame is dropped. No parser panics, allocates, or reads past what lengths allow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;
use super::config::network_v6;
use super::counters::Drop;
use super::dhcp;

mod transport;

pub(super) use transport::{Flags, Icmp, Segment, TCP, UDP, Udp, icmp, tcp, tcp_header, udp};

/// Length of an Ethernet header without a VLAN tag, octets.
pub(super) const ETHERNET: usize = 14;
/// Length of the fixed IPv4 header, octets; RFC 791 §3.1.
pub(super) const IPV4: usize = 20;
/// Length of the IPv6 header, octets; RFC 8200 §3.
pub(super) const IPV6: usize = 40;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad tags.
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];

pub(super) const PROTOCOL_ICMP: u8 = 1;
pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_UDP: u8 = 17;
pub(super) const PROTOCOL_ICMPV6: u8 = 58;
/// IPv6 extension headers a guest may send; none of them is followed. RFC 8200 §4.
const EXTENSION_HEADERS: [u8; 4] = [HOP_BY_HOP, 43, 51, 60];
const HOP_BY_HOP: u8 = 0;
pub(super) const FRAGMENT_HEADER: u8 = 44;

/// Who may be on the two ends of the cable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) guest_mac: [u8; 6],
    pub(super) gateway_mac: [u8; 6],
    pub(super) guest_v4: Ipv4Addr,
    pub(super) guest_v6: Ipv6Addr,
    pub(super) gateway_v6: Ipv6Addr,
}

impl Ends {
    /// Whether an IPv6 address is the guest's: it picks those of its /64 itself, but neither the gateway's nor the
    /// first, which is any router's; RFC 4862, RFC 4291 §2.6.1.
    fn is_guest_v6(&self, addr: Ipv6Addr) -> bool {
        let network = network_v6(self.guest_v6);
        network_v6(addr) == network && addr != network && addr != self.gateway_v6
    }
}

/// Whether the checksums of TCP, UDP and ICMP are ours to verify.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Checksums {
    Verify,
    /// The link vouches for TCP and UDP, whose checksum may be partial; ICMP is always whole.
    TrustTransport,
}

/// A frame that passed the first door: it comes from the guest and is of a kind we speak.
#[derive(Debug)]
pub(super) enum Inbound<'a> {
    Arp(Arp),
    Ip(Packet<'a>),
    Fragment(Fragment<'a>),
}

/// An ARP request; RFC 826.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Arp {
    /// Unspecified in a probe; RFC 5227.
    pub(super) sender: Ipv4Addr,
    pub(super) target: Ipv4Addr,
}

/// An IP packet whose lengths agree and whose source is the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    /// Header and payload, without what Ethernet padded.
    pub(super) bytes: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// A part of an IP packet whose source is the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) identification: u32,
    /// What the packet carries; in IPv6 only the first fragment's word counts.
    pub(super) protocol: u8,
    /// Where its payload belongs in the packet's, octets.
    pub(super) offset: usize,
    /// It is not the last.
    pub(super) more: bool,
    /// The IP header, without the IPv6 fragment header.
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Packet<'_> {
    /// Whether the checksum of a transport that sums a pseudo-header is right.
    fn transport_sum_is_right(&self) -> bool {
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let pseudo = checksum::pseudo(self.source, self.destination, self.protocol, len);
        checksum::fold(pseudo.wrapping_add(checksum::sum(self.payload))) == 0xffff
    }
}

/// Parses a frame up to the end of its IP header.
///
/// # Errors
/// Why the frame is dropped.
pub(super) fn parse<'a>(frame: &'a [u8], ends: &Ends) -> Result<Inbound<'a>, Drop> {
    let (destination, rest) = frame.split_first_chunk::<6>().ok_or(Drop::Runt)?;
    let (source, rest) = rest.split_first_chunk::<6>().ok_or(Drop::Runt)?;
    let (kind, body) = rest.split_first_chunk::<2>().ok_or(Drop::Runt)?;
    if *source != ends.guest_mac {
        return Err(Drop::SourceMac);
    }
    let [first, ..] = *destination;
    let group = first & 1 == 1;
    if !group && *destination != ends.gateway_mac {
        return Err(Drop::DestinationMac);
    }
    match u16::from_be_bytes(*kind) {
        ETHERTYPE_ARP => arp(body, ends).map(Inbound::Arp),
        ETHERTYPE_IPV4 => ipv4(body, ends),
        ETHERTYPE_IPV6 => ipv6(body, ends),
        tag if ETHERTYPE_VLAN.contains(&tag) => Err(Drop::Vlan),
        _ => Err(Drop::EtherType),
    }
}

fn arp(body: &[u8], ends: &Ends) -> Result<Arp, Drop> {
    // Ethernet and IPv4, lengths 6 and 4, request.
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let (head, rest) = body.split_first_chunk::<8>().ok_or(Drop::Runt)?;
    let (sender_mac, rest) = rest.split_first_chunk::<6>().ok_or(Drop::Runt)?;
    let (sender, rest) = rest.split_first_chunk::<4>().ok_or(Drop::Runt)?;
    let (_, rest) = rest.split_first_chunk::<6>().ok_or(Drop::Runt)?;
    let (target, _) = rest.split_first_chunk::<4>().ok_or(Drop::Runt)?;
    if *head != REQUEST {
        return Err(Drop::Malformed);
    }
    let sender = Ipv4Addr::from(*sender);
    if *sender_mac != ends.guest_mac {
        return Err(Drop::SourceMac);
    }
    if sender != ends.guest_v4 && !sender.is_unspecified() {
        return Err(Drop::SourceIp);
    }
    Ok(Arp { sender, target: Ipv4Addr::from(*target) })
}

fn ipv4<'a>(body: &'a [u8], ends: &Ends) -> Result<Inbound<'a>, Drop> {
    let (header, _) = body.split_first_chunk::<IPV4>().ok_or(Drop::Runt)?;
    let [version, _, l0, l1, i0, i1, f0, f1, hop_limit, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        *header;
    match version {
        0x45 => {}
        0x46..=0x4f => return Err(Drop::IpOptions),
        _ => return Err(Drop::Malformed),
    }
    let total = usize::from(u16::from_be_bytes([l0, l1]));
    let bytes = body.get(..total).ok_or(Drop::Malformed)?;
    let payload = bytes.get(IPV4..).ok_or(Drop::Malformed)?;
    if checksum::fold(checksum::sum(header)) != 0xffff {
        return Err(Drop::Checksum);
    }
    let source = Ipv4Addr::new(s0, s1, s2, s3);
    // All but "reserved" and "don't fragment": more fragments, or an offset. RFC 791 §3.1.
    let fragment = u16::from_be_bytes([f0, f1]) & 0x3fff != 0;
    // A client without an address asks for one.
    let dhcp = source.is_unspecified()
        && protocol == PROTOCOL_UDP
        && !fragment
        && payload.first_chunk().is_some_and(|ports| dhcp::is_request(*ports));
    if source != ends.guest_v4 && !dhcp {
        return Err(Drop::SourceIp);
    }
    let destination = IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3));
    // All but "reserved" and "don't fragment": more fragments, or an offset. RFC 791 §3.1.
    let flags = u16::from_be_bytes([f0, f1]);
    if flags & 0x3fff != 0 {
        return Ok(Inbound::Fragment(Fragment {
            source: IpAddr::V4(source),
            destination,
            identification: u16::from_be_bytes([i0, i1]).into(),
            protocol,
            offset: usize::from(flags & 0x1fff) * 8,
            more: flags & 0x2000 != 0,
            header,
            payload,
        }));
    }
    Ok(Inbound::Ip(Packet { source: IpAddr::V4(source), destination, protocol, hop_limit, bytes, payload }))
}

fn ipv6<'a>(body: &'a [u8], ends: &Ends) -> Result<Inbound<'a>, Drop> {
    let (head, rest) = body.split_first_chunk::<8>().ok_or(Drop::Runt)?;
    let (source, rest) = rest.split_first_chunk::<16>().ok_or(Drop::Runt)?;
    let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Drop::Runt)?;
    let [version, _, _, _, l0, l1, protocol, hop_limit] = *head;
    if version >> 4 != 6 {
        return Err(Drop::Malformed);
    }
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let payload = rest.get(..len).ok_or(Drop::Malformed)?;
    let bytes = body.get(..IPV6 + len).ok_or(Drop::Malformed)?;
    let source = Ipv6Addr::from(*source);
    // A host speaks NDP from its link-local address too, and from none while it checks its own for duplicates. What it
    // says there behind a hop-by-hop header is that it joins a group (MLD): dropped below, but not forged.
    let ndp = [PROTOCOL_ICMPV6, HOP_BY_HOP].contains(&protocol)
        && (source.is_unicast_link_local() || source.is_unspecified());
    if !ends.is_guest_v6(source) && !ndp {
        return Err(Drop::SourceIp);
    }
    let destination = IpAddr::V6(Ipv6Addr::from(*destination));
    match protocol {
        FRAGMENT_HEADER => {
            let header = body.get(..IPV6).ok_or(Drop::Malformed)?;
            fragment_v6(header, (IpAddr::V6(source), destination), payload).map(Inbound::Fragment)
        }
        extension if EXTENSION_HEADERS.contains(&extension) => Err(Drop::IpOptions),
        _ => {
            let source = IpAddr::V6(source);
            Ok(Inbound::Ip(Packet { source, destination, protocol, hop_limit, bytes, payload }))
        }
    }
}

/// Parses an IPv6 fragment header; RFC 8200 §4.5.
fn fragment_v6<'a>(
    header: &'a [u8],
    (source, destination): (IpAddr, IpAddr),
    body: &'a [u8],
) -> Result<Fragment<'a>, Drop> {
    let (head, payload) = body.split_first_chunk::<8>().ok_or(Drop::Malformed)?;
    let [protocol, _, f0, f1, i0, i1, i2, i3] = *head;
    let flags = u16::from_be_bytes([f0, f1]);
    if protocol == FRAGMENT_HEADER || EXTENSION_HEADERS.contains(&protocol) {
        return Err(Drop::IpOptions);
    }
    Ok(Fragment {
        source,
        destination,
        identification: u32::from_be_bytes([i0, i1, i2, i3]),
        protocol,
        offset: usize::from(flags & 0xfff8),
        more: flags & 1 == 1,
        header,
        payload,
    })
}
