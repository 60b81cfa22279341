//! The mask over a client's payload ([RFC 6455 §5.3]).
//!
//! It is no secrecy: its key stands before the payload. Invariant: no key is used for two frames of ours.
//!
//! [RFC 6455 §5.3]: https://www.rfc-editor.org/rfc/rfc6455#section-5.3

use std::collections::VecDeque;

use super::error::FrameError;

/// A key, and how far it has turned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// As it is written, before it has turned.
    pub(super) fn key(&self) -> [u8; 4] {
        self.0
    }

    /// Masks the next octets of a payload, or unmasks them.
    pub(super) fn apply(&mut self, octets: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let eight = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = octets.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ eight).to_ne_bytes();
        }
        for (octet, key) in rest.iter_mut().zip([a, b, c, d, a, b, c, d]) {
            *octet ^= key;
        }
        self.0.rotate_left(rest.len() % 4);
    }
}

/// Keys that nobody can foretell, drawn many at a time: a system call a small frame would cost more than the frame.
#[derive(Default)]
pub(super) struct Keys(VecDeque<u8>);

/// Octets drawn at once.
const DRAWN: usize = 256;

impl Keys {
    pub(super) fn next(&mut self) -> Result<Mask, FrameError> {
        let mut key = [0; 4];
        for octet in &mut key {
            *octet = self.octet()?;
        }
        Ok(Mask(key))
    }

    fn octet(&mut self) -> Result<u8, FrameError> {
        if let Some(octet) = self.0.pop_front() {
            return Ok(octet);
        }
        let mut drawn = [0; DRAWN];
        getrandom::fill(&mut drawn).map_err(|_| FrameError::Randomness)?;
        self.0.extend(drawn);
        self.0.pop_front().ok_or(FrameError::Randomness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_masked_as_octet_by_octet_whatever_its_pieces() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let text: Vec<u8> = (0..70).collect();
        let expected: Vec<u8> = text.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key).collect();
        for size in 1..=text.len() {
            let mut mask = Mask::new(key);
            let mut masked = text.clone();
            masked.chunks_mut(size).for_each(|piece| mask.apply(piece));
            assert_eq!(masked, expected, "pieces of {size}");
        }
        // RFC 6455 §5.7.
        let mut hello = *b"Hello";
        Mask::new(key).apply(&mut hello);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn keys_do_not_come_twice() {
        let mut keys = Keys::default();
        let mut drawn: Vec<_> = (0..200).map(|_| keys.next().unwrap().key()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() >= 199, "two alike of two hundred are a wonder, three are none");
    }
}
