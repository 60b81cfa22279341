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
    is_over: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), is_over: false }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if self.is_over {
            return if input.is_empty() {
                Ok(Step { read: 0, written: 0 })
            } else {
                Err(CodingError::Corrupt)
            };
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

    pub(super) fn is_complete(&self) -> bool {
        self.is_over
    }
}
