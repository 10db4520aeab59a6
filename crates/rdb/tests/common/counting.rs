//! An allocator that counts, for test files that have it as theirs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes that this thread has asked for, that it has, and the most that it had at once. Per thread: tests
    /// run beside each other.
    static ASKED: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: it hands on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Layout) -> *mut u8 {
        ASKED.set(ASKED.get().saturating_add(block.size()));
        HELD.set(HELD.get().saturating_add(block.size()));
        MOST.set(MOST.get().max(HELD.get()));
        // SAFETY: the caller's layout.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Layout) {
        HELD.set(HELD.get().saturating_sub(block.size()));
        // SAFETY: `alloc` had it from there.
        unsafe { System.dealloc(at, block) }
    }
}

#[allow(dead_code)] // not every test file needs it
/// What this does, and how many bytes it asked for in all.
pub fn asked<T>(what: impl FnOnce() -> T) -> (T, usize) {
    let before = ASKED.get();
    let done = what();
    (done, ASKED.get() - before)
}

/// What this does, and how many bytes more than before it had at once.
pub fn most_held<T>(what: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = what();
    (done, MOST.get() - before)
}
