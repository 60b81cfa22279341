//! The texts in which one secret may come back, and what the guest gets in place of each.
//!
//! They are the value itself, its base64 and base64url at each of the three places it can have in a group of
//! three octets, and its hexadecimal digits in either case; `Basic base64(user:secret)` is one of these. That
//! any character of them may be escaped is for [`super::patterns`] to know. Invariant: what stands for an
//! encoded form is as long as that form, and is itself of that encoding.
//!
//! Of base64 only the characters that the secret alone decides are a form: a character that it shares with its
//! neighbour is any of several. So up to four bits of a secret's first octet and four of its last can be read
//! off the characters beside a form.

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Octets that base64 writes as one group.
const GROUP: usize = 3;
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

/// One text to look for, and what is written instead.
pub(super) struct Form {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) stand_in: Zeroizing<Vec<u8>>,
}

/// Every form of `value`, each once, for which `placeholder` stands.
pub(super) fn of(value: &[u8], placeholder: &[u8]) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut add = |text: Zeroizing<Vec<u8>>, stand_in: Zeroizing<Vec<u8>>| {
        if forms.iter().all(|form| form.text != text) {
            forms.push(Form { text, stand_in });
        }
    };
    let raw = || Zeroizing::new(placeholder.to_vec());
    add(Zeroizing::new(value.to_vec()), raw());
    // As in a form's body, where a space is a plus.
    let plus = value.iter().map(|octet| if *octet == b' ' { b'+' } else { *octet });
    add(Zeroizing::new(plus.collect()), raw());
    // Of the value's length, or the groups and pairs after it would be read out of step.
    let fitted = Zeroizing::new(placeholder.iter().copied().cycle().take(value.len()).collect::<Vec<_>>());
    for before in 0..GROUP {
        for coding in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            add(base64(coding, before, value), base64(coding, before, &fitted));
        }
    }
    for digits in [LOWER, UPPER] {
        add(hexadecimal(digits, value), hexadecimal(digits, &fitted));
    }
    forms
}

/// The characters that `text` alone decides where it follows `before` octets of its first group.
fn base64(coding: &GeneralPurpose, before: usize, text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut octets = Zeroizing::new(vec![0; before]);
    octets.reserve_exact(text.len());
    octets.extend_from_slice(text);
    let encoded = Zeroizing::new(coding.encode(octets.as_slice()));
    // Six bits a character.
    let (first, end) = ((before * 8).div_ceil(6), octets.len() * 8 / 6);
    Zeroizing::new(encoded.as_bytes().get(first..end).unwrap_or_default().to_vec())
}

fn hexadecimal(digits: &[u8; 16], text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or_default();
    out.extend(text.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 0xf)]));
    out
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const VALUE: &[u8] = b"sk-\xff\xfe\xfd?>~s cret/0";
    const PLACEHOLDER: &[u8] = b"sk-ABCDEFGHIJKLMN";

    fn standing_in(forms: &[Form], text: &[u8]) -> Option<Vec<u8>> {
        forms.iter().find(|form| form.text.as_slice() == text).map(|form| form.stand_in.to_vec())
    }

    #[test]
    fn every_encoding_around_any_neighbours_holds_a_form() {
        let forms = of(VALUE, PLACEHOLDER);
        for before in 0..7 {
            for after in 0..7 {
                let text = [&[b'u'; 7][..before], VALUE, &[b'z'; 7][..after]].concat();
                let padded = [STANDARD.encode(&text), URL_SAFE.encode(&text)];
                let bare = [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)];
                for encoded in padded.into_iter().chain(bare) {
                    let held = forms.iter().filter(|form| {
                        encoded
                            .as_bytes()
                            .windows(form.text.len())
                            .any(|window| window == form.text.as_slice())
                    });
                    assert_eq!(held.count(), 1, "{before} before, {after} after: {encoded}");
                }
            }
        }
    }

    #[test]
    fn what_stands_for_an_encoding_decodes_to_the_placeholder() {
        let forms = of(VALUE, PLACEHOLDER);
        assert_eq!(VALUE.len(), PLACEHOLDER.len());
        assert_eq!(standing_in(&forms, VALUE).unwrap(), PLACEHOLDER);
        let lower = |text: &[u8]| text.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        assert_eq!(standing_in(&forms, lower(VALUE).as_bytes()).unwrap(), lower(PLACEHOLDER).into_bytes());
        let upper = lower(VALUE).to_uppercase();
        assert_eq!(
            standing_in(&forms, upper.as_bytes()).unwrap(),
            lower(PLACEHOLDER).to_uppercase().into_bytes()
        );
        let whole = STANDARD.encode([VALUE, b"z"].concat());
        let stand_in = standing_in(&forms, &whole.as_bytes()[..22]).unwrap();
        assert_eq!(STANDARD_NO_PAD.decode(&stand_in[..20]).unwrap(), PLACEHOLDER[..15]);
    }

    #[test]
    fn encodings_keep_their_length_whatever_the_placeholders() {
        for placeholder in [&b"short"[..], &[b'p'; 40]] {
            let forms = of(VALUE, placeholder);
            let (raw, encoded) = forms.split_at(2);
            assert!(raw.iter().all(|form| form.stand_in.as_slice() == placeholder));
            assert!(encoded.iter().all(|form| form.stand_in.len() == form.text.len()));
        }
    }

    #[test]
    fn a_form_is_there_once() {
        // Digits alone have one hexadecimal spelling, and no character in which the alphabets differ.
        assert_eq!(of(b"0123456789", b"ABCDEFGHIJ").len(), 1 + 3 + 1);
        assert_eq!(of(VALUE, PLACEHOLDER).len(), 2 + 6 + 2);
    }
}
