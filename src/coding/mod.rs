//! Content codings: gzip, deflate, br and zstd, taken off and put on as a body passes.
//!
//! It knows no body, no length and no secret: pieces of octets go in and come out. What a sender flushed comes out
//! as soon as it is in, so that events stay events. Invariant: whatever comes in, a [`Decoder`] gives no more at
//! once than [`Limits::decoded_step`], no more in all than its budget, and ends well only where the coding does.
//!
//! [`Limits::decoded_step`]: crate::limits::Limits::decoded_step

mod br;
mod decode;
mod deflate;
mod encode;
mod gzip;
mod memory;
#[cfg(test)]
mod tests;
mod zstd;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

pub use decode::Decoder;
pub use encode::Encoder;

/// A content coding ([RFC 9110 §8.4.1], RFC 7932, RFC 8878).
///
/// [RFC 9110 §8.4.1]: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// `gzip`, and `x-gzip`, which is the same (RFC 1952).
    Gzip,
    /// `deflate`: the zlib format (RFC 1950); read without its frame too (RFC 1951), as many send it.
    Deflate,
    /// `br` (RFC 7932).
    Br,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// Why a coded body cannot be read. It quotes nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodingError {
    /// A coding there is no decoder for.
    #[error("the content coding is not one of gzip, deflate, br and zstd")]
    Unsupported,
    /// One coding within another.
    #[error("the content has more than one coding, of which only one can be taken off")]
    Nested,
    /// It is not what its coding says, or something follows its end.
    #[error("the content is not in the coding it says it is in")]
    Corrupt,
    /// It stops before its end.
    #[error("the coded content ends too early")]
    Truncated,
    /// It becomes too much, or asks for too much room.
    #[error("the coded content becomes too large; decoded_ratio, decoded_floor and decoded_window bound it")]
    Bomb,
    /// There is no memory left for it.
    #[error(
        "there is no room for one more body in a content coding; decoder_memory bounds what they hold together"
    )]
    Failed,
}

impl Coding {
    /// The coding that a head tells of; `None` where the content is as it is.
    ///
    /// `identity` and empty members are no coding, in whatever number.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, CodingError> {
        let lists = headers.get_all(CONTENT_ENCODING).iter();
        let mut members = lists
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty() && !member.eq_ignore_ascii_case(b"identity"));
        let Some(member) = members.next() else { return Ok(None) };
        if members.next().is_some() {
            return Err(CodingError::Nested);
        }
        Self::named(member).map(Some).ok_or(CodingError::Unsupported)
    }

    fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // RFC 9110 §8.4.1.3 has x-gzip read as gzip.
        if is("x-gzip") {
            return Some(Self::Gzip);
        }
        [Self::Gzip, Self::Deflate, Self::Br, Self::Zstd].into_iter().find(|coding| is(coding.name()))
    }

    /// As `Content-Encoding` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }
}
