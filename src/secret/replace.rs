//! Replacing many byte strings by others, in one pass over a text that comes in pieces.
//!
//! It knows nothing of secrets, headers or bodies. A match is the leftmost, then the longest; what was written
//! is never looked at again. Invariant: however a text is cut into chunks, the chunks written, joined, are
//! what the whole text at once would have given; and only a tail that may be the beginning of a pattern waits.
//! A few bytes of such a tail may be let go early ([`Replacer::release`]); a match they began is still replaced,
//! but for them.

use std::mem;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use zeroize::{Zeroize, Zeroizing};

use super::patterns::{Hit, PatternError, Patterns};

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
        let keeps_length = patterns.lengths().iter().copied().eq(texts.iter().map(|text| text.len()));
        Self { patterns, texts, keeps_length }
    }

    /// Whether every replacement is as long as what it replaces, so that a text keeps its length.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        self.keeps_length
    }

    /// Replaces in a text that is all there; `None` where there is nothing to replace.
    #[must_use]
    pub fn replace(&self, text: &[u8]) -> Option<Vec<u8>> {
        let swaps = self.swaps(self.patterns.find_all(text));
        (!swaps.is_empty()).then(|| mem::take(&mut *substitute(text, &swaps)))
    }

    fn swaps(&self, hits: impl Iterator<Item = Hit>) -> Vec<(Hit, &[u8])> {
        // Every pattern has its text; one without would be written as nothing rather than left standing.
        hits.map(|hit| (hit, self.texts.get(hit.pattern).map(|text| text.as_slice()).unwrap_or_default()))
            .collect()
    }

    /// The matches that no later byte can change, and the place from which the text must wait for more.
    fn scan(&self, buf: &[u8]) -> (Vec<Hit>, usize) {
        let mut hits = Vec::new();
        let mut hold = self.patterns.partial(buf, 0);
        let mut from = 0;
        while let Some(hit) = self.patterns.find(buf, from) {
            if hit.start >= hold {
                break;
            }
            // Began before `hold`, so no longer pattern begins there, or `hold` would be its start.
            if hit.end > hold {
                hold = self.patterns.partial(buf, hit.end);
            }
            from = hit.end;
            hits.push(hit);
        }
        (hits, hold)
    }

    /// Writes the replacements, in place where the buffer is ours alone and its length stays.
    fn apply(&self, chunk: Bytes, hits: &[Hit]) -> Bytes {
        if hits.is_empty() {
            return chunk;
        }
        let swaps = self.swaps(hits.iter().copied());
        let mut owned = chunk.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        let replaced = (!self.keeps_length).then(|| substitute(&owned, &swaps));
        for (hit, text) in swaps {
            let Some(place) = owned.get_mut(hit.start..hit.end) else { continue };
            if self.keeps_length {
                place.copy_from_slice(text);
            } else {
                place.zeroize();
            }
        }
        match replaced {
            Some(mut replaced) => Bytes::from(mem::take(&mut *replaced)),
            None => owned.freeze(),
        }
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
        let (hits, hold) = self.replacements.scan(&chunk);
        self.hold(chunk.get(hold..).unwrap_or_default());
        chunk.truncate(hold);
        self.replacements.apply(chunk, &hits)
    }

    fn push_joined(&mut self, chunk: &[u8]) -> Bytes {
        let mut joined = BytesMut::with_capacity(self.held.len() + chunk.len());
        joined.extend_from_slice(&self.held);
        joined.extend_from_slice(chunk);
        self.held.zeroize();
        let (hits, hold) = self.replacements.scan(&joined);
        if let Some(tail) = joined.get_mut(hold..) {
            self.hold(tail);
            tail.zeroize();
        }
        joined.truncate(hold);
        let written = self.written(&hits, hold);
        let mut out = self.replacements.apply(joined.freeze(), &hits);
        out.advance(written.min(out.len()));
        out
    }

    /// How many bytes of what the first `settled` bytes become were written already; they are so no longer.
    fn written(&mut self, hits: &[Hit], settled: usize) -> usize {
        let released = self.released.min(settled);
        self.released -= released;
        // No match lies within the released bytes, so at most one begins there.
        match hits.first().filter(|hit| hit.start < released) {
            Some(hit) => {
                let text = self.replacements.texts.get(hit.pattern).map_or(0, |text| text.len());
                hit.start + text.min(released - hit.start)
            }
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
        let few = self.held.len() <= most && self.replacements.patterns.find(&self.held, 0).is_none();
        if few { self.held.len() - self.released } else { 0 }
    }

    fn hold(&mut self, tail: &[u8]) {
        if !tail.is_empty() && self.held.capacity() == 0 {
            self.held.reserve_exact(self.replacements.patterns.longest());
        }
        self.held.extend_from_slice(tail);
    }

    /// Ends the text and gives what waited; the next chunk begins another text.
    pub fn finish(&mut self) -> Bytes {
        let rest = Bytes::from(mem::take(&mut *self.held));
        let hits: Vec<_> = self.replacements.patterns.find_all(&rest).collect();
        let written = self.written(&hits, rest.len());
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

#[cfg(test)]
mod tests;
