//! The deflate coding: the zlib format (RFC 1950), or the bare data (RFC 1951).
//!
//! RFC 9110 §8.4.1.2 means the former and knows that some send the latter; the first two octets tell. Invariant:
//! nothing follows the end.

use flate2::{Decompress, FlushDecompress, Status};

use super::CodingError;
use super::decode::Step;

/// Octets that the library's decoder holds: a window of 32 KiB and tables.
pub(super) const MEMORY: usize = 48 << 10;

/// Reads either format.
pub(super) enum Deflate {
    /// Fewer than two octets are there: the first, maybe.
    Unknown(Option<u8>),
    Known(Inflate),
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self::Unknown(None)
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        match self {
            Self::Unknown(first) => {
                let (Some(head), rest) = (first.or(input.first().copied()), usize::from(first.is_none()))
                else {
                    return Ok(Step { read: 0, written: 0 });
                };
                let Some(second) = input.get(rest) else {
                    *first = Some(head);
                    return Ok(Step { read: rest, written: 0 });
                };
                let mut inflate = Inflate::new(Decompress::new(is_zlib(head, *second)));
                if first.is_some() {
                    // It is no more than the header's first octet, or a few bits of the first block's.
                    let step = inflate.step(&[head], output)?;
                    if step != (Step { read: 1, written: 0 }) {
                        return Err(CodingError::Corrupt);
                    }
                }
                *self = Self::Known(inflate);
                self.step(input, output)
            }
            Self::Known(inflate) => {
                if inflate.is_over() && !input.is_empty() {
                    return Err(CodingError::Corrupt);
                }
                inflate.step(input, output)
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Known(inflate) if inflate.is_over())
    }
}

/// RFC 1950 §2.2: the method, a window of no more than 32 KiB, and a check of both octets.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

/// The library's decoder, and whether it has seen the end.
pub(super) struct Inflate {
    library: Decompress,
    is_over: bool,
}

impl Inflate {
    pub(super) fn new(library: Decompress) -> Self {
        Self { library, is_over: false }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if self.is_over {
            return Ok(Step { read: 0, written: 0 });
        }
        let (read, written) = (self.library.total_in(), self.library.total_out());
        let status = self
            .library
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| CodingError::Corrupt)?;
        self.is_over = status == Status::StreamEnd;
        Ok(Step {
            read: gained(read, self.library.total_in()),
            written: gained(written, self.library.total_out()),
        })
    }
}

fn gained(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or_default()
}
