//! The bytes of one secret.
//!
//! It is a container and no more: what may be done with a secret is decided elsewhere. Invariant: a
//! [`SecretValue`] can be read through [`SecretValue::expose`] only, and is wiped when dropped.

use zeroize::Zeroizing;

use crate::sys::Pages;

/// Shortest secret, in bytes: a shorter one would be found by chance in text that does not hold it.
pub(super) const SHORTEST: usize = 8;
/// Longest secret, in bytes: it must fit into a header field, and scrubbing holds back as much as a part of it.
pub(super) const LONGEST: usize = 16 << 10;

/// A secret: 8 bytes to 16 KiB, no CR, LF or NUL; wiped on drop, in memory that is neither dumped nor, where the
/// system permits it, swapped out.
///
/// It has no `Debug`, `Display`, `Clone`, `PartialEq` and no serialization, so that it cannot slip into a
/// log, an error or a comparison that stops at the first difference.
pub struct SecretValue(Kept);

enum Kept {
    Pages(Pages),
    /// Where the system gives no pages for it alone.
    Heap(Zeroizing<Vec<u8>>),
}

impl SecretValue {
    /// Takes the bytes; they are wiped also when they are refused.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ValueError> {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < SHORTEST {
            return Err(ValueError::TooShort);
        }
        if bytes.len() > LONGEST {
            return Err(ValueError::TooLong);
        }
        if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(ValueError::ControlCharacter);
        }
        Ok(Self(Pages::holding(&bytes).map_or(Kept::Heap(bytes), Kept::Pages)))
    }

    /// The bytes, for the few who write or search them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Kept::Pages(pages) => pages.bytes(),
            Kept::Heap(bytes) => bytes,
        }
    }

    /// Whether it cannot be swapped out.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match &self.0 {
            Kept::Pages(pages) => pages.is_locked(),
            Kept::Heap(_) => false,
        }
    }
}

/// Why bytes are no secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Under 8 bytes.
    #[error("is shorter than {SHORTEST} bytes and would be found in text by chance; use a longer one")]
    TooShort,
    /// Over 16 KiB.
    #[error("is longer than {LONGEST} bytes and could not stand in a header field; use a shorter one")]
    TooLong,
    /// It could end a header field or a line.
    #[error("contains CR, LF or NUL; remove the line end, as `printf %s` or `$(cat FILE)` do")]
    ControlCharacter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_neither_short_nor_endless_nor_of_two_lines() {
        let refused = |bytes: &[u8]| SecretValue::new(bytes.to_vec()).err();
        assert_eq!(refused(b"1234567"), Some(ValueError::TooShort));
        assert_eq!(refused(&[b'a'; LONGEST + 1]), Some(ValueError::TooLong));
        for bytes in [b"12345678\n", b"1234\r5678", b"1234\x005678"] {
            assert_eq!(refused(bytes), Some(ValueError::ControlCharacter));
        }
        assert_eq!(SecretValue::new(b"12345678".to_vec()).unwrap().expose(), b"12345678");
        assert!(SecretValue::new(vec![0xff; LONGEST]).is_ok());
    }
}
