//! The br coding ([RFC 7932]), by the library's decoder in safe Rust.
//!
//! Its window is at most 16 MiB by the format; the extension to larger ones is off. Invariant: nothing follows
//! the end.
//!
//! [RFC 7932]: https://www.rfc-editor.org/rfc/rfc7932

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use super::CodingError;
use super::decode::Step;

/// Reads one stream.
pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    /// Octets of the window, once the first octet has told.
    window: Option<usize>,
    is_over: bool,
}

/// Octets beside the window: tables of codes and contexts.
const TABLES: usize = 96 << 10;

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), window: None, is_over: false }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if self.is_over {
            return if input.is_empty() {
                Ok(Step { read: 0, written: 0 })
            } else {
                Err(CodingError::Corrupt)
            };
        }
        if let (None, Some(first)) = (self.window, input.first()) {
            self.window = Some(window(*first));
        }
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written) = (output.len(), 0);
        let mut total = 0;
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultSuccess => self.is_over = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(CodingError::Corrupt),
        }
        Ok(Step { read, written })
    }

    pub(super) fn memory(&self) -> usize {
        TABLES + self.window.unwrap_or_default()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_over
    }
}

/// The window that a stream's first octet asks for, RFC 7932 §9.1.
fn window(first: u8) -> usize {
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, few) => 8 + few,
        (_, many, _) => 17 + many,
    };
    1 << bits
}

#[cfg(test)]
mod tests {
    use brotli::CompressorWriter;

    use super::*;

    #[test]
    fn the_window_is_that_of_the_stream() {
        for bits in 10..=24 {
            let stream = CompressorWriter::new(Vec::new(), 64, 5, bits).into_inner();
            assert_eq!(window(stream[0]), 1 << bits, "{bits}");
        }
    }
}
