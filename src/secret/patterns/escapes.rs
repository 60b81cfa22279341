//! Patterns that have an escape among their first octets.
//!
//! Those that have one later only are found by their first blocks, and followed from there. Invariant: every
//! match is looked at whose first escape has fewer octets before it than the first blocks of a pattern have.

use super::places::{Hash, Places};
use super::walk::End;
use super::{Found, Pattern, Patterns, key, places};
use crate::secret::escape::{self, Escape, Spelled, Wanted};
use crate::secret::leads::{Leads, Pairs};

/// Octets before an escape by which patterns are looked up.
const NEAR: usize = 4;

/// What finds escaped characters.
pub(super) struct Escapes {
    /// The octets in the first blocks of each pattern, each with up to [`NEAR`] octets before it.
    octets: Places,
    wanted: Wanted,
    pairs: Pairs,
    /// Most zeros that any pattern has in a row.
    pub(super) zeros: usize,
    pub(super) case: Case,
}

/// Whether the buffers have lost their case, as the names of fields have.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Case {
    Kept,
    Lower,
}

impl Escapes {
    /// For escapes among the first `reach` octets of each pattern; those that follow are found from there.
    pub(super) fn new(texts: &[&[u8]], reach: usize, case: Case) -> Self {
        let octets = places(texts, |text, offset| {
            let (before, after) = text.get(..reach).unwrap_or(text).split_at_checked(offset)?;
            let before = before.get(offset.saturating_sub(NEAR)..)?;
            after.first().map(|octet| near(before, *octet))
        });
        let wanted = texts.iter().flat_map(|text| text.iter().take(reach).copied());
        // Escapes are read before case is lost.
        let wanted = match case {
            Case::Kept => Wanted::of(wanted),
            Case::Lower => Wanted::of(wanted.flat_map(|octet| [octet, octet.to_ascii_uppercase()])),
        };
        let runs = texts.iter().flat_map(|text| text.split(|octet| *octet != b'0').map(<[u8]>::len));
        let pairs = Pairs::new(|lead, next| wanted.may_begin(lead, next));
        Self { octets, pairs, wanted, zeros: runs.max().unwrap_or_default(), case }
    }
}

impl Case {
    pub(super) fn apply(self, spelled: Spelled) -> Spelled {
        match self {
            Self::Kept => spelled,
            Self::Lower => spelled.to_lower_case(),
        }
    }
}

impl Patterns {
    /// Everything that may start with up to so many octets as they are, and an escape after these.
    pub(super) fn by_escapes(&self, escapes: &Escapes, buf: &[u8]) -> Vec<Found> {
        let mut all = Vec::new();
        for lead in Leads::new(buf, &escapes.pairs) {
            match escape::read(buf.get(lead..).unwrap_or_default()) {
                Escape::Not => {}
                Escape::Cut => all.extend(self.at_cut(buf, lead)),
                Escape::Whole { spelled, .. } => {
                    let spelled = escapes.case.apply(spelled);
                    for octets in spelled.readings() {
                        self.at_escape(buf, lead, octets, &mut all);
                    }
                }
            }
        }
        all
    }

    /// Everything that goes on with an escape for these octets.
    fn at_escape(&self, buf: &[u8], lead: usize, octets: &[u8], all: &mut Vec<Found>) {
        let Some(escapes) = &self.escapes else { return };
        let Some(first) = octets.first().filter(|first| escapes.wanted.has(**first)) else { return };
        for count in 0..=NEAR.min(lead) {
            let Some(before) = buf.get(lead - count..lead) else { continue };
            for place in escapes.octets.at(Hash::of(near(before, *first))) {
                let offset = usize::from(place.offset);
                let Some((index, pattern)) = self.pattern(place) else { continue };
                let Some((head, tail)) = pattern.text.split_at_checked(offset) else { continue };
                let Some(start) = lead.checked_sub(offset) else { continue };
                if offset.min(NEAR) == count && buf.get(start..lead) == Some(head) && tail.starts_with(octets)
                {
                    all.extend(self.found(index, start, self.follow(pattern, buf, start)));
                }
            }
        }
    }

    /// The places from which the buffer may be a pattern's beginning that an escape cut off at `lead` goes on.
    fn at_cut<'a>(&'a self, buf: &'a [u8], lead: usize) -> impl Iterator<Item = Found> + 'a {
        let is_open = move |start: usize, pattern: &Pattern| self.follow(pattern, buf, start) == End::Open;
        let begins = move |start: &usize| match buf.get(*start..lead) {
            Some([]) | None => self.patterns.iter().any(|pattern| is_open(*start, pattern)),
            Some(head) => self.begun_by(head).any(|pattern| is_open(*start, pattern)),
        };
        let starts = lead.saturating_sub(self.stride + self.block - 1)..=lead;
        starts.filter(begins).map(|start| Found { start, whole: None })
    }
}

/// Up to [`NEAR`] octets and the one after them as a key.
fn near(before: &[u8], octet: u8) -> u64 {
    key(before) | u64::from(octet) << 32 | (before.len() as u64) << 40
}
