//! All secrets of one sandbox as of one moment, with what is needed to find them and their placeholders.
//!
//! It is built whole and only read after; [`super::store`] puts the next one in its place. Invariant: no placeholder contains, or lies within, another
//! placeholder or any secret of the sandbox, so that a placeholder found is that placeholder and nothing else.
//!
//! Two secrets may have the same value (`GH_TOKEN` and `GITHUB_TOKEN`): each has a placeholder of its own,
//! good for its own hosts. Scrubbed, the value becomes the placeholder of the first of them, as configured,
//! that may go to the answering host, so that what a host repeats can be sent to it again.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use zeroize::Zeroizing;

use super::forms::Form;
use super::life::{Life, Origins, RotateError};
use super::patterns::{Hit, PatternError, Patterns};
use super::placeholder::Placeholder;
use super::replace::Replacements;
use super::scrub::{Scrubber, Slices};
use super::signing::Pair;
use super::spec::{Entry, SecretError, SecretSpec, can_stand};
use super::value::SecretValue;
use crate::name::HostName;

/// The secrets of one sandbox as of now.
///
/// It has no `Debug`: it holds the values.
pub(super) struct Book {
    entries: Vec<Entry>,
    /// What a response may bring, each once.
    forms: Vec<Sought>,
    /// [`Book::forms`], by index.
    values: Arc<Patterns>,
    /// What stands for each where any secret's placeholder will do.
    replacements: Arc<Replacements>,
    /// [`Book::values`] in lower case: header names lose their case.
    lower_values: Arc<Patterns>,
    /// Placeholders, by index of the entry.
    placeholders: Patterns,
    /// [`Book::placeholders`] in lower case.
    lower_placeholders: Patterns,
    /// Placeholders, then the same in base64.
    spread: Patterns,
    /// By index of [`Book::spread`]: that of the entry.
    owners: Vec<usize>,
    /// Key pairs, by the indexes of their parts.
    pairs: Vec<Pair>,
}

/// One text that is to be scrubbed.
struct Sought {
    text: Zeroizing<Vec<u8>>,
    /// The secrets that have this form, and what stands for it in each case; in the order configured.
    stand_ins: Vec<(usize, Zeroizing<Vec<u8>>)>,
}

impl Book {
    /// Takes the secrets of a sandbox and draws a fresh placeholder for each.
    pub(super) fn new(
        specs: Vec<SecretSpec>,
        pairs: &[String],
        origins: &Origins,
    ) -> Result<Self, SecretError> {
        for (index, spec) in specs.iter().enumerate() {
            spec.check()?;
            if specs.iter().take(index).any(|other| other.name == spec.name) {
                return Err(SecretError::Duplicate { name: spec.name.clone() });
            }
        }
        let entries = with_placeholders(specs, origins)?;
        let pairs = pairs.iter().filter_map(|name| Pair::named(name, &entries)).collect();
        Self::of(entries, pairs)
    }

    /// A book of these secrets.
    fn of(entries: Vec<Entry>, pairs: Vec<Pair>) -> Result<Self, SecretError> {
        let forms = forms(&entries);
        let texts: Vec<_> = forms.iter().map(|form| form.text.as_slice()).collect();
        let tokens: Vec<_> = entries.iter().map(|entry| entry.placeholder.as_bytes()).collect();
        let (spread, owners) = spread(&entries);
        let spread: Vec<_> = spread.iter().map(Vec::as_slice).collect();
        let values = Arc::new(Patterns::escaped(&texts)?);
        Ok(Self {
            spread: Patterns::new(&spread)?,
            owners,
            replacements: Arc::new(replacements(&values, &forms, |_| true)),
            values,
            lower_values: Arc::new(lower_case(&texts, Patterns::escaped_lower_case)?),
            placeholders: Patterns::new(&tokens)?,
            lower_placeholders: lower_case(&tokens, Patterns::new)?,
            forms,
            entries,
            pairs,
        })
    }

    /// The next book: one secret of this one as `change` leaves it.
    pub(super) fn with(
        &self,
        name: &str,
        change: impl FnOnce(&Entry) -> Result<Entry, RotateError>,
    ) -> Result<Self, RotateError> {
        let mut entries = self.entries.clone();
        let entry = entries.iter_mut().find(|entry| entry.name == name).ok_or(RotateError::Unknown)?;
        let changed = change(entry)?;
        can_stand(&changed.name, &changed.value, &changed.swap)?;
        *entry = changed;
        let overlaps = |value: &SecretValue| {
            self.entries.iter().any(|entry| overlap(entry.placeholder.as_bytes(), value.expose()))
        };
        if entry_of(&entries, name).is_some_and(|entry| overlaps(&entry.value)) {
            return Err(RotateError::Clash { name: name.to_owned() });
        }
        Ok(Self::of(entries, self.pairs.clone())?)
    }

    /// The secret of this name.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        entry_of(&self.entries, name)
    }

    /// The value of an environment variable as the guest may see it; `None` where it holds no secret.
    pub(super) fn rewrite(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.replacements.replace(value)
    }

    /// What takes secrets out of the responses of `host`; `None` where no secret may be known there.
    pub(super) fn scrubber(&self, host: &HostName) -> Option<Scrubber> {
        let known = || self.entries.iter().filter(|entry| entry.may_be_known_at(host));
        let slices = if known().all(Entry::only_signs) { Slices::Fine } else { Slices::Never };
        known().next()?;
        Some(Scrubber::new(self.replacements_at(host), Arc::clone(&self.lower_values), slices))
    }

    pub(super) fn may_be_known_at(&self, host: &HostName) -> bool {
        self.entries.iter().any(|entry| entry.may_be_known_at(host))
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The placeholders in `text`, with their secrets.
    pub(super) fn find<'a>(&'a self, text: &[u8]) -> impl Iterator<Item = (Hit, &'a Entry)> {
        self.owned(&self.placeholders, text)
    }

    /// The placeholders in a text that has lost its case.
    pub(super) fn find_lower<'a>(&'a self, text: &[u8]) -> impl Iterator<Item = (Hit, &'a Entry)> {
        self.owned(&self.lower_placeholders, text)
    }

    /// The placeholders, by index of the entry.
    pub(super) fn tokens(&self) -> &Patterns {
        &self.placeholders
    }

    /// The placeholders by index of the entry, then what they are in base64.
    pub(super) fn spread(&self) -> &Patterns {
        &self.spread
    }

    /// The entry that a pattern of [`Book::spread`] is of.
    pub(super) fn owner(&self, pattern: usize) -> usize {
        self.owners.get(pattern).copied().unwrap_or(pattern)
    }

    fn owned<'a>(&'a self, patterns: &'a Patterns, text: &[u8]) -> impl Iterator<Item = (Hit, &'a Entry)> {
        patterns.find_all(text).filter_map(|hit| Some((hit, self.entries.get(hit.pattern)?)))
    }

    /// Every form of every secret and what stands for it at `host`.
    fn replacements_at(&self, host: &HostName) -> Arc<Replacements> {
        if self.forms.iter().all(|form| form.stand_ins.len() == 1) {
            return Arc::clone(&self.replacements);
        }
        let is_known =
            |index: usize| self.entries.get(index).is_some_and(|entry| entry.may_be_known_at(host));
        Arc::new(replacements(&self.values, &self.forms, is_known))
    }
}

/// Every form and what stands for it, where several could by the one that is `preferred`.
fn replacements(values: &Arc<Patterns>, forms: &[Sought], preferred: impl Fn(usize) -> bool) -> Replacements {
    let stand_in = |form: &Sought| {
        let chosen = form.stand_ins.iter().find(|(index, _)| preferred(*index));
        let (_, text) = chosen.or(form.stand_ins.first())?;
        Some(text.clone())
    };
    let texts = forms.iter().map(|form| stand_in(form).unwrap_or_default()).collect();
    Replacements::of(Arc::clone(values), texts)
}

fn with_placeholders(specs: Vec<SecretSpec>, origins: &Origins) -> Result<Vec<Entry>, SecretError> {
    let mut placeholders: Vec<Placeholder> = Vec::with_capacity(specs.len());
    for spec in &specs {
        let drawn = Placeholder::for_value(&spec.value, spec.shape.as_ref(), |text| {
            let values = specs.iter().map(|spec| spec.value.expose());
            let tokens = placeholders.iter().map(Placeholder::as_bytes);
            values.chain(tokens).any(|other| overlap(text.as_bytes(), other))
        });
        let name = || spec.name.clone();
        placeholders.push(drawn.map_err(|cause| SecretError::Placeholder { name: name(), cause })?);
    }
    let joined = specs.into_iter().zip(placeholders).map(|(spec, placeholder)| {
        let SecretSpec { name, value, hosts, swap, shape: _, elsewhere, max_per_request } = spec;
        let (value, life) = (Arc::new(value), Life::begun(origins.get(&name)));
        Entry { name, value, placeholder, hosts, swap, elsewhere, max_per_request, life }
    });
    Ok(joined.collect())
}

fn entry_of<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.name == name)
}

/// Every placeholder, then every placeholder in base64, in both alphabets and wherever in it it begins; and whose
/// each is.
fn spread(entries: &[Entry]) -> (Vec<Vec<u8>>, Vec<usize>) {
    let mut texts: Vec<Vec<u8>> = entries.iter().map(|entry| entry.placeholder.as_bytes().to_vec()).collect();
    let mut owners: Vec<usize> = (0..entries.len()).collect();
    for (owner, entry) in entries.iter().enumerate() {
        for coding in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            for before in 0..3 {
                let text = in_base64(entry.placeholder.as_bytes(), &coding, before);
                if !texts.contains(&text) {
                    texts.push(text);
                    owners.push(owner);
                }
            }
        }
    }
    (texts, owners)
}

/// The characters that `text` alone decides, where so many octets (of 3) come before it.
fn in_base64(text: &[u8], coding: &GeneralPurpose, before: usize) -> Vec<u8> {
    let padded = [[0; 2].get(..before).unwrap_or_default(), text].concat();
    let whole = padded.len() * 8 / 6;
    let shared = (before * 8).div_ceil(6);
    coding.encode(&padded).into_bytes().into_iter().take(whole).skip(shared).collect()
}

/// Whether one contains the other.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    memmem::find(one, other).is_some() || memmem::find(other, one).is_some()
}

fn forms(entries: &[Entry]) -> Vec<Sought> {
    let mut forms: Vec<Sought> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for Form { text, stand_in } in entry.forms() {
            match forms.iter_mut().find(|form| form.text == text) {
                Some(form) => form.stand_ins.push((index, stand_in)),
                None => forms.push(Sought { text, stand_ins: vec![(index, stand_in)] }),
            }
        }
    }
    forms
}

fn lower_case(
    texts: &[&[u8]],
    patterns: fn(&[&[u8]]) -> Result<Patterns, PatternError>,
) -> Result<Patterns, SecretError> {
    let lower: Vec<_> = texts.iter().map(|text| Zeroizing::new(text.to_ascii_lowercase())).collect();
    let lower: Vec<_> = lower.iter().map(|text| text.as_slice()).collect();
    Ok(patterns(&lower)?)
}
