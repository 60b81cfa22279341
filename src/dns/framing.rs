//! DNS messages with their length in front, cut out of a stream
//! ([RFC 1035 §4.2.2](https://www.rfc-editor.org/rfc/rfc1035#section-4.2.2)).
//!
//! It reads nothing itself. Invariant: of a message that is not there yet only the octets that came are held, and
//! never more than the longest that may come.

use bytes::{Buf, Bytes, BytesMut};

/// What came of a stream and is not yet taken out.
#[derive(Debug)]
pub(super) struct Framing {
    came: BytesMut,
    longest: usize,
}

/// A message that is announced as longer than any question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

/// Octets of the length.
const LENGTH: usize = 2;

impl Framing {
    /// Takes messages of at most `longest` octets.
    pub(super) fn new(longest: usize) -> Self {
        Self { came: BytesMut::new(), longest }
    }

    /// Where what comes is to be put.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.came
    }

    /// The next whole message.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(&[high, low]) = self.came.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > self.longest {
            return Err(TooLong);
        }
        if self.came.len() < LENGTH + length {
            return Ok(None);
        }
        self.came.advance(LENGTH);
        Ok(Some(self.came.split_to(length).freeze()))
    }
}

/// Puts `message` behind what is to be sent already; one that is too long for its length is left out.
pub(super) fn put(out: &mut BytesMut, message: &[u8]) {
    if let Ok(length) = u16::try_from(message.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_at_every_split() {
        let mut stream = BytesMut::new();
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"x"];
        messages.iter().for_each(|message| put(&mut stream, message));
        for piece in 1..stream.len() {
            let mut framing = Framing::new(300);
            let mut taken = Vec::new();
            for octets in stream.chunks(piece) {
                framing.buffer().extend_from_slice(octets);
                while let Some(message) = framing.take().unwrap() {
                    taken.push(message);
                }
            }
            assert!(taken.iter().map(|message| &message[..]).eq(messages), "{piece}");
            assert!(framing.buffer().is_empty());
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
}
