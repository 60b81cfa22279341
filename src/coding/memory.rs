//! What decoders and encoders hold, all together.
//!
//! The libraries allocate by themselves; here is only counted what they do. A sandbox is one thread, so what is held
//! on a thread is what a sandbox holds. Invariant: what is counted is given back when its holder is dropped.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

use super::CodingError;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// One holder's part; it stays on its thread.
#[derive(Default)]
pub(super) struct Memory {
    octets: usize,
    on_thread: PhantomData<Rc<()>>,
}

impl Memory {
    /// Counts `octets` in place of what was counted so far; fails where all holders together then have more than
    /// `most`.
    pub(super) fn hold(&mut self, octets: usize, most: usize) -> Result<(), CodingError> {
        if octets != self.octets {
            let held = HELD.get().saturating_sub(self.octets).saturating_add(octets);
            HELD.set(held);
            self.octets = octets;
            if held > most {
                return Err(CodingError::Failed);
            }
        }
        Ok(())
    }

    /// As [`Memory::hold`], for those who are let in by someone else's.
    pub(super) fn count(&mut self, octets: usize) {
        // No sum is more than this.
        let _ = self.hold(octets, usize::MAX);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_together_is_bounded_and_given_back() {
        let (mut one, mut other) = (Memory::default(), Memory::default());
        one.hold(60, 100).unwrap();
        assert_eq!(other.hold(50, 100), Err(CodingError::Failed));
        other.hold(40, 100).unwrap();
        one.hold(50, 100).unwrap();
        other.hold(50, 100).unwrap();
        drop(one);
        other.hold(100, 100).unwrap();
        drop(other);
        assert_eq!(HELD.get(), 0);
    }
}
