//! IP packets by hand, plain and slow, for tests.

use std::net::IpAddr;

/// An IP packet; `checksum` is where the transport has its own, if it sums a pseudo-header.
pub(crate) fn ip(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    mut body: Vec<u8>,
    checksum: Option<usize>,
) -> Vec<u8> {
    if let Some(at) = checksum {
        let mut pseudo = octets(from);
        pseudo.extend(octets(to));
        pseudo.extend([0, protocol]);
        pseudo.extend((body.len() as u16).to_be_bytes());
        pseudo.extend(&body);
        let sum = sum(&pseudo).to_be_bytes();
        body[at..at + 2].copy_from_slice(&sum);
    }
    let mut packet = match from {
        IpAddr::V4(_) => {
            let total = (20 + body.len()) as u16;
            let mut header = vec![0x45, 0];
            header.extend(total.to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(octets(from));
            header.extend(octets(to));
            let check = sum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&check);
            header
        }
        IpAddr::V6(_) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((body.len() as u16).to_be_bytes());
            header.extend([protocol, 64]);
            header.extend(octets(from));
            header.extend(octets(to));
            header
        }
    };
    packet.extend(body);
    packet
}

/// The Internet checksum.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}
