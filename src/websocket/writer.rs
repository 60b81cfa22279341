//! Frames of one stream, put together.
//!
//! It decides nothing about messages. Invariant: a frame has as many octets as its head says before another
//! begins, and nothing follows a close frame.

use super::error::FrameError;
use super::head::{Fin, Head, Opcode, Speaker};
use super::mask::{Keys, Mask};
use super::reframer::cut;

/// Writes what one endpoint hears.
pub(super) struct Writer {
    speaker: Speaker,
    keys: Keys,
    /// Octets missing of the frame that was begun, and what masks them.
    open: Option<(u64, Option<Mask>)>,
    closed: bool,
}

impl Writer {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self { speaker, keys: Keys::default(), open: None, closed: false }
    }

    /// Whether a frame could begin now.
    pub(super) fn is_between_frames(&self) -> bool {
        self.open.is_none() && !self.closed
    }

    /// Writes a whole frame.
    pub(super) fn frame(
        &mut self,
        opcode: Opcode,
        fin: Fin,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        self.begin(opcode, fin, payload.len() as u64, out)?;
        self.payload(payload, out)?;
        self.end()
    }

    /// Begins a frame whose payload follows.
    pub(super) fn begin(
        &mut self,
        opcode: Opcode,
        fin: Fin,
        length: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        if !self.is_between_frames() {
            return Err(FrameError::Promise);
        }
        let mask = match self.speaker {
            Speaker::Client => Some(self.keys.next()?),
            Speaker::Server => None,
        };
        Head { opcode, fin, length, mask }.write(out);
        self.open = Some((length, mask));
        self.closed = opcode == Opcode::Close;
        Ok(())
    }

    /// Writes some of the payload.
    pub(super) fn payload(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let Some((left, mask)) = &mut self.open else { return Err(FrameError::Promise) };
        *left = left.checked_sub(octets.len() as u64).ok_or(FrameError::Promise)?;
        let from = out.len();
        out.extend_from_slice(octets);
        if let (Some(mask), Some(written)) = (mask, out.get_mut(from..)) {
            mask.apply(written);
        }
        Ok(())
    }

    /// Ends the frame, which must be whole.
    pub(super) fn end(&mut self) -> Result<(), FrameError> {
        match self.open.take() {
            Some((0, _)) => Ok(()),
            Some(_) | None => Err(FrameError::Promise),
        }
    }
}

/// Why a connection is closed by whoever stands in its middle ([RFC 6455 §7.4]).
///
/// [RFC 6455 §7.4]: https://www.rfc-editor.org/rfc/rfc6455#section-7.4
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseCode {
    /// 1001: the other endpoint is gone.
    GoingAway,
    /// 1002: the peer broke the protocol.
    ProtocolError,
    /// 1008: what it said may not go on.
    PolicyViolation,
    /// 1011: it could not go on, through no fault of the endpoints.
    InternalError,
    /// 1014: what is behind a gateway broke the protocol.
    BadGateway,
}

impl CloseCode {
    fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::PolicyViolation => 1008,
            Self::InternalError => 1011,
            Self::BadGateway => 1014,
        }
    }
}

/// A close frame, as `speaker` would write it; of the reason as much as there is room for.
pub fn close_frame(speaker: Speaker, code: CloseCode, reason: &str) -> Result<Vec<u8>, FrameError> {
    let mut out = Vec::new();
    let payload = [&code.number().to_be_bytes(), reason.as_bytes()].concat();
    Writer::new(speaker).frame(Opcode::Close, Fin::Last, cut(&payload), &mut out)?;
    Ok(out)
}
