//! Packets toward the guest that are longer than its MTU, cut into fragments.
//!
//! RFC 791 §3.2 and RFC 8200 §4.5. A packet is cut after its checksum was filled in, and all of its fragments go
//! or none.

use super::checksum;
use super::emit::patch;
use super::frame::{ETHERNET, FRAGMENT_HEADER, IPV4, IPV6};

/// Length of the IPv6 fragment header, octets.
const HEADER: usize = 8;
/// Fragments other than the last are multiples of this, octets.
const UNIT: usize = 8;
/// The bit that says that more fragments follow; RFC 791 §3.1.
const MORE_V4: u16 = 0x2000;

/// A packet to cut, in its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut<'a> {
    /// Ethernet and IP header of the whole.
    head: &'a [u8],
    payload: &'a [u8],
    /// Payload octets of each fragment but the last.
    each: usize,
    identification: u32,
}

impl<'a> Cut<'a> {
    /// Plans how to cut the packet in a frame to an IP MTU.
    pub(super) fn new(frame: &'a [u8], mtu: usize, identification: u32) -> Option<Self> {
        let v4 = frame.get(ETHERNET)? >> 4 == 4;
        let (header, extra) = if v4 { (IPV4, 0) } else { (IPV6, HEADER) };
        let (head, payload) = frame.split_at_checked(ETHERNET + header)?;
        let each = mtu.checked_sub(header + extra)? / UNIT * UNIT;
        if each == 0 { None } else { Some(Self { head, payload, each, identification }) }
    }

    /// How many frames it makes.
    pub(super) fn frames(&self) -> usize {
        self.payload.len().div_ceil(self.each)
    }

    /// The octets of those frames, at most.
    pub(super) fn octets(&self) -> usize {
        self.payload.len() + self.frames() * (self.head.len() + HEADER)
    }

    /// The most octets one of them has.
    pub(super) fn longest(&self) -> usize {
        self.head.len() + HEADER + self.each
    }

    /// Writes the fragment of this number into an empty buffer; false if there is none, or its place is beyond
    /// what IP can say.
    pub(super) fn write(&self, number: usize, out: &mut Vec<u8>) -> bool {
        let Some(part) = self.payload.chunks(self.each).nth(number) else { return false };
        let offset = number * self.each;
        let more = offset + part.len() < self.payload.len();
        let Ok(offset) = u16::try_from(offset) else { return false };
        out.extend_from_slice(self.head);
        if self.head.len() == ETHERNET + IPV4 {
            let more = if more { MORE_V4 } else { 0 };
            self.finish_v4((offset / 8) | more, part.len(), out);
        } else {
            self.finish_v6(offset | u16::from(more), part.len(), out);
        }
        out.extend_from_slice(part);
        true
    }

    fn finish_v4(&self, flags: u16, len: usize, out: &mut [u8]) {
        let [.., i0, i1] = self.identification.to_be_bytes();
        patch(out, ETHERNET + 2, length(IPV4 + len));
        patch(out, ETHERNET + 4, u16::from_be_bytes([i0, i1]));
        patch(out, ETHERNET + 6, flags);
        patch(out, ETHERNET + 10, 0);
        let check = checksum::finish(checksum::sum(out.get(ETHERNET..).unwrap_or_default()));
        patch(out, ETHERNET + 10, check);
    }

    fn finish_v6(&self, flags: u16, len: usize, out: &mut Vec<u8>) {
        patch(out, ETHERNET + 4, length(HEADER + len));
        let Some(next_header) = out.get_mut(ETHERNET + 6) else { return };
        let protocol = std::mem::replace(next_header, FRAGMENT_HEADER);
        out.extend([protocol, 0]);
        out.extend(flags.to_be_bytes());
        out.extend(self.identification.to_be_bytes());
    }
}

/// A length of at most an MTU.
fn length(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
