//! The opaque token that a guest holds instead of a secret.
//!
//! It tells nothing about the secret but its length and a prefix that every secret of its kind has. It is
//! not a capability: who holds one can do no more than name the secret to Portcullis. Invariant: RFC 3986
//! unreserved characters only, so that percent, JSON, XML and shell quoting leave it alone.

use std::fmt;

use super::value::SecretValue;

/// What follows the prefix; 62 characters are 5.95 bits each.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Random characters that make a placeholder as long as its secret: 65 bits.
const MATCHED_RANDOM: usize = 11;
/// Random characters where the length is ours to choose: 130 bits.
const FREE_RANDOM: usize = 22;
/// Length where the secret's own is too short.
const FREE_LENGTH: usize = 40;
/// Draws for one shape; a second one is only needed where a secret lies inside a public prefix.
const DRAWS: usize = 4;

/// Public prefixes, which say the kind of a secret and nothing of its value; the longest that fits is kept.
///
/// No rule guesses a prefix from the value ("letters up to a dash"): a passphrase has that form too.
const PUBLIC_PREFIXES: &[&str] = &[
    "AIza",
    "AKIA",
    "ASIA",
    "ATATT3xFfGF0",
    "NRAK-",
    "PMAK-",
    "SG.",
    "dapi",
    "dckr_pat_",
    "doo_v1_",
    "dop_v1_",
    "dp.pt.",
    "eyJ",
    "figd_",
    "gho_",
    "ghp_",
    "ghr_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "glrt-",
    "glsa_",
    "gsk_",
    "hf_",
    "hvs.",
    "lin_api_",
    "npm_",
    "ntn_",
    "nvapi-",
    "phc_",
    "phx_",
    "pk_live_",
    "pk_test_",
    "pplx-",
    "pscale_pw_",
    "pscale_tkn_",
    "pul-",
    "pypi-",
    "r8_",
    "rk_live_",
    "rk_test_",
    "rubygems_",
    "sbp_",
    "shpat_",
    "shpss_",
    "sk-",
    "sk-admin-",
    "sk-ant-admin01-",
    "sk-ant-api03-",
    "sk-ant-oat01-",
    "sk-or-v1-",
    "sk-proj-",
    "sk-svcacct-",
    "sk_live_",
    "sk_test_",
    "sntrys_",
    "tskey-api-",
    "tskey-auth-",
    "tvly-",
    "whsec_",
    "xai-",
    "xapp-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "ya29.",
];

/// A placeholder: as long as its secret and with its public prefix where 65 random bits fit beside it,
/// else 40 characters with at least 130.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Placeholder(Box<str>);

impl Placeholder {
    /// Draws a fresh one for `value`; `clashes` says which texts may not be taken.
    pub(super) fn for_value(
        value: &SecretValue,
        clashes: impl Fn(&str) -> bool,
    ) -> Result<Self, PlaceholderError> {
        for shape in shapes(value.expose()) {
            for _ in 0..DRAWS {
                let text = shape.draw()?;
                if !clashes(&text) {
                    return Ok(Self(text.into()));
                }
            }
        }
        Err(PlaceholderError::NoneFree)
    }

    /// The token, as the guest writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A prefix and so many random characters after it.
struct Shape {
    prefix: &'static str,
    random: usize,
}

/// The shapes that a placeholder for `value` may have, the best first.
fn shapes(value: &[u8]) -> impl Iterator<Item = Shape> {
    let prefix = public_prefix(value);
    let matched = |prefix: &'static str| {
        let random = value.len().saturating_sub(prefix.len());
        (random >= MATCHED_RANDOM).then_some(Shape { prefix, random })
    };
    let free = |prefix: &'static str| {
        let random = FREE_LENGTH.saturating_sub(prefix.len());
        (random >= FREE_RANDOM).then_some(Shape { prefix, random })
    };
    [matched(prefix), matched(""), free(prefix), free("")].into_iter().flatten()
}

fn public_prefix(value: &[u8]) -> &'static str {
    let fitting = PUBLIC_PREFIXES.iter().filter(|prefix| value.starts_with(prefix.as_bytes()));
    fitting.max_by_key(|prefix| prefix.len()).copied().unwrap_or_default()
}

impl Shape {
    fn draw(&self) -> Result<String, PlaceholderError> {
        let mut text = String::with_capacity(self.prefix.len() + self.random);
        text.push_str(self.prefix);
        let mut left = self.random;
        while left > 0 {
            let mut bytes = [0; 64];
            getrandom::fill(&mut bytes).map_err(PlaceholderError::Random)?;
            // A byte past the last whole multiple of 62 finds nothing, or some characters would be likelier.
            let drawn = bytes.iter().filter_map(|byte| character(*byte)).take(left);
            let before = text.len();
            text.extend(drawn);
            left -= text.len() - before;
        }
        Ok(text)
    }
}

fn character(byte: u8) -> Option<char> {
    let whole = u8::MAX - u8::MAX % ALPHABET.len() as u8;
    let index = (byte < whole).then(|| usize::from(byte) % ALPHABET.len())?;
    ALPHABET.get(index).copied().map(char::from)
}

/// Why no placeholder could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaceholderError {
    /// The system has no randomness to give.
    #[error("no randomness from the system: {0}")]
    Random(getrandom::Error),
    /// Every draw contained, or lay within, a secret or another placeholder.
    #[error("no placeholder could be drawn that is free of every secret")]
    NoneFree,
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;

    use super::*;

    fn draw(value: &str) -> String {
        let value = SecretValue::new(value.as_bytes().to_vec()).unwrap();
        Placeholder::for_value(&value, |_| false).unwrap().to_string()
    }

    #[test]
    fn a_placeholder_has_its_secrets_length_and_public_prefix() {
        for (value, prefix) in [
            ("sk-proj-0123456789abcdefghij0123456789abcdefghij", "sk-proj-"),
            ("sk-ant-api03-0123456789abcdefghij", "sk-ant-api03-"),
            ("sk-0123456789abcdefghij", "sk-"),
            ("ghp_0123456789abcdefghij0123456789abcdef", "ghp_"),
            ("github_pat_0123456789abcdefghij", "github_pat_"),
            ("glpat-0123456789abcdefghij", "glpat-"),
            ("xoxb-0123456789-abcdefghij", "xoxb-"),
            ("AKIA0123456789ABCDEF", "AKIA"),
        ] {
            let placeholder = draw(value);
            assert_eq!(placeholder.len(), value.len());
            assert!(placeholder.starts_with(prefix), "{placeholder}");
            assert!(placeholder.bytes().skip(prefix.len()).all(|b| b.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn nothing_is_kept_of_a_value_without_a_public_prefix() {
        let placeholder = draw("correct-horse-battery-staple");
        assert_eq!(placeholder.len(), 28);
        assert!(placeholder.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn a_prefix_gives_way_to_randomness_and_a_length_to_safety() {
        assert_eq!(draw("sk-proj-012").len(), 11);
        assert!(!draw("sk-proj-012").contains('-'), "11 characters have no room for a prefix");
        let short = draw("ghp_0123");
        assert_eq!(short.len(), FREE_LENGTH);
        assert!(short.starts_with("ghp_"));
    }

    #[test]
    fn no_two_draws_are_alike() {
        let drawn: HashSet<_> = (0..1_000).map(|_| draw("0123456789a")).collect();
        assert_eq!(drawn.len(), 1_000);
    }

    #[test]
    fn every_character_of_the_alphabet_is_equally_likely() {
        let mut counts = [0_usize; 256];
        (0..=u8::MAX).filter_map(character).for_each(|c| counts[usize::from(c as u8)] += 1);
        assert!(ALPHABET.iter().all(|byte| counts[usize::from(*byte)] == 4));
    }

    #[test]
    fn a_prefix_that_holds_a_secret_is_left_out() {
        let value = SecretValue::new(b"sk-proj-0123456789abcdef".to_vec()).unwrap();
        let placeholder = Placeholder::for_value(&value, |text| text.contains("sk-proj-")).unwrap();
        assert_eq!(placeholder.as_str().len(), 24);
        assert!(!placeholder.as_str().contains('-'));
    }

    #[test]
    fn drawing_ends_where_everything_clashes() {
        let value = SecretValue::new(b"0123456789abcdef".to_vec()).unwrap();
        let draws = Cell::new(0);
        let outcome = Placeholder::for_value(&value, |_| {
            draws.set(draws.get() + 1);
            true
        });
        assert!(matches!(outcome, Err(PlaceholderError::NoneFree)));
        assert!(draws.get() > 0);
    }

    #[test]
    fn public_prefixes_are_unreserved_characters_and_leave_room_for_randomness() {
        for prefix in PUBLIC_PREFIXES {
            assert!(prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)), "{prefix}");
            assert!(prefix.len() + FREE_RANDOM <= FREE_LENGTH, "{prefix}");
        }
    }
}
