//! The way to the guest: frames are finished here and handed to the link, or held until it takes them.
//!
//! smoltcp retransmits no sooner than after a second, so a frame toward the guest is never dropped because the
//! link is busy. While one is held nothing else is emitted, except the one reply a received frame may cause.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::checksum;
use super::counters::{Drop, Stats};
use super::emit;
use super::frame::{
    ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ends, IPV4, IPV6, PROTOCOL_TCP, Segment, TCP, tcp_header,
};
use super::outbox::Outbox;
use crate::limits::Limits;
use crate::link::{Family, Frame, Link, Offload, Partial};

/// The IP MTU smoltcp is given where the link cuts segments: the most IP can say.
const MTU_OFFLOAD: usize = 65_535;

/// The least MTU worked with, whatever a link says: what every IPv4 host takes; RFC 791 §3.1.
const MTU_MIN: usize = 576;

/// Frames under construction and frames held.
#[derive(Debug)]
pub(super) struct Egress {
    pub(super) ends: Ends,
    offload: Offload,
    mtu: usize,
    frame: Box<[u8]>,
    pub(super) outbox: Outbox,
}

impl Egress {
    pub(super) fn new(ends: Ends, link: &impl Link, limits: &Limits) -> Self {
        let frame = vec![0; ETHERNET + MTU_OFFLOAD].into_boxed_slice();
        let (offload, mtu) = (link.offload(), link.mtu().clamp(MTU_MIN, MTU_OFFLOAD));
        Self { ends, offload, mtu, frame, outbox: Outbox::new(limits) }
    }

    /// The IP MTU of the guest, octets.
    pub(super) fn mtu(&self) -> usize {
        self.mtu
    }

    /// The IP MTU of the guest as a field of 16 bits has it.
    pub(super) fn mtu_field(&self) -> u16 {
        u16::try_from(self.mtu).unwrap_or(u16::MAX)
    }

    /// The IP MTU smoltcp works with, octets.
    pub(super) fn device_mtu(&self) -> usize {
        match self.offload {
            Offload::None => self.mtu,
            Offload::Vnet => MTU_OFFLOAD,
        }
    }

    /// Whether a frame of the guest is longer than its link carries.
    pub(super) fn is_jumbo(&self, frame: &[u8]) -> bool {
        frame.len() > ETHERNET + self.device_mtu()
    }

    /// The MSS that fits an MTU; RFC 6691.
    pub(super) fn mss(mtu: usize, family: Family) -> u16 {
        let header = match family {
            Family::V4 => IPV4,
            Family::V6 => IPV6,
        };
        u16::try_from(mtu.saturating_sub(header + TCP)).unwrap_or(u16::MAX)
    }

    /// The MSS smoltcp is given for a guest that takes `mss`: where the link cuts segments, the largest there is.
    pub(super) fn device_mss(&self, mss: u16, family: Family) -> u16 {
        match self.offload {
            Offload::None => mss,
            Offload::Vnet => Self::mss(MTU_OFFLOAD, family),
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Hands over what is held, in order; true when nothing is left.
    pub(super) fn flush<L: Link>(&mut self, link: &mut L, stats: &mut Stats) -> bool {
        while let Some(frame) = self.outbox.front() {
            match offer(link, frame, stats) {
                Offer::Done => self.outbox.pop(),
                Offer::Busy => return false,
            }
        }
        true
    }

    /// Drops what is held: whom it is for is gone.
    pub(super) fn discard(&mut self, stats: &mut Stats) {
        while !self.outbox.is_empty() {
            self.outbox.pop();
            stats.dropped.count(Drop::Egress);
        }
    }

    /// Sends a whole frame, or holds it.
    pub(super) fn send<L: Link>(&mut self, link: &mut L, bytes: &[u8], stats: &mut Stats) {
        self.dispatch(link, Frame { bytes, partial: None }, stats);
    }

    fn dispatch<L: Link>(&mut self, link: &mut L, frame: Frame<'_>, stats: &mut Stats) {
        if self.is_holding() || offer(link, frame, stats) == Offer::Busy {
            self.outbox.hold(frame);
        }
    }

    /// Finishes the segment smoltcp wrote into the first `len` octets after the Ethernet header.
    fn finish(&mut self, len: usize, mss: u16) -> Option<(Partial, Segment)> {
        let our_mss = |family| Self::mss(self.mtu, family);
        let frame = self.frame.get_mut(..ETHERNET + len)?;
        let (family, start, addresses) = head(frame.get(ETHERNET..)?)?;
        let kind = match family {
            Family::V4 => ETHERTYPE_IPV4,
            Family::V6 => ETHERTYPE_IPV6,
        };
        let (to, rest) = frame.split_first_chunk_mut::<6>()?;
        let (from, rest) = rest.split_first_chunk_mut::<6>()?;
        *to = self.ends.guest_mac;
        *from = self.ends.gateway_mac;
        emit::patch(rest, 0, kind);

        let segment = tcp_header(frame.get(start..)?)?;
        if segment.flags.syn() && self.offload == Offload::Vnet {
            announce(frame.get_mut(start + TCP..)?, our_mss(family));
        }
        let (source, destination) = addresses;
        let tcp_len = u32::try_from(frame.len().checked_sub(start)?).ok()?;
        let pseudo = checksum::pseudo(source, destination, PROTOCOL_TCP, tcp_len);
        let field = start + 16;
        emit::patch(frame, field, 0);
        let check = match self.offload {
            Offload::Vnet => checksum::fold(pseudo),
            Offload::None => checksum::finish(pseudo + checksum::sum(frame.get(start..)?)),
        };
        emit::patch(frame, field, check);
        let partial = Partial {
            family,
            start: u16::try_from(start).ok()?,
            headers: u16::try_from(start + segment.header).ok()?,
            segment: NonZeroU16::new(mss).filter(|mss| segment.payload > u32::from(mss.get())),
        };
        Some((partial, segment))
    }
}

/// Writes the real MSS over the one smoltcp announced in a SYN, which comes first among its options.
fn announce(options: &mut [u8], mss: u16) {
    if let [2, 4, value @ ..] = options {
        emit::patch(value, 0, mss);
    }
}

/// Family, where TCP starts in the frame, and addresses of a packet smoltcp emitted.
fn head(packet: &[u8]) -> Option<(Family, usize, (IpAddr, IpAddr))> {
    if packet.first()? >> 4 == 4 {
        let source = Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?);
        let destination = Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?);
        return Some((Family::V4, ETHERNET + IPV4, (source.into(), destination.into())));
    }
    let source = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?);
    Some((Family::V6, ETHERNET + IPV6, (source.into(), destination.into())))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Offer {
    Done,
    Busy,
}

fn offer<L: Link>(link: &mut L, frame: Frame<'_>, stats: &mut Stats) -> Offer {
    match link.try_send(frame) {
        Ok(()) => {
            stats.frames_out += 1;
            stats.bytes_out += u64::try_from(frame.bytes.len()).unwrap_or(u64::MAX);
            Offer::Done
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Offer::Busy,
        Err(e) => {
            tracing::trace!(error = %e, "frame refused by the link");
            stats.dropped.count(Drop::Egress);
            Offer::Done
        }
    }
}

/// The link as smoltcp sees it while one flow is fed or served: at most one packet in, any number out.
pub(super) struct Wire<'a, L> {
    pub(super) link: &'a mut L,
    pub(super) egress: &'a mut Egress,
    pub(super) stats: &'a mut Stats,
    /// The IP packet to take in.
    pub(super) ingress: Option<&'a [u8]>,
    /// What the guest's end of the flow takes in one segment.
    pub(super) mss: u16,
    /// Called for by each segment that goes out.
    pub(super) sent: &'a mut Sent,
}

/// What went out on a flow: its sequence numbers as the guest sees them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// The next octet we would send, once one was.
    pub(super) next: Option<u32>,
    /// The next octet we expect.
    pub(super) acknowledged: u32,
    /// The octet the guest says it expects.
    pub(super) heard: u32,
    /// The window the guest offered with that, as it was on the wire.
    pub(super) offered: u16,
    /// The window last offered, scaled as it goes on the wire.
    pub(super) window: u16,
    /// Octets of frames, since the caller last set it to zero.
    pub(super) octets: usize,
}

impl Sent {
    /// Notes what the guest acknowledged, if it ever was sent, and its window.
    pub(super) fn hear(&mut self, segment: &Segment) {
        let number = segment.acknowledgment;
        let sent = self.next.is_some_and(|next| !after(number, next));
        if segment.flags.ack() && sent && !after(self.heard, number) {
            (self.heard, self.offered) = (number, segment.window);
        }
    }

    fn record(&mut self, segment: &Segment, octets: usize, stats: &mut Stats) {
        let end = segment.sequence.wrapping_add(segment.space());
        match self.next {
            Some(next) if !after(end, next) => stats.retransmits += u64::from(segment.space() > 0),
            Some(_) => self.next = Some(end),
            None => (self.next, self.heard) = (Some(end), end),
        }
        self.acknowledged = segment.acknowledgment;
        self.window = segment.window;
        self.octets += octets;
    }
}

/// Whether sequence number `a` comes after `b`; RFC 9293 §3.4.
pub(super) fn after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

impl<L: Link> Device for Wire<'_, L> {
    type RxToken<'t>
        = Rx<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Tx<'t, L>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let packet = self.ingress.take()?;
        Some((Rx(packet), self.token()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        if self.egress.is_holding() { None } else { Some(self.token()) }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.egress.device_mtu();
        // Verified before smoltcp sees a packet, and filled in after it emitted one.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities
    }
}

impl<L: Link> Wire<'_, L> {
    fn token(&mut self) -> Tx<'_, L> {
        Tx { link: self.link, egress: self.egress, stats: self.stats, mss: self.mss, sent: self.sent }
    }
}

/// A packet on its way into smoltcp.
pub(super) struct Rx<'a>(&'a [u8]);

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Leave for smoltcp to emit one packet.
pub(super) struct Tx<'a, L> {
    link: &'a mut L,
    egress: &'a mut Egress,
    stats: &'a mut Stats,
    mss: u16,
    sent: &'a mut Sent,
}

impl<L: Link> TxToken for Tx<'_, L> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // The buffer holds the MTU, which smoltcp keeps to.
        let packet = self.egress.frame.get_mut(ETHERNET..ETHERNET + len).unwrap_or_default();
        let result = f(packet);
        let Some((partial, segment)) = self.egress.finish(len, self.mss) else {
            self.stats.dropped.count(Drop::Egress);
            return result;
        };
        self.sent.record(&segment, len, self.stats);
        let partial = match self.egress.offload {
            Offload::None => None,
            Offload::Vnet => Some(partial),
        };
        // Lent out for the call, so that the frame and the queue beside it can be borrowed at once.
        let frame = std::mem::take(&mut self.egress.frame);
        let bytes = frame.get(..ETHERNET + len).unwrap_or_default();
        self.egress.dispatch(self.link, Frame { bytes, partial }, self.stats);
        self.egress.frame = frame;
        result
    }
}
