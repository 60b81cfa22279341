//! What the stack counts, so that nothing it drops or refuses is silent.
//!
//! Plain numbers, written by the stack alone and copied out as a [`Stats`]; no clock, no names, no guest text.

/// Counts of one sandbox since it started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
    /// Flows a SYN began.
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
    /// Datagrams handed out.
    pub datagrams: u64,
    /// Frames and datagrams dropped, by reason.
    pub dropped: Dropped,
}

/// Frames dropped, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
    /// Fragments.
    pub fragment: u64,
    /// A protocol that is not relayed; an ICMP error went back where one may.
    pub protocol: u64,
    /// UDP that is not DNS; an ICMP error went back.
    pub udp: u64,
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
    Stray,
    Dhcp,
    Datagram,
    Egress,
}

impl Dropped {
    pub(super) fn count(&mut self, reason: Drop) {
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
            Drop::Stray => &mut self.stray,
            Drop::Dhcp => &mut self.dhcp,
            Drop::Datagram => &mut self.datagram,
            Drop::Egress => &mut self.egress,
        };
        *counter += 1;
    }
}
