//! The Internet checksum of RFC 1071: sums, folded late.

use std::net::IpAddr;

/// The sum of `bytes` as big-endian 16-bit words, an odd last octet padded with zero; not folded.
///
/// Four octets at a time: 2^16 is 1 in this arithmetic, so wider words sum to the same.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum += u64::from(u32::from_be_bytes(last));
    sum
}

/// The sum of the pseudo-header of TCP, UDP and ICMPv6; RFC 9293 §3.1, RFC 8200 §8.1.
pub(super) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: u32) -> u64 {
    address(source) + address(destination) + u64::from(protocol) + u64::from(len)
}

fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

/// Folds a sum into 16 bits; 0xffff over data that holds its own checksum means that it is right.
pub(super) fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while let high @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + high;
    }
    // Cannot fail: the loop ends when nothing is left above 16 bits.
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The checksum to put into a header: the complement of the folded sum.
pub(super) fn finish(sum: u64) -> u16 {
    !fold(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1071_sums_to_ddf2() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn odd_lengths_are_padded_with_zero() {
        for len in 0..9_usize {
            let bytes: Vec<u8> = (1..=u8::try_from(len).unwrap()).collect();
            let mut even = bytes.clone();
            even.resize(len.next_multiple_of(2), 0);
            let slow: u64 = even.chunks(2).map(|c| u64::from(u16::from_be_bytes([c[0], c[1]]))).sum();
            assert_eq!(fold(sum(&bytes)), fold(slow), "length {len}");
        }
    }

    #[test]
    fn data_with_its_checksum_folds_to_ffff() {
        let mut data = vec![7, 9, 0, 0, 200, 13];
        let check = finish(sum(&data)).to_be_bytes();
        data[2..4].copy_from_slice(&check);
        assert_eq!(fold(sum(&data)), 0xffff);
    }
}
