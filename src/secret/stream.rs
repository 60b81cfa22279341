//! Placeholders become secrets in a text that comes in pieces: a body, or a part of a URL.
//!
//! [`Walk`] tells where the places are, [`Spelling`] how they are spelled; here the two meet. One pass: what was
//! written is not looked at again. It frames nothing. Invariant: however a text is cut into chunks, what comes out,
//! joined, is the same; only the named places are written to, and after an error nothing is. A few octets of what
//! may begin a placeholder can be let go early; then it becomes the secret only where that begins alike.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Buf as _, Bytes, BytesMut};

use super::before::Before;
use super::elsewhere::Reaction;
use super::inject::{InjectError, Injection};
use super::patterns::Patterns;
use super::spelling::{Found, More, Spelled, Spelling};
use super::tally::Tally;
use super::walk::{Cut, Walk};

/// What stands for the rest of a redacted placeholder; good in every spelling.
const REDACTED: u8 = b'x';

/// One place of a text.
pub(super) struct Place {
    /// In the words of `swap`.
    pub(super) word: String,
    /// By index of the secret: whether it may stand here.
    pub(super) admits: Vec<bool>,
}

/// What a text may hold and what becomes of it.
pub(super) struct Rules {
    pub(super) spelling: Spelling,
    pub(super) walk: Walk,
    /// The whole text, then the places of [`Rules::walk`] by their index.
    pub(super) places: Vec<Place>,
    /// By index of the secret: what to write where it is admitted.
    pub(super) texts: Vec<Option<Spelled>>,
    /// By index of the secret: what to do where it may not be at all.
    pub(super) reactions: Vec<Reaction>,
}

/// One text on its way through an injector.
///
/// It has no `Debug`: it holds secrets.
pub struct InjectStream {
    rules: Rules,
    tally: Rc<Tally>,
    /// What went by before `held`.
    before: Before,
    /// What may be the beginning of a placeholder.
    held: BytesMut,
    /// How many octets of `held`, its first, were given already.
    released: usize,
    /// The named places that are open where the text stands.
    open: Rc<[usize]>,
    cuts: Vec<Cut>,
    news: Vec<Injection>,
    told: Vec<Injection>,
}

impl InjectStream {
    pub(super) fn new(rules: Rules, tally: Rc<Tally>) -> Self {
        let (cuts, news, told) = (Vec::new(), Vec::new(), Vec::new());
        let (before, held, open) = (Before::default(), BytesMut::new(), Rc::default());
        Self { rules, tally, before, held, released: 0, open, cuts, news, told }
    }

    /// Whether any secret may come to stand in the text.
    #[must_use]
    pub fn may_inject(&self) -> bool {
        self.rules.texts.iter().any(Option::is_some)
    }

    /// Whether the text surely keeps its length.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        self.rules.texts.iter().flatten().all(Spelled::keeps_length)
    }

    /// Takes the next chunk and gives what is settled, maybe nothing; [`InjectStream::news`] tells what it holds.
    ///
    /// After an error the text must not be ended, and nothing more of it may go on.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, InjectError> {
        let before = self.held.len();
        let mut text = chunk;
        if before > 0 {
            let mut joined = mem::take(&mut self.held);
            joined.extend_from_slice(&text);
            text = joined.freeze();
        }
        let mut cuts = mem::take(&mut self.cuts);
        self.rules.walk.walk(text.get(before..).unwrap_or_default(), &mut cuts);
        let (mut swaps, mut from) = (Vec::new(), 0);
        for cut in cuts.drain(..) {
            let to = before + cut.at;
            self.section(&text, from..to, More::Never, &mut swaps)?;
            self.open = cut.places;
            from = to;
        }
        self.cuts = cuts;
        let hold = self.section(&text, from..text.len(), More::May, &mut swaps)?;
        self.held.extend_from_slice(text.get(hold..).unwrap_or_default());
        text.truncate(hold);
        self.before.pass(&text);
        Ok(self.apply(text, &swaps))
    }

    /// Lets what waits go, where that is `most` octets or less: the source has fallen silent, and may wait itself
    /// for an answer to what it sent.
    pub fn release(&mut self, most: usize) -> Bytes {
        if !self.is_releasable(most) {
            return Bytes::new();
        }
        let waits = Bytes::copy_from_slice(self.held.get(self.released..).unwrap_or_default());
        self.released = self.held.len();
        waits
    }

    /// Whether [`InjectStream::release`] would let anything go.
    #[must_use]
    pub fn is_releasable(&self, most: usize) -> bool {
        self.held.len() <= most && self.released < self.held.len()
    }

    /// Ends the text and gives what waited.
    pub fn finish(&mut self) -> Result<Bytes, InjectError> {
        let text = mem::take(&mut self.held).freeze();
        let mut swaps = Vec::new();
        self.section(&text, 0..text.len(), More::Never, &mut swaps)?;
        Ok(self.apply(text, &swaps))
    }

    /// What was written since this was last asked, each secret and place once in the text's life.
    pub fn news(&mut self) -> Vec<Injection> {
        let news = mem::take(&mut self.news);
        self.told.extend_from_slice(&news);
        news
    }

    /// Judges what is found in a stretch with the same places throughout; gives where what must wait begins.
    fn section(
        &mut self,
        text: &[u8],
        range: Range<usize>,
        more: More,
        swaps: &mut Vec<Swap>,
    ) -> Result<usize, InjectError> {
        if !self.is_looked_at() {
            return Ok(range.end);
        }
        let stretch = text.get(range.clone()).unwrap_or_default();
        let tally = Rc::clone(&self.tally);
        let (found, hold) = self.rules.spelling.find(self.patterns(&tally), stretch, more);
        for found in found {
            let span = range.start + found.span.start..range.start + found.span.end;
            let given = text.get(span.start..self.released.min(span.end)).unwrap_or_default();
            let before = text.get(..span.start).unwrap_or_default();
            if let Some(write) = self.judge(&found, (before, given))? {
                swaps.push(Swap { span, found, write });
            }
        }
        Ok(range.start + hold)
    }

    /// Whether anything is done about what may stand here.
    fn is_looked_at(&self) -> bool {
        self.rules.reactions.iter().any(|reaction| *reaction != Reaction::Inert)
            || self.open_places().any(|place| place.admits.contains(&true))
    }

    /// The whole text, and the named places that are open.
    fn open_places(&self) -> impl Iterator<Item = &Place> {
        let named = self.open.iter().filter_map(|index| self.rules.places.get(index + 1));
        self.rules.places.first().into_iter().chain(named)
    }

    fn patterns<'a>(&self, tally: &'a Tally) -> &'a Patterns {
        if self.rules.reactions.iter().any(|reaction| *reaction != Reaction::Inert) {
            tally.book.spread()
        } else {
            tally.book.tokens()
        }
    }

    /// What becomes of a placeholder after `before`, of which the first octets may have been `given` away.
    fn judge(
        &mut self,
        found: &Found,
        (before, given): (&[u8], &[u8]),
    ) -> Result<Option<Write>, InjectError> {
        let secret = self.tally.book.owner(found.pattern);
        match self.rules.reactions.get(secret) {
            Some(Reaction::Redact) => return Ok(Some(Write::Redacted)),
            Some(reaction @ (Reaction::Deny | Reaction::Terminate)) => {
                return Err(InjectError::Misplaced { secret: self.tally.name(secret), reaction: *reaction });
            }
            Some(Reaction::Inert) | None => {}
        }
        // One that is encoded besides is no placeholder where secrets may be, nor is one of which a reader of the secret
        // would miss the beginning.
        if found.pattern != secret || self.before.is_open_after(before) {
            return Ok(None);
        }
        let admits = |place: &&Place| place.admits.get(secret).copied().unwrap_or_default();
        // The place that says most about where it is.
        let Some(word) = self.open_places().filter(admits).last().map(|place| place.word.clone()) else {
            return Ok(None);
        };
        self.tally.admit(secret)?;
        let Some(spelled) = self.rules.texts.get(secret).and_then(Option::as_ref) else {
            return Err(InjectError::Uncarriable { secret: self.tally.name(secret), place: word });
        };
        if !spelled.write(found, self.rules.spelling).starts_with(given) {
            return Ok(None);
        }
        self.tally.count(secret)?;
        let injection = Injection { secret: self.tally.name(secret), place: word };
        if !self.told.contains(&injection) && !self.news.contains(&injection) {
            self.news.push(injection);
        }
        Ok(Some(Write::Secret(secret)))
    }

    /// Writes the swaps and leaves out what was given already, with which every text begins that has it.
    fn apply(&mut self, text: Bytes, swaps: &[Swap]) -> Bytes {
        let given = self.released.min(text.len());
        self.released -= given;
        let mut out = self.swapped(text, swaps);
        out.advance(given.min(out.len()));
        out
    }

    /// Writes the swaps, in place where the buffer is ours alone and its length stays.
    fn swapped(&self, text: Bytes, swaps: &[Swap]) -> Bytes {
        if swaps.is_empty() {
            return text;
        }
        let written: Vec<Cow<'_, [u8]>> = swaps.iter().map(|swap| self.written(swap)).collect();
        if swaps.iter().zip(&written).all(|(swap, with)| swap.span.len() == with.len()) {
            let mut owned = text.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
            for (swap, with) in swaps.iter().zip(&written) {
                if let Some(place) = owned.get_mut(swap.span.clone()) {
                    place.copy_from_slice(with);
                }
            }
            return owned.freeze();
        }
        let added: usize = written.iter().map(|with| with.len()).sum();
        // Of the right size at once: a buffer that grows leaves its bytes behind.
        let mut out = Vec::with_capacity(text.len() + added);
        let mut from = 0;
        for (swap, with) in swaps.iter().zip(&written) {
            out.extend_from_slice(text.get(from..swap.span.start).unwrap_or_default());
            out.extend_from_slice(with);
            from = swap.span.end;
        }
        out.extend_from_slice(text.get(from..).unwrap_or_default());
        Bytes::from(out)
    }

    fn written(&self, swap: &Swap) -> Cow<'_, [u8]> {
        let secret = match swap.write {
            Write::Secret(secret) => self.rules.texts.get(secret),
            Write::Redacted => None,
        };
        match secret.and_then(Option::as_ref) {
            Some(spelled) => spelled.write(&swap.found, self.rules.spelling),
            None => Cow::Owned(vec![REDACTED; swap.span.len()]),
        }
    }
}

/// What becomes of a placeholder that does not stay.
enum Write {
    Secret(usize),
    Redacted,
}

struct Swap {
    /// In the text as it is, where [`Found::span`] is in its stretch.
    span: Range<usize>,
    found: Found,
    write: Write,
}
