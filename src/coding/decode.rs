//! Taking a coding off, within a budget.
//!
//! It reads no format: an engine a coding does. Invariant: what is decoded is never more than one step ahead of the
//! one who takes it, and an error is for ever.

use bytes::{Buf as _, Bytes, BytesMut};
use zeroize::Zeroizing;

use super::br::Brotli;
use super::deflate::{self, Deflate};
use super::gzip::Gzip;
use super::memory::Memory;
use super::zstd::Zstandard;
use super::{Coding, CodingError};
use crate::limits::Limits;

/// One coded body, decoded as it comes.
///
/// An empty body is taken for an empty content: many servers label so.
pub struct Decoder {
    engine: Engine,
    /// What was pushed and is not decoded yet.
    pending: Bytes,
    /// Where the engines write, one step long; it may hold a secret.
    space: Zeroizing<Vec<u8>>,
    /// Whether the engine may have more to give of what it has read.
    is_full: bool,
    budget: Budget,
    memory: Memory,
    /// The most of memory, all holders together.
    most: usize,
    fault: Option<CodingError>,
}

enum Engine {
    Gzip(Gzip),
    Deflate(Deflate),
    Br(Box<Brotli>),
    Zstd(Zstandard),
}

/// What an engine did with what it was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
}

impl Decoder {
    /// Begins a body.
    #[must_use]
    pub fn new(coding: Coding, limits: &Limits) -> Self {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Gzip::new()),
            Coding::Deflate => Engine::Deflate(Deflate::new()),
            Coding::Br => Engine::Br(Box::new(Brotli::new())),
            Coding::Zstd => Engine::Zstd(Zstandard::new(limits.decoded_window)),
        };
        Self {
            engine,
            pending: Bytes::new(),
            space: Zeroizing::new(vec![0; limits.decoded_step]),
            is_full: false,
            budget: Budget { floor: limits.decoded_floor, ratio: limits.decoded_ratio, read: 0, written: 0 },
            memory: Memory::default(),
            most: limits.decoder_memory,
            fault: None,
        }
    }

    /// Takes the next chunk and gives the first step of what is decoded, maybe nothing.
    ///
    /// While there [is more](Self::has_more), an empty chunk gives the next step; a caller that wants to hold little
    /// pushes no other until then.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, CodingError> {
        if self.pending.is_empty() {
            self.pending = chunk;
        } else if !chunk.is_empty() {
            let mut joined = BytesMut::from(std::mem::take(&mut self.pending));
            joined.extend_from_slice(&chunk);
            self.pending = joined.freeze();
        }
        self.guarded(Self::step)
    }

    /// Whether more may be decoded of what was pushed.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.fault.is_none() && (self.is_full || !self.pending.is_empty())
    }

    /// Ends the body and gives what is left, step by step: it has ended well when this gives nothing.
    pub fn finish(&mut self) -> Result<Bytes, CodingError> {
        self.guarded(|decoder| {
            let left = decoder.step()?;
            if left.is_empty() && decoder.budget.read > 0 && !decoder.engine.is_complete() {
                return Err(CodingError::Truncated);
            }
            Ok(left)
        })
    }

    fn guarded(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<Bytes, CodingError>,
    ) -> Result<Bytes, CodingError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let outcome = act(self);
        if let Err(fault) = outcome {
            self.fault = Some(fault);
            self.pending = Bytes::new();
            // What it held is for the others.
            self.engine = Engine::Gzip(Gzip::new());
            self.memory.count(0);
        }
        outcome
    }

    fn step(&mut self) -> Result<Bytes, CodingError> {
        self.hold()?;
        let mut filled = 0;
        while self.is_full || !self.pending.is_empty() {
            let Some(space) = self.space.get_mut(filled..).filter(|space| !space.is_empty()) else { break };
            let room = space.len();
            let Step { read, written } = self.engine.step(&self.pending, space)?;
            self.hold()?;
            if read == 0 && written == 0 && !self.pending.is_empty() {
                return Err(CodingError::Corrupt);
            }
            self.pending.advance(read);
            filled += written;
            self.is_full = written == room;
            self.budget.charge(read, written)?;
        }
        Ok(Bytes::copy_from_slice(self.space.get(..filled).unwrap_or_default()))
    }
}

impl Decoder {
    fn hold(&mut self) -> Result<(), CodingError> {
        self.memory.hold(self.space.len() + self.engine.memory(), self.most)
    }
}

impl Engine {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        match self {
            Self::Gzip(engine) => engine.step(input, output),
            Self::Deflate(engine) => engine.step(input, output),
            Self::Br(engine) => engine.step(input, output),
            Self::Zstd(engine) => engine.step(input, output),
        }
    }

    /// Octets it holds, about.
    fn memory(&self) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate(_) => deflate::MEMORY,
            Self::Br(engine) => engine.memory(),
            Self::Zstd(engine) => engine.memory(),
        }
    }

    /// Whether the body may end here.
    fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(engine) => engine.is_complete(),
            Self::Deflate(engine) => engine.is_complete(),
            Self::Br(engine) => engine.is_complete(),
            Self::Zstd(engine) => engine.is_complete(),
        }
    }
}

/// What a body may become.
struct Budget {
    floor: u64,
    ratio: u64,
    read: u64,
    written: u64,
}

impl Budget {
    fn charge(&mut self, read: usize, written: usize) -> Result<(), CodingError> {
        self.read += read as u64;
        self.written += written as u64;
        if self.written > self.floor.max(self.read.saturating_mul(self.ratio)) {
            return Err(CodingError::Bomb);
        }
        Ok(())
    }
}
