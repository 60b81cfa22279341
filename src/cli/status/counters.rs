//! Counters as lines: each by the path of its keys in JSON, in the order they are declared.
//!
//! It knows no counter by name.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::sandbox::Stats;

/// Each counter: `net.dropped.runt`, and its value.
pub(super) fn of(stats: &Stats) -> serde_json::Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    let tree: Tree = serde_json::from_str(&serde_json::to_string(stats)?)?;
    tree.walk("", &mut lines);
    Ok(lines)
}

/// JSON that is numbers in objects, in their order.
enum Tree {
    Counter(u64),
    Group(Vec<(String, Tree)>),
}

impl Tree {
    fn walk(self, path: &str, lines: &mut Vec<(String, String)>) {
        match self {
            Self::Counter(value) => lines.push((path.to_owned(), value.to_string())),
            Self::Group(members) => {
                for (key, member) in members {
                    let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                    member.walk(&path, lines);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a counter or a group of them")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Counter(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Group(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_a_line_in_its_order() {
        let stats = Stats::default();
        let lines = of(&stats).unwrap();
        // As many as `Debug` shows numbers.
        assert_eq!(lines.len(), format!("{stats:#?}").matches(": 0,").count());
        let position = |key: &str| lines.iter().position(|(path, _)| path == key).unwrap();
        assert_eq!(position("net.frames_in"), 0);
        assert!(position("net.frames_in") < position("net.bytes_in"));
        assert!(position("net.dropped.runt") < position("dns.messages"));
        assert!(position("tls.guest_accepted") < position("events.flows.https"));
    }
}
