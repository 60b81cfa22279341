//! The zstd coding ([RFC 8878]), by the reference library.
//!
//! Frames follow one another; skippable ones are skipped, and a dictionary is for no one here. Invariant: no
//! frame gets a larger window than [`Limits::decoded_window`](crate::limits::Limits::decoded_window).
//!
//! [RFC 8878]: https://www.rfc-editor.org/rfc/rfc8878

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use super::CodingError;
use super::decode::Step;

/// Reads frames.
pub(super) struct Zstandard {
    /// None where there was no memory for it.
    context: Option<DCtx<'static>>,
    /// Whether the last frame has come to its end.
    is_between: bool,
}

impl Zstandard {
    pub(super) fn new(window: usize) -> Self {
        let context = DCtx::try_create().and_then(|mut context| {
            context.set_parameter(DParameter::WindowLogMax(window.max(1).ilog2())).ok()?;
            Some(context)
        });
        Self { context, is_between: true }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        let context = self.context.as_mut().ok_or(CodingError::Failed)?;
        if input.is_empty() && self.is_between {
            return Ok(Step { read: 0, written: 0 });
        }
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
        let wanted = context.decompress_stream(&mut to, &mut from).map_err(error)?;
        self.is_between = wanted == 0;
        Ok(Step { read: from.pos(), written: to.pos() })
    }

    pub(super) fn memory(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_between
    }
}

fn error(code: usize) -> CodingError {
    match get_error_name(code) {
        "Frame requires too much memory for decoding" => CodingError::Bomb,
        "Allocation error : not enough memory" => CodingError::Failed,
        _ => CodingError::Corrupt,
    }
}
