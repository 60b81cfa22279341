//! No form of a secret comes through the scrubber, however spelled and however cut; all else does, at once.
//!
//! A million cases: `cargo test --release --test scrub -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/spelled.rs"]
mod spelled;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis::name::HostName;
use portcullis::secret::{Scrubber, SecretSpec, SecretValue, Secrets, Shape};
use proptest::prelude::*;
use spelled::{Choice, Random};

const HOST: &str = "api.example";

/// Secrets with what a test wants to know of them.
struct World {
    values: Vec<Vec<u8>>,
    forms: Vec<Vec<u8>>,
    stand_ins: Vec<Vec<u8>>,
    scrubber: Scrubber,
    secrets: Arc<Secrets>,
}

impl World {
    fn new(values: Vec<Vec<u8>>) -> Self {
        Self::shaped(values, None)
    }

    /// With placeholders of this shape.
    fn shaped(values: Vec<Vec<u8>>, shape: Option<Shape>) -> Self {
        let spec = |(index, value): (usize, &Vec<u8>)| {
            let value = SecretValue::new(value.clone()).unwrap();
            let spec = SecretSpec::new(&format!("SECRET_{index}"), value, &[HOST]).unwrap();
            SecretSpec { shape: shape.clone(), ..spec }
        };
        let secrets = Secrets::new(values.iter().enumerate().map(spec).collect()).unwrap();
        let scrubber = secrets.scrubber(&HostName::parse(HOST).unwrap()).unwrap();
        let forms = values.iter().flat_map(|value| spelled::forms(value)).collect();
        let placeholders = secrets.placeholders();
        let own = values.iter().zip(&placeholders);
        let stand_ins = own.flat_map(|(value, (_, own))| spelled::stand_ins(value, own.as_bytes())).collect();
        Self { values, forms, stand_ins, scrubber, secrets }
    }

    fn random(random: &mut Random) -> Self {
        let count = 1 + random.below(3);
        Self::new((0..count).map(|_| value(random)).collect())
    }

    fn placeholder(&self, index: usize) -> String {
        self.secrets.placeholders()[index].1.to_string()
    }

    /// `text` through a stream in chunks of random lengths; each hold must be the beginning of a form.
    fn streamed(&self, text: &[u8], random: &mut Random) -> Vec<u8> {
        // Octet by octet only what is short: each is a look at all that is held.
        let least = 1 + text.len() / 200;
        let most = [least, 3 * least, 20 * least, text.len().max(1)][random.below(4)];
        let mut stream = self.scrubber.body();
        let (mut out, mut seen, mut rest) = (Vec::new(), 0, text);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
            out.extend(stream.push(Bytes::copy_from_slice(chunk)));
            seen += chunk.len();
            rest = after;
            // Fewer are held of an escape with many zeros.
            if let (1.., Some(start)) = (stream.held(), seen.checked_sub(stream.held())) {
                let held = &text[start..seen];
                assert!(
                    has_zeros(held) || spelled::begins_any(held, &self.forms),
                    "held without need: {:?}",
                    String::from_utf8_lossy(held)
                );
            }
        }
        out.extend(stream.finish());
        out
    }
}

fn has_zeros(text: &[u8]) -> bool {
    text.windows(16).any(|window| window == [b'0'; 16])
}

/// A secret as people have them, of characters that need escapes, of few characters, or of any octets.
fn value(random: &mut Random) -> Vec<u8> {
    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const HARD: &str = "%&\\/\"+=;#u0025x41%26amp;\\u005c é€😀<>' \t";
    const FEW: &str = "\\%25";
    let (prefix, alphabet) =
        [("", TOKEN), ("sk-proj-", TOKEN), ("ghp_", TOKEN), ("", HARD), ("", FEW)][random.below(5)];
    let characters: Vec<char> = alphabet.chars().collect();
    let count = 8 + random.below(30);
    let mut value: String = prefix.to_owned();
    value.extend((0..count).map(|_| characters[random.below(characters.len())]));
    if random.below(8) == 0 {
        return (0..count).map(|_| [0x21, 0x80][random.below(2)] + random.below(0x5e) as u8).collect();
    }
    // A field's value keeps no blanks at its ends, and none may hold a control character but the tab.
    format!("{:.<8}.", value.trim()).into_bytes()
}

/// What is around a secret: ordinary text, escapes, and beginnings of secrets.
fn noise(world: &World, random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 20] = [
        "the ",
        "\"key\": \"",
        "\\n",
        "\\\"",
        "&amp;",
        "&#39;",
        "%20",
        "%",
        "\\",
        "&",
        "&#",
        "\\u00",
        "&#x000",
        "=",
        "\\\\",
        "é",
        "sk-",
        "0",
        "\\ud83d",
        "/",
    ];
    let mut out = Vec::new();
    for _ in 0..random.below(6) {
        let value = &world.values[random.below(world.values.len())];
        match random.below(6) {
            0 => out.extend(&value[..random.below(value.len())]),
            1 => out.extend(spelled::escaped(&value[..random.below(value.len())], random)),
            2 => {
                let text = spelled::encoded(value, random);
                out.extend(spelled::escaped(&text[..random.below(6)], random));
            }
            _ => out.extend(WORDS[random.below(WORDS.len())].bytes()),
        }
    }
    out
}

fn any_case(seed: u64) {
    let mut random = Random(seed | 1);
    let world = World::random(&mut random);
    for _ in 0..4 {
        let mut text = noise(&world, &mut random);
        for _ in 0..random.below(4) {
            let value = &world.values[random.below(world.values.len())];
            let form = spelled::encoded(value, &mut random);
            text.extend(spelled::escaped(&form, &mut random));
            text.extend(noise(&world, &mut random));
        }
        check(&world, &text, &mut random);
    }
}

/// What comes out is, octet for octet, what a plain model makes of the whole.
fn check(world: &World, text: &[u8], random: &mut Random) {
    let shown = || format!("{:?} in {:?}", world.values, String::from_utf8_lossy(text));
    let expected = spelled::scrubbed(text, &world.forms, &world.stand_ins);
    let clean = world.scrubber.text(text);
    assert!(clean == expected, "at once: {:?}, not {:?}, of {}", lossy(&clean), lossy(&expected), shown());
    let (out, expected) = (world.streamed(text, random), expected.unwrap_or(text.to_vec()));
    if world.scrubber.keeps_length() {
        assert_eq!(out.len(), text.len(), "{}", shown());
    }
    let is_same = if has_zeros(text) { settled(&out) == settled(&expected) } else { out == expected };
    assert!(is_same, "streamed: {:?}, not {:?}, of {}", lossy(&Some(out)), lossy(&Some(expected)), shown());
}

fn lossy(text: &Option<Vec<u8>>) -> Option<String> {
    text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// A text without its asterisks, and with one zero for any in a row: of zeros without end the first become asterisks
/// that stand before what waits.
fn settled(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = text.iter().copied().filter(|octet| *octet != b'*').collect();
    out.dedup_by(|one, other| (*one, *other) == (b'0', b'0'));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_secret_comes_through_and_nothing_else_is_touched(seed in any::<u64>()) {
        any_case(seed);
    }
}

/// `cargo test --release --test scrub -- --ignored`; minutes.
#[test]
#[ignore = "takes minutes; each run has thousands of these cases"]
fn a_million_cases() {
    for seed in 0..250_000_u64 {
        any_case(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

#[test]
fn the_model_takes_the_leftmost_then_the_longest_then_the_first_and_looks_once() {
    let forms = ["abc", "bcdef", "abcd%", "%41"].map(|form| form.as_bytes().to_vec());
    let stand_ins = ["1", "2", "ab", "4"].map(|own| own.as_bytes().to_vec());
    for (text, expected) in [
        ("xabcdef", Some("x1def")),
        ("xabcd%25", Some("xab25")),
        ("abcd%41", Some("ab41")),
        ("a%62cd%", Some("ab")),
        ("&#000097;bc%41", Some("14")),
        ("abcd%cd%", Some("abcd%")),
        ("ab c", None),
    ] {
        let out = spelled::scrubbed(text.as_bytes(), &forms, &stand_ins);
        assert_eq!(lossy(&out).as_deref(), expected, "{text}");
    }
    let filled = spelled::scrubbed(b"-&#97;bc-", &[b"abc".to_vec()], &[b"xyz".to_vec()]);
    assert_eq!(lossy(&filled).as_deref(), Some("-xyz****-"));
}

#[test]
fn what_a_stand_in_completes_by_chance_did_not_come_through() {
    let shape = Shape::parse("like-{rand}", None).unwrap();
    let world = World::shaped(vec![b"0123456789like-".to_vec(), KEY.into()], Some(shape));
    let text = format!("0123456789{KEY}");
    check(&world, text.as_bytes(), &mut Random(1));
    let clean = world.scrubber.text(text.as_bytes()).unwrap();
    assert_eq!(clean, format!("0123456789{}", world.placeholder(1)).into_bytes());
    assert!(
        spelled::has_any(&clean, &world.forms) && !spelled::has_any(&text.as_bytes()[..20], &world.forms)
    );
}

const KEY: &str = "sk-proj-Tcanary/0123+456789_abcdefghijk";

/// `KEY` in many spellings, each with what the guest gets.
fn spellings(world: &World) -> Vec<(String, String)> {
    let placeholder = world.placeholder(0);
    let hexadecimal = |text: &str| text.bytes().map(|octet| format!("{octet:02x}")).collect::<String>();
    let percent = |text: &str| text.bytes().map(|octet| format!("%{octet:02X}")).collect::<String>();
    let padded = |text: &str, length: usize| format!("{text}{}", "*".repeat(length - text.len()));
    let slashes = KEY.replace('/', "\\/");
    let html = KEY.replace('/', "&#x2F;").replace('+', "&plus;").replace('_', "&lowbar;");
    vec![
        (KEY.to_owned(), placeholder.clone()),
        (hexadecimal(KEY), hexadecimal(&placeholder)),
        (hexadecimal(KEY).to_uppercase(), hexadecimal(&placeholder).to_uppercase()),
        (slashes.clone(), padded(&placeholder, slashes.len())),
        (html.clone(), padded(&placeholder, html.len())),
        (percent(KEY), padded(&placeholder, 3 * KEY.len())),
    ]
}

#[test]
fn each_spelling_becomes_the_placeholder_at_every_split_and_keeps_the_length() {
    let world = World::new(vec![KEY.into()]);
    assert!(world.scrubber.keeps_length());
    for (spelling, clean) in spellings(&world) {
        let (text, clean) = (format!("<a href=\"{spelling}\">"), format!("<a href=\"{clean}\">"));
        for split in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(split);
            let mut stream = world.scrubber.body();
            let pushed = [head, tail].map(|chunk| stream.push(Bytes::copy_from_slice(chunk)));
            assert_eq!([pushed.concat(), stream.finish().to_vec()].concat(), clean.as_bytes(), "{split}");
        }
    }
}

#[test]
fn fields_trailers_and_their_names_are_scrubbed_of_every_spelling() {
    let world = World::new(vec![KEY.into()]);
    for (spelling, clean) in spellings(&world) {
        let mut fields = HeaderMap::new();
        fields.insert("location", HeaderValue::try_from(format!("/?k={spelling}&x")).unwrap());
        world.scrubber.headers(&mut fields);
        assert_eq!(fields["location"], format!("/?k={clean}&x"));
    }
    let named = World::new(vec![b"sk-proj-Tcanary.0123456789".to_vec()]);
    for name in [
        "x-sk-proj-tcanary.0123456789",
        "x-sk%2Dproj-%54canary%2e0123456789",
        "c2stcHJvai1UY2FuYXJ5LjAxMjM0NTY3ODk",
    ] {
        let mut fields = HeaderMap::new();
        fields.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("1"));
        named.scrubber.headers(&mut fields);
        assert!(fields.is_empty(), "{name}");
    }
}

#[test]
fn rendered_credentials_are_those_of_the_placeholder() {
    let value = "ghp_Ocanary0123456789abcdefghijklmnopqr";
    let world = World::new(vec![value.into()]);
    let placeholder = world.placeholder(0);
    for user in ["", "u", "me", "git", "user", "x-access-token"] {
        let rendered = |secret: &str| {
            let text = spelled::encoded_basic(user, secret);
            format!("Authorization: Basic {text}\r\n")
        };
        let clean = world.scrubber.text(rendered(value).as_bytes()).unwrap();
        let expected = rendered(&placeholder).into_bytes();
        // The characters that the secret shares with a colon or the end are any of several.
        let differ = clean.iter().zip(&expected).filter(|(one, other)| one != other).count();
        assert!(clean.len() == expected.len() && differ <= 2, "{user}");
    }
}

#[test]
fn zeros_without_end_are_neither_held_nor_a_way_through() {
    let world = World::new(vec![KEY.into()]);
    let (head, tail) = KEY.split_at(12);
    let code = u32::from(tail.as_bytes()[0]);
    let mut stream = world.scrubber.body();
    let mut out = stream.push(Bytes::from(format!("clean {head}&#"))).to_vec();
    let mut length = out.len() + head.len() + 2;
    for _ in 0..100 {
        out.extend(stream.push(Bytes::from(vec![b'0'; 10_000])));
        length += 10_000;
        assert!(stream.held() < 64, "{} are held", stream.held());
    }
    let end = format!("{code};{} clean", &tail[1..]);
    out.extend(stream.push(Bytes::from(end.clone())));
    out.extend(stream.finish());
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.len(), length + end.len());
    assert!(text.starts_with("clean ****") && text.ends_with("** clean"), "the rest is shown");
    assert!(text.contains(&world.placeholder(0)) && !text.contains(head) && !text.contains(&tail[1..]));
}
