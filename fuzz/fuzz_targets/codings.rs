//! Content codings: whatever comes, a decoder gives no more than its budget, at once or in all, and how the octets are
//! cut changes nothing of what comes out.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis::coding::{Coding, CodingError, Decoder};
use portcullis::limits::Limits;

const STEP: usize = 1 << 10;
const FLOOR: usize = 64 << 10;
const RATIO: usize = 50;

/// What came out, and how it ended.
fn decoded(
    coding: Coding,
    pieces: &mut dyn Iterator<Item = &[u8]>,
    limits: &Limits,
) -> (Vec<u8>, Result<(), CodingError>) {
    let (mut decoder, mut out) = (Decoder::new(coding, limits), Vec::new());
    let mut take = |outcome: Result<Bytes, CodingError>| {
        outcome.map(|step| {
            assert!(step.len() <= STEP);
            out.extend_from_slice(&step);
            step.is_empty()
        })
    };
    let outcome = (|| {
        for piece in pieces {
            take(decoder.push(Bytes::copy_from_slice(piece)))?;
            while decoder.has_more() {
                take(decoder.push(Bytes::new()))?;
            }
        }
        while !take(decoder.finish())? {}
        Ok(())
    })();
    (out, outcome)
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (coding, size, octets) = input;
    let coding = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd][usize::from(coding) % 4];
    let limits = Limits {
        decoded_step: STEP,
        decoded_floor: FLOOR as u64,
        decoded_ratio: RATIO as u64,
        ..Limits::default()
    };
    let (whole, end) = decoded(coding, &mut std::iter::once(octets), &limits);
    assert!(whole.len() <= FLOOR.max(octets.len() * RATIO));
    let (cut, cut_end) = decoded(coding, &mut octets.chunks(usize::from(size) + 1), &limits);
    assert!(cut.len() <= FLOOR.max(octets.len() * RATIO));
    // Where a bomb is seen depends on the cuts, and so does what came before a fault.
    let is_bomb = |end: &_| *end == Err(CodingError::Bomb);
    if !is_bomb(&end) && !is_bomb(&cut_end) {
        assert_eq!(end.is_ok(), cut_end.is_ok());
        assert!(end.is_err() || whole == cut);
    }
});
