//! Owns bytes that several structures have at once: one block behind one tagged pointer, with a count of its owners.
//! Never knows what the bytes mean. Nearly all unsafe code of this crate is here.
//!
//! A block:
//!
//! ```text
//! owners u32, atomic | length u32 | bytes, of which those up to the length are initialised
//! ```
//!
//! Invariants:
//! - a block is as large as [`size_class`] says of its length, so an edit stays in place as long as the class stays;
//! - a block with several owners is read only, by everybody: only the owner that is alone writes length or bytes;
//! - a pointer fits 48 bits; the tag is in the 16 bits above, and belongs to the pointer, not to the block.

use crate::memory::size_class;
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::ptr::{self, NonNull};
use std::sync::atomic::{self, AtomicU32};

const TAG_SHIFT: u32 = 48;
const ADDRESS_MASK: usize = (1 << TAG_SHIFT) - 1;

/// More owners than any number of containers could have. Above it the count is near its end, and a count that came
/// to zero would free bytes that are in use.
const OWNERS_MAX: u32 = i32::MAX as u32;

/// Asks for the cache line at `at` and goes on without it.
#[inline]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing that the program could see and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The front of a block.
#[repr(C, align(8))]
struct Header {
    owners: AtomicU32,
    len: u32,
}

const HEADER_BYTES: usize = size_of::<Header>();

/// One owner of a block of bytes. To clone it counts one owner more and copies nothing.
#[repr(transparent)]
pub struct SharedBytes {
    tagged: NonNull<Header>,
    owns: PhantomData<Header>,
}

const _: () = assert!(size_of::<Option<SharedBytes>>() == 8);

// SAFETY: what several threads can reach of a block is its count, which is atomic, and a length and bytes that nobody
// writes while there is more than one owner.
unsafe impl Send for SharedBytes {}
// SAFETY: as above; a borrow that is shared gives no way to write.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    /// # Panics
    /// Above 4 GiB: callers keep elements below that.
    pub fn new(tag: u16, bytes: &[u8]) -> SharedBytes {
        SharedBytes::concat(tag, &[bytes])
    }

    /// The parts, one behind the other.
    pub fn concat(tag: u16, parts: &[&[u8]]) -> SharedBytes {
        let len = parts.iter().map(|p| p.len()).sum();
        let new = SharedBytes::with_len(tag, len);
        // SAFETY: the block is new, has room for all parts, and a part can't lie in it.
        unsafe { write_parts(new.start(), parts) };
        new
    }

    /// A block of this length whose bytes the caller must write before anybody reads them.
    fn with_len(tag: u16, len: usize) -> SharedBytes {
        let len_field = u32::try_from(len).expect("elements are below 4 GiB");
        let layout = layout(len);
        // SAFETY: the layout is not empty, and begins with room for a header that it is aligned for.
        let block = unsafe {
            let Some(block) = NonNull::new(alloc(layout).cast::<Header>()) else {
                handle_alloc_error(layout)
            };
            block.write(Header {
                owners: AtomicU32::new(1),
                len: len_field,
            });
            block
        };
        assert_eq!(
            block.addr().get() & !ADDRESS_MASK,
            0,
            "pointers fit 48 bits"
        );
        SharedBytes {
            tagged: block.map_addr(|a| a | usize::from(tag) << TAG_SHIFT),
            owns: PhantomData,
        }
    }

    #[inline]
    fn block(&self) -> *mut Header {
        self.tagged.as_ptr().map_addr(|a| a & ADDRESS_MASK)
    }

    #[inline]
    fn owners(&self) -> &AtomicU32 {
        // SAFETY: the block lives as long as one of its owners; nobody but the count's own operations writes the count.
        unsafe { &(*self.block()).owners }
    }

    #[inline]
    fn start(&self) -> *mut u8 {
        // SAFETY: the bytes lie behind the header, in the same block.
        unsafe { self.block().cast::<u8>().add(HEADER_BYTES) }
    }

    #[inline]
    pub fn tag(&self) -> u16 {
        (self.tagged.addr().get() >> TAG_SHIFT) as u16
    }

    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: the block lives, and its length is written by nobody while we are borrowed.
        unsafe { (*self.block()).len as usize }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the block takes, as if it had no other owner.
    pub fn bytes(&self) -> usize {
        size_class(HEADER_BYTES + self.len())
    }

    /// Whether this is the only owner. While it is borrowed exclusively it stays so.
    #[inline]
    pub fn is_unique(&self) -> bool {
        // Acquire: what the owners before us read of the block happened before we write to it.
        self.owners().load(atomic::Ordering::Acquire) == 1
    }

    /// Whether both are owners of one block.
    pub fn is_same_block(&self, other: &SharedBytes) -> bool {
        ptr::eq(self.block(), other.block())
    }

    /// The bytes, to be written; none while there is another owner.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_unique() {
            return None;
        }
        // SAFETY: initialised up to the length. There is no other owner, and none can come while we are borrowed.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start(), self.len()) })
    }

    /// Puts `insert` in the place of `remove` bytes at `at`: in place where this is the only owner and the block's
    /// class stays, else in a new block.
    ///
    /// # Panics
    /// Where the range to remove is not within the bytes, and above 4 GiB.
    pub fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let old_len = self.len();
        assert!(
            at <= old_len && remove <= old_len - at,
            "the range is within the bytes"
        );
        let added: usize = insert.iter().map(|p| p.len()).sum();
        let len = old_len - remove + added;
        assert!(u32::try_from(len).is_ok(), "elements are below 4 GiB");
        let behind = at + remove..old_len;
        if self.is_unique() && layout(len) == layout(old_len) {
            // SAFETY: we are alone, and the block has room for `len` bytes as its class stays.
            unsafe { self.splice_in_place(at, behind, insert, len) }
            return;
        }
        let new = SharedBytes::with_len(self.tag(), len);
        let (front, back) = (&self[..at], &self[behind]);
        // SAFETY: the block is new and has room for the three, which make up its length.
        unsafe {
            write_parts(new.start(), &[front]);
            write_parts(new.start().add(at), insert);
            write_parts(new.start().add(at + added), &[back]);
        }
        *self = new;
    }

    /// # Safety
    /// This must be the only owner, and the block have room for `len` bytes: those up to `at`, `insert`, those `behind`.
    unsafe fn splice_in_place(
        &mut self,
        at: usize,
        behind: Range<usize>,
        insert: &[&[u8]],
        len: usize,
    ) {
        let start = self.start();
        // SAFETY: the caller's promise; what is inserted can't lie in a block that we have borrowed exclusively. All
        // up to `len` is initialised when the length is written.
        unsafe {
            let to = start.add(len - behind.len());
            ptr::copy(start.add(behind.start), to, behind.len());
            write_parts(start.add(at), insert);
            (*self.block()).len = len as u32;
        }
    }

    /// Asks for the block's first two lines.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(self.block());
        prefetch(self.block().wrapping_byte_add(64));
    }
}

/// The layout of a block for so many bytes.
fn layout(len: usize) -> Layout {
    let size = size_class(HEADER_BYTES + len);
    Layout::from_size_align(size, align_of::<Header>()).expect("elements are below 4 GiB")
}

/// # Safety
/// `at` must be valid for writes of all parts together, and no part may lie there.
unsafe fn write_parts(at: *mut u8, parts: &[&[u8]]) {
    let mut at = at;
    for part in parts {
        // SAFETY: the caller's promise.
        unsafe {
            ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    }
}

impl Clone for SharedBytes {
    #[inline]
    fn clone(&self) -> SharedBytes {
        // Relaxed: the clone's source is an owner already, so nothing must be seen through the count.
        let before = self.owners().fetch_add(1, atomic::Ordering::Relaxed);
        if before > OWNERS_MAX {
            std::process::abort();
        }
        SharedBytes {
            tagged: self.tagged,
            owns: PhantomData,
        }
    }
}

impl Drop for SharedBytes {
    #[inline]
    fn drop(&mut self) {
        // The only owner needs no atomic write: nobody else is there to count up or down.
        // Release: what this owner read happened before the last one frees the block.
        if !self.is_unique() && self.owners().fetch_sub(1, atomic::Ordering::Release) != 1 {
            return;
        }
        atomic::fence(atomic::Ordering::Acquire);
        // SAFETY: this was the last owner. The block was allocated with this layout: an edit in place keeps it.
        unsafe { dealloc(self.block().cast(), layout(self.len())) }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: initialised up to the length, and nobody writes them while we are borrowed.
        unsafe { std::slice::from_raw_parts(self.start(), self.len()) }
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &SharedBytes) -> bool {
        **self == **other
    }
}

impl Eq for SharedBytes {}

impl PartialOrd for SharedBytes {
    fn partial_cmp(&self, other: &SharedBytes) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As bytes, whatever the tags are.
impl Ord for SharedBytes {
    fn cmp(&self, other: &SharedBytes) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:\"{}\"", self.tag(), self.escape_ascii())
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
