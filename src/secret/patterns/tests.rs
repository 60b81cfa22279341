//! Finding patterns as they are and escaped, and telling what a buffer's end leaves open.

use super::*;

fn spans(set: &Patterns, text: &[u8]) -> Vec<(usize, usize, usize)> {
    set.find_all(text).map(|hit| (hit.pattern, hit.start, hit.end)).collect()
}

fn hold(set: &Patterns, text: &[u8]) -> usize {
    set.scan(text, Rest::Unknown).hold
}

#[test]
fn the_leftmost_is_found_and_of_those_the_longest() {
    let patterns: [&[u8]; 4] = [b"abcdefgh", b"abcdefghij", b"cdefghijklmn", b"zzzzzzzz"];
    let text = b"..abcdefghijklmn.zzzzzzzzz.abcdefgh.cdefghijklmn".repeat(3);
    let found = spans(&Patterns::new(&patterns).unwrap(), &text);
    assert_eq!(found[..4], [(1, 2, 12), (3, 17, 25), (0, 27, 35), (2, 36, 48)]);
    assert_eq!(found.len(), 12);
    assert_eq!(spans(&Patterns::escaped(&patterns).unwrap(), &text), found);
}

#[test]
fn only_the_beginning_of_a_pattern_is_held() {
    let set = Patterns::new(&[b"abcab", b"bcd"]).unwrap();
    for (text, start) in
        [("", 0), ("x", 1), ("xa", 1), ("xabca", 1), ("xabcab", 6), ("xabcb", 4), ("bcd", 3), ("abcd", 4)]
    {
        assert_eq!(hold(&set, text.as_bytes()), start, "{text}");
    }
}

#[test]
fn an_empty_set_finds_nothing_and_an_empty_pattern_is_refused() {
    let set = Patterns::escaped(&[]).unwrap();
    assert!(!set.is_in(b"abc%41"));
    assert_eq!(hold(&set, b"abc%"), 4);
    assert!(matches!(Patterns::new(&[b"a", b""]), Err(PatternError::Empty)));
}

#[test]
fn a_pattern_of_too_many_readings_is_refused() {
    let text = [b'\\'; walk::BRANCHES + 1];
    assert!(matches!(Patterns::escaped(&[&text]), Err(PatternError::Ambiguous)));
    assert!(Patterns::escaped(&[&text[1..]]).is_ok() && Patterns::new(&[&text]).is_ok());
}

#[test]
fn each_character_is_found_as_it_is_or_escaped() {
    let set = Patterns::escaped(&[b"a/B\"c\xc3\xa9_d"]).unwrap();
    for text in [
        "a/B\"c\u{e9}_d",
        "%61%2f%42%22%63%C3%A9%5f%64",
        "\\u0061\\/\\u0042\\\"c\\u00e9\\u005Fd",
        "&#97;&sol;&#x42;&quot;&#X000063;&#233;&lowbar;&#0100;",
        "a%2F\\u0042&QUOT;c%c3%a9&UnderBar;d",
        "a/B\"c\\u00c3\\u00a9_d",
        "a/B\"c&#195;%A9_d",
    ] {
        let whole = format!("..{text}..");
        assert_eq!(spans(&set, whole.as_bytes()), [(0, 2, 2 + text.len())], "{text}");
        for end in 3..2 + text.len() {
            let cut = whole.as_bytes().get(..end).unwrap();
            assert_eq!(hold(&set, cut), 2, "{text} up to {end}");
        }
    }
    for text in ["%61/B\"c", "a%2/B\"c\u{e9}_d", "a/B&quotc\u{e9}_d", "a\\\\/B\"c\u{e9}_d"] {
        assert!(!set.is_in(text.as_bytes()), "{text}");
        assert!(!Patterns::new(&[b"a/B"]).unwrap().is_in(b"a%2FB"));
    }
}

#[test]
fn what_looks_like_an_escape_may_be_the_text_itself() {
    let set = Patterns::escaped(&[b"p%41\\\\u0042&amp;z"]).unwrap();
    for text in [
        "p%41\\\\u0042&amp;z",
        "p%2541\\\\\\\\u0042&amp;amp;z",
        "p%2541\\u005c\\u005Cu0042&#38;amp;z",
        "p%41\\\\\\u0075\\u0030042&amp&semi;z",
    ] {
        let whole = format!("p%{text}%41");
        assert_eq!(spans(&set, whole.as_bytes()), [(0, 2, 2 + text.len())], "{text}");
    }
    assert!(!set.is_in(b"pA\\B&z"));
}

#[test]
fn a_pattern_of_leads_alone_is_found_in_every_reading() {
    let set = Patterns::escaped(&[format!("{}x", "\\".repeat(40)).as_bytes()]).unwrap();
    let leads = |text: &str, count| text.repeat(count);
    for text in [
        leads("\\", 40),
        leads("\\u005c", 40),
        leads("%5C\\", 20),
        leads("\\", 38) + "\\\\%5c",
        leads("\\\\&bsol;", 20),
    ] {
        assert_eq!(spans(&set, format!("{text}x").as_bytes()), [(0, 0, text.len() + 1)], "{text}");
        assert_eq!(hold(&set, text.as_bytes()), 0, "{text}");
    }
    assert_eq!(spans(&set, leads("\\", 81).as_bytes()), []);
    assert_eq!(spans(&set, (leads("\\", 81) + "x").as_bytes()), [(0, 1, 82)]);
}

#[test]
fn a_cut_escape_waits_only_where_it_may_go_on_as_the_pattern_does() {
    let set = Patterns::escaped(&[b"ab/9_\xf0\x9f\x98\x80"]).unwrap();
    for text in [
        "%",
        "\\",
        "&",
        "&#",
        "&#x",
        "&#x0",
        "&#00",
        "&#9",
        "&#97",
        "&#x6",
        "&#x0061",
        "\\u",
        "\\u0",
        "\\u006",
        "%6",
        "a%",
        "a%6",
        "ab%2",
        "ab&",
        "ab&s",
        "ab&sol",
        "ab&#4",
        "ab\\",
        "ab/9_\\",
        "ab/9_\\ud83",
        "ab/9_\\uD83D\\",
        "ab/9_\\uD83D\\ude",
        "ab/9_&#x1f",
        "ab/9_%f0%9",
        "ab&#047",
        "ab/9&low",
    ] {
        assert_eq!(hold(&set, text.as_bytes()), 0, "{text}");
    }
    for text in [
        "%7",
        "&#8",
        "&#x7",
        "\\u1",
        "&q",
        "a%7",
        "ab&l",
        "ab&#5",
        "ab\\u1",
        "ab/9_\\ud84",
        "ab/9_\\ud83d\\n",
    ] {
        assert_eq!(hold(&set, text.as_bytes()), text.len(), "{text}");
    }
}

#[test]
fn names_in_lower_case_hide_nothing() {
    let set = Patterns::escaped_lower_case(&[b"sk-abcdefgh"]).unwrap();
    assert!(set.is_in(b"x-sk-abcdefgh") && set.is_in(b"sk-%41b%43defgh"));
    assert!(!set.is_in(b"sk-bbcdefgh"));
}
