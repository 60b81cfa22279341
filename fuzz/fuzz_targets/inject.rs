//! The injector: bodies of each kind and heads, with placeholders where the octets say. No octets panic, no split changes
//! what is written, a text without a placeholder stays as it is, and a plain reader finds each value in its place.
#![no_main]

#[path = "inject/peer.rs"]
mod peer;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis::limits::Limits;
use portcullis::secret::{InjectError, InjectStream, Injector, Location, SecretSpec, SecretValue, Secrets};
use portcullis::tls::VerifiedPeer;
use serde_json::Value;

/// Octets that no text has: the placeholder as it is, spelled in JSON, spelled in percent, and its first half.
const WHOLE: u8 = 0xF8;
const JSON: u8 = 0xF9;
const PERCENT: u8 = 0xFA;
const HALF: u8 = 0xFB;
/// Octets of a placeholder that no other text has.
const PART: usize = 8;
/// Octets of a value that an escape may take away.
const TAIL: usize = 4;

/// As long as its placeholder, and with something to be escaped in each spelling.
const VALUES: [&str; 2] = ["f00d-value-of-no-kind-that-is-long-enough", "a \"b\\c\u{e9}&d=e+f%41/g?"];
const TYPES: [&str; 4] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
];

/// Secrets of one value, which may stand everywhere or at named places only.
struct Set {
    secrets: Arc<Secrets>,
    value: &'static str,
    placeholder: String,
    is_named: bool,
}

thread_local! {
    static PEER: VerifiedPeer = peer::verified();
}
static SETS: LazyLock<Vec<Set>> = LazyLock::new(|| {
    let sets = VALUES.into_iter().flat_map(|value| [(value, false), (value, true)]);
    sets.map(|(value, is_named)| Set::new(value, is_named)).collect()
});

impl Set {
    fn new(value: &'static str, is_named: bool) -> Self {
        let own = SecretValue::new(value.as_bytes().to_vec()).expect("a value");
        let mut spec = SecretSpec::new("TOKEN", own, &[peer::HOST]).expect("a secret");
        let words: &[&str] = match is_named {
            true => &["body:json:/a", "body:form:a", "body:multipart:a", "query:a", "header:x-key", "basic"],
            false => &["body", "query", "path", "header", "basic"],
        };
        spec.swap = words.iter().map(|word| Location::parse(word).expect("a place")).collect();
        let secrets = Secrets::new(vec![spec]).expect("secrets");
        let placeholder = secrets.placeholders().first().expect("a placeholder").1.to_string();
        Self { secrets, value, placeholder, is_named }
    }

    /// The text that the octets stand for.
    fn text(&self, octets: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let own = self.placeholder.as_bytes();
        for octet in octets {
            match *octet {
                WHOLE => text.extend(own),
                JSON => text.extend(own.iter().flat_map(|octet| format!("\\u{octet:04x}").into_bytes())),
                PERCENT => text.extend(own.iter().flat_map(|octet| format!("%{octet:02X}").into_bytes())),
                HALF => text.extend(&own[..own.len() / 2]),
                plain => text.push(plain),
            }
        }
        text
    }

    /// Whether a text may have a placeholder, in whichever spelling: a fuzzer sees what its octets are compared with, and
    /// writes that.
    fn may_be_in(&self, text: &[u8]) -> bool {
        let (percent, json) = (decoded(text), unescaped(text));
        let own: HashSet<&[u8]> = self.placeholder.as_bytes().windows(PART).collect();
        [text, &percent, &json].iter().any(|text| text.windows(PART).any(|part| own.contains(part)))
    }

    fn replaced(&self, text: &str) -> String {
        text.replace(&self.placeholder, self.value)
    }
}

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (set, kind, size, octets) = input;
    let set = &SETS[usize::from(set) % SETS.len()];
    let kind = usize::from(kind) % TYPES.len();
    let text = set.text(octets);
    let has_one = set.may_be_in(&text);
    let injector = PEER.with(|peer| set.secrets.injector(peer));
    head(&injector, &text, has_one);
    let whole = body(&PEER.with(|peer| set.secrets.injector(peer)), kind, &text, text.len().max(1));
    let cut = body(&PEER.with(|peer| set.secrets.injector(peer)), kind, &text, usize::from(size) + 1);
    assert_eq!(whole, cut);
    let Ok(written) = whole else { return };
    if !has_one {
        assert_eq!(written, text);
    }
    let readings = |text: &[u8]| match kind {
        0 => vec![unescaped(text)],
        1 => vec![decoded(text), unescaped(&decoded(text))],
        _ => vec![text.to_vec(), decoded(text), unescaped(text), unescaped(&decoded(text))],
    };
    let (own, tail) = (set.value.as_bytes(), &set.value.as_bytes()[TAIL..]);
    if readings(&text).iter().all(|reading| count(reading, tail) == 0) {
        for reading in readings(&written) {
            assert_eq!(count(&reading, tail), count(&reading, own), "a part of a secret");
        }
    }
    // What stands after an escape that is open is left, and of that a naive reader knows nothing.
    if is_murky(kind, &text) {
        return;
    }
    match (kind, set.is_named) {
        (0, false) => json(set, &text, &written),
        (1, _) => form(set, &text, &written),
        (3, false) => {
            let plain = bytes_replaced(&text, set.placeholder.as_bytes(), set.value.as_bytes());
            assert_eq!(written, plain);
        }
        (3, true) => assert_eq!(written, text),
        (_, _) => {}
    }
});

/// Whether a text has what an escape before a placeholder could begin with.
fn is_murky(kind: usize, text: &[u8]) -> bool {
    let has = |part: &str| text.windows(part.len()).any(|own| own.eq_ignore_ascii_case(part.as_bytes()));
    match kind {
        0 => has("%") || has(r"\\") || has("u005c") || has("u0025"),
        1 => has("\\") || has("%5c") || has("%25") || has_half_an_escape(text),
        _ => has("%") || has("\\"),
    }
}

fn has_half_an_escape(text: &[u8]) -> bool {
    let escapes = text.iter().enumerate().filter(|(_, octet)| **octet == b'%');
    let is_whole =
        |at: usize| text.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    escapes.into_iter().any(|(at, _)| !is_whole(at))
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|own| *own == part).count()
}

/// What comes of a body in chunks of `size`.
fn body(injector: &Injector, kind: usize, text: &[u8], size: usize) -> Result<Vec<u8>, InjectError> {
    let request = http::Request::post("/").header("content-type", TYPES[kind]).body(());
    let (mut parts, ()) = request.expect("a request").into_parts();
    let Some(mut stream) = injector.body(&mut parts, &Limits::default()) else { return Ok(text.to_vec()) };
    let push = |stream: &mut InjectStream, chunk: &[u8]| stream.push(Bytes::copy_from_slice(chunk));
    let mut out = Vec::new();
    for chunk in text.chunks(size) {
        out.extend(push(&mut stream, chunk)?);
    }
    out.extend(stream.finish()?);
    if stream.keeps_length() {
        assert_eq!(out.len(), text.len());
    }
    Ok(out)
}

/// What a reader reads has the value wherever it had the placeholder, in strings and in names.
fn json(set: &Set, text: &[u8], written: &[u8]) {
    let Ok(before) = serde_json::from_slice::<Value>(text) else { return };
    let after: Value = serde_json::from_slice(written).expect("JSON as it was");
    assert_eq!(after, mapped(set, before));
}

fn mapped(set: &Set, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(set.replaced(&text)),
        Value::Array(values) => values.into_iter().map(|value| mapped(set, value)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (set.replaced(&name), mapped(set, value))).collect()
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}

/// The pairs have the value where it may be, and are otherwise as they were.
fn form(set: &Set, text: &[u8], written: &[u8]) {
    let (before, after) = (pairs(text), pairs(written));
    assert_eq!(before.len(), after.len());
    let (from, to) = (set.placeholder.as_bytes(), set.value.as_bytes());
    for ((name, value), (new_name, new_value)) in before.iter().zip(&after) {
        if set.is_named {
            assert_eq!(new_name, name);
            if name == b"a" {
                assert_eq!(*new_value, value.as_ref().map(|value| bytes_replaced(value, from, to)));
            } else {
                assert_eq!(new_value, value);
            }
        } else {
            assert_eq!(*new_name, bytes_replaced(name, from, to));
            assert_eq!(*new_value, value.as_ref().map(|value| bytes_replaced(value, from, to)));
        }
    }
}

/// A form as it is read: what is no escape stands for itself.
fn pairs(text: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let pairs = text.split(|octet| *octet == b'&');
    pairs
        .map(|pair| match pair.iter().position(|octet| *octet == b'=') {
            Some(at) => (decoded(&pair[..at]), Some(decoded(&pair[at + 1..]))),
            None => (decoded(pair), None),
        })
        .collect()
}

fn decoded(mut text: &[u8]) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let mut out = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        out.push(match (first, rest) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    text = after;
                    (high * 16 + low) as u8
                }
                (_, _) => b'%',
            },
            (plain, _) => *plain,
        });
    }
    out
}

/// With the escapes of JSON taken off, as a lenient reader would.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        let code = |digits: &[u8]| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, rest) {
            (b'\\', [b'u', digits @ ..]) => match digits.get(..4).and_then(code) {
                Some(code) => {
                    let mut utf8 = [0; 4];
                    let character = char::from_u32(code.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                    text = &digits[4..];
                }
                None => out.push(b'\\'),
            },
            (b'\\', [b'b' | b'f' | b'n' | b'r' | b't', after @ ..]) => {
                out.push(b'\n');
                text = after;
            }
            (b'\\', [own @ (b'"' | b'\\' | b'/'), after @ ..]) => {
                out.push(*own);
                text = after;
            }
            (plain, _) => out.push(*plain),
        }
    }
    out
}

fn bytes_replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(after) => {
                out.extend_from_slice(to);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// The head of a request whose target, fields and credentials are the text's first lines.
fn head(injector: &Injector, text: &[u8], has_one: bool) {
    let mut lines = text.split(|octet| *octet == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let Ok(target) = http::Uri::try_from([b"/", line()].concat()) else { return };
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.uri = target;
    for name in ["x-key", "authorization", "cookie"] {
        let Ok(value) = http::HeaderValue::from_bytes(line()) else { continue };
        parts.headers.insert(name, value);
    }
    let before = (parts.uri.clone(), parts.headers.clone());
    match injector.inject(&mut parts) {
        Ok(injections) => {
            parts.headers.remove("accept-encoding");
            assert!(has_one || (injections.is_empty() && (parts.uri, parts.headers) == before));
        }
        Err(_) => assert!(has_one && (parts.uri, parts.headers) == before),
    }
}
