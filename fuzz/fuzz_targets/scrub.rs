//! Answers that hold secrets, spelled and cut as the octets say: what comes out is what a plain model makes of the whole.
#![no_main]

#[expect(dead_code, reason = "shared with a test that looks at more of the outcome")]
#[path = "../../tests/support/spelled.rs"]
mod spelled;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis::name::HostName;
use portcullis::secret::{SecretSpec, SecretValue, Secrets};
use spelled::Choice;

const HOST: &str = "api.example";

/// The octets one after the other; at their end, zeros.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn take(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }
}

impl Choice for Octets<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % bound
    }
}

fuzz_target!(|octets: &[u8]| {
    let mut octets = Octets(octets);
    let value = octets.take(40);
    let Ok(own) = SecretValue::new(value.clone()) else { return };
    let Ok(spec) = SecretSpec::new("SECRET", own, &[HOST]) else { return };
    let Ok(secrets) = Secrets::new(vec![spec]) else { return };
    let host = HostName::parse(HOST).expect("a name");
    let scrubber = secrets.scrubber(&host).expect("a host of secrets");

    let mut text = octets.take(100);
    for _ in 0..octets.below(4) {
        let form = spelled::encoded(&value, &mut octets);
        text.extend(spelled::escaped(&form, &mut octets));
        text.extend(octets.take(30));
    }
    let mut stream = scrubber.body();
    let (mut out, mut rest) = (Vec::new(), text.as_slice());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + octets.below(50)).min(rest.len()));
        out.extend(stream.push(Bytes::copy_from_slice(chunk)));
        rest = after;
    }
    out.extend(stream.finish());

    let forms = spelled::forms(&value);
    let placeholders = secrets.placeholders();
    let (_, placeholder) = placeholders.first().expect("a placeholder");
    let expected = spelled::scrubbed(&text, &forms, &spelled::stand_ins(&value, placeholder.as_bytes()));
    // Of many zeros in a row some become asterisks.
    let has_zeros = text.windows(16).any(|run| run == [b'0'; 16]);
    assert!(has_zeros || out == expected.unwrap_or(text));
});
