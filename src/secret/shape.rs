//! What a placeholder looks like: public text, and random characters in their places.
//!
//! It draws and judges room; it knows no secret. Invariant: a [`Plan`] has at least 64 random bits where it is as long
//! as the secret, else at least 128, and RFC 3986 unreserved characters only.

use super::placeholder::PlaceholderError;

/// Random bits of a placeholder that is as long as its secret.
const MATCHED_BITS: f64 = 64.0;
/// Random bits where the length is ours to choose.
const FREE_BITS: f64 = 128.0;
/// Length where the secret's own does not do.
pub(super) const FREE_LENGTH: usize = 40;
/// Characters of a check sum.
const CHECKSUM: usize = 6;
/// Longest template, and most characters of one `{rand:N}`: as long as the longest secret.
const LONGEST: usize = super::value::LONGEST;

pub(super) const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// RFC 4648 §6, as the key ids of AWS are written.
pub(super) const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// The order in which GitHub counts to 62.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The form of a secret's placeholder as an operator writes it: `sk-{rand}`, `key_{rand:32}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shape {
    pieces: Vec<Piece>,
    alphabet: Vec<u8>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    /// So many characters; `None` for as many as there is room for.
    Random(Option<usize>),
}

impl Shape {
    /// Reads a template: public text in which `{rand}`, once, is as many random characters as make it as long as the
    /// secret, and `{rand:N}` is N of them. They are letters and digits unless there is an `alphabet`.
    pub fn parse(text: &str, alphabet: Option<&str>) -> Result<Self, ShapeError> {
        let alphabet = alphabet.map_or(Ok(ALPHANUMERIC.to_vec()), read_alphabet)?;
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or(ShapeError::Braces)?;
            pieces.extend(text_piece(before)?);
            pieces.push(Piece::Random(read_random(inside)?));
            rest = after;
        }
        pieces.extend(text_piece(rest)?);
        let open = pieces.iter().filter(|piece| **piece == Piece::Random(None)).count();
        let random = pieces.iter().any(|piece| matches!(piece, Piece::Random(_)));
        let shape = Self { pieces, alphabet };
        match (random, open) {
            (false, _) => Err(ShapeError::NoRandom),
            (true, 2..) => Err(ShapeError::TwoOpen),
            (true, _) if shape.fixed_length() > LONGEST => Err(ShapeError::TooLong),
            // Where its length is its own, whatever the secret, too little is too little at once.
            (true, 0) if shape.plan(shape.fixed_length()).is_err() => Err(ShapeError::Room),
            (true, _) => Ok(shape),
        }
    }

    /// What to draw for a secret of `length` octets.
    pub(super) fn plan(&self, length: usize) -> Result<Plan, ShapeError> {
        let fixed = self.fixed_length();
        let is_open = self.pieces.contains(&Piece::Random(None));
        let matched = self.filled(length.saturating_sub(fixed));
        if matched.length() == length && matched.bits() >= MATCHED_BITS {
            return Ok(matched);
        }
        if !is_open {
            return Some(matched).filter(|plan| plan.bits() >= FREE_BITS).ok_or(ShapeError::Room);
        }
        let room = FREE_LENGTH.saturating_sub(fixed);
        let enough = (room..=room.saturating_add(FREE_LENGTH * 4)).map(|open| self.filled(open));
        enough.into_iter().find(|plan| plan.bits() >= FREE_BITS).ok_or(ShapeError::Room)
    }

    /// The plan with so many characters for `{rand}`.
    fn filled(&self, open: usize) -> Plan {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Part::Text(text.clone()),
            Piece::Random(count) => Part::random(&self.alphabet, count.unwrap_or(open)),
        };
        Plan(self.pieces.iter().map(part).collect())
    }

    /// Length without what `{rand}` stands for.
    fn fixed_length(&self) -> usize {
        let lengths = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Random(count) => count.unwrap_or_default(),
        });
        lengths.fold(0, usize::saturating_add)
    }
}

fn text_piece(text: &str) -> Result<Option<Piece>, ShapeError> {
    match text.bytes().all(is_unreserved) {
        _ if text.contains('}') => Err(ShapeError::Braces),
        false => Err(ShapeError::Text),
        true => Ok((!text.is_empty()).then(|| Piece::Text(text.to_owned()))),
    }
}

fn read_random(inside: &str) -> Result<Option<usize>, ShapeError> {
    match inside.strip_prefix("rand") {
        Some("") => Ok(None),
        Some(count) => {
            let count =
                count.strip_prefix(':').filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()));
            let count =
                count.and_then(|count| count.parse().ok()).filter(|count| (1..=LONGEST).contains(count));
            count.map(Some).ok_or(ShapeError::Braces)
        }
        None => Err(ShapeError::Braces),
    }
}

fn read_alphabet(text: &str) -> Result<Vec<u8>, ShapeError> {
    let bytes = text.as_bytes();
    let again = |(index, byte): (usize, &u8)| bytes.iter().skip(index + 1).any(|later| later == byte);
    if bytes.len() < 2 || !text.bytes().all(is_unreserved) || bytes.iter().enumerate().any(again) {
        return Err(ShapeError::Alphabet);
    }
    Ok(bytes.to_vec())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Why a text is no shape of a placeholder.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// Something else in braces, or half a pair.
    #[error("has braces that are neither {{rand}} nor {{rand:N}} with N from 1 to {LONGEST}")]
    Braces,
    /// Characters that some quoting would change.
    #[error("may have letters, digits and '-', '.', '_', '~' beside {{rand}}, which no quoting changes")]
    Text,
    /// The same placeholder for every sandbox.
    #[error(
        "has no random part; write {{rand}} where the secret's own characters would be, as in sk-{{rand}}"
    )]
    NoRandom,
    /// Room that could be shared out in more than one way.
    #[error("has {{rand}} more than once; give all but one a length, as in {{rand:16}}")]
    TwoOpen,
    /// Longer than any secret.
    #[error("is longer than {LONGEST} characters; shorten it")]
    TooLong,
    /// So few random characters that a placeholder could be guessed.
    #[error(
        "leaves too little room for randomness: 64 bits are needed where it is as long as the secret, else 128; \
         use {{rand}} without a length, a greater one, or a shorter text"
    )]
    Room,
    /// An alphabet that is none.
    #[error("needs an alphabet of two or more different letters, digits, '-', '.', '_' and '~'")]
    Alphabet,
}

/// A placeholder but for its random characters.
#[derive(Clone, Debug)]
pub(super) struct Plan(pub(super) Vec<Part>);

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Random {
        alphabet: Vec<u8>,
        count: usize,
    },
    /// CRC-32 of the random part before it, to base 62 with leading zeros.
    Checksum,
}

impl Part {
    pub(super) fn random(alphabet: &[u8], count: usize) -> Self {
        Self::Random { alphabet: alphabet.to_vec(), count }
    }
}

impl Plan {
    fn length(&self) -> usize {
        let lengths = self.0.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Random { count, .. } => *count,
            Part::Checksum => CHECKSUM,
        });
        lengths.sum()
    }

    fn bits(&self) -> f64 {
        let bits = self.0.iter().map(|part| match part {
            Part::Random { alphabet, count } => number(*count) * number(alphabet.len()).log2(),
            Part::Text(_) | Part::Checksum => 0.0,
        });
        bits.sum()
    }

    /// Itself, where a placeholder for a secret of `length` octets may be so.
    pub(super) fn if_enough_for(self, length: usize) -> Option<Self> {
        let wanted = if self.length() == length { MATCHED_BITS } else { FREE_BITS };
        (self.bits() >= wanted).then_some(self)
    }

    pub(super) fn draw(&self) -> Result<String, PlaceholderError> {
        let mut text = String::with_capacity(self.length());
        let mut drawn = 0;
        for part in &self.0 {
            match part {
                Part::Text(public) => text.push_str(public),
                Part::Random { alphabet, count } => {
                    drawn = text.len();
                    draw(alphabet, *count, &mut text)?;
                }
                Part::Checksum => {
                    let sum = checksum(text.as_bytes().get(drawn..).unwrap_or_default());
                    text.push_str(&sum);
                }
            }
        }
        Ok(text)
    }
}

/// A small count, exactly.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn draw(alphabet: &[u8], count: usize, text: &mut String) -> Result<(), PlaceholderError> {
    let mut left = count;
    while left > 0 {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(PlaceholderError::Random)?;
        let drawn = bytes.iter().filter_map(|byte| character(alphabet, *byte)).take(left);
        let before = text.len();
        text.extend(drawn);
        left -= text.len() - before;
    }
    Ok(())
}

/// The character that a byte finds. One past the last whole multiple of the alphabet finds none, or some characters
/// would be likelier than others.
fn character(alphabet: &[u8], byte: u8) -> Option<char> {
    let whole = 256 - 256_usize.checked_rem(alphabet.len())?;
    let index = (usize::from(byte) < whole).then(|| usize::from(byte) % alphabet.len())?;
    alphabet.get(index).copied().map(char::from)
}

/// What the last six characters of a GitHub or npm token say of those before.
pub(super) fn checksum(random: &[u8]) -> String {
    let mut left = crc32(random);
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = usize::try_from(left % 62).ok().and_then(|index| BASE62.get(index).copied()).unwrap_or(b'0');
        left /= 62;
    }
    digits.map(char::from).iter().collect()
}

/// CRC-32 as of ISO 3309, bit by bit: it is asked for a few octets at a start.
fn crc32(octets: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
    !octets.iter().fold(!0, |sum, octet| (0..8).fold(sum ^ u32::from(*octet), |sum, _| step(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(shape: &str, alphabet: Option<&str>, length: usize) -> Result<String, ShapeError> {
        Ok(Shape::parse(shape, alphabet)?.plan(length)?.draw().unwrap())
    }

    #[test]
    fn a_template_is_as_long_as_the_secret_where_there_is_room() {
        for (shape, length, starts, ends) in
            [("sk-{rand}", 51, "sk-", ""), ("{rand}.x", 14, "", ".x"), ("a{rand:3}-{rand}~", 20, "a", "~")]
        {
            let text = drawn(shape, None, length).unwrap();
            assert!(text.len() == length && text.starts_with(starts) && text.ends_with(ends), "{text}");
        }
        assert_eq!(drawn("a{rand:3}-{rand}", None, 20).unwrap().as_bytes()[4], b'-');
        let text = drawn("sk-{rand}", None, 9).unwrap();
        assert!(text.len() == FREE_LENGTH && text.starts_with("sk-"), "{text}");
        let text = drawn("{rand}", Some("01"), 9).unwrap();
        assert!(text.len() == 128 && text.bytes().all(|byte| b"01".contains(&byte)), "{text}");
        assert_eq!(drawn("{rand}", Some("01"), 64).unwrap().len(), 64);
        assert_eq!(drawn("key_{rand:32}", Some("0123456789abcdef"), 9).unwrap().len(), 36);
        assert_eq!(drawn("key_{rand:16}", Some("0123456789abcdef"), 21), Err(ShapeError::Room));
    }

    #[test]
    fn what_is_no_shape_is_told() {
        for (shape, error) in [
            ("", ShapeError::NoRandom),
            ("sk-", ShapeError::NoRandom),
            ("sk-{rand", ShapeError::Braces),
            ("sk-rand}", ShapeError::Braces),
            ("{rand}}", ShapeError::Braces),
            ("{}", ShapeError::Braces),
            ("{Rand}", ShapeError::Braces),
            ("{rand:}", ShapeError::Braces),
            ("{rand:0}", ShapeError::Braces),
            ("{rand:+5}", ShapeError::Braces),
            ("{rand:99999999999999999999}", ShapeError::Braces),
            ("{{rand}}", ShapeError::Braces),
            ("a b{rand}", ShapeError::Text),
            ("a/{rand}", ShapeError::Text),
            ("é{rand}", ShapeError::Text),
            ("{rand}{rand}", ShapeError::TwoOpen),
            ("{rand:4}", ShapeError::Room),
            ("{rand:16384}{rand:16384}", ShapeError::TooLong),
        ] {
            assert_eq!(Shape::parse(shape, None), Err(error), "{shape}");
        }
        for alphabet in ["", "a", "aa", "ab/", "é0"] {
            assert_eq!(Shape::parse("{rand}", Some(alphabet)), Err(ShapeError::Alphabet), "{alphabet}");
        }
    }

    #[test]
    fn every_character_of_an_alphabet_is_equally_likely() {
        for alphabet in [ALPHANUMERIC, BASE32, b"01", b"012"] {
            let mut counts = [0_usize; 256];
            (0..=u8::MAX).filter_map(|byte| character(alphabet, byte)).for_each(|c| counts[c as usize] += 1);
            assert!(alphabet.iter().all(|byte| counts[usize::from(*byte)] == 256 / alphabet.len()));
        }
    }

    #[test]
    fn a_checksum_is_the_one_of_a_published_token() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(checksum(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), "0mLq17");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_drawn_is_unreserved_and_random_enough(
            shape in "[a-z-]{0,12}(\\{rand:[1-9][0-9]?\\}|[a-z._~]{0,3}){0,3}(\\{rand\\})?[a-z]{0,12}",
            length in 8_usize..200,
        ) {
            let Ok(shape) = Shape::parse(&shape, None) else { return Ok(()) };
            let Ok(plan) = shape.plan(length) else { return Ok(()) };
            let text = plan.draw().unwrap();
            proptest::prop_assert!(text.bytes().all(is_unreserved));
            proptest::prop_assert_eq!(text.len(), plan.length());
            let wanted = if text.len() == length { MATCHED_BITS } else { FREE_BITS };
            proptest::prop_assert!(plan.bits() >= wanted);
        }
    }
}
