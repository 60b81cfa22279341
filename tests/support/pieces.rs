//! Fragments of IP packets by hand: cutting, and joining again.

use crate::packet::sum;

/// A part of a packet: `octets` of its payload, as the fragment of this identification.
pub(crate) fn fragment(packet: &[u8], octets: std::ops::Range<usize>, identification: u16) -> Vec<u8> {
    let header = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let payload = &packet[header..];
    let (part, more) = (&payload[octets.clone()], octets.end < payload.len());
    piece(packet, part, (octets.start, more), identification)
}

/// A fragment with the header of a packet, at an offset in octets and with a more-fragments bit of choice.
pub(crate) fn piece(packet: &[u8], part: &[u8], place: (usize, bool), identification: u16) -> Vec<u8> {
    let (offset, more) = (place.0 as u16, place.1);
    if packet[0] >> 4 == 4 {
        let mut header = packet[..20].to_vec();
        header[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        header[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
        header[10..12].fill(0);
        let check = sum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&check);
        return [&header, part].concat();
    }
    let mut header = packet[..40].to_vec();
    header[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
    let protocol = std::mem::replace(&mut header[6], 44);
    header.extend([protocol, 0]);
    header.extend((offset | u16::from(more)).to_be_bytes());
    header.extend([0, 0]);
    header.extend(identification.to_be_bytes());
    [&header, part].concat()
}

/// What fragments are parts of, its IP header aside: protocol and payload. They must come in order.
pub(crate) fn joined(packets: &[Vec<u8>]) -> (u8, Vec<u8>) {
    let (mut payload, mut protocols, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (number, packet) in packets.iter().enumerate() {
        let v4 = packet[0] >> 4 == 4;
        let (protocol, flags, name, part) = if v4 {
            assert_eq!(sum(&packet[..20]), 0);
            assert_eq!(packet[2..4], (packet.len() as u16).to_be_bytes());
            let flags = u16::from_be_bytes([packet[6], packet[7]]);
            ((packet[9]), (flags << 3, flags & 0x2000 != 0), packet[4..6].to_vec(), &packet[20..])
        } else {
            assert_eq!(packet[6], 44);
            assert_eq!(packet[4..6], (packet.len() as u16 - 40).to_be_bytes());
            let flags = u16::from_be_bytes([packet[42], packet[43]]);
            (packet[40], (flags & !7, flags & 1 == 1), packet[44..48].to_vec(), &packet[48..])
        };
        assert_eq!(flags, (payload.len() as u16, number + 1 < packets.len()));
        payload.extend(part);
        protocols.push(protocol);
        names.push(name);
    }
    protocols.dedup();
    names.dedup();
    assert_eq!((protocols.len(), names.len()), (1, 1));
    (protocols[0], payload)
}
