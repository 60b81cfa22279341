//! Every way to write a secret that must not reach a guest, and what a text that has some is without them: plain, slow,
//! and on its own.

use std::cmp::Reverse;

/// What decides which of several; every test has a source of its own.
pub(crate) trait Choice {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize;
}

/// The same numbers for the same seed (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Choice for Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

/// HTML's names for some characters.
const NAMES: [(char, &[&str]); 31] = [
    ('!', &["excl"]),
    ('"', &["quot", "QUOT"]),
    ('#', &["num"]),
    ('$', &["dollar"]),
    ('%', &["percnt"]),
    ('&', &["amp", "AMP"]),
    ('\'', &["apos"]),
    ('(', &["lpar"]),
    (')', &["rpar"]),
    ('*', &["ast", "midast"]),
    ('+', &["plus"]),
    (',', &["comma"]),
    ('.', &["period"]),
    ('/', &["sol"]),
    (':', &["colon"]),
    (';', &["semi"]),
    ('<', &["lt", "LT"]),
    ('=', &["equals"]),
    ('>', &["gt", "GT"]),
    ('?', &["quest"]),
    ('@', &["commat"]),
    ('[', &["lsqb", "lbrack"]),
    ('\\', &["bsol"]),
    (']', &["rsqb", "rbrack"]),
    ('^', &["Hat"]),
    ('_', &["lowbar", "UnderBar"]),
    ('`', &["grave", "DiacriticalGrave"]),
    ('{', &["lcub", "lbrace"]),
    ('|', &["verbar", "vert", "VerticalLine"]),
    ('}', &["rcub", "rbrace"]),
    ('\t', &["Tab"]),
];

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 bit by bit, without padding.
pub(crate) fn base64(alphabet: &[u8; 64], text: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = text.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1)).collect();
    bits.chunks(6)
        .map(|six| {
            let value = six.iter().fold(0, |value, bit| value << 1 | usize::from(*bit)) << (6 - six.len());
            alphabet[value]
        })
        .collect()
}

/// `secret` in one of its encodings, with what may stand around it there.
pub(crate) fn encoded(secret: &[u8], choice: &mut impl Choice) -> Vec<u8> {
    match choice.below(6) {
        0 => secret.iter().flat_map(|octet| format!("{octet:02x}").into_bytes()).collect(),
        1 => secret.iter().flat_map(|octet| format!("{octet:02X}").into_bytes()).collect(),
        way @ (2 | 3) => {
            let alphabet = if way == 2 { STANDARD } else { URL_SAFE };
            let (before, after) = (choice.below(4), choice.below(4));
            let whole = [&b"u:~"[..before], secret, &b"\xffz:"[..after]].concat();
            let mut text = base64(alphabet, &whole);
            if choice.below(2) == 0 {
                text.resize(text.len().next_multiple_of(4), b'=');
            }
            text
        }
        _ => secret.to_vec(),
    }
}

/// `text` with some of its characters escaped: none, all, or some of them.
pub(crate) fn escaped(text: &[u8], choice: &mut impl Choice) -> Vec<u8> {
    let density = [0, 1, 4, 16][choice.below(4)];
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.first() {
        if choice.below(16) >= density {
            out.push(*first);
            rest = &rest[1..];
            continue;
        }
        let (spelling, length) = escape(rest, choice);
        out.extend(spelling);
        rest = &rest[length..];
    }
    out
}

/// An escape for what `text` begins with, and how many octets that are.
fn escape(text: &[u8], choice: &mut impl Choice) -> (Vec<u8>, usize) {
    let percent = |octet: u8, lower| {
        if lower { format!("%{octet:02x}").into_bytes() } else { format!("%{octet:02X}").into_bytes() }
    };
    let coded = (1..=4.min(text.len())).find_map(|count| std::str::from_utf8(&text[..count]).ok());
    let Some(character) = coded.and_then(|text| text.chars().next()) else {
        return (percent(text[0], choice.below(2) == 0), 1);
    };
    let code = character as u32;
    let zeros = "0".repeat(if choice.below(50) == 0 { 100 } else { choice.below(3) });
    let lower = choice.below(2) == 0;
    let spelling = match choice.below(6) {
        0 => return (percent(text[0], lower), 1),
        1 => format!("&#{zeros}{code};"),
        2 if lower => format!("&#x{zeros}{code:x};"),
        2 => format!("&#X{zeros}{code:X};"),
        3 => match NAMES.iter().find(|(own, _)| *own == character) {
            Some((_, names)) => format!("&{};", names[choice.below(names.len())]),
            None => format!("&#{code};"),
        },
        4 => match character {
            '"' | '\\' | '/' => format!("\\{character}"),
            '\t' => "\\t".to_owned(),
            _ => json(character, lower),
        },
        _ => json(character, lower),
    };
    (spelling.into_bytes(), character.len_utf8())
}

fn json(character: char, lower: bool) -> String {
    let mut units = [0; 2];
    let units = character.encode_utf16(&mut units).iter();
    units.map(|unit| if lower { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") }).collect()
}

/// The texts that may not be in an answer in any escaping: of base64, the characters that are the secret's alone.
pub(crate) fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let plus = secret.iter().map(|octet| if *octet == b' ' { b'+' } else { *octet }).collect();
    let mut forms = vec![secret.to_vec(), plus];
    for before in 0..3 {
        for alphabet in [STANDARD, URL_SAFE] {
            // A character is the secret's alone if no neighbour changes it.
            let around = |neighbour: u8| {
                let neighbours = [neighbour; 2];
                base64(alphabet, &[&neighbours[..before], secret, &neighbours].concat())
            };
            let both: Vec<_> = around(0).into_iter().zip(around(0xff)).collect();
            forms.push(both.iter().filter(|(one, other)| one == other).map(|(one, _)| *one).collect());
        }
    }
    let digits: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    forms.extend([digits.to_uppercase(), digits].into_iter().rev().map(String::into_bytes));
    forms
}

/// What the guest gets for each of [`forms`]: the placeholder, or that form of as much of it as the secret is long.
pub(crate) fn stand_ins(secret: &[u8], placeholder: &[u8]) -> Vec<Vec<u8>> {
    let fitted: Vec<u8> = placeholder.iter().copied().cycle().take(secret.len()).collect();
    let mut forms = forms(&fitted);
    forms[..2].fill(placeholder.to_vec());
    forms
}

/// What the guest gets of `text`, with `stand_ins` for `forms`; `None` where it has none of them.
///
/// Of all forms in the text the leftmost is replaced, then what is leftmost after it: of several at one place the
/// longest, then the first. Nothing is looked for in what was written, which may complete by chance what stands before.
/// Where nothing stands in for a form of another length, what is longer for its escapes is filled up with asterisks.
pub(crate) fn scrubbed(text: &[u8], forms: &[Vec<u8>], stand_ins: &[Vec<u8>]) -> Option<Vec<u8>> {
    let is_filled = forms.iter().zip(stand_ins).all(|(form, own)| form.len() == own.len());
    let escapes: Vec<_> = forms.iter().map(|form| spellings(form)).collect();
    let (mut out, mut rest, mut is_changed) = (Vec::new(), text, false);
    while let Some((first, after)) = rest.split_first() {
        let Some((length, form)) = at_start(rest, forms, &escapes) else {
            out.push(*first);
            rest = after;
            continue;
        };
        let end = out.len() + length;
        out.extend(&stand_ins[form]);
        if is_filled {
            out.resize(end, b'*');
        }
        rest = &rest[length..];
        is_changed = true;
    }
    is_changed.then_some(out)
}

/// Whether `text` has one of `forms` somewhere, each character as it is or escaped.
pub(crate) fn has_any(text: &[u8], forms: &[Vec<u8>]) -> bool {
    let escapes: Vec<_> = forms.iter().map(|form| spellings(form)).collect();
    (0..text.len()).any(|start| at_start(&text[start..], forms, &escapes).is_some())
}

/// The longest of `forms` that `text` starts with, of several the first: its length there and its index.
fn at_start(text: &[u8], forms: &[Vec<u8>], escapes: &[Vec<(usize, Spelling)>]) -> Option<(usize, usize)> {
    // Most places are told by their first character, which spares the tests the most of their time.
    let may_start = |form: &[u8], escapes: &[(usize, Spelling)]| {
        text[0] == form[0]
            || (is_lead(text[0]) && escapes.iter().any(|(_, spelling)| starts(text, spelling).is_some()))
    };
    let likely = forms.iter().zip(escapes).enumerate().filter(|(_, (form, own))| may_start(form, own));
    let whole = likely.filter_map(|(index, (form, _))| match reading(text, form) {
        Reading::Whole(length) => Some((length, index)),
        Reading::Beginning | Reading::Nothing => None,
    });
    whole.min_by_key(|(length, index)| (Reverse(*length), *index))
}

fn is_lead(octet: u8) -> bool {
    matches!(octet, b'%' | b'&' | b'\\')
}

/// Whether `text` may be the beginning of one of `forms`, and not a whole one.
pub(crate) fn begins_any(text: &[u8], forms: &[Vec<u8>]) -> bool {
    forms.iter().any(|form| reading(text, form) == Reading::Beginning)
}

#[derive(PartialEq)]
enum Reading {
    /// Of so many octets, by the shortest way to read it.
    Whole(usize),
    Beginning,
    Nothing,
}

/// What `text` starts with of `form`: every way to read it, one octet of the form after the other.
fn reading(text: &[u8], form: &[u8]) -> Reading {
    // So many octets of the form are done, and there the text goes on.
    let mut ways = vec![(0, 0)];
    let mut is_beginning = false;
    if text[0] != form[0] && !is_lead(text[0]) {
        return Reading::Nothing;
    }
    while let Some(way) = ways.iter().copied().min() {
        ways.retain(|other| *other != way);
        let (done, at) = way;
        if done == form.len() {
            return Reading::Whole(at);
        }
        let (rest, expected) = (&text[at..], &form[done..]);
        let Some(first) = rest.first() else {
            is_beginning = true;
            continue;
        };
        if *first == expected[0] {
            ways.push((done + 1, at + 1));
        }
        if !is_lead(*first) {
            continue;
        }
        for (octets, spelling) in spellings(expected) {
            match starts(rest, &spelling) {
                Some(length) if length <= rest.len() => ways.push((done + octets, at + length)),
                Some(_) => is_beginning = true,
                None => {}
            }
        }
    }
    if is_beginning { Reading::Beginning } else { Reading::Nothing }
}

/// How an escape is written: what comes first, the zeros that may follow, the rest, and whether case matters.
struct Spelling {
    head: String,
    has_zeros: bool,
    tail: String,
    has_case: bool,
}

/// Every escape of what `text` begins with, and how many octets that are.
fn spellings(text: &[u8]) -> Vec<(usize, Spelling)> {
    let plain = |head: String, has_case| Spelling { head, has_zeros: false, tail: String::new(), has_case };
    let zeros = |head: &str, tail| Spelling { head: head.to_owned(), has_zeros: true, tail, has_case: false };
    let mut all = vec![(1, plain(format!("%{:02x}", text[0]), false))];
    let coded = (1..=4.min(text.len())).find_map(|count| std::str::from_utf8(&text[..count]).ok());
    let coded = coded.and_then(|text| text.chars().next());
    for (octets, character) in
        coded.into_iter().map(|own| (own.len_utf8(), own)).chain([(1, char::from(text[0]))])
    {
        let code = character as u32;
        all.push((octets, plain(json(character, true), false)));
        all.push((octets, zeros("&#", format!("{code};"))));
        all.push((octets, zeros("&#x", format!("{code:x};"))));
        if let '"' | '\\' | '/' = character {
            all.push((octets, plain(format!("\\{character}"), true)));
        }
        if character == '\t' {
            all.push((octets, plain("\\t".to_owned(), true)));
        }
        for (_, names) in NAMES.iter().filter(|(own, _)| *own == character) {
            all.extend(names.iter().map(|name| (octets, plain(format!("&{name};"), true))));
        }
    }
    if text.starts_with(b"fj") {
        all.push((2, plain("&fjlig;".to_owned(), true)));
    }
    all
}

/// The length that `text` has of `spelling`, or needs to have of it where it ends before.
fn starts(text: &[u8], spelling: &Spelling) -> Option<usize> {
    let same = |text: &[u8], part: &str| {
        let count = text.len().min(part.len());
        let (text, part) = (&text[..count], &part.as_bytes()[..count]);
        if spelling.has_case { text == part } else { text.eq_ignore_ascii_case(part) }
    };
    let head = spelling.head.len();
    if !same(text, &spelling.head) {
        return None;
    }
    if text.len() < head || !spelling.has_zeros {
        return Some(head);
    }
    let zeros = text[head..].iter().take_while(|octet| **octet == b'0').count();
    // The number itself may be zero.
    let zeros = if spelling.tail.starts_with('0') { zeros.saturating_sub(1) } else { zeros };
    same(&text[head + zeros..], &spelling.tail).then_some(head + zeros + spelling.tail.len())
}

/// `user:secret` as Basic credentials.
pub(crate) fn encoded_basic(user: &str, secret: &str) -> String {
    let mut text = base64(STANDARD, format!("{user}:{secret}").as_bytes());
    text.resize(text.len().next_multiple_of(4), b'=');
    String::from_utf8(text).unwrap_or_default()
}
