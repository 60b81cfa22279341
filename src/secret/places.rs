//! Which places a request has, for one peer: the rules a stream of its text goes by.
//!
//! It reads no text but what says of which type a body is. Invariant: a secret is admitted to a place only if it may
//! go to the peer and its `swap` names the place.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

use super::elsewhere::Reaction;
use super::inject::Injector;
use super::location::Location;
use super::path::JsonPath;
use super::spelling::Spelling;
use super::stream::{Place, Rules};
use super::walk::{FormWalk, JsonWalk, MultipartWalk, Walk, parameter};
use crate::limits::Limits;

/// What a body is, as far as it matters where its places are.
pub(super) enum Kind {
    Json,
    Form,
    /// With its boundary.
    Multipart(Vec<u8>),
    Other,
}

impl Kind {
    /// What a head says of its body; a type that is told twice is none.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(value), None) = (types.next(), types.next()) else { return Self::Other };
        let value = value.as_bytes();
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let essence = essence.to_ascii_lowercase();
        match essence.as_slice() {
            b"application/json" | b"text/json" | b"application/x-ndjson" | b"application/jsonl" => Self::Json,
            json if json.ends_with(b"+json") => Self::Json,
            b"application/x-www-form-urlencoded" => Self::Form,
            b"multipart/form-data" => match parameter(value, b"boundary") {
                Some(boundary) if !boundary.is_empty() => Self::Multipart(boundary),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl Injector {
    /// The rules for a body of some kind; `None` where it goes on untouched.
    pub(super) fn body_rules(&self, kind: &Kind, limits: &Limits) -> Option<Rules> {
        let (spelling, walk, mut places) = match kind {
            Kind::Json => {
                let (places, paths) = self.named(json_path);
                (Spelling::Json, Walk::Json(JsonWalk::new(paths, limits.json_depth)), places)
            }
            Kind::Form => {
                let (places, names) = self.named(form_name);
                (Spelling::Percent, Walk::Form(FormWalk::new(&names)), places)
            }
            Kind::Multipart(boundary) => {
                let (places, names) = self.named(part_name);
                let walk = MultipartWalk::new(boundary, &names, limits.part_head);
                (Spelling::Raw, Walk::Multipart(walk), places)
            }
            Kind::Other => (Spelling::Raw, Walk::Whole, Vec::new()),
        };
        // Nothing to walk to: what the walk would tell changes nothing.
        let walk = if places.is_empty() { Walk::Whole } else { walk };
        places.insert(0, Location::Body);
        let mut rules = self.rules(spelling, walk, places, self.reactions())?;
        if let Kind::Multipart(boundary) = kind {
            self.keep_apart(&mut rules, boundary);
        }
        Some(rules)
    }

    /// What is done about each secret's placeholder in a body; empty where that is nothing for all.
    fn reactions(&self) -> Vec<Reaction> {
        let entries = self.tally.book.entries().iter().zip(&self.allowed);
        let reactions: Vec<_> =
            entries.map(|(entry, own)| if *own { Reaction::Inert } else { entry.elsewhere.body }).collect();
        let idle = reactions.iter().all(|reaction| *reaction == Reaction::Inert);
        if idle { Vec::new() } else { reactions }
    }

    /// The named places of one sort that the peer's secrets have, and their names.
    pub(super) fn named<T>(&self, name: impl Fn(&Location) -> Option<T>) -> (Vec<Location>, Vec<T>) {
        let entries = self.tally.book.entries().iter().zip(&self.allowed);
        let mut places: Vec<Location> = Vec::new();
        for location in entries.filter(|(_, own)| **own).flat_map(|(entry, _)| &entry.swap) {
            if name(location).is_some() && !places.contains(location) {
                places.push(location.clone());
            }
        }
        let names = places.iter().filter_map(name).collect();
        (places, names)
    }

    /// The rules for a text of which the first place is the whole; `None` where nothing would be done.
    pub(super) fn rules(
        &self,
        spelling: Spelling,
        walk: Walk,
        places: Vec<Location>,
        reactions: Vec<Reaction>,
    ) -> Option<Rules> {
        let entries = self.tally.book.entries();
        let place = |location: Location| {
            let admits = |index: usize| {
                let own = self.allowed.get(index).copied().unwrap_or_default();
                own && entries.get(index).is_some_and(|entry| entry.swap.contains(&location))
            };
            let admits = (0..entries.len()).map(admits).collect();
            Place { word: location.to_string(), admits }
        };
        let places: Vec<Place> = places.into_iter().map(place).collect();
        let admitted = |index: usize| places.iter().any(|place| place.admits.get(index) == Some(&true));
        if reactions.is_empty() && !(0..entries.len()).any(admitted) {
            return None;
        }
        let texts = entries.iter().enumerate().map(|(index, entry)| {
            let wanted = admitted(index).then(|| (entry.value.expose(), entry.placeholder.as_bytes()));
            wanted.and_then(|(value, placeholder)| spelling.spell(value, placeholder))
        });
        Some(Rules { texts: texts.collect(), spelling, walk, places, reactions })
    }

    /// Takes out the secrets that would be read as the delimiter of a multipart body.
    fn keep_apart(&self, rules: &mut Rules, boundary: &[u8]) {
        let delimiter = [b"--", boundary].concat();
        for (text, entry) in rules.texts.iter_mut().zip(self.tally.book.entries()) {
            if memmem::find(entry.value.expose(), &delimiter).is_some() {
                *text = None;
            }
        }
    }
}

fn json_path(location: &Location) -> Option<JsonPath> {
    if let Location::BodyJson(path) = location { Some(path.clone()) } else { None }
}

fn form_name(location: &Location) -> Option<String> {
    if let Location::BodyForm(name) = location { Some(name.clone()) } else { None }
}

fn part_name(location: &Location) -> Option<String> {
    if let Location::BodyMultipart(name) = location { Some(name.clone()) } else { None }
}

/// The name of a `query:NAME`.
pub(super) fn query_name(location: &Location) -> Option<String> {
    if let Location::QueryNamed(name) = location { Some(name.clone()) } else { None }
}
