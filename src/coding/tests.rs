//! Every coding, there and back, cut anywhere, and what is no coding.

use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;

mod formats;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];

fn encoded(coding: Coding, text: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    let mut out = encoder.push(Bytes::copy_from_slice(text)).unwrap().to_vec();
    out.extend(encoder.finish().unwrap());
    out
}

/// All that `decoder` gives of `chunk`; no step is larger than it may be.
fn pushed(decoder: &mut Decoder, chunk: &[u8], limits: &Limits) -> Result<Vec<u8>, CodingError> {
    let mut out = decoder.push(Bytes::copy_from_slice(chunk))?.to_vec();
    assert!(out.len() <= limits.decoded_step);
    while decoder.has_more() {
        let step = decoder.push(Bytes::new())?;
        assert!(step.len() <= limits.decoded_step);
        out.extend(step);
    }
    Ok(out)
}

/// All that `pieces` become.
fn decoded_with<'a>(
    coding: Coding,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Vec<u8>, CodingError> {
    let mut decoder = Decoder::new(coding, limits);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(pushed(&mut decoder, piece, limits)?);
    }
    assert_eq!(decoder.finish()?, "");
    Ok(out)
}

fn decoded(coding: Coding, octets: &[u8]) -> Result<Vec<u8>, CodingError> {
    decoded_with(coding, [octets], &Limits::default())
}

#[test]
fn what_is_coded_comes_back_at_every_split() {
    let text = b"data: {\"delta\":\"Hello, hello, hello\"}\n\n".repeat(8);
    for coding in ALL {
        let coded = encoded(coding, &text);
        for split in 0..=coded.len() {
            let (head, tail) = coded.split_at(split);
            let back = decoded_with(coding, [head, tail], &Limits::default());
            assert_eq!(back.as_ref(), Ok(&text), "{coding:?} at {split}");
        }
        assert_eq!(decoded_with(coding, coded.chunks(1), &Limits::default()).as_ref(), Ok(&text));
    }
}

#[test]
fn a_flushed_event_is_there_before_the_next_is_written() {
    for coding in ALL {
        let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding, &Limits::default()));
        for event in ["data: {\"delta\":\"Hello\"}\n\n", ": ping\n\n", "data: [DONE]\n\n"] {
            let mut coded = encoder.push(Bytes::from_static(event.as_bytes())).unwrap().to_vec();
            coded.extend(encoder.flush().unwrap());
            let got = pushed(&mut decoder, &coded, &Limits::default()).unwrap();
            assert_eq!(got, event.as_bytes(), "{coding:?}");
            // Nothing new is nothing to wait for.
            coded = encoder.flush().unwrap().to_vec();
            assert_eq!(pushed(&mut decoder, &coded, &Limits::default()).unwrap(), b"", "{coding:?}");
        }
        let end = encoder.finish().unwrap();
        assert_eq!(pushed(&mut decoder, &end, &Limits::default()).unwrap(), b"");
        assert_eq!(decoder.finish().unwrap(), "");
        assert!(encoder.push(Bytes::from_static(b"x")).is_err());
    }
}

#[test]
fn what_stops_early_is_truncated_wherever_it_stops() {
    let text = b"one and another and one".repeat(20);
    for coding in ALL {
        let coded = encoded(coding, &text);
        for end in 1..coded.len() {
            let outcome = decoded(coding, &coded[..end]);
            assert_eq!(outcome, Err(CodingError::Truncated), "{coding:?} at {end} of {}", coded.len());
        }
    }
}

#[test]
fn nothing_at_all_is_an_empty_content() {
    for coding in ALL {
        assert_eq!(decoded(coding, b""), Ok(Vec::new()));
        assert_eq!(decoded(coding, &encoded(coding, b"")), Ok(Vec::new()));
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    for coding in ALL {
        for garbage in [b"\0".as_slice(), b"garbage", b"\0\0\0\0\0\0\0\0"] {
            let mut coded = encoded(coding, b"content");
            coded.extend(garbage);
            let outcome = decoded(coding, &coded);
            assert!(
                matches!(outcome, Err(CodingError::Corrupt | CodingError::Truncated)),
                "{coding:?}: {outcome:?}"
            );
            assert!(decoded_with(coding, coded.chunks(1), &Limits::default()).is_err());
        }
    }
}

#[test]
fn no_octet_can_be_changed_and_another_content_come_out() {
    let text: Vec<u8> = (0..2_000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    // br has no check of its content.
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        let coded = encoded(coding, &text);
        for at in (0..coded.len()).step_by(7) {
            let mut spoilt = coded.clone();
            spoilt[at] ^= 0x41;
            if let Ok(content) = decoded(coding, &spoilt) {
                assert_eq!(content, text, "{coding:?} at {at}");
            }
        }
    }
}

#[test]
fn a_label_that_lies_is_corrupt() {
    for coding in ALL {
        for text in ["{\"plain\":\"text\",\"and\":\"more of it\"}", "<!doctype html><p>plain", "sk-proj-xxxx"]
        {
            assert!(decoded(coding, text.as_bytes()).is_err(), "{coding:?}: {text}");
        }
        for other in ALL.into_iter().filter(|other| *other != coding) {
            let coded = encoded(other, &b"the content is this".repeat(9));
            assert!(decoded(coding, &coded).is_err(), "{other:?} as {coding:?}");
        }
    }
}

#[test]
fn a_fault_is_for_ever() {
    let mut decoder = Decoder::new(Coding::Gzip, &Limits::default());
    assert_eq!(decoder.push(Bytes::from_static(b"plain")), Err(CodingError::Corrupt));
    assert!(!decoder.has_more());
    assert_eq!(decoder.push(Bytes::from(encoded(Coding::Gzip, b"x"))), Err(CodingError::Corrupt));
    assert_eq!(decoder.finish(), Err(CodingError::Corrupt));
}

#[test]
fn a_bomb_ends_soon_after_its_budget() {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let limits = Limits { decoded_floor: 1 << 20, decoded_ratio: 100, ..Limits::default() };
    for coding in ALL {
        let mut encoder = Encoder::new(coding);
        let mut coded = Vec::new();
        for _ in 0..64 {
            coded.extend(encoder.push(Bytes::from_static(&ZEROS)).unwrap());
        }
        coded.extend(encoder.finish().unwrap());
        let mut whole = 64 << 20;
        if matches!(coding, Coding::Gzip | Coding::Zstd) {
            // A gibi of zeros, member after member.
            coded = coded.repeat(16);
            whole *= 16;
        }
        let mut decoder = Decoder::new(coding, &limits);
        let mut given = decoder.push(Bytes::from(coded.clone())).unwrap().len();
        let fault = loop {
            assert!(decoder.has_more(), "{coding:?} came to its end");
            match decoder.push(Bytes::new()) {
                Ok(step) => given += step.len(),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault, CodingError::Bomb);
        let budget = (coded.len() * 100).max(1 << 20);
        assert!(given <= budget, "{coding:?} gave {given} of {}", coded.len());
        assert!(budget < whole);
    }
}

#[test]
fn what_is_small_may_be_dense() {
    let blank = vec![b' '; 3 << 20];
    for coding in ALL {
        assert_eq!(decoded(coding, &encoded(coding, &blank)).as_ref(), Ok(&blank));
    }
}

#[test]
fn finish_gives_what_was_not_taken() {
    let text = vec![b'x'; 300 << 10];
    for coding in ALL {
        let mut decoder = Decoder::new(coding, &Limits::default());
        let mut out = decoder.push(Bytes::from(encoded(coding, &text))).unwrap().to_vec();
        assert!(decoder.has_more() && out.len() < text.len());
        loop {
            match decoder.finish().unwrap() {
                step if step.is_empty() => break,
                step => out.extend(step),
            }
        }
        assert_eq!(out, text);
    }
}

#[test]
fn what_all_bodies_hold_together_is_bounded() {
    let limits = Limits { decoder_memory: 20 << 20, ..Limits::default() };
    // A window of 16 MiB each, and of 8 MiB.
    for (coding, head, fit) in
        [(Coding::Br, &[0x1f, 0x28][..], 1), (Coding::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3], 2)]
    {
        let mut open = Vec::new();
        let refused = loop {
            let mut decoder = Decoder::new(coding, &limits);
            match decoder.push(Bytes::from_static(head)) {
                Ok(_) => open.push(decoder),
                Err(fault) => break fault,
            }
        };
        assert_eq!((refused, open.len()), (CodingError::Failed, fit), "{coding:?}");
        // Small ones have room beside them, and another large one when one has gone.
        let gzip = encoded(Coding::Gzip, b"x");
        assert_eq!(decoded_with(Coding::Gzip, [gzip.as_slice()], &limits), Ok(b"x".to_vec()));
        open.pop();
        assert!(Decoder::new(coding, &limits).push(Bytes::from_static(head)).is_ok());
    }
}

#[test]
fn the_coding_of_a_head_is_one_known_or_none() {
    let of = |lines: &[&str]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("content-encoding", http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Coding::of(&headers)
    };
    for none in [&[][..], &[""], &["identity"], &["Identity, ,IDENTITY"], &["identity", ""]] {
        assert_eq!(of(none), Ok(None), "{none:?}");
    }
    for coding in ALL {
        let name = coding.name();
        let upper = name.to_ascii_uppercase();
        for line in [name, &upper, &format!(" {name} "), &format!(",{name},"), &format!("identity, {name}")] {
            assert_eq!(of(&[line]), Ok(Some(coding)), "{line}");
        }
    }
    assert_eq!(of(&["X-GZip"]), Ok(Some(Coding::Gzip)));
    for nested in [&["gzip, br"][..], &["gzip", "gzip"], &["gzip,x-gzip"], &["zstd", "identity, canary"]] {
        assert_eq!(of(nested), Err(CodingError::Nested), "{nested:?}");
    }
    for unknown in ["compress", "aes128gcm", "dcz", "gzip;q=1", "gzip br", "\"gzip\"", "*", "gzi\u{e9}p"] {
        assert_eq!(of(&[unknown]), Err(CodingError::Unsupported), "{unknown}");
    }
}

fn coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(ALL.to_vec())
}

/// Octets that compress, and octets that do not.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let dull = prop::collection::vec(prop::sample::select(b"ab {}:\"\n".to_vec()), 0..3_000);
    let noisy = prop::collection::vec(any::<u8>(), 0..3_000);
    (dull, noisy, 0..40_usize).prop_map(|(dull, noisy, times)| [dull.repeat(times), noisy].concat())
}

proptest! {
    #[test]
    fn any_content_comes_back_however_it_is_cut(
        coding in coding(),
        content in content(),
        flushes in prop::collection::vec(1..5_000_usize, 1..5),
        cuts in prop::collection::vec(1..200_usize, 1..50),
        step in 1_024..9_000_usize,
    ) {
        let limits = Limits { decoded_step: step, ..Limits::default() };
        let mut encoder = Encoder::new(coding);
        let (mut rest, mut flushes) = (content.as_slice(), flushes.iter().cycle());
        let mut coded = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*flushes.next().unwrap()).min(rest.len()));
            coded.extend(encoder.push(Bytes::copy_from_slice(head)).unwrap());
            coded.extend(encoder.flush().unwrap());
            rest = tail;
        }
        coded.extend(encoder.finish().unwrap());
        let (mut rest, mut cuts) = (coded.as_slice(), cuts.iter().cycle());
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(head);
            rest = tail;
        }
        prop_assert_eq!(decoded_with(coding, pieces, &limits), Ok(content));
    }

    #[test]
    fn any_octets_end_or_fail_within_the_budget(coding in coding(), octets: Vec<u8>, honest: bool) {
        let limits = Limits { decoded_floor: 10_000, decoded_ratio: 10, ..Limits::default() };
        let head = if honest { encoded(coding, b"the beginning of a content") } else { Vec::new() };
        let octets = [&head[..head.len() * 2 / 3], &octets].concat();
        let mut decoder = Decoder::new(coding, &limits);
        let given = pushed(&mut decoder, &octets, &limits).map_or(0, |out| out.len());
        prop_assert!(given <= 10_000.max(octets.len() * 10));
    }

    #[test]
    fn spoilt_octets_end_alike_however_they_are_cut(
        coding in coding(),
        content in content(),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 1..100_usize,
    ) {
        let mut coded = encoded(coding, &content);
        for (at, octet) in spoils {
            let at = at.index(coded.len());
            coded[at] = octet;
        }
        let limits = Limits { decoded_floor: u64::MAX, ..Limits::default() };
        let whole = decoded_with(coding, [coded.as_slice()], &limits);
        let pieces = decoded_with(coding, coded.chunks(cut), &limits);
        prop_assert_eq!(whole.is_ok(), pieces.is_ok(), "{:?} {:?}", whole.err(), pieces.err());
        prop_assert_eq!(whole.ok(), pieces.ok());
    }
}
