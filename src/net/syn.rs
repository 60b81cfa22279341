//! What is understood and kept of a guest's SYN while a verdict is awaited.
//!
//! Not the packet: a held SYN is some thirty octets, and the one that is finally answered is written anew from
//! them. The SYN-ACK to a SYN of ours is read and written anew in the same way.

use super::frame::{Packet, Segment, TCP};

/// A SYN, RFC 9293 §3.1, with the options that matter: MSS, window scale (RFC 7323), SACK (RFC 2018).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Syn {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) sequence: u32,
    /// What a SYN-ACK acknowledges.
    pub(super) acknowledgment: Option<u32>,
    pub(super) window: u16,
    /// The guest's, or the default where it names none.
    pub(super) mss: u16,
    pub(super) scale: Option<u8>,
    pub(super) selective: bool,
}

/// The MSS of a host that names none; RFC 9293 §3.7.1.
const MSS_DEFAULT_V4: u16 = 536;
const MSS_DEFAULT_V6: u16 = 1220;
/// The least MSS honoured, as BSD does: below it a guest could have a window cut into a flood of headers.
const MSS_MIN: u16 = 216;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SCALE: u8 = 3;
const OPTION_SACK: u8 = 4;

impl Syn {
    /// Reads a SYN; options that are cut short end the list, as they do in most stacks.
    pub(super) fn read(packet: &Packet<'_>, segment: &Segment) -> Self {
        let mss = if packet.source.is_ipv4() { MSS_DEFAULT_V4 } else { MSS_DEFAULT_V6 };
        let mut syn = Self {
            source_port: segment.source_port,
            destination_port: segment.destination_port,
            sequence: segment.sequence,
            acknowledgment: segment.flags.ack().then_some(segment.acknowledgment),
            window: segment.window,
            mss,
            scale: None,
            selective: false,
        };
        let mut rest = packet.payload.get(TCP..segment.header).unwrap_or_default();
        while let Some((kind, value, next)) = option(rest) {
            match (kind, value) {
                (OPTION_MSS, [m0, m1]) => syn.mss = u16::from_be_bytes([*m0, *m1]).max(MSS_MIN),
                (OPTION_SCALE, [shift]) => syn.scale = Some(*shift),
                (OPTION_SACK, []) => syn.selective = true,
                _ => {}
            }
            rest = next;
        }
        syn
    }
}

/// The first option of a list, its value, and the rest of the list.
fn option(list: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    match list {
        [] | [OPTION_END, ..] => None,
        [OPTION_NOP, rest @ ..] => Some((OPTION_NOP, &[], rest)),
        [kind, len, ..] => {
            let len = usize::from(*len);
            Some((*kind, list.get(2..len)?, list.get(len..)?))
        }
        [_] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_walked_and_a_cut_one_ends_the_list() {
        let list = [1, 3, 3, 7, 2, 4, 5, 180, 4, 2, 8, 10, 0];
        let kinds: Vec<u8> = std::iter::successors(option(&list), |(_, _, rest)| option(rest))
            .map(|(kind, ..)| kind)
            .collect();
        assert_eq!(kinds, [OPTION_NOP, OPTION_SCALE, OPTION_MSS, OPTION_SACK]);
    }

    #[test]
    fn option_of_length_zero_or_one_ends_the_list() {
        assert!(option(&[2, 0, 1, 1]).is_none());
        assert!(option(&[2, 1, 1, 1]).is_none());
    }
}
