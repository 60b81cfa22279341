//! Memory for what must not be swapped out, dumped or inherited.
//!
//! It knows nothing of what it holds. Invariant: the pages are this value's alone, and are wiped before they go back
//! to the system.

use std::io;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::mm::{Advice, MapFlags, ProtFlags};
use zeroize::Zeroize as _;

/// Octets in pages of their own: locked in memory where that is permitted, left out of core files, and zeros in a
/// forked process.
pub(crate) struct Pages {
    start: NonNull<u8>,
    length: usize,
    mapped: usize,
    is_locked: bool,
}

// SAFETY: the pages are reached through this value only, and written only while it is made and dropped.
unsafe impl Send for Pages {}
// SAFETY: a shared `Pages` is only read.
unsafe impl Sync for Pages {}

impl Pages {
    /// Copies `bytes` into fresh pages.
    ///
    /// # Errors
    /// What `mmap` said. That pages cannot be locked is no error: [`Pages::is_locked`].
    pub(crate) fn holding(bytes: &[u8]) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let mapped = bytes.len().max(1).next_multiple_of(page);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping without an address of its own takes the place of no other.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), mapped, access, MapFlags::PRIVATE) }?;
        let pages = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the range is exactly what was mapped; the call reads and writes nothing in it.
        let is_locked = unsafe { rustix::mm::mlock(start, mapped) }.is_ok();
        for advice in [Advice::LinuxDontDump, Advice::LinuxWipeOnFork] {
            // Best effort as well: a kernel without them leaves it at that.
            // SAFETY: as above; what the advice changes is what others see of the pages.
            let _ = unsafe { rustix::mm::madvise(start, mapped, advice) };
        }
        // SAFETY: the fresh mapping is writable and at least as long as `bytes`, which lies elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pages.as_ptr(), bytes.len()) };
        Ok(Self { start: pages, length: bytes.len(), mapped, is_locked })
    }

    /// The octets.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: so many octets were written there, and they stay until the drop.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Whether the pages stay in memory.
    pub(crate) fn is_locked(&self) -> bool {
        self.is_locked
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: as in `bytes`, and nobody else has a reference any more.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }.zeroize();
        // SAFETY: the mapping is this value's own. Its lock goes with it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `/proc` says of the mapping that holds `address`.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut here = false;
        for line in maps.lines() {
            if let Some((from, to)) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')) {
                let range = usize::from_str_radix(from, 16).ok().zip(usize::from_str_radix(to, 16).ok());
                if let Some((from, to)) = range {
                    here = (from..to).contains(&address);
                }
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| here) {
                return flags.to_owned();
            }
        }
        panic!("no such mapping")
    }

    #[test]
    fn pages_hold_what_they_were_given_in_no_core_file() {
        for length in [0, 1, 4_096, 16 << 10, (16 << 10) + 1] {
            let pages = Pages::holding(&vec![7; length]).unwrap();
            assert_eq!(pages.bytes(), vec![7; length]);
            let flags = flags(pages.start.as_ptr() as usize);
            assert!(flags.contains(" dd") && flags.contains(" wf"), "{flags}");
            assert_eq!(flags.contains(" lo"), pages.is_locked(), "{flags}");
        }
    }
}
