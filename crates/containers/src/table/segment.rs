//! Owns one segment of a table: the part that a clone shares and that an edit of a shared one copies. Never knows hashes,
//! nor how many segments there are.
//!
//! The buckets are behind a pointer: so the counts of all segments lie together in the caches, and a segment's buckets
//! fill a class of the allocator. With the count in front of them they would take the next class, a quarter more.

use super::bucket::Bucket;
use super::Element;
use crate::size_class;

/// A full segment's buckets, in bytes. The allocator gives 16 KiB and more an extra page each.
const FULL_BYTES: usize = 8 << 10;

/// The segment itself with the count that `triomphe::Arc` puts in front of it, in bytes.
const HEAD_BYTES: usize = size_class(size_of::<usize>() + size_of::<Segment<()>>());

/// How many buckets ahead of a walk elements are asked for.
const AHEAD: usize = 3;

pub(super) struct Segment<T> {
    buckets: Vec<Bucket<T>>,
}

impl<T> Segment<T> {
    /// Buckets of a full segment; a power of two.
    pub const FULL: usize = 1 << (FULL_BYTES / size_of::<Bucket<T>>()).ilog2();

    pub fn new() -> Segment<T> {
        Segment {
            buckets: Vec::new(),
        }
    }

    pub fn buckets(&self) -> &[Bucket<T>] {
        &self.buckets
    }

    pub fn buckets_mut(&mut self) -> &mut [Bucket<T>] {
        &mut self.buckets
    }

    /// Bytes of memory but for elements and chained buckets.
    pub fn bytes(&self) -> u64 {
        let buckets = match self.buckets.capacity() {
            0 => 0,
            capacity => size_class(capacity * size_of::<Bucket<T>>()),
        };
        (HEAD_BYTES + buckets) as u64
    }

    /// Room for one bucket more in a table of `total` buckets: a class of the allocator's, and not less than an
    /// eighth of the table, so that a large table rarely moves its last segment.
    fn room(len: usize, total: usize) -> usize {
        let wanted = (len + 1).max(total / 8).min(Segment::<T>::FULL);
        let capacity = size_class(wanted * size_of::<Bucket<T>>()) / size_of::<Bucket<T>>();
        capacity.min(Segment::<T>::FULL)
    }

    pub fn push(&mut self, bucket: Bucket<T>, total: usize) {
        let len = self.buckets.len();
        if len == self.buckets.capacity() {
            self.buckets
                .reserve_exact(Segment::<T>::room(len, total) - len);
        }
        self.buckets.push(bucket);
    }

    pub fn pop(&mut self, total: usize) -> Option<Bucket<T>> {
        let bucket = self.buckets.pop();
        let len = self.buckets.len();
        if 2 * len <= self.buckets.capacity() {
            self.buckets.shrink_to(Segment::<T>::room(len, total));
        }
        bucket
    }
}

impl<T: Element> Segment<T> {
    /// All buckets, while the elements of those that come next are fetched.
    pub fn walk(&self) -> impl Iterator<Item = &Bucket<T>> {
        let buckets = &self.buckets[..];
        buckets.iter().enumerate().map(move |(i, bucket)| {
            if let Some(ahead) = buckets.get(i + AHEAD) {
                ahead.prefetch();
            }
            bucket
        })
    }
}

/// The copy takes the same room, so that a table's count of its bytes stays right when it copies a part.
impl<T: Element> Clone for Segment<T> {
    fn clone(&self) -> Segment<T> {
        let mut buckets = Vec::with_capacity(self.buckets.capacity());
        buckets.extend(self.walk().cloned());
        Segment { buckets }
    }
}
