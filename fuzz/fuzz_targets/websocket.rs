//! WebSocket frames of either end: what goes on is the same, however it comes in chunks, and can be read again.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use portcullis::name::HostName;
use portcullis::secret::{Scrubber, SecretSpec, SecretValue, Secrets};
use portcullis::websocket::{Change, FrameError, Output, Reframer, Speaker};

/// Of two letters, so that a fuzzer finds it.
const SECRET: &[u8] = b"abababab";

static SCRUBBER: LazyLock<(Arc<Scrubber>, String)> = LazyLock::new(|| {
    let value = SecretValue::new(SECRET.to_vec()).expect("a value");
    let secret = SecretSpec::new("TOKEN", value, &["a.example"]).expect("a secret");
    let secrets = Secrets::new(vec![secret]).expect("secrets");
    let host = HostName::parse("a.example").expect("a name");
    let placeholders = secrets.placeholders();
    let (_, placeholder) = placeholders.first().expect("a placeholder");
    (Arc::new(secrets.scrubber(&host).expect("a host of secrets")), placeholder.to_string())
});

fuzz_target!(|input: (bool, bool, u8, &[u8])| {
    let (client, scrub, size, octets) = input;
    let speaker = if client { Speaker::Client } else { Speaker::Server };
    let (scrubber, placeholder) = &*SCRUBBER;
    let change = if scrub { Change::Scrub(Arc::clone(scrubber)) } else { Change::Nothing };
    let (whole, fault) = pass(speaker, change.clone(), octets, octets.len().max(1));
    let (pieces, other) = pass(speaker, change, octets, usize::from(size).max(1));
    assert_eq!(fault, other);
    // What was written is well-formed, and holds nothing more to change. The keys of masks are random.
    let (again, none) = pass(speaker, Change::Nothing, &whole, whole.len().max(1));
    assert_eq!((again.len(), none), (whole.len(), None));
    assert_eq!(pass(speaker, Change::Nothing, &pieces, 1).1, None);
    if scrub && !client {
        for written in [&whole, &pieces] {
            for payload in payloads(written) {
                // What stands before a placeholder may look like the secret together with how that begins.
                let text = String::from_utf8_lossy(payload).replace(placeholder, "|");
                assert!(!text.contains("abababab"));
            }
        }
    }
});

/// What comes of `octets` in chunks of `size`, and what was wrong with them.
fn pass(speaker: Speaker, change: Change, octets: &[u8], size: usize) -> (Vec<u8>, Option<FrameError>) {
    let mut reframer = Reframer::new(speaker, change, 16);
    let mut out = Output::default();
    let fault = octets.chunks(size).find_map(|chunk| reframer.push(chunk.into(), &mut out).err());
    (out.octets.to_vec(), fault)
}

/// The payloads of a server's frames, also of one that is not over.
fn payloads(mut octets: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while let [_, short, rest @ ..] = octets {
        let (length, rest) = match (short, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [_, _, _, _, a, b, c, d, rest @ ..]) => {
                (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest)
            }
            (short, rest) => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        payloads.push(payload);
        octets = rest;
    }
    payloads
}
