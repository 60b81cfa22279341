//! DNS messages with their length in front, cut out of a stream
//! ([RFC 1035 §4.2.2](https://www.rfc-editor.org/rfc/rfc1035#section-4.2.2)).
//!
//! It reads nothing itself. Invariant: of a message that is not there yet only the octets that came are held, and
//! never more than the longest that may come.

use bytes::{Buf, Bytes, BytesMut};

/// What came of a stream and is not yet taken out.
#[derive(Debug)]
pub(super) struct Framing {
    came: Buffer,
    longest: usize,
}

/// Octets on their way, which hold no memory once they have gone on.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    octets: BytesMut,
    /// The most room there was since it was empty: what was taken from the front is still held.
    room: usize,
}

/// A message that is announced as longer than any question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

/// Octets of the length.
const LENGTH: usize = 2;

impl Framing {
    /// Takes messages of at most `longest` octets.
    pub(super) fn new(longest: usize) -> Self {
        Self { came: Buffer::default(), longest }
    }

    /// Where what comes is to be put.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.came.octets
    }

    /// Octets of memory held.
    pub(super) fn held(&mut self) -> usize {
        self.came.held()
    }

    /// The next whole message.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        let came = &mut self.came.octets;
        let Some(&[high, low]) = came.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > self.longest {
            return Err(TooLong);
        }
        if came.len() < LENGTH + length {
            return Ok(None);
        }
        came.advance(LENGTH);
        let message = came.split_to(length).freeze();
        self.came.release();
        Ok(Some(message))
    }
}

impl Buffer {
    /// The octets; who takes some of them away says so by [`Buffer::release`].
    pub(super) fn octets(&mut self) -> &mut BytesMut {
        &mut self.octets
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Gives the memory back where nothing is left.
    pub(super) fn release(&mut self) {
        if self.octets.is_empty() {
            *self = Self::default();
        }
    }

    /// Octets of memory held.
    pub(super) fn held(&mut self) -> usize {
        self.room = self.room.max(self.octets.capacity());
        self.room
    }

    /// Puts `message` behind what is there already; one that is too long for its length is left out.
    pub(super) fn put(&mut self, message: &[u8]) {
        if let Ok(length) = u16::try_from(message.len()) {
            self.octets.extend_from_slice(&length.to_be_bytes());
            self.octets.extend_from_slice(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_at_every_split() {
        let mut stream = Buffer::default();
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"x"];
        messages.iter().for_each(|message| stream.put(message));
        for piece in 1..stream.len() {
            let mut framing = Framing::new(300);
            let mut taken = Vec::new();
            for octets in stream.octets().chunks(piece) {
                framing.buffer().extend_from_slice(octets);
                while let Some(message) = framing.take().unwrap() {
                    taken.push(message);
                }
            }
            assert!(taken.iter().map(|message| &message[..]).eq(messages), "{piece}");
            assert!(framing.buffer().is_empty());
            assert_eq!(framing.held(), 0);
        }
    }

    #[test]
    fn a_length_beyond_the_longest_is_known_at_once() {
        let mut framing = Framing::new(300);
        framing.buffer().extend_from_slice(&301u16.to_be_bytes());
        assert_eq!(framing.take(), Err(TooLong));
    }

    #[test]
    fn a_length_that_promises_more_than_comes_is_no_message() {
        let mut framing = Framing::new(300);
        framing.buffer().extend_from_slice(&[1, 0, 1, 2, 3]);
        assert_eq!(framing.take(), Ok(None));
        assert_eq!(framing.buffer().len(), 5);
    }

    #[test]
    fn memory_is_held_for_what_came_and_not_for_what_is_announced() {
        let mut framing = Framing::new(4_096);
        framing.buffer().extend_from_slice(&4_096u16.to_be_bytes());
        for came in 1..4_096 {
            framing.buffer().extend_from_slice(&[0]);
            assert_eq!(framing.take(), Ok(None));
            assert!(framing.held() <= 64 + 2 * came, "{came}");
        }
        framing.buffer().extend_from_slice(&[0, 0]);
        framing.take().unwrap().unwrap();
        assert!(framing.held() > 4_096, "the whole is held while a part of the next is");
    }
}
