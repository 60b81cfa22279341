//! Credentials of the Basic scheme, `Basic base64(user:password)` ([RFC 7617 §2]).
//!
//! It takes them apart and puts them together, and judges nothing. Invariant: what was not replaced is
//! written back as it was spelled: the scheme's case, the blanks, the alphabet, the padding or its absence.
//!
//! [RFC 7617 §2]: https://www.rfc-editor.org/rfc/rfc7617#section-2

use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

const SCHEME: &[u8] = b"basic";

/// Both alphabets, each with and without padding; all of them read either.
const CODINGS: [[GeneralPurpose; 2]; 2] = [
    [coding(&alphabet::STANDARD, true), coding(&alphabet::STANDARD, false)],
    [coding(&alphabet::URL_SAFE, true), coding(&alphabet::URL_SAFE, false)],
];

const fn coding(alphabet: &Alphabet, padding: bool) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(padding)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

/// One header value of the Basic scheme, decoded.
pub(super) struct Basic<'a> {
    /// The scheme and the blanks after it.
    lead: &'a [u8],
    credentials: Zeroizing<Vec<u8>>,
    coding: &'static GeneralPurpose,
}

impl<'a> Basic<'a> {
    /// Reads a header value; `None` where it is of another scheme or not base64.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let scheme = value.get(..SCHEME.len())?;
        let rest = value.get(SCHEME.len()..)?;
        let token = rest.trim_ascii();
        if !scheme.eq_ignore_ascii_case(SCHEME) || token.is_empty() || token.len() == rest.len() {
            return None;
        }
        let lead = value.get(..value.len() - rest.trim_ascii_start().len())?;
        // Where the length needs no padding either way, the usual form is meant.
        let padded = token.len().is_multiple_of(4);
        CODINGS.as_slice().iter().find_map(|[with_padding, without]| {
            let credentials = Zeroizing::new(with_padding.decode(token).ok()?);
            Some(Self { lead, credentials, coding: if padded { with_padding } else { without } })
        })
    }

    /// `user:password`.
    pub(super) fn credentials(&self) -> &[u8] {
        &self.credentials
    }

    /// The header value with other credentials.
    pub(super) fn with(&self, credentials: &[u8]) -> Zeroizing<Vec<u8>> {
        let token = Zeroizing::new(self.coding.encode(credentials));
        Zeroizing::new([self.lead, token.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_in_every_spelling() {
        for value in [
            "Basic dXNlcjpwYXNzd29yZA==",
            "basic dXNlcjpwYXNzd29yZA",
            "BASIC   dXNlcjpwYXNzd29yZA= ",
            "Basic\tdXNlcjpwYXNzd29yZB==",
        ] {
            assert_eq!(Basic::parse(value.as_bytes()).unwrap().credentials(), b"user:password", "{value}");
        }
    }

    #[test]
    fn what_is_not_basic_is_left_alone() {
        for value in
            ["", "Basic", "Basic ", "BasicdXNlcjpw", "Bearer dXNlcjpw", "Basic dXNl*jpw", "Basic dXN= cjpw"]
        {
            assert!(Basic::parse(value.as_bytes()).is_none(), "{value}");
        }
    }

    #[test]
    fn the_spelling_is_kept() {
        for value in [
            "Basic dTpwYXNz",
            "basic  dTpw",
            "BASIC dTpwYQ==",
            "Basic dTpwYQ",
            "Basic dTo_Pz8",
            "Basic dTo/Pz8=",
        ] {
            let basic = Basic::parse(value.as_bytes()).unwrap();
            assert_eq!(basic.with(basic.credentials()).as_slice(), value.as_bytes());
        }
    }
}
