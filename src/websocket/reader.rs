//! Frames of one stream, taken apart as they come.
//!
//! It holds no payload and changes none. Invariant: what it tells is a well-formed sequence of frames, whatever the
//! chunks; at the first octet that is not of one it errs, and for good.

use bytes::{Buf as _, BytesMut};

use super::error::FrameError;
use super::head::{Fin, Head, LONGEST, Opcode, Speaker};
use super::mask::Mask;

/// Reads what one endpoint sends.
pub(super) struct Reader {
    speaker: Speaker,
    /// The octets so far of a head that is not all there.
    head: Vec<u8>,
    stage: Stage,
    /// Whether the last fragment was not the last of its message.
    fragmented: bool,
}

enum Stage {
    Head,
    /// So many octets are still to come.
    Payload(u64, Option<Mask>),
    /// A close frame was begun; after it nothing counts.
    Closing(u64, Option<Mask>),
    Closed,
}

/// What comes next.
pub(super) enum Item {
    Head(Head),
    /// Some of the payload, unmasked; never empty.
    Payload(BytesMut),
    /// The frame is over.
    End,
}

impl Reader {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self { speaker, head: Vec::with_capacity(LONGEST), stage: Stage::Head, fragmented: false }
    }

    /// Takes from `chunk` what comes next; none when it is used up.
    pub(super) fn next(&mut self, chunk: &mut BytesMut) -> Result<Option<Item>, FrameError> {
        let (left, mask, after) = match &mut self.stage {
            Stage::Head => return self.head(chunk),
            Stage::Payload(left, mask) => (left, mask, Stage::Head),
            Stage::Closing(left, mask) => (left, mask, Stage::Closed),
            Stage::Closed => {
                chunk.clear();
                return Ok(None);
            }
        };
        if *left == 0 {
            self.stage = after;
            return Ok(Some(Item::End));
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        let here = usize::try_from(*left).map_or(chunk.len(), |left| left.min(chunk.len()));
        let mut octets = chunk.split_to(here);
        *left -= here as u64;
        if let Some(mask) = mask {
            mask.apply(&mut octets);
        }
        Ok(Some(Item::Payload(octets)))
    }

    fn head(&mut self, chunk: &mut BytesMut) -> Result<Option<Item>, FrameError> {
        // Octet by octet, so that it makes no difference where chunks end.
        let head = loop {
            if let Some(head) = Head::parse(&self.head, self.speaker)? {
                break head;
            }
            if chunk.is_empty() {
                return Ok(None);
            }
            self.head.push(chunk.get_u8());
        };
        self.head.clear();
        self.follow(&head)?;
        self.stage = match head.opcode {
            Opcode::Close => Stage::Closing(head.length, head.mask),
            Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Ping | Opcode::Pong => {
                Stage::Payload(head.length, head.mask)
            }
        };
        Ok(Some(Item::Head(head)))
    }

    /// Holds that a frame may follow those before it (RFC 6455 §5.4).
    fn follow(&mut self, head: &Head) -> Result<(), FrameError> {
        match (head.opcode, self.fragmented) {
            (Opcode::Continuation, false) => Err(FrameError::Continuation),
            (Opcode::Text | Opcode::Binary, true) => Err(FrameError::Interleaved),
            (Opcode::Continuation | Opcode::Text | Opcode::Binary, _) => {
                self.fragmented = head.fin == Fin::More;
                Ok(())
            }
            (Opcode::Close, _) if head.length == 1 => Err(FrameError::HalfCode),
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => Ok(()),
        }
    }
}
