//! The program's allocator.
//!
//! It maps what is large and leaves the rest to mimalloc. It knows nothing of what it is for.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;

use mimalloc::MiMalloc;

/// Size from which an allocation is mapped by itself, octets; rings are larger, other buffers smaller.
const MAPPED: usize = 256 << 10;
/// Alignment of a mapping on every machine.
const PAGE: usize = 4096;

/// The program's allocator: mimalloc, but for what is large.
///
/// mimalloc writes zeros over all it hands out as zeroed, fresh memory too. A flow's rings are one and a half
/// mebibytes that most flows never touch, and a guest may have thousands: mapped, a page of them exists once
/// there is something on it, and goes back to the system with its flow.
#[derive(Debug)]
pub struct Allocator;

fn is_mapped(layout: Layout) -> bool {
    layout.size() >= MAPPED && layout.align() <= PAGE
}

// SAFETY: whether a layout is mapped depends on the layout alone, so what is given back goes where it came from;
// mimalloc keeps its own contract, and a fresh private mapping is zeroed, aligned to a page and nobody else's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, passed on; for a mapping, zeros are as good as anything.
        unsafe { if is_mapped(layout) { self.alloc_zeroed(layout) } else { MiMalloc.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_mapped(layout) {
            // SAFETY: the caller's layout, passed on.
            return unsafe { MiMalloc.alloc_zeroed(layout) };
        }
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), layout.size(), access, kind, -1, 0) };
        if mapping == libc::MAP_FAILED { ptr::null_mut() } else { mapping.cast() }
    }

    unsafe fn dealloc(&self, allocation: *mut u8, layout: Layout) {
        // SAFETY: by the caller's word it was allocated here with this layout, so it is a mapping of this size,
        // or mimalloc's.
        unsafe {
            if is_mapped(layout) {
                libc::munmap(allocation.cast(), layout.size());
            } else {
                MiMalloc.dealloc(allocation, layout);
            }
        }
    }

    unsafe fn realloc(&self, allocation: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches that `size` and the alignment make a layout.
        let resized = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as above; from one kind to the other everything that fits is moved, and the old is given back.
        unsafe {
            match (is_mapped(layout), is_mapped(resized)) {
                (false, false) => MiMalloc.realloc(allocation, layout, size),
                (true, true) => {
                    let moved = libc::mremap(allocation.cast(), layout.size(), size, libc::MREMAP_MAYMOVE);
                    if moved == libc::MAP_FAILED { ptr::null_mut() } else { moved.cast() }
                }
                (true, false) | (false, true) => {
                    let moved = self.alloc(resized);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(allocation, moved, layout.size().min(size));
                        self.dealloc(allocation, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_its_bytes_from_one_kind_to_the_other() {
        let layout = |size| Layout::from_size_align(size, 1).unwrap();
        let mut size = MAPPED / 2;
        // SAFETY: each layout is not empty, each allocation is used within its size and given back once.
        unsafe {
            let mut memory = Allocator.alloc_zeroed(layout(size));
            *memory.add(size - 1) = 7;
            for next in [MAPPED - 1, MAPPED, 3 * MAPPED, 2 * MAPPED + 1, MAPPED, MAPPED / 2, MAPPED + 5] {
                memory = Allocator.realloc(memory, layout(size), next);
                size = next;
                assert_eq!(*memory.add(MAPPED / 2 - 1), 7, "at {size}");
                *memory.add(size - 1) = if size == MAPPED / 2 { 7 } else { 1 };
            }
            Allocator.dealloc(memory, layout(size));
        }
    }

    #[test]
    fn rings_that_nobody_touches_take_no_memory() {
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
        };
        let layout = Layout::from_size_align(1 << 20, 1).unwrap();
        let before = resident();
        // SAFETY: as above.
        let rings: Vec<*mut u8> = (0..512).map(|_| unsafe { Allocator.alloc_zeroed(layout) }).collect();
        // Half of it, for what other tests allocate meanwhile.
        assert!(resident().saturating_sub(before) < 256 << 20, "{} and {before}", resident());
        // SAFETY: as above.
        rings.into_iter().for_each(|ring| unsafe { Allocator.dealloc(ring, layout) });
    }
}
