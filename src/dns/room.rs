//! What the guest's DNS connections hold, all together.
//!
//! It allocates nothing; here is only counted what the connections do. Invariant: what is counted is given back when
//! its connection ends.

use std::cell::Cell;

/// Room for so many octets.
#[derive(Debug)]
pub(super) struct Room {
    held: Cell<usize>,
    most: usize,
}

/// All the room is taken.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Full;

/// One connection's part.
#[derive(Debug)]
pub(super) struct Part<'a> {
    room: &'a Room,
    octets: usize,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { held: Cell::new(0), most }
    }

    /// A part, with nothing in it.
    pub(super) fn part(&self) -> Part<'_> {
        Part { room: self, octets: 0 }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }
}

impl Part<'_> {
    /// Counts `octets` in place of what was counted so far; fails where that is more, and all together then have too
    /// much.
    pub(super) fn hold(&mut self, octets: usize) -> Result<(), Full> {
        let grows = octets > self.octets;
        let held = self.room.held.get().saturating_sub(self.octets).saturating_add(octets);
        self.room.held.set(held);
        self.octets = octets;
        if grows && held > self.room.most { Err(Full) } else { Ok(()) }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        // No part is full of nothing.
        let _ = self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_together_is_bounded_and_given_back() {
        let room = Room::new(100);
        let (mut one, mut other) = (room.part(), room.part());
        one.hold(60).unwrap();
        assert_eq!(other.hold(50), Err(Full));
        one.hold(55).unwrap();
        drop(other);
        let mut other = room.part();
        other.hold(45).unwrap();
        drop(one);
        other.hold(100).unwrap();
        drop(other);
        assert_eq!(room.held(), 0);
    }
}
