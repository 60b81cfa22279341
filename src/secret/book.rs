//! All secrets of one sandbox as of one moment, with what is needed to find them and their placeholders.
//!
//! It is built whole and only read after; [`super::store`] puts the next one in its place. Invariant: no placeholder contains, or lies within, another
//! placeholder or any secret of the sandbox, so that a placeholder found is that placeholder and nothing else.
//!
//! Two secrets may have the same value (`GH_TOKEN` and `GITHUB_TOKEN`): each has a placeholder of its own,
//! good for its own hosts. Scrubbed, the value becomes the placeholder of the first of them, as configured,
//! that may go to the answering host, so that what a host repeats can be sent to it again.

use std::sync::Arc;

use memchr::memmem;
use zeroize::Zeroizing;

use super::life::{Life, Origins, RotateError};
use super::patterns::{Hit, Patterns};
use super::placeholder::Placeholder;
use super::replace::Replacements;
use super::scrub::Scrubber;
use super::spec::{Entry, SecretError, SecretSpec, can_stand};
use super::value::SecretValue;
use crate::name::HostName;

/// The secrets of one sandbox as of now.
///
/// It has no `Debug`: it holds the values.
pub(super) struct Book {
    entries: Vec<Entry>,
    /// What a response may bring, each once.
    forms: Vec<Form>,
    /// [`Book::forms`], by index.
    values: Arc<Patterns>,
    /// The same in lower case: header names lose their case.
    lower_values: Arc<Patterns>,
    /// Placeholders, by index of the entry.
    placeholders: Patterns,
    /// The same in lower case.
    lower_placeholders: Patterns,
}

/// One text that is to be scrubbed.
struct Form {
    text: Zeroizing<Vec<u8>>,
    /// The secrets that have this form, and what stands for it in each case; in the order configured.
    stand_ins: Vec<(usize, Vec<u8>)>,
}

impl Book {
    /// Takes the secrets of a sandbox and draws a fresh placeholder for each.
    pub(super) fn new(specs: Vec<SecretSpec>, origins: &Origins) -> Result<Self, SecretError> {
        for (index, spec) in specs.iter().enumerate() {
            spec.check()?;
            if specs.iter().take(index).any(|other| other.name == spec.name) {
                return Err(SecretError::Duplicate { name: spec.name.clone() });
            }
        }
        Self::of(with_placeholders(specs, origins)?)
    }

    /// A book of these secrets.
    fn of(entries: Vec<Entry>) -> Result<Self, SecretError> {
        let forms = forms(&entries);
        let texts: Vec<_> = forms.iter().map(|form| form.text.as_slice()).collect();
        let tokens: Vec<_> = entries.iter().map(|entry| entry.placeholder.as_bytes()).collect();
        Ok(Self {
            values: Arc::new(Patterns::new(&texts)?),
            lower_values: Arc::new(lower_case(&texts)?),
            placeholders: Patterns::new(&tokens)?,
            lower_placeholders: lower_case(&tokens)?,
            forms,
            entries,
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
        Ok(Self::of(entries)?)
    }

    /// The secret of this name.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        entry_of(&self.entries, name)
    }

    /// The value of an environment variable as the guest may see it; `None` where it holds no secret.
    pub(super) fn rewrite(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.replacements(|_| true).replace(value)
    }

    /// What takes secrets out of the responses of `host`; `None` where no secret may be known there.
    pub(super) fn scrubber(&self, host: &HostName) -> Option<Scrubber> {
        self.may_be_known_at(host).then(|| {
            let replacements = self.replacements(|entry| entry.may_be_known_at(host));
            Scrubber::new(replacements, Arc::clone(&self.lower_values))
        })
    }

    pub(super) fn may_be_known_at(&self, host: &HostName) -> bool {
        self.entries.iter().any(|entry| entry.may_be_known_at(host))
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

    fn owned<'a>(&'a self, patterns: &'a Patterns, text: &[u8]) -> impl Iterator<Item = (Hit, &'a Entry)> {
        patterns.find_all(text).filter_map(|hit| Some((hit, self.entries.get(hit.pattern)?)))
    }

    /// Every form of every secret and what stands for it, where several could by the one that is `preferred`.
    fn replacements(&self, preferred: impl Fn(&Entry) -> bool) -> Replacements {
        let is_preferred = |index: usize| self.entries.get(index).is_some_and(&preferred);
        let stand_in = |form: &Form| {
            let chosen = form.stand_ins.iter().find(|(index, _)| is_preferred(*index));
            let (_, text) = chosen.or(form.stand_ins.first())?;
            Some(Zeroizing::new(text.clone()))
        };
        let texts = self.forms.iter().map(|form| stand_in(form).unwrap_or_default()).collect();
        Replacements::of(Arc::clone(&self.values), texts)
    }
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
        let SecretSpec { name, value, hosts, swap, shape: _ } = spec;
        let life = Life::begun(origins.get(&name));
        Entry { name, value: Arc::new(value), placeholder, hosts, swap, life }
    });
    Ok(joined.collect())
}

fn entry_of<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.name == name)
}

/// Whether one contains the other.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    memmem::find(one, other).is_some() || memmem::find(other, one).is_some()
}

fn forms(entries: &[Entry]) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for (text, stand_in) in entry.forms() {
            let stand_in = (index, stand_in.to_vec());
            match forms.iter_mut().find(|form| form.text.as_slice() == text) {
                Some(form) => form.stand_ins.push(stand_in),
                None => forms.push(Form { text: Zeroizing::new(text.to_vec()), stand_ins: vec![stand_in] }),
            }
        }
    }
    forms
}

fn lower_case(texts: &[&[u8]]) -> Result<Patterns, SecretError> {
    let lower: Vec<_> = texts.iter().map(|text| Zeroizing::new(text.to_ascii_lowercase())).collect();
    let lower: Vec<_> = lower.iter().map(|text| text.as_slice()).collect();
    Ok(Patterns::new(&lower)?)
}
