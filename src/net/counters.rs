//! What the stack counts, so that nothing it drops or refuses is silent.
//!
//! Plain numbers, written by the stack alone and copied out as a [`Stats`]; no clock, no names, no guest text.

use serde::{Deserialize, Serialize};

/// Counts of one sandbox since it started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Frames read from the link.
    pub frames_in: u64,
    /// Octets of those frames.
    pub bytes_in: u64,
    /// Frames the link took.
    pub frames_out: u64,
    /// Octets of those frames.
    pub bytes_out: u64,
    /// Flows a SYN began, the guest's or ours.
    pub flows_opened: u64,
    /// Flows that are over.
    pub flows_closed: u64,
    /// Flows now, held SYNs among them.
    pub flows: u64,
    /// SYNs now held for a verdict.
    pub half_open: u64,
    /// Closed flows remembered now.
    pub tombstones: u64,
    /// SYNs refused by a verdict.
    pub refused: u64,
    /// SYNs refused because a cap of `Limits` was reached.
    pub refused_over_limit: u64,
    /// Flows reset because they would have used more memory than `Limits::ring_memory`.
    pub reset_over_limit: u64,
    /// Ring memory in use now, octets.
    pub ring_memory: u64,
    /// Flows reset because their guest accepted nothing for `Limits::drain`.
    pub stalled: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Connections now that were opened into the guest.
    pub connections: u64,
    /// Connections that were opened into the guest, answered or not.
    pub connections_opened: u64,
    /// Those of them that the guest refused.
    pub connections_refused: u64,
    /// Connections not opened into the guest because a cap of `Limits` was reached.
    pub connections_over_limit: u64,
    /// Datagrams handed out to the DNS service.
    pub datagrams: u64,
    /// UDP and echo associations begun.
    pub associations_opened: u64,
    /// Associations ended for a new one, because there were `Limits::associations`.
    pub associations_evicted: u64,
    /// Associations now, those that wait for a verdict among them.
    pub associations: u64,
    /// Packets put together from fragments.
    pub reassembled: u64,
    /// Packets given up before all their fragments were there.
    pub fragment_sets_lost: u64,
    /// Packets of which not all fragments are there now.
    pub fragment_sets: u64,
    /// ICMP errors not sent, because of `Limits::icmp_errors`.
    pub icmp_errors_over_limit: u64,
    /// Octets of buffers in the associations' queues now.
    pub udp_memory: u64,
    /// Frames and datagrams dropped, by reason.
    pub dropped: Dropped,
}

/// Frames dropped, by reason.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Dropped {
    /// Shorter than the headers they claim.
    pub runt: u64,
    /// Longer than the guest's MTU, where the link cuts no segments.
    pub jumbo: u64,
    /// Tagged with a VLAN.
    pub vlan: u64,
    /// Neither ARP nor IP.
    pub ether_type: u64,
    /// Not from the guest's MAC address.
    pub source_mac: u64,
    /// Not to the gateway's MAC address nor to a group.
    pub destination_mac: u64,
    /// Not from the guest's IP address.
    pub source_ip: u64,
    /// To an IP address that is not one host's.
    pub destination_ip: u64,
    /// Lengths or fields that contradict each other.
    pub malformed: u64,
    /// A wrong checksum.
    pub checksum: u64,
    /// IPv4 options or IPv6 extension headers.
    pub ip_options: u64,
    /// Fragments that fit no packet, or one that others had spoilt.
    pub fragment: u64,
    /// A protocol that is not relayed; an ICMP error went back where one may.
    pub protocol: u64,
    /// Datagrams of an association that was refused, or ended before they were read; an ICMP error went back
    /// about the first of a refused one.
    pub udp: u64,
    /// Datagrams for which the queue of their association had no room.
    pub queue: u64,
    /// A TCP segment of no flow.
    pub stray: u64,
    /// DHCP that is malformed, another server's, or expects no answer.
    pub dhcp: u64,
    /// A datagram over a bound of `Limits`, or with nobody to take it.
    pub datagram: u64,
    /// A frame toward the guest that the link refused for good, or that does not fit.
    pub egress: u64,
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Drop {
    Runt,
    Jumbo,
    Vlan,
    EtherType,
    SourceMac,
    DestinationMac,
    SourceIp,
    DestinationIp,
    Malformed,
    Checksum,
    IpOptions,
    Fragment,
    Protocol,
    Udp,
    Queue,
    Stray,
    Dhcp,
    Datagram,
    Egress,
}

impl Dropped {
    pub(super) fn count(&mut self, reason: Drop) {
        self.add(reason, 1);
    }

    pub(super) fn add(&mut self, reason: Drop, frames: usize) {
        let counter = match reason {
            Drop::Runt => &mut self.runt,
            Drop::Jumbo => &mut self.jumbo,
            Drop::Vlan => &mut self.vlan,
            Drop::EtherType => &mut self.ether_type,
            Drop::SourceMac => &mut self.source_mac,
            Drop::DestinationMac => &mut self.destination_mac,
            Drop::SourceIp => &mut self.source_ip,
            Drop::DestinationIp => &mut self.destination_ip,
            Drop::Malformed => &mut self.malformed,
            Drop::Checksum => &mut self.checksum,
            Drop::IpOptions => &mut self.ip_options,
            Drop::Fragment => &mut self.fragment,
            Drop::Protocol => &mut self.protocol,
            Drop::Udp => &mut self.udp,
            Drop::Queue => &mut self.queue,
            Drop::Stray => &mut self.stray,
            Drop::Dhcp => &mut self.dhcp,
            Drop::Datagram => &mut self.datagram,
            Drop::Egress => &mut self.egress,
        };
        *counter += u64::try_from(frames).unwrap_or(u64::MAX);
    }
}
