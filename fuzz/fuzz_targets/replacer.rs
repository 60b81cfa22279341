//! The replacer: however a text is cut, what comes out is what a naive one makes of the whole.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis::secret::{Replacements, Replacer};

type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

fuzz_target!(|input: (u8, u8, [&[u8]; 3], [&[u8]; 3], &[u8])| {
    let (size, most, from, to, text) = input;
    let pairs: Pairs<'_> = from.into_iter().zip(to).filter(|(from, _)| !from.is_empty()).collect();
    let replacements = Arc::new(Replacements::new(&pairs).expect("no pattern is empty"));
    let expected = naive(&pairs, text);
    assert_eq!(replacements.replace(text).as_deref().unwrap_or(text), expected);

    let (mut replacer, mut hasty) =
        (Replacer::new(Arc::clone(&replacements)), Replacer::new(Arc::clone(&replacements)));
    let (mut out, mut early, most) = (Vec::new(), Vec::new(), usize::from(most));
    for chunk in text.chunks(usize::from(size) + 1) {
        out.extend(replacer.push(Bytes::copy_from_slice(chunk)));
        let longest = pairs.iter().map(|(from, _)| from.len()).max().unwrap_or_default();
        assert!(replacer.held() < longest.max(1));
        early.extend(hasty.push(Bytes::copy_from_slice(chunk)));
        early.extend(hasty.release(most));
    }
    out.extend(replacer.finish());
    early.extend(hasty.finish());
    assert_eq!(out, expected);
    if replacements.keeps_length() {
        assert_eq!(early.len(), expected.len());
    }
});

/// Leftmost, then longest, in one pass; of equal patterns the first.
fn naive(pairs: &Pairs<'_>, text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let here = pairs.iter().rev().filter(|(from, _)| rest.starts_with(from));
        match here.max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => {
                out.extend_from_slice(to);
                rest = &rest[from.len()..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}
