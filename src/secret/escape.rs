//! One escaped character: `%41`, `\u0041`, `&#65;` and their like.
//!
//! It reads the escapes of URLs ([RFC 3986 §2.1]), of JSON strings ([RFC 8259 §7], surrogate pairs too) and of
//! HTML (numeric references, and the named ones of ASCII punctuation), each in any legal spelling, and knows
//! nothing of what they stand in. Invariant: what is said of a text holds for every longer text, but for
//! [`Escape::Cut`], which is said where the text ends too early to tell.
//!
//! [RFC 3986 §2.1]: https://www.rfc-editor.org/rfc/rfc3986#section-2.1
//! [RFC 8259 §7]: https://www.rfc-editor.org/rfc/rfc8259#section-7

/// The octets that an escape begins with.
pub(super) const LEADS: [u8; 3] = [b'%', b'&', b'\\'];
/// Most digits of a numeric reference but for leading zeros: more is no character, in either base.
const DIGITS: usize = 7;

/// HTML's names of ASCII characters that are no letters or digits, with their semicolon; and the one of two letters.
const NAMES: [(&[u8], &[u8]); 46] = [
    (b"AMP;", b"&"),
    (b"DiacriticalGrave;", b"`"),
    (b"GT;", b">"),
    (b"Hat;", b"^"),
    (b"LT;", b"<"),
    (b"NewLine;", b"\n"),
    (b"QUOT;", b"\""),
    (b"Tab;", b"\t"),
    (b"UnderBar;", b"_"),
    (b"VerticalLine;", b"|"),
    (b"amp;", b"&"),
    (b"apos;", b"'"),
    (b"ast;", b"*"),
    (b"bsol;", b"\\"),
    (b"colon;", b":"),
    (b"comma;", b","),
    (b"commat;", b"@"),
    (b"dollar;", b"$"),
    (b"equals;", b"="),
    (b"excl;", b"!"),
    (b"fjlig;", b"fj"),
    (b"grave;", b"`"),
    (b"gt;", b">"),
    (b"lbrace;", b"{"),
    (b"lbrack;", b"["),
    (b"lcub;", b"{"),
    (b"lowbar;", b"_"),
    (b"lpar;", b"("),
    (b"lsqb;", b"["),
    (b"lt;", b"<"),
    (b"midast;", b"*"),
    (b"num;", b"#"),
    (b"percnt;", b"%"),
    (b"period;", b"."),
    (b"plus;", b"+"),
    (b"quest;", b"?"),
    (b"quot;", b"\""),
    (b"rbrace;", b"}"),
    (b"rbrack;", b"]"),
    (b"rcub;", b"}"),
    (b"rpar;", b")"),
    (b"rsqb;", b"]"),
    (b"semi;", b";"),
    (b"sol;", b"/"),
    (b"verbar;", b"|"),
    (b"vert;", b"|"),
];

/// What a text begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Escape {
    /// An escape of `length` octets.
    Whole {
        /// Octets of the escape.
        length: usize,
        /// What it stands for.
        spelled: Spelled,
    },
    /// Maybe an escape: the text ends before it could.
    Cut,
    /// None.
    Not,
}

/// What an escape stands for: one to four octets, in one or two readings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Spelled {
    octets: [u8; 4],
    count: usize,
    /// The octet that a character of Latin-1 is, where whoever escaped it took octets for characters.
    latin: Option<u8>,
}

impl Spelled {
    fn octet(octet: u8) -> Self {
        Self { octets: [octet, 0, 0, 0], count: 1, latin: None }
    }

    fn text(text: &[u8]) -> Self {
        let mut octets = [0; 4];
        octets.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Self { octets, count: text.len().min(octets.len()), latin: None }
    }

    fn character(character: char) -> Self {
        let latin = u8::try_from(character).ok().filter(|octet| !octet.is_ascii());
        Self { latin, ..Self::text(character.encode_utf8(&mut [0; 4]).as_bytes()) }
    }

    /// The octets it may stand for, the likelier first.
    pub(super) fn readings(&self) -> impl Iterator<Item = &[u8]> {
        [self.octets.get(..self.count), self.latin.as_ref().map(std::slice::from_ref)].into_iter().flatten()
    }

    /// The same without case.
    pub(super) fn to_lower_case(self) -> Self {
        Self { octets: self.octets.map(|octet| octet.to_ascii_lowercase()), ..self }
    }
}

/// The escape that `text` begins with.
pub(super) fn read(text: &[u8]) -> Escape {
    match text.split_first() {
        Some((b'%', rest)) => percent(rest),
        Some((b'\\', rest)) => json(rest),
        Some((b'&', rest)) => html(rest),
        Some(_) | None => Escape::Not,
    }
}

fn percent(rest: &[u8]) -> Escape {
    match hexadecimal(rest, 2) {
        Number::Whole(octet) => {
            Escape::Whole { length: 3, spelled: Spelled::octet(u8::try_from(octet).unwrap_or_default()) }
        }
        Number::Cut => Escape::Cut,
        Number::Not => Escape::Not,
    }
}

fn json(rest: &[u8]) -> Escape {
    let octet = match rest.first() {
        None => return Escape::Cut,
        Some(b'u') => return utf16(rest.get(1..).unwrap_or_default()),
        Some(own @ (b'"' | b'\\' | b'/')) => *own,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(_) => return Escape::Not,
    };
    Escape::Whole { length: 2, spelled: Spelled::octet(octet) }
}

/// What follows `\u`.
fn utf16(rest: &[u8]) -> Escape {
    let unit = match hexadecimal(rest, 4) {
        Number::Whole(unit) => unit,
        Number::Cut => return Escape::Cut,
        Number::Not => return Escape::Not,
    };
    if let Some(character) = char::from_u32(unit) {
        return Escape::Whole { length: 6, spelled: Spelled::character(character) };
    }
    if !(0xd800..0xdc00).contains(&unit) {
        return Escape::Not;
    }
    let second = rest.get(4..).unwrap_or_default();
    let digits = match second {
        [b'\\', b'u', digits @ ..] => digits,
        [] | [b'\\'] => return Escape::Cut,
        [..] => return Escape::Not,
    };
    match hexadecimal(digits, 4) {
        Number::Whole(low) => {
            let units = [unit, low].map(|unit| u16::try_from(unit).unwrap_or_default());
            let Some(Ok(character)) = char::decode_utf16(units).next() else { return Escape::Not };
            Escape::Whole { length: 12, spelled: Spelled::character(character) }
        }
        Number::Cut => Escape::Cut,
        Number::Not => Escape::Not,
    }
}

/// What follows `&`.
fn html(rest: &[u8]) -> Escape {
    let Some((b'#', digits)) = rest.split_first() else { return named(rest) };
    match digits.split_first() {
        None => Escape::Cut,
        Some((b'x' | b'X', digits)) => numeric(digits, 16, 3),
        Some(_) => numeric(digits, 10, 2),
    }
}

/// What follows `&#` or `&#x`, which are `lead` octets.
fn numeric(text: &[u8], base: u32, lead: usize) -> Escape {
    let zeros = text.iter().take_while(|octet| **octet == b'0').count();
    let mut code = 0_u32;
    for (index, octet) in text.iter().enumerate().skip(zeros) {
        if *octet == b';' && index > 0 {
            let Some(character) = char::from_u32(code) else { return Escape::Not };
            return Escape::Whole { length: lead + index + 1, spelled: Spelled::character(character) };
        }
        let Some(digit) = char::from(*octet).to_digit(base).filter(|_| index < zeros + DIGITS) else {
            return Escape::Not;
        };
        code = code * base + digit;
    }
    Escape::Cut
}

fn named(rest: &[u8]) -> Escape {
    let mut cut = rest.is_empty();
    let first = NAMES.partition_point(|(name, _)| name.first() < rest.first());
    let names = NAMES.iter().skip(first).take_while(|(name, _)| name.first() == rest.first());
    for (name, text) in names {
        if rest.starts_with(name) {
            return Escape::Whole { length: 1 + name.len(), spelled: Spelled::text(text) };
        }
        cut |= name.starts_with(rest);
    }
    if cut { Escape::Cut } else { Escape::Not }
}

/// A number of so many digits.
enum Number {
    Whole(u32),
    Cut,
    Not,
}

fn hexadecimal(text: &[u8], digits: usize) -> Number {
    let mut number = 0;
    for octet in text.iter().take(digits) {
        let Some(digit) = char::from(*octet).to_digit(16) else { return Number::Not };
        number = number << 4 | digit;
    }
    if text.len() < digits { Number::Cut } else { Number::Whole(number) }
}

/// Whether an escape that was [`Escape::Cut`] may turn out to stand for what `expected` begins with.
pub(super) fn may_become(cut: &[u8], expected: &[u8]) -> bool {
    let Some(first) = expected.first() else { return false };
    match cut {
        [b'%' | b'\\' | b'&'] | [b'\\', b'u'] | [b'&', b'#'] | [b'&', b'#', b'x' | b'X'] => true,
        [b'%', high, ..] => char::from(*high).to_digit(16) == Some(u32::from(first >> 4)),
        [b'\\', b'u', digits @ ..] => {
            let spelled = |character: char| {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units).iter().map(|unit| format!("{unit:04x}"));
                units.collect::<Vec<_>>().join("\\u")
            };
            characters(expected).any(|character| begins(&spelled(character), digits))
        }
        [b'&', b'#', b'x' | b'X', digits @ ..] => characters(expected)
            .any(|character| begins_after_zeros(format!("{:x}", character as u32), digits)),
        [b'&', b'#', digits @ ..] => {
            characters(expected).any(|character| begins_after_zeros((character as u32).to_string(), digits))
        }
        [b'&', name @ ..] => {
            NAMES.iter().any(|(whole, text)| whole.starts_with(name) && expected.starts_with(text))
        }
        [..] => false,
    }
}

/// The characters that `text` may be taken to begin with: in UTF-8, and octet by octet.
fn characters(text: &[u8]) -> impl Iterator<Item = char> {
    let coded = (1..=4).find_map(|count| std::str::from_utf8(text.get(..count)?).ok()?.chars().next());
    coded.into_iter().chain(text.first().copied().map(char::from))
}

fn begins(spelled: &str, digits: &[u8]) -> bool {
    spelled.as_bytes().get(..digits.len()).is_some_and(|head| head.eq_ignore_ascii_case(digits))
}

fn begins_after_zeros(spelled: String, digits: &[u8]) -> bool {
    let zeros = digits.iter().take_while(|octet| **octet == b'0').count();
    begins(&spelled, digits.get(zeros..).unwrap_or_default())
}

/// Which escapes are worth reading: those that may stand for one of some octets.
pub(super) struct Wanted {
    octets: [bool; 256],
    /// The first letters of names of wanted octets.
    letters: [bool; 256],
}

impl Wanted {
    pub(super) fn of(octets: impl Iterator<Item = u8>) -> Self {
        let mut wanted = Self { octets: [false; 256], letters: [false; 256] };
        for octet in octets {
            set(&mut wanted.octets, octet);
        }
        for (name, text) in NAMES {
            if let (Some(letter), true) = (name.first(), text.first().is_some_and(|octet| wanted.has(*octet)))
            {
                set(&mut wanted.letters, *letter);
            }
        }
        wanted
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, octet: u8) -> bool {
        self.octets.get(usize::from(octet)).copied().unwrap_or_default()
    }

    /// Whether an escape that begins with these two octets may stand for a wanted one; sometimes wrong.
    pub(super) fn may_begin(&self, lead: u8, next: u8) -> bool {
        match (lead, next) {
            (b'%', high) => char::from(high).to_digit(16).is_some_and(|high| {
                self.octets.iter().zip(0_u32..).any(|(wanted, octet)| *wanted && octet >> 4 == high)
            }),
            (b'\\', b'u') | (b'&', b'#') => true,
            (b'\\', _) => match json(&[next]) {
                Escape::Whole { spelled, .. } => spelled.octets.first().is_some_and(|octet| self.has(*octet)),
                Escape::Cut | Escape::Not => false,
            },
            (b'&', letter) => self.letters.get(usize::from(letter)).copied().unwrap_or_default(),
            (_, _) => false,
        }
    }
}

fn set(table: &mut [bool; 256], octet: u8) {
    if let Some(entry) = table.get_mut(usize::from(octet)) {
        *entry = true;
    }
}

#[cfg(test)]
mod tests;
