//! Every spelling of an escape, and those that are none.

use super::*;

fn spelled(text: &str) -> Option<(usize, Vec<Vec<u8>>)> {
    match read(text.as_bytes()) {
        Escape::Whole { length, spelled } => Some((length, spelled.readings().map(<[u8]>::to_vec).collect())),
        Escape::Cut | Escape::Not => None,
    }
}

#[test]
fn every_legal_spelling_is_read_whatever_follows() {
    for (text, octets) in [
        ("%41", &b"A"[..]),
        ("%fF", b"\xff"),
        ("\\u0041", b"A"),
        ("\\u20aC", "€".as_bytes()),
        ("\\uD83D\\ude00", "😀".as_bytes()),
        ("\\/", b"/"),
        ("\\\"", b"\""),
        ("\\\\", b"\\"),
        ("\\n", b"\n"),
        ("\\t", b"\t"),
        ("&#65;", b"A"),
        ("&#x41;", b"A"),
        ("&#X00041;", b"A"),
        ("&#0000000000000065;", b"A"),
        ("&#128512;", "😀".as_bytes()),
        ("&plus;", b"+"),
        ("&sol;", b"/"),
        ("&equals;", b"="),
        ("&lowbar;", b"_"),
        ("&amp;", b"&"),
        ("&AMP;", b"&"),
        ("&fjlig;", b"fj"),
    ] {
        for follows in ["", "41", ";", "\\"] {
            let whole = format!("{text}{follows}");
            assert_eq!(spelled(&whole), Some((text.len(), vec![octets.to_vec()])), "{whole}");
        }
        for end in 1..text.len() {
            assert_eq!(read(&text.as_bytes()[..end]), Escape::Cut, "{text} up to {end}");
        }
    }
}

#[test]
fn a_character_of_latin_1_may_have_been_an_octet() {
    for text in ["\\u00e9", "&#233;", "&#xE9;"] {
        assert_eq!(spelled(text).unwrap().1, [b"\xc3\xa9".to_vec(), b"\xe9".to_vec()]);
    }
    assert_eq!(spelled("\\u007f").unwrap().1, [b"\x7f"]);
}

#[test]
fn what_is_no_escape_is_not_read() {
    for text in [
        "",
        "A",
        "%4g",
        "%%41",
        "%u0041",
        "\\x41",
        "\\U0041",
        "\\u004g",
        "\\ud83d ",
        "\\ud83dx",
        "\\ud83d\\u0041",
        "\\ud83d\\n",
        "\\ude00",
        "&;",
        "&#;",
        "&#x;",
        "&#65 ",
        "&#6g;",
        "&#xg;",
        "&#x110000;",
        "&#12345678;",
        "&#xd800;",
        "&Plus;",
        "& amp;",
        "&nosuch;",
        "&plus ",
    ] {
        assert_eq!(read(text.as_bytes()), Escape::Not, "{text}");
    }
}

#[test]
fn names_are_told_apart_by_their_ends_and_in_order() {
    for (name, _) in NAMES {
        assert_eq!(NAMES.iter().filter(|(other, _)| other.starts_with(name)).count(), 1);
        assert_eq!(name.last(), Some(&b';'));
    }
    assert!(NAMES.is_sorted());
}

#[test]
fn what_is_not_wanted_is_told_by_two_octets() {
    let wanted = Wanted::of(b"aZ09_".iter().copied());
    let may_begin = |text: &&str| wanted.may_begin(text.as_bytes()[0], text.as_bytes()[1]);
    let missed: Vec<_> =
        ["%6", "%5", "%3", "\\u", "&#", "&l", "&U"].into_iter().filter(|text| !may_begin(text)).collect();
    assert_eq!(missed, [""; 0]);
    let seen: Vec<_> = ["%2", "%7", "%x", "\\\"", "\\n", "\\\\", "\\/", "\\x", "&a", "&g", "&q", "&&", "pl"]
        .into_iter()
        .filter(may_begin)
        .collect();
    assert_eq!(seen, [""; 0]);
}
