//! Emptied buffers kept for the next datagrams, so that one costs no allocation.
//!
//! Only buffers of the common size are kept: a large one lent to a small datagram would hold memory nobody
//! counts on.

/// Octets of a kept buffer: a frame of the usual MTU.
const SIZE: usize = 2_048;

/// The buffers not in use.
#[derive(Debug)]
pub(super) struct Buffers {
    spare: Vec<Vec<u8>>,
    most: usize,
}

impl Buffers {
    /// `most` is how many are kept.
    pub(super) fn new(most: usize) -> Self {
        Self { spare: Vec::new(), most }
    }

    /// An empty buffer with room for `len` octets.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let spare = if len <= SIZE { self.spare.pop() } else { None };
        spare.unwrap_or_else(|| Vec::with_capacity(len.max(SIZE)))
    }

    /// Keeps a buffer, or frees it.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == SIZE && self.spare.len() < self.most {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_but_large_ones_and_too_many_do_not() {
        let mut buffers = Buffers::new(1);
        let (mut small, large) = (buffers.take(10), buffers.take(SIZE + 1));
        let other = buffers.take(10);
        small.push(7);
        let at = small.as_ptr();
        for buffer in [large, small, other] {
            buffers.give(buffer);
        }
        assert_eq!(buffers.spare.len(), 1);
        assert_eq!(buffers.take(SIZE + 1).capacity(), SIZE + 1);
        let again = buffers.take(SIZE);
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (at, 0, SIZE));
    }
}
