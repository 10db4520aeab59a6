//! Owns a hash table of elements that are found by a key: linear hashing in buckets of a cache line, copied on write by
//! segments. Never hashes by itself, never knows what an element holds beside its key, and never walks memory in proportion
//! to its elements but in the walks over all.
//!
//! Invariants:
//! - with `n` buckets and `2^l` the largest power of two up to `n`, an element is in the bucket that the low `l + 1`
//!   bits of its hash name or, where that is not there yet, in the one that the low `l` bits name. So buckets come and go at
//!   the end, one at a time, and the reverse-binary cursor of [`Table::scan`] keeps Redis's guarantee: what is there
//!   from the first call to the last is visited;
//! - an insertion splits one bucket at most and a removal merges one at most, which keeps the load between the two limits;
//! - all segments but the last are full;
//! - `bytes` is what the allocator has given for all of it, as if nothing were shared.

mod bucket;
mod segment;

use std::ops::{Deref, DerefMut};

use rand::RngCore;
use triomphe::Arc;

use self::bucket::{Bucket, SLOTS};
use self::segment::Segment;
use crate::shared::prefetch;
use crate::{size_class, Pair, SharedBytes};

/// An insertion that brings the table above this many elements for each bucket splits a bucket.
const MAX_LOAD: usize = 5;

/// A removal that leaves fewer elements than this for each bucket but one merges a bucket.
const MIN_LOAD: usize = 4;

/// The longest chain of which [`Table::random`] draws an element exactly as often as any other. One chain of a
/// thousand is longer in the worst case: just before the last bucket of a level is split.
const LONGEST: u64 = 3 * SLOTS as u64;

/// What a table holds. To clone one counts an owner of its bytes and copies few of its own.
pub trait Element: Clone {
    /// [`tag_of`] the key's hash.
    fn tag(&self) -> u16;

    fn key(&self) -> &[u8];

    /// Bytes of memory that are the element's own but for those in the table's slot, as if nothing were shared.
    fn bytes(&self) -> usize;

    /// Asks for the lines that a comparison of keys reads.
    fn prefetch(&self) {}
}

/// The part of a hash that is kept beside an element's address.
pub fn tag_of(hash: u64) -> u16 {
    (hash >> 48) as u16
}

/// A table. To clone it counts one owner more for each segment, which is for hundreds of elements; the first edit in
/// a segment that is shared copies that segment.
pub struct Table<T> {
    /// Empty until the first insertion.
    segments: Vec<Arc<Segment<T>>>,
    buckets: usize,
    len: usize,
    bytes: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            segments: Vec::new(),
            buckets: 0,
            len: 0,
            bytes: 0,
        }
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Table<T> {
        let mut segments = Vec::with_capacity(self.segments.capacity());
        segments.extend_from_slice(&self.segments);
        Table { segments, ..*self }
    }
}

/// An element that is borrowed to be edited. Its key must stay.
pub struct ElementMut<'a, T: Element> {
    element: &'a mut T,
    before: usize,
    bytes: &'a mut u64,
}

impl<T: Element> Deref for ElementMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.element
    }
}

impl<T: Element> DerefMut for ElementMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.element
    }
}

impl<T: Element> Drop for ElementMut<'_, T> {
    fn drop(&mut self) {
        *self.bytes -= self.before as u64;
        *self.bytes += self.element.bytes() as u64;
    }
}

impl<T> Table<T> {
    pub fn new() -> Table<T> {
        Table::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the table and its elements take beside this struct, as if nothing were shared.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bucket in which an element of this hash is. There must be one.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let level = self.buckets.next_power_of_two();
        let at = hash as usize & (level - 1);
        if at < self.buckets {
            at
        } else {
            at - level / 2
        }
    }

    #[inline]
    fn bucket(&self, at: usize) -> &Bucket<T> {
        &self.segments[at / Segment::<T>::FULL].buckets()[at % Segment::<T>::FULL]
    }
}

/// A bucket to be edited: its segment is copied if it is shared.
#[inline]
fn bucket_mut<T: Element>(segments: &mut [Arc<Segment<T>>], at: usize) -> &mut Bucket<T> {
    let segment = Arc::make_mut(&mut segments[at / Segment::<T>::FULL]);
    &mut segment.buckets_mut()[at % Segment::<T>::FULL]
}

/// The bucket out of which the bucket `at`, which is not the first, is split, and into which it is merged.
fn parent_of(at: usize) -> usize {
    at - (1 << at.ilog2())
}

impl<T: Element> Table<T> {
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&T> {
        if self.buckets == 0 {
            return None;
        }
        let found = self.bucket(self.home(hash)).find(tag_of(hash), key);
        found.map(|(_, element)| element)
    }

    /// An element of this hash that satisfies `wanted`, which is asked about few others.
    pub fn find(&self, hash: u64, mut wanted: impl FnMut(&T) -> bool) -> Option<&T> {
        if self.buckets == 0 {
            return None;
        }
        let (bucket, tag) = (self.bucket(self.home(hash)), tag_of(hash));
        let mut alike = bucket.iter().filter(|element| element.tag() == tag);
        alike.find(|element| wanted(element))
    }

    /// The bucket of an element, and where in its chain it is.
    fn place(&self, hash: u64, key: &[u8]) -> Option<(usize, usize)> {
        if self.buckets == 0 {
            return None;
        }
        let home = self.home(hash);
        let (at, _) = self.bucket(home).find(tag_of(hash), key)?;
        Some((home, at))
    }

    /// The element, to be edited. Other tables keep it as it is, so bytes that it shares with them are shared still.
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<ElementMut<'_, T>> {
        let (home, at) = self.place(hash, key)?;
        let element = bucket_mut(&mut self.segments, home).nth_mut(at)?;
        Some(ElementMut {
            before: element.bytes(),
            element,
            bytes: &mut self.bytes,
        })
    }

    /// Adds an element whose key is not there yet. `hasher` gives the hash of any key.
    pub fn insert(&mut self, hash: u64, element: T, hasher: impl Fn(&[u8]) -> u64) {
        debug_assert!(hasher(element.key()) == hash && element.tag() == tag_of(hash));
        if self.buckets == 0 {
            self.push_bucket(Bucket::default());
        }
        self.bytes += element.bytes() as u64;
        let home = self.home(hash);
        bucket_mut(&mut self.segments, home).push(element, &mut self.bytes);
        self.len += 1;
        let most = match self.buckets {
            1 => SLOTS,
            buckets => MAX_LOAD * buckets,
        };
        if self.len > most {
            self.split(hasher);
        }
    }

    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<T> {
        let (home, at) = self.place(hash, key)?;
        let element = bucket_mut(&mut self.segments, home).remove(at, &mut self.bytes)?;
        self.bytes -= element.bytes() as u64;
        self.len -= 1;
        if self.buckets > 1 && self.len < MIN_LOAD * (self.buckets - 1) {
            self.merge();
        }
        Some(element)
    }

    /// Adds a bucket at the end and moves to it what belongs there.
    fn split(&mut self, hasher: impl Fn(&[u8]) -> u64) {
        let at = self.buckets;
        let parent = parent_of(at);
        let bit = (at - parent) as u64;
        let from = bucket_mut(&mut self.segments, parent);
        let mut born = Bucket::default();
        for element in std::mem::take(from).drain(&mut self.bytes) {
            let to = if hasher(element.key()) & bit == 0 {
                &mut *from
            } else {
                &mut born
            };
            to.push(element, &mut self.bytes);
        }
        self.push_bucket(born);
        self.prefetch_split();
    }

    /// Asks for what the next two splits read. Between them are few insertions, and each would wait for all elements of
    /// a bucket.
    fn prefetch_split(&self) {
        self.bucket(parent_of(self.buckets)).prefetch();
        let behind = parent_of(self.buckets + 1);
        prefetch(self.bucket(behind));
    }

    /// Takes the last bucket away and moves its elements to where they were before it came.
    fn merge(&mut self) {
        let from = self.pop_bucket();
        let to = bucket_mut(&mut self.segments, parent_of(self.buckets));
        for element in from.drain(&mut self.bytes) {
            to.push(element, &mut self.bytes);
        }
    }

    fn push_bucket(&mut self, bucket: Bucket<T>) {
        if self.buckets % Segment::<T>::FULL == 0 {
            let new = Segment::new();
            self.bytes += new.bytes();
            self.push_segment(Arc::new(new));
        }
        let last = self.segments.last_mut().expect("there is one now");
        let last = Arc::make_mut(last);
        self.bytes -= last.bytes();
        last.push(bucket, self.buckets);
        self.bytes += last.bytes();
        self.buckets += 1;
    }

    fn pop_bucket(&mut self) -> Bucket<T> {
        self.buckets -= 1;
        let last = self.segments.last_mut().expect("buckets are in segments");
        let last = Arc::make_mut(last);
        self.bytes -= last.bytes();
        let bucket = last.pop(self.buckets);
        self.bytes += last.bytes();
        if self.buckets % Segment::<T>::FULL == 0 {
            self.pop_segment();
        }
        bucket.expect("the last segment is never empty")
    }

    fn push_segment(&mut self, segment: Arc<Segment<T>>) {
        let (len, capacity) = (self.segments.len(), self.segments.capacity());
        if len == capacity {
            self.bytes -= directory_bytes(capacity);
            let wanted = directory_bytes(capacity + capacity / 4 + 1) as usize;
            self.segments
                .reserve_exact(wanted / size_of::<usize>() - len);
            self.bytes += directory_bytes(self.segments.capacity());
        }
        self.segments.push(segment);
    }

    fn pop_segment(&mut self) {
        let segment = self.segments.pop();
        self.bytes -= segment.map_or(0, |s| s.bytes());
        let (len, capacity) = (self.segments.len(), self.segments.capacity());
        if 2 * len <= capacity {
            self.bytes -= directory_bytes(capacity);
            self.segments.shrink_to(len);
            self.bytes += directory_bytes(self.segments.capacity());
        }
    }

    /// All elements, in an order that only the table's history decides.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let buckets = self.segments.iter().flat_map(|s| s.walk());
        buckets.flat_map(Bucket::iter)
    }

    /// Visits what the cursor stands for, one or two chains, and returns the next cursor; 0 is both the start and the
    /// end. Any number is a valid cursor.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(&T)) -> u64 {
        if self.buckets == 0 {
            return 0;
        }
        let level = 1 << self.buckets.ilog2();
        let at = cursor as usize & (level - 1);
        self.bucket(at).iter().for_each(&mut *visit);
        if at + level < self.buckets {
            self.bucket(at + level).iter().for_each(visit);
        }
        next_cursor(cursor, level)
    }

    /// An element drawn evenly.
    pub fn random(&self, rng: &mut dyn RngCore) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        // A chain is drawn evenly and taken in proportion to its length. A table is never sparse, so this rarely takes
        // more than a dozen tries; while one is looked at the next is fetched.
        let mut draw = || {
            let bucket = self.bucket(below(rng, self.buckets as u64) as usize);
            prefetch(bucket);
            (bucket, rng.next_u64())
        };
        let mut next = draw();
        for _ in 0..1000 {
            let (bucket, chance) = std::mem::replace(&mut next, draw());
            let len = bucket.len() as u64;
            let drawn = scale(chance, LONGEST.max(len));
            if drawn < len {
                return bucket.nth(drawn as usize);
            }
        }
        let start = below(rng, self.buckets as u64) as usize;
        let mut from_there = (start..self.buckets).chain(0..start);
        from_there.find_map(|at| self.bucket(at).nth(0))
    }
}

/// What the directory takes of the allocator.
fn directory_bytes(capacity: usize) -> u64 {
    match capacity {
        0 => 0,
        _ => size_class(capacity * size_of::<usize>()) as u64,
    }
}

/// A number below `end`. The bias is less than end / 2^64.
fn below(rng: &mut dyn RngCore, end: u64) -> u64 {
    scale(rng.next_u64(), end)
}

/// Brings a number out of all `u64` below `end`.
fn scale(number: u64, end: u64) -> u64 {
    ((u128::from(number) * u128::from(end)) >> 64) as u64
}

/// The cursor counts in bits from the highest of the level's to the lowest, so that the elements already visited stay
/// visited when a level begins or ends.
fn next_cursor(cursor: u64, level: usize) -> u64 {
    let above_level = !(level as u64 - 1);
    (cursor | above_level)
        .reverse_bits()
        .wrapping_add(1)
        .reverse_bits()
}

impl Element for SharedBytes {
    #[inline]
    fn tag(&self) -> u16 {
        self.tag()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    #[inline]
    fn prefetch(&self) {
        self.prefetch();
    }
}

impl Element for Pair {
    #[inline]
    fn tag(&self) -> u16 {
        self.tag()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.field()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    #[inline]
    fn prefetch(&self) {
        self.prefetch();
    }
}

/// A member with its score.
impl Element for (SharedBytes, f64) {
    #[inline]
    fn tag(&self) -> u16 {
        self.0.tag()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.0
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    #[inline]
    fn prefetch(&self) {
        self.0.prefetch();
    }
}

const _: () = {
    assert!(size_of::<Bucket<SharedBytes>>() == 64 && size_of::<Bucket<Pair>>() == 64);
    assert!(size_of::<Bucket<(SharedBytes, f64)>>() == 128);
};

#[cfg(test)]
mod tests;
