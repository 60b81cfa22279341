//! The replacer against a naive one, at every split.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn replacements(pairs: &Pairs) -> Arc<Replacements> {
    let pairs: Vec<_> = pairs.iter().map(|(from, to)| (from.as_slice(), to.as_slice())).collect();
    Arc::new(Replacements::new(&pairs).unwrap())
}

/// Leftmost-longest, one pass, the first of equals: what the words mean, and nothing clever.
fn naive(pairs: &Pairs, text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let here = pairs.iter().filter(|(from, _)| text[at..].starts_with(from));
        match here.rev().max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => {
                out.extend(to);
                at += from.len();
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// Sends the chunks through, and holds that no more waits than a beginning of a pattern.
fn streamed<'a>(pairs: &Pairs, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut replacer = Replacer::new(replacements(pairs));
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    for chunk in chunks {
        seen.extend(chunk);
        out.extend(replacer.push(Bytes::copy_from_slice(chunk)));
        let tail = &seen[seen.len() - replacer.held()..];
        assert!(
            tail.is_empty()
                || pairs.iter().any(|(from, _)| from.len() > tail.len() && from.starts_with(tail)),
            "held back without need"
        );
    }
    out.extend(replacer.finish());
    assert_eq!(replacer.held(), 0);
    out
}

fn one(from: &str, to: &str) -> Pairs {
    vec![(from.into(), to.into())]
}

/// Few letters, so that patterns share beginnings, overlap, and lie inside one another.
fn letters(alphabet: &'static [u8], length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<Index>().prop_map(|index| *index.get(alphabet)), length)
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let any_length = vec((letters(b"ab", 1..7), letters(b"abX", 0..9)), 1..7);
    let same_length = vec(letters(b"abc", 1..9), 1..7)
        .prop_map(|list| list.into_iter().map(|from| (from.clone(), vec![b'#'; from.len()])).collect());
    // Long enough for the vectorized search, and alike up to the last letters.
    let long = vec((letters(b"ab", 0..4), letters(b"X", 0..9)), 1..24).prop_map(|list| {
        list.into_iter().map(|(end, to)| ([b"sk-proj-abab", end.as_slice()].concat(), to)).collect()
    });
    prop_oneof![any_length, same_length, long]
}

fn text_for(pairs: Pairs) -> impl Strategy<Value = (Pairs, Vec<u8>)> {
    let froms: Vec<_> = pairs.iter().map(|(from, _)| from.clone()).collect();
    let cut = (any::<Index>(), any::<Index>()).prop_map(move |(which, end)| {
        let from = which.get(&froms);
        from[..=end.index(from.len())].to_vec()
    });
    let piece = prop_oneof![cut, letters(b"abcsX-", 0..12)];
    (Just(pairs), vec(piece, 0..16).prop_map(|pieces| pieces.concat()))
}

fn case() -> impl Strategy<Value = (Pairs, Vec<u8>)> {
    pairs().prop_flat_map(text_for)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_text_is_replaced_as_by_the_naive_one((pairs, text) in case()) {
        let expected = naive(&pairs, &text);
        let replaced = replacements(&pairs).replace(&text);
        prop_assert_eq!(replaced.unwrap_or_else(|| text.clone()), expected.clone());
        prop_assert_eq!(streamed(&pairs, [text.as_slice()]), expected);
    }

    #[test]
    fn two_chunks_give_the_whole_at_every_split((pairs, text) in case()) {
        let expected = naive(&pairs, &text);
        for split in 0..=text.len() {
            let (head, tail) = text.split_at(split);
            prop_assert_eq!(streamed(&pairs, [head, tail]), expected.clone(), "split at {}", split);
        }
    }

    #[test]
    fn any_chunks_give_the_whole((pairs, text) in case(), cuts in vec(any::<Index>(), 0..12)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
        prop_assert_eq!(streamed(&pairs, chunks), naive(&pairs, &text));
    }

    #[test]
    fn a_silence_lets_few_bytes_go_and_changes_no_length((pairs, text) in case(), cuts in vec(any::<Index>(), 0..12)) {
        const MOST: usize = 2;
        let pairs: Pairs = pairs.into_iter().map(|(from, _)| (from.clone(), vec![b'#'; from.len()])).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut replacer = Replacer::new(replacements(&pairs));
        let mut out = Vec::new();
        for cut in cuts.windows(2) {
            out.extend(replacer.push(Bytes::copy_from_slice(&text[cut[0]..cut[1]])));
            let (held, releasable) = (replacer.held(), replacer.releasable(MOST));
            prop_assert!(releasable <= MOST && (held > MOST || releasable == 0 || out.len() + releasable == cut[1]));
            out.extend(replacer.release(MOST));
            prop_assert_eq!(replacer.releasable(MOST), 0);
        }
        out.extend(replacer.finish());
        let expected = naive(&pairs, &text);
        prop_assert_eq!(out.len(), expected.len());
        // What differs was let go in time: no more than that at the beginning of each match.
        let mut shown = 0;
        for ((out, expected), text) in out.iter().zip(&expected).zip(&text) {
            shown = if expected == &b'#' && out != expected { shown + 1 } else { 0 };
            prop_assert!(shown <= MOST && (out == expected || out == text));
        }
    }

    #[test]
    fn single_bytes_give_the_whole((pairs, text) in case()) {
        prop_assert_eq!(streamed(&pairs, text.chunks(1)), naive(&pairs, &text));
    }
}

#[test]
fn a_clean_chunk_passes_uncopied() {
    let mut replacer = Replacer::new(replacements(&one("secret-value", "X")));
    let chunk = Bytes::from(vec![b'.'; 1_000]);
    let out = replacer.push(chunk.clone());
    assert_eq!((out.as_ptr(), out.len()), (chunk.as_ptr(), chunk.len()));
}

#[test]
fn a_chunk_that_ends_in_a_beginning_is_cut_uncopied() {
    let mut replacer = Replacer::new(replacements(&one("secret-value", "X")));
    let chunk = Bytes::from(b"...............secret-".to_vec());
    let out = replacer.push(chunk.clone());
    assert_eq!((out.as_ptr(), out.len(), replacer.held()), (chunk.as_ptr(), 15, 7));
    assert_eq!(replacer.push(Bytes::from_static(b"santa")), "secret-santa");
    assert_eq!(replacer.held(), 0);
}

#[test]
fn equal_lengths_are_replaced_in_place_where_the_buffer_is_ours() {
    let mut replacer = Replacer::new(replacements(&one("secret-value", "PLACEHOLDER!")));
    let chunk = Bytes::from(b"<secret-value>".to_vec());
    let before = chunk.as_ptr();
    let out = replacer.push(chunk);
    assert_eq!(out, "<PLACEHOLDER!>");
    assert_eq!(out.as_ptr(), before);
}

#[test]
fn a_shared_buffer_is_left_as_it_was() {
    for to in ["PLACEHOLDER!", "X"] {
        let mut replacer = Replacer::new(replacements(&one("secret-value", to)));
        let chunk = Bytes::from(b"<secret-value>".to_vec());
        assert_eq!(replacer.push(chunk.clone()), format!("<{to}>"));
        assert_eq!(chunk, "<secret-value>");
    }
}

#[test]
fn what_was_written_is_not_replaced_again() {
    let pairs = vec![(b"aaaa".to_vec(), b"bbbb".to_vec()), (b"bbbb".to_vec(), b"aaaa".to_vec())];
    assert_eq!(streamed(&pairs, [b"aaaabbbb".as_slice()]), b"bbbbaaaa");
    let growing = one("ab", "aab");
    assert_eq!(streamed(&growing, b"abab".chunks(1)), b"aabaab");
}

#[test]
fn a_shorter_match_waits_only_while_a_longer_one_is_possible() {
    let pairs = vec![(b"token".to_vec(), b"1".to_vec()), (b"token-long".to_vec(), b"2".to_vec())];
    let mut replacer = Replacer::new(replacements(&pairs));
    assert_eq!(replacer.push(Bytes::from_static(b"token")), "");
    assert_eq!(replacer.push(Bytes::from_static(b"-l")), "");
    assert_eq!(replacer.push(Bytes::from_static(b"! ")), "1-l! ");
    assert_eq!(replacer.push(Bytes::from_static(b"token-lon")), "");
    assert_eq!(replacer.finish(), "1-lon");
}

#[test]
fn lengths_are_kept_only_if_all_are_equal() {
    let equal = (b"abc".to_vec(), b"xyz".to_vec());
    let other = (b"d".to_vec(), b"".to_vec());
    assert!(replacements(&vec![equal.clone()]).keeps_length());
    assert!(!replacements(&vec![equal, other]).keeps_length());
    assert!(replacements(&Vec::new()).keeps_length());
}

#[test]
fn what_a_silence_let_go_is_not_written_twice() {
    for (to, expected) in [("<placeholder>", "a selaceholder>."), ("x", "a se."), ("", "a se.")] {
        let mut replacer = Replacer::new(replacements(&one("secret", to)));
        let mut out = replacer.push(Bytes::from_static(b"a se")).to_vec();
        assert_eq!(out, b"a ");
        out.extend(replacer.release(3));
        assert_eq!((out.as_slice(), replacer.release(3).len()), (b"a se".as_slice(), 0));
        out.extend(replacer.push(Bytes::from_static(b"cr")));
        assert_eq!(replacer.release(3), "", "more than was to be let go");
        out.extend(replacer.push(Bytes::from_static(b"et.")));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    let mut replacer = Replacer::new(replacements(&one("secret", "<placeholder>")));
    let pushed = [replacer.push(Bytes::from_static(b"se")), replacer.release(2)].concat();
    let more =
        [replacer.push(Bytes::from_static(b"nd secret se")), replacer.release(2), replacer.finish()].concat();
    assert_eq!([pushed, more].concat(), b"send <placeholder> se");
}

#[test]
fn a_match_that_waits_for_a_longer_one_is_not_let_go() {
    let mut replacer =
        Replacer::new(replacements(&vec![(b"ab".to_vec(), b"1".to_vec()), (b"abc".to_vec(), b"2".to_vec())]));
    assert_eq!((replacer.push(Bytes::from_static(b"ab")).len(), replacer.release(3).len()), (0, 0));
    assert_eq!(replacer.finish(), "1");
}
