//! WebSocket frames ([RFC 6455 §5]) read and written as they come, and what is done to the messages in them.
//!
//! It knows the base protocol alone: whoever uses it strips extensions from the handshake. It reads no clock and
//! no socket, and keeps of a frame no more than [`Limits::websocket_frame`](crate::limits::Limits::websocket_frame)
//! and the beginning of a match. Invariant: however a stream is cut into chunks, what is written is a well-formed
//! stream of the same messages, in order, with the same opcodes, and each is what its change makes of the whole.
//!
//! [RFC 6455 §5]: https://www.rfc-editor.org/rfc/rfc6455#section-5

#![warn(clippy::indexing_slicing)]

mod error;
mod head;
mod mask;
mod reader;
mod reframer;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use error::FrameError;
pub use head::Speaker;
pub use reframer::{Change, Output, Reframer};
pub use writer::{CloseCode, close_frame};
