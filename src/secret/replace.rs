//! Replacing many byte strings by others, in one pass over a text that comes in pieces.
//!
//! It knows nothing of secrets, headers or bodies. A match is the leftmost, then the longest; what was written
//! is never looked at again. Invariant: however a text is cut into chunks, the chunks written, joined, are
//! what the whole text at once would have given; and only a tail that may be the beginning of a pattern waits.
//! A few bytes of such a tail may be let go early ([`Replacer::release`]); a match they began is still replaced,
//! but for them.
//!
//! One kind of text comes out otherwise: a numeric reference may have zeros without end (`&#000…`), and what waits
//! must not. Of more zeros in a row than [`Replacements::zeros`] the first become [`FILLER`] before what waits, and
//! no reader of references misses them.

use std::mem;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use zeroize::{Zeroize, Zeroizing};

use super::patterns::{Hit, PatternError, Patterns, Rest, Scan};

/// What fills up a place that is longer than what is written there: legal in a URL, in JSON, in HTML, in a field.
const FILLER: u8 = b'*';
/// Zeros that an escape may have for no reason beyond those of any pattern.
const ZEROS: usize = 16;

/// What is to be replaced, and by what; shared by the streams it is applied to.
///
/// It has no `Debug`: either side may be a secret.
pub struct Replacements {
    patterns: Arc<Patterns>,
    /// By index of the pattern.
    texts: Vec<Zeroizing<Vec<u8>>>,
    keeps_length: bool,
}

impl Replacements {
    /// Takes pairs of what to find and what to write instead; of equal patterns the first counts.
    pub fn new(pairs: &[(&[u8], &[u8])]) -> Result<Self, PatternError> {
        let patterns: Vec<_> = pairs.iter().map(|(pattern, _)| *pattern).collect();
        let texts = pairs.iter().map(|(_, text)| Zeroizing::new(text.to_vec())).collect();
        Ok(Self::of(Arc::new(Patterns::new(&patterns)?), texts))
    }

    /// Joins patterns with what stands for each, by index.
    pub(super) fn of(patterns: Arc<Patterns>, texts: Vec<Zeroizing<Vec<u8>>>) -> Self {
        let keeps_length = patterns.lengths().eq(texts.iter().map(|text| text.len()));
        Self { patterns, texts, keeps_length }
    }

    /// Whether every replacement is as long as what it replaces, so that a text keeps its length.
    ///
    /// So it is where each text is as long as its pattern. A match with escapes in it is longer; what replaces it is
    /// then filled up with asterisks.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        self.keeps_length
    }

    /// Replaces in a text that is all there; `None` where there is nothing to replace.
    #[must_use]
    pub fn replace(&self, text: &[u8]) -> Option<Vec<u8>> {
        let hits: Vec<_> = self.patterns.find_all(text).collect();
        (!hits.is_empty()).then(|| mem::take(&mut *self.substituted(text, &hits)))
    }

    /// What is written for a match.
    fn text(&self, hit: &Hit) -> &[u8] {
        // Every pattern has its text; one without would be written as nothing rather than left standing.
        self.texts.get(hit.pattern).map(|text| text.as_slice()).unwrap_or_default()
    }

    /// The length of what is written for a match, filled up.
    fn length(&self, hit: &Hit) -> usize {
        if self.keeps_length { hit.end - hit.start } else { self.text(hit).len() }
    }

    fn substituted(&self, text: &[u8], hits: &[Hit]) -> Zeroizing<Vec<u8>> {
        if !self.keeps_length {
            let swaps: Vec<_> = hits.iter().map(|hit| (*hit, self.text(hit))).collect();
            return substitute(text, &swaps);
        }
        let mut out = Zeroizing::new(text.to_vec());
        self.overwrite(&mut out, hits);
        out
    }

    /// Writes the replacements over the matches, which are as long or longer.
    fn overwrite(&self, buf: &mut [u8], hits: &[Hit]) {
        for hit in hits {
            let Some(place) = buf.get_mut(hit.start..hit.end) else { continue };
            place.fill(FILLER);
            place.iter_mut().zip(self.text(hit)).for_each(|(to, from)| *to = *from);
        }
    }

    /// Writes the replacements, in place where the buffer is ours alone and its length stays.
    fn apply(&self, chunk: Bytes, hits: &[Hit]) -> Bytes {
        if hits.is_empty() {
            return chunk;
        }
        let mut owned = chunk.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        if self.keeps_length {
            self.overwrite(&mut owned, hits);
            return owned.freeze();
        }
        let mut replaced = self.substituted(&owned, hits);
        owned.zeroize();
        Bytes::from(mem::take(&mut *replaced))
    }

    /// Most zeros in a row that wait as the beginning of a numeric reference; `None` where nothing is escaped.
    fn zeros(&self) -> Option<usize> {
        self.patterns.zeros().map(|zeros| zeros + ZEROS)
    }
}

/// `text` with every hit replaced; the buffer is wiped unless the caller takes it out.
pub(super) fn substitute(text: &[u8], swaps: &[(Hit, &[u8])]) -> Zeroizing<Vec<u8>> {
    let removed: usize = swaps.iter().map(|(hit, _)| hit.end - hit.start).sum();
    let added: usize = swaps.iter().map(|(_, with)| with.len()).sum();
    // Of the right size at once: a buffer that grows leaves its bytes behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + added - removed));
    let mut from = 0;
    for (hit, with) in swaps {
        out.extend_from_slice(text.get(from..hit.start).unwrap_or_default());
        out.extend_from_slice(with);
        from = hit.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

/// One text on its way through [`Replacements`], chunk by chunk.
pub struct Replacer {
    replacements: Arc<Replacements>,
    /// A proper beginning of a pattern, shorter than the longest one; usually empty.
    held: Zeroizing<Vec<u8>>,
    /// How many bytes of `held`, its first, were written already.
    released: usize,
}

impl Replacer {
    /// Begins a text.
    #[must_use]
    pub fn new(replacements: Arc<Replacements>) -> Self {
        Self { replacements, held: Zeroizing::default(), released: 0 }
    }

    /// Replaces other patterns from here on, also in what waits.
    pub(super) fn renew(&mut self, replacements: Arc<Replacements>) {
        self.replacements = replacements;
    }

    /// Takes the next chunk and gives what is settled, maybe nothing.
    ///
    /// A chunk without a match comes back as it is, not copied; only where the chunk before ended in the
    /// beginning of a pattern are the two joined.
    pub fn push(&mut self, mut chunk: Bytes) -> Bytes {
        if chunk.is_empty() {
            return chunk;
        }
        if !self.held.is_empty() {
            return self.push_joined(&chunk);
        }
        let Scan { hits, hold } = self.replacements.patterns.scan(&chunk, Rest::Unknown);
        let surplus = self.hold(chunk.get(hold..).unwrap_or_default());
        chunk.truncate(hold);
        filled(self.replacements.apply(chunk, &hits), surplus)
    }

    fn push_joined(&mut self, chunk: &[u8]) -> Bytes {
        let mut joined = BytesMut::with_capacity(self.held.len() + chunk.len());
        joined.extend_from_slice(&self.held);
        joined.extend_from_slice(chunk);
        self.held.zeroize();
        let Scan { hits, hold } = self.replacements.patterns.scan(&joined, Rest::Unknown);
        let mut surplus = 0;
        if let Some(tail) = joined.get_mut(hold..) {
            surplus = self.hold(tail);
            tail.zeroize();
        }
        joined.truncate(hold);
        let written = self.written(&hits, hold);
        let mut out = self.replacements.apply(joined.freeze(), &hits);
        out.advance(written.min(out.len()));
        filled(out, surplus)
    }

    /// How many bytes of what the first `settled` bytes become were written already; they are so no longer.
    fn written(&mut self, hits: &[Hit], settled: usize) -> usize {
        let released = self.released.min(settled);
        self.released -= released;
        // No match lies within the released bytes, so at most one begins there.
        match hits.first().filter(|hit| hit.start < released) {
            Some(hit) => hit.start + self.replacements.length(hit).min(released - hit.start),
            None => released,
        }
    }

    /// Lets what waits go, if it is no more than `most` bytes and no match; for a text that has fallen silent.
    ///
    /// Should they turn out to have begun a match, the rest of what replaces it follows.
    pub fn release(&mut self, most: usize) -> Bytes {
        let waits = self.releasable(most);
        let from = self.released;
        self.released += waits;
        Bytes::copy_from_slice(self.held.get(from..from + waits).unwrap_or_default())
    }

    /// How many bytes [`Replacer::release`] would let go.
    #[must_use]
    pub fn releasable(&self, most: usize) -> usize {
        let few = self.held.len() <= most && !self.replacements.patterns.is_in(&self.held);
        if few { self.held.len() - self.released } else { 0 }
    }

    /// Keeps a tail for the next chunk, and tells how many zeros of it are not kept.
    fn hold(&mut self, tail: &[u8]) -> usize {
        let zeros = self.replacements.zeros().filter(|zeros| tail.len() > *zeros);
        let fewer = zeros.and_then(|zeros| with_fewer_zeros(tail, zeros));
        let kept = fewer.as_ref().map_or(tail, |fewer| fewer.as_slice());
        if kept.len() > self.held.capacity() {
            // Not grown: that would leave its bytes behind.
            let room = kept.len().max(self.replacements.patterns.longest());
            self.held = Zeroizing::new(Vec::with_capacity(room));
        }
        self.held.extend_from_slice(kept);
        tail.len() - kept.len()
    }

    /// Ends the text and gives what waited; the next chunk begins another text.
    pub fn finish(&mut self) -> Bytes {
        let rest = Bytes::from(mem::take(&mut *self.held));
        let Scan { hits, hold } = self.replacements.patterns.scan(&rest, Rest::Nothing);
        let written = self.written(&hits, hold);
        let mut out = self.replacements.apply(rest, &hits);
        out.advance(written.min(out.len()));
        out
    }

    /// Bytes that wait for more.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// `text` with no more than `most` zeros in a row in any numeric reference; `None` where it has no more.
fn with_fewer_zeros(text: &[u8], most: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((octet, after)) = rest.split_first() {
        out.push(*octet);
        rest = after;
        if !matches!(out.as_slice(), [.., b'&', b'#'] | [.., b'&', b'#', b'x' | b'X']) {
            continue;
        }
        let run = rest.iter().take_while(|octet| **octet == b'0').count();
        rest = rest.get(run.saturating_sub(most)..).unwrap_or_default();
    }
    (out.len() < text.len()).then_some(out)
}

/// What is settled, and a filler for each octet that will be missing from what waits.
fn filled(settled: Bytes, surplus: usize) -> Bytes {
    if surplus == 0 {
        return settled;
    }
    let mut out = settled.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    out.resize(out.len() + surplus, FILLER);
    out.freeze()
}

#[cfg(test)]
mod tests;
