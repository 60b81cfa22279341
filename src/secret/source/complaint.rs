//! What a secret's command writes to its standard error, as far as people are told.
//!
//! It keeps the end of it, where programs say why they fail. Invariant: what is told is one line of printable ASCII,
//! bounded by `Limits::source_complaint`, and nothing of it repeats what the command printed.

use std::collections::HashSet;
use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::secret::value::SHORTEST;

/// What is told in place of a complaint with the value in it.
const KEPT_BACK: &str = "(kept back, since it repeats what the command printed)";

/// The end of a complaint.
pub(super) struct Complaint {
    kept: Zeroizing<Vec<u8>>,
    most: usize,
    is_cut: bool,
}

impl Complaint {
    pub(super) fn new(most: usize) -> Self {
        // Of the right size at once: a buffer that grows leaves its bytes behind.
        Self { kept: Zeroizing::new(Vec::with_capacity(most)), most, is_cut: false }
    }

    /// Takes the next octets; the oldest go.
    pub(super) fn add(&mut self, octets: &[u8]) {
        let skipped = octets.len().saturating_sub(self.most);
        let octets = octets.get(skipped..).unwrap_or_default();
        let excess = (self.kept.len() + octets.len()).saturating_sub(self.most);
        self.is_cut |= skipped > 0 || excess > 0;
        self.kept.drain(..excess);
        self.kept.extend_from_slice(octets);
    }

    /// Its last lines on one line, unless they hold something of `printed`; empty where there is nothing to tell.
    pub(super) fn told(&self, printed: &[u8]) -> String {
        let mut lines: Vec<&[u8]> = self.kept.split(|octet| matches!(octet, b'\n' | b'\r')).collect();
        // Of a line that is not whole the others are told, if there are any.
        if self.is_cut && lines.iter().skip(1).any(|line| !line.trim_ascii().is_empty()) {
            lines.remove(0);
        }
        let lines = lines.into_iter().map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let told: Vec<String> = lines.map(printable).collect();
        if !told.is_empty() && repeats(&self.kept, printed) {
            return KEPT_BACK.to_owned();
        }
        told.join(" / ")
    }
}

/// Whether a part of `printed` that could be a secret, or all of it, stands in `text`.
fn repeats(text: &[u8], printed: &[u8]) -> bool {
    let printed = printed.trim_ascii();
    let length = printed.len().min(SHORTEST);
    if length == 0 {
        return false;
    }
    let runs: HashSet<&[u8]> = text.windows(length).collect();
    printed.windows(length).any(|run| runs.contains(run))
}

/// One line that does nothing to a terminal or a log.
fn printable(text: &[u8]) -> String {
    let mut line = String::new();
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            ' '..='~' => line.push(character),
            other => drop(write!(line, "{}", other.escape_default())),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(most: usize, pieces: &[&str], printed: &str) -> String {
        let mut complaint = Complaint::new(most);
        pieces.iter().for_each(|piece| complaint.add(piece.as_bytes()));
        assert!(complaint.kept.len() <= most);
        complaint.told(printed.as_bytes())
    }

    #[test]
    fn the_last_whole_lines_are_told_on_one() {
        assert_eq!(told(20, &[], ""), "");
        assert_eq!(told(20, &["\n \r\n"], ""), "");
        assert_eq!(told(20, &["not signed in\n"], ""), "not signed in");
        assert_eq!(told(20, &["a\r\n", "\n  b \x1b[31mé"], ""), "a / b \\u{1b}[31m\\u{e9}");
        assert_eq!(told(11, &["one\ntwo\nthree\n"], ""), "two / three");
        assert_eq!(told(9, &["one\ntwo\nthree\n"], ""), "three");
        assert_eq!(told(4, &["three"], ""), "hree", "better than nothing");
        assert_eq!(told(4, &["three\n"], ""), "ree");
        assert_eq!(told(0, &["three\n"], ""), "");
    }

    #[test]
    fn how_it_comes_in_pieces_is_one() {
        let text = "first line\nsecond line\nthird";
        for size in 1..=text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(told(20, &pieces, ""), "second line / third");
        }
    }

    #[test]
    fn nothing_is_told_of_a_complaint_with_the_value_in_it() {
        for (complaint, printed) in [
            ("+ echo hunter2hunter2", "hunter2hunter2\n"),
            ("a part: hunter2h", "hunter2hunter2\n"),
            ("the end 2hunter2\nand more", "hunter2hunter2\n"),
            ("got hunter2hunter2", "{\"value\":\"hunter2hunter2\"}"),
            ("got hunter2", "hunter2"),
        ] {
            assert_eq!(told(100, &[complaint], printed), KEPT_BACK, "{complaint}");
        }
        assert_eq!(told(100, &["hunter3 is no password"], "hunter2hunter2"), "hunter3 is no password");
        assert_eq!(told(100, &["no"], " \n"), "no");
        // The beginning of the value is gone, and what is left of it is too long still.
        assert_eq!(told(12, &["hunter2hunter2\nx"], "hunter2hunter2"), KEPT_BACK);
    }

    #[test]
    fn a_complaint_is_not_moved_as_it_grows() {
        let mut complaint = Complaint::new(16);
        let capacity = complaint.kept.capacity();
        for length in [3, 16, 17, 1, 100] {
            complaint.add(&vec![b'x'; length]);
        }
        assert_eq!((complaint.kept.capacity(), complaint.kept.len()), (capacity, 16));
    }
}
