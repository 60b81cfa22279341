//! Putting a coding on.
//!
//! How well it compresses is a matter of taste: about as the usual clients do. Invariant: what was pushed before a
//! flush can be decoded from what came out by then.

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::memory::Memory;
use super::{Coding, CodingError};

/// One body, coded as it comes. A reader that waits for each piece needs it [flushed](Self::flush).
///
/// What it holds counts as a [`Decoder`](super::Decoder)'s does, but is not refused: it works beside one that was let
/// in.
pub struct Encoder {
    engine: Engine,
    memory: Memory,
}

enum Engine {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Zstd(CCtx<'static>),
    /// Ended, or without memory for it.
    Over,
}

/// Quality of br, 0 to 11, and the window's logarithm: quick, in a few MiB.
const BR_QUALITY: u32 = 4;
const BR_WINDOW: u32 = 19;
/// Octets the encoders hold, as measured.
const DEFLATE_MEMORY: usize = 512 << 10;
const BR_MEMORY: usize = 8 << 20;
/// Octets the br encoder gives at once.
const BR_BUFFER: usize = 4 << 10;
/// Level of zstd, the library's own default.
const ZSTD_LEVEL: i32 = 3;

impl Encoder {
    /// Begins a body.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            Coding::Deflate => Engine::Deflate(ZlibEncoder::new(Vec::new(), Compression::default())),
            Coding::Br => {
                Engine::Br(Box::new(CompressorWriter::new(Vec::new(), BR_BUFFER, BR_QUALITY, BR_WINDOW)))
            }
            Coding::Zstd => zstandard().map_or(Engine::Over, Engine::Zstd),
        };
        Self { engine, memory: Memory::default() }
    }

    /// Takes the next chunk and gives what is settled, often nothing.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, CodingError> {
        self.write(&chunk, Then::More)
    }

    /// Gives all that is needed to decode what was pushed.
    pub fn flush(&mut self) -> Result<Bytes, CodingError> {
        self.write(&[], Then::Flush)
    }

    /// Ends the body and gives the rest.
    pub fn finish(&mut self) -> Result<Bytes, CodingError> {
        self.memory.count(0);
        match std::mem::replace(&mut self.engine, Engine::Over) {
            Engine::Gzip(encoder) => encoder.finish().map_err(|_| CodingError::Failed),
            Engine::Deflate(encoder) => encoder.finish().map_err(|_| CodingError::Failed),
            Engine::Br(encoder) => Ok(encoder.into_inner()),
            Engine::Zstd(mut context) => compress(&mut context, &[], ZSTD_EndDirective::ZSTD_e_end),
            Engine::Over => Err(CodingError::Failed),
        }
        .map(Bytes::from)
    }

    fn write(&mut self, chunk: &[u8], then: Then) -> Result<Bytes, CodingError> {
        let written = self.engine.write(chunk, then)?;
        self.memory.count(self.engine.memory());
        Ok(Bytes::from(written))
    }
}

impl Engine {
    /// Octets it holds, about.
    fn memory(&self) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate(_) => DEFLATE_MEMORY,
            Self::Br(_) => BR_MEMORY,
            Self::Zstd(context) => context.sizeof(),
            Self::Over => 0,
        }
    }

    fn write(&mut self, chunk: &[u8], then: Then) -> Result<Vec<u8>, CodingError> {
        let written = match self {
            Self::Gzip(encoder) => put(encoder, chunk, then).map(|()| std::mem::take(encoder.get_mut())),
            Self::Deflate(encoder) => put(encoder, chunk, then).map(|()| std::mem::take(encoder.get_mut())),
            Self::Br(encoder) => put(encoder, chunk, then).map(|()| std::mem::take(encoder.get_mut())),
            Self::Zstd(context) => return compress(context, chunk, then.into()),
            Self::Over => return Err(CodingError::Failed),
        };
        // A vector takes everything, so it is the library that gave up.
        written.map_err(|_| CodingError::Failed)
    }
}

/// What follows a chunk.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Then {
    More,
    Flush,
}

impl From<Then> for ZSTD_EndDirective {
    fn from(then: Then) -> Self {
        match then {
            Then::More => Self::ZSTD_e_continue,
            Then::Flush => Self::ZSTD_e_flush,
        }
    }
}

fn put(encoder: &mut impl std::io::Write, chunk: &[u8], then: Then) -> std::io::Result<()> {
    encoder.write_all(chunk)?;
    match then {
        Then::More => Ok(()),
        Then::Flush => encoder.flush(),
    }
}

fn zstandard() -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).ok()?;
    // As its command line does, so that damage is seen.
    context.set_parameter(CParameter::ChecksumFlag(true)).ok()?;
    Some(context)
}

fn compress(
    context: &mut CCtx<'static>,
    chunk: &[u8],
    end: ZSTD_EndDirective,
) -> Result<Vec<u8>, CodingError> {
    let mut from = InBuffer::around(chunk);
    let mut written = Vec::new();
    let mut space = vec![0; CCtx::out_size()];
    loop {
        let mut to = OutBuffer::around(space.as_mut_slice());
        let left = context.compress_stream2(&mut to, &mut from, end).map_err(|_| CodingError::Failed)?;
        written.extend_from_slice(to.as_slice());
        let is_taken = from.pos() == chunk.len();
        if is_taken && (left == 0 || end == ZSTD_EndDirective::ZSTD_e_continue) {
            return Ok(written);
        }
    }
}
