//! Why a stream of frames cannot be followed any further, and whose fault that is.

use crate::secret::InjectError;

/// Why frames cannot be passed on. Nothing after it can be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// RFC 6455 §5.2: a bit of an extension that was not agreed on.
    #[error("a reserved bit is set, and no extension was agreed on")]
    Reserved,
    /// RFC 6455 §5.2: an opcode without meaning.
    #[error("opcode {0} is not defined")]
    Opcode(u8),
    /// RFC 6455 §5.5: a control frame in fragments.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// RFC 6455 §5.5: a control frame of more than 125 octets.
    #[error("a control frame is longer than 125 octets")]
    LongControl,
    /// RFC 6455 §5.2: a length written in more octets than it needs, or one that no frame can have.
    #[error("the length of a frame is not written as it must be")]
    Length,
    /// RFC 6455 §5.1: a client that does not mask.
    #[error("a frame of the client is not masked")]
    Unmasked,
    /// RFC 6455 §5.1: a server that masks.
    #[error("a frame of the server is masked")]
    Masked,
    /// RFC 6455 §5.4: a continuation of nothing.
    #[error("a fragment continues no message")]
    Continuation,
    /// RFC 6455 §5.4: a message within a message.
    #[error("a message begins before the one before it has ended")]
    Interleaved,
    /// RFC 6455 §5.5.1: a close frame with half a code.
    #[error("a close frame has one octet")]
    HalfCode,
    /// There is no mask for a frame of ours.
    #[error("the system gives no random octets to mask a frame with")]
    Randomness,
    /// A changed message has another length than was announced for it.
    #[error("a frame does not have the length it was announced with")]
    Promise,
    /// A placeholder in a message may not become its secret.
    #[error(transparent)]
    Secret(#[from] InjectError),
}

impl FrameError {
    /// Whether whoever sent the frames is to blame.
    #[must_use]
    pub fn is_senders(&self) -> bool {
        match self {
            Self::Reserved
            | Self::Opcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Length
            | Self::Unmasked
            | Self::Masked
            | Self::Continuation
            | Self::Interleaved
            | Self::HalfCode => true,
            Self::Randomness | Self::Promise | Self::Secret(_) => false,
        }
    }
}
