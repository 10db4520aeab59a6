//! Owns one hash table: buckets of one cache line each, chained where they overflow, and the
//! resizing of it in bounded steps. Never allocates or walks memory in proportion to the number of
//! its entries within one operation. Knows entries by tag and key, nothing of values or time.
//!
//! Invariants:
//! - the number of buckets is a power of two and an entry is in the bucket that the low bits of its
//!   hash name, so that the reverse-binary cursor of [`Table::scan`] keeps Redis's guarantee: what
//!   is there from the first call to the last is visited;
//! - while a resize is under way, the buckets of the old array below `next` are empty and new
//!   entries go to the new array;
//! - within a chain only the last bucket has holes.

use std::ops::ControlFlow;

use ahash::RandomState;
use rand::RngCore;

use super::cut::Saver;
use super::garbage::Garbage;
use super::raw::{empty_buckets, free_empty_buckets, prefetch, Bucket, EntryPtr, BUCKET_SLOTS};

/// The array doubles above this many entries per bucket (12% of the buckets overflow there) and
/// halves below one.
const MAX_LOAD: usize = 5;

/// Buckets moved by an insertion or a removal while a resize is under way. More than one, so that
/// the resize ends before the next one is due.
const BUCKETS_PER_OPERATION: usize = 2;

/// Arrays up to this size are moved in one go.
const SMALL: usize = 8;

/// Emptied arrays above this size (1 MiB) are freed by the taker of the garbage.
const SLOW_TO_FREE: usize = 1 << 14;

/// What moving entries needs, and what it leaves behind.
pub(super) struct Upkeep {
    pub hasher: RandomState,
    pub garbage: Garbage,
    /// Buckets moved since the start.
    pub moved: u64,
    pub saver: Saver,
}

impl Upkeep {
    pub fn hash(&self, key: &[u8]) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

#[derive(Default)]
pub(super) struct Table {
    /// Empty until the first insertion.
    buckets: Box<[Bucket]>,
    len: usize,
    resize: Option<Box<Resize>>,
}

struct Resize {
    from: Box<[Bucket]>,
    next: usize,
}

/// Where a chain begins.
#[derive(Clone, Copy)]
struct Place {
    is_old: bool,
    at: usize,
}

/// The chains that a cursor stands for, and the next cursor.
struct Stop {
    chains: [Option<Place>; 3],
    next: u64,
}

/// The part of the hash that is kept beside an entry's address.
pub(super) fn tag_of(hash: u64) -> u16 {
    (hash >> 48) as u16
}

impl Table {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn resizing(&self) -> bool {
        self.resize.is_some()
    }

    /// The heads of the chains that may hold an entry of this hash.
    fn homes(&self, hash: u64) -> impl Iterator<Item = &Bucket> {
        let old = self.resize.as_deref().and_then(|r| {
            let at = index(hash, r.from.len());
            (at >= r.next).then(|| &r.from[at])
        });
        let new =
            (!self.buckets.is_empty()).then(|| &self.buckets[index(hash, self.buckets.len())]);
        new.into_iter().chain(old)
    }

    /// Fetches the bucket in which an entry of this hash would be.
    pub fn prefetch_bucket(&self, hash: u64) {
        if !self.buckets.is_empty() {
            prefetch(&raw const self.buckets[index(hash, self.buckets.len())]);
        }
    }

    /// Fetches the entry that this hash seems to mean; the bucket should be there already.
    pub fn prefetch_entry(&self, hash: u64) {
        if !self.buckets.is_empty() {
            self.buckets[index(hash, self.buckets.len())].prefetch_entries(tag_of(hash));
        }
    }

    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&EntryPtr> {
        let tag = tag_of(hash);
        self.homes(hash)
            .find_map(|head| chain_find(head, tag, |e| e.key() == key))
    }

    /// An entry of this hash that satisfies `wanted`, which is asked about few others.
    pub fn find(&self, hash: u64, mut wanted: impl FnMut(&EntryPtr) -> bool) -> Option<&EntryPtr> {
        let tag = tag_of(hash);
        self.homes(hash)
            .find_map(|head| chain_find(head, tag, &mut wanted))
    }

    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut EntryPtr> {
        let tag = tag_of(hash);
        if let Some(resize) = self.resize.as_deref_mut() {
            let at = index(hash, resize.from.len());
            if at >= resize.next && chain_has(&resize.from[at], tag, key) {
                return chain_find_mut(&mut resize.from[at], tag, key);
            }
        }
        if self.buckets.is_empty() {
            return None;
        }
        let at = index(hash, self.buckets.len());
        chain_find_mut(&mut self.buckets[at], tag, key)
    }

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, hash: u64, entry: EntryPtr, upkeep: &mut Upkeep) {
        if self.buckets.is_empty() {
            self.buckets = empty_buckets(1);
        }
        let at = index(hash, self.buckets.len());
        chain_insert(&mut self.buckets[at], entry);
        self.len += 1;
        self.resize_if_due();
        self.step(BUCKETS_PER_OPERATION, upkeep);
    }

    pub fn remove(&mut self, hash: u64, key: &[u8], upkeep: &mut Upkeep) -> Option<EntryPtr> {
        let tag = tag_of(hash);
        let mut entry = None;
        if let Some(resize) = self.resize.as_deref_mut() {
            let at = index(hash, resize.from.len());
            if at >= resize.next {
                entry = chain_remove(&mut resize.from[at], tag, key);
            }
        }
        if entry.is_none() && !self.buckets.is_empty() {
            let at = index(hash, self.buckets.len());
            entry = chain_remove(&mut self.buckets[at], tag, key);
        }
        if entry.is_some() {
            self.len -= 1;
            self.resize_if_due();
            self.step(BUCKETS_PER_OPERATION, upkeep);
        }
        entry
    }

    fn resize_if_due(&mut self) {
        let now = self.buckets.len();
        if self.resize.is_some() {
            return;
        }
        let target = match now {
            0 => return,
            1 if self.len <= BUCKET_SLOTS => return,
            _ if self.len > MAX_LOAD * now => now * 2,
            2.. if self.len < now => now / 2,
            _ => return,
        };
        let from = std::mem::replace(&mut self.buckets, empty_buckets(target));
        self.resize = Some(Box::new(Resize { from, next: 0 }));
    }

    /// Moves up to `buckets` buckets of a resize that is under way (a small array as a whole).
    /// True if there is more to do.
    pub fn step(&mut self, buckets: usize, upkeep: &mut Upkeep) -> bool {
        let Some(resize) = self.resize.as_deref_mut() else {
            return false;
        };
        let from = &mut resize.from;
        let buckets = if from.len() <= SMALL { SMALL } else { buckets };
        let end = from.len().min(resize.next + buckets);
        for bucket in &mut from[resize.next..end] {
            upkeep.moved += 1;
            chain_move(std::mem::take(bucket), &mut self.buckets, upkeep);
        }
        resize.next = end;
        if end < from.len() {
            return true;
        }
        let emptied = std::mem::take(from);
        self.resize = None;
        if emptied.len() > SLOW_TO_FREE {
            upkeep.garbage.buckets(emptied);
        } else {
            free_empty_buckets(emptied);
        }
        self.resize_if_due();
        self.resize.is_some()
    }

    /// Visits what the cursor stands for, one or more chains, and returns the next cursor; 0 is both
    /// the start and the end. Any number is a valid cursor.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(&EntryPtr)) -> u64 {
        let stop = self.stop_at(cursor);
        for place in stop.chains.into_iter().flatten() {
            let array = match (&self.resize, place.is_old) {
                (Some(resize), true) => &resize.from,
                _ => &self.buckets,
            };
            chain_iter(&array[place.at]).for_each(&mut *visit);
        }
        stop.next
    }

    /// The same for a walk, which may change what entries say, and nothing else.
    pub fn walk(&mut self, cursor: u64, visit: &mut impl FnMut(&mut EntryPtr)) -> u64 {
        let stop = self.stop_at(cursor);
        for place in stop.chains.into_iter().flatten() {
            let array = match (&mut self.resize, place.is_old) {
                (Some(resize), true) => &mut resize.from,
                _ => &mut self.buckets,
            };
            chain_for_each_mut(&mut array[place.at], visit);
        }
        stop.next
    }

    /// Asks for the entries of a walk's next stop, and for the bucket of the one behind it.
    pub fn prefetch_walk(&self, cursor: u64) {
        let buckets = self.buckets.len();
        if buckets > 0 {
            self.buckets[index(cursor, buckets)].prefetch_all();
            let behind = next_cursor(cursor, buckets);
            prefetch(&raw const self.buckets[index(behind, buckets)]);
        }
    }

    /// What the cursor stands for: a chain or, while a resize is under way, one of the smaller array and all
    /// of the larger one into which that expands.
    fn stop_at(&self, cursor: u64) -> Stop {
        let buckets = self.buckets.len();
        let mut chains = [None; 3];
        if buckets == 0 {
            return Stop { chains, next: 0 };
        }
        let old = self.resize.as_deref().map_or(buckets, |r| r.from.len());
        let (small, large) = (old.min(buckets), old.max(buckets));
        let place = |cursor, of: usize| {
            Some(Place {
                is_old: of != buckets,
                at: index(cursor, of),
            })
        };
        if small == large {
            chains[0] = place(cursor, buckets);
            let next = next_cursor(cursor, buckets);
            return Stop { chains, next };
        }
        assert_eq!(large, 2 * small, "an array doubles or halves");
        chains[0] = place(cursor, small);
        let expansion = (large - small) as u64;
        let mut cursor = cursor;
        for chain in &mut chains[1..] {
            *chain = place(cursor, large);
            cursor = next_cursor(cursor, large);
            if cursor & expansion == 0 {
                break;
            }
        }
        let next = cursor;
        Stop { chains, next }
    }

    /// All entries in an order that only the table's history decides.
    pub fn try_for_each<B>(
        &self,
        visit: &mut dyn FnMut(&EntryPtr) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let old = self
            .resize
            .as_deref()
            .map_or(&[][..], |r| &r.from[r.next..]);
        old.iter()
            .chain(self.buckets.iter())
            .flat_map(chain_iter)
            .try_for_each(visit)
    }

    /// An entry drawn evenly.
    pub fn random(&self, rng: &mut dyn RngCore) -> Option<&EntryPtr> {
        if self.len == 0 {
            return None;
        }
        let old = self
            .resize
            .as_deref()
            .map_or(&[][..], |r| &r.from[r.next..]);
        let count = old.len() + self.buckets.len();
        let head = |at: usize| match at.checked_sub(old.len()) {
            None => &old[at],
            Some(at) => &self.buckets[at],
        };
        // A chain is drawn evenly and taken in proportion to its length. A table is resized before
        // it is sparse, so this rarely takes more than a dozen tries.
        const LONGEST: u64 = 2 * BUCKET_SLOTS as u64;
        for _ in 0..1000 {
            let bucket = head(below(rng, count as u64) as usize);
            let len = chain_iter(bucket).count() as u64;
            let drawn = below(rng, LONGEST.max(len));
            if drawn < len {
                return chain_iter(bucket).nth(drawn as usize);
            }
        }
        let start = below(rng, count as u64) as usize;
        (0..count).find_map(|i| chain_iter(head((start + i) % count)).next())
    }
}

/// A number below `end`. The bias is less than end / 2^64.
pub(super) fn below(rng: &mut dyn RngCore, end: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(end)) >> 64) as u64
}

#[inline]
fn index(hash: u64, buckets: usize) -> usize {
    hash as usize & (buckets - 1)
}

/// The cursor counts in bits from the highest of the array's index to the lowest, so that the
/// buckets already visited stay visited when the array doubles or halves.
fn next_cursor(cursor: u64, buckets: usize) -> u64 {
    let above_index = !(buckets as u64 - 1);
    (cursor | above_index)
        .reverse_bits()
        .wrapping_add(1)
        .reverse_bits()
}

#[inline]
fn find_in(bucket: &Bucket, tag: u16, mut wanted: impl FnMut(&EntryPtr) -> bool) -> Option<usize> {
    let mut candidates = bucket.candidates(tag);
    while candidates != 0 {
        let i = candidates.trailing_zeros() as usize;
        if bucket.slots[i].as_ref().is_some_and(&mut wanted) {
            return Some(i);
        }
        candidates &= candidates - 1;
    }
    None
}

#[inline]
fn chain_find(
    head: &Bucket,
    tag: u16,
    mut wanted: impl FnMut(&EntryPtr) -> bool,
) -> Option<&EntryPtr> {
    let mut bucket = head;
    loop {
        if let Some(i) = find_in(bucket, tag, &mut wanted) {
            return bucket.slots[i].as_ref();
        }
        bucket = bucket.child.as_deref()?;
    }
}

fn chain_has(head: &Bucket, tag: u16, key: &[u8]) -> bool {
    chain_find(head, tag, |e| e.key() == key).is_some()
}

#[inline]
fn chain_find_mut<'a>(head: &'a mut Bucket, tag: u16, key: &[u8]) -> Option<&'a mut EntryPtr> {
    let mut bucket = head;
    loop {
        if let Some(i) = find_in(bucket, tag, |e| e.key() == key) {
            return bucket.slots[i].as_mut();
        }
        bucket = bucket.child.as_deref_mut()?;
    }
}

fn chain_iter(head: &Bucket) -> impl Iterator<Item = &EntryPtr> {
    std::iter::successors(Some(head), |b| b.child.as_deref())
        .flat_map(|b| b.slots.iter())
        .flatten()
}

fn chain_for_each_mut(head: &mut Bucket, visit: &mut impl FnMut(&mut EntryPtr)) {
    let mut bucket = Some(head);
    while let Some(b) = bucket {
        b.slots.iter_mut().flatten().for_each(&mut *visit);
        bucket = b.child.as_deref_mut();
    }
}

fn chain_insert(head: &mut Bucket, entry: EntryPtr) {
    let mut bucket = head;
    loop {
        if let Some(free) = bucket.slots.iter_mut().find(|s| s.is_none()) {
            *free = Some(entry);
            return;
        }
        bucket = bucket.child.get_or_insert_default();
    }
}

/// Takes an entry out and fills its place from the end of the chain.
fn chain_remove(head: &mut Bucket, tag: u16, key: &[u8]) -> Option<EntryPtr> {
    if let Some(i) = find_in(head, tag, |e| e.key() == key) {
        return take_and_fill(head, i);
    }
    let mut link = &mut head.child;
    loop {
        if let Some(i) = find_in(link.as_deref()?, tag, |e| e.key() == key) {
            let bucket = link.as_deref_mut()?;
            let entry = take_and_fill(bucket, i);
            if bucket.slots.iter().all(Option::is_none) {
                *link = None;
            }
            return entry;
        }
        link = &mut link.as_deref_mut()?.child;
    }
}

fn take_and_fill(bucket: &mut Bucket, at: usize) -> Option<EntryPtr> {
    let entry = bucket.slots[at].take();
    bucket.slots[at] = pop_last(&mut bucket.child);
    entry
}

/// An entry of the last bucket of a chain, which is freed when it was the last one there.
fn pop_last(link: &mut Option<Box<Bucket>>) -> Option<EntryPtr> {
    let mut link = link;
    while link.as_ref()?.child.is_some() {
        link = &mut link.as_mut()?.child;
    }
    let slots = &mut link.as_mut()?.slots;
    let entry = slots.iter_mut().rev().find_map(Option::take);
    if slots.iter().all(Option::is_none) {
        *link = None;
    }
    entry
}

fn chain_move(head: Bucket, to: &mut [Bucket], upkeep: &Upkeep) {
    let mut bucket = head;
    loop {
        for entry in bucket.slots.into_iter().flatten() {
            let hash = upkeep.hash(entry.key());
            chain_insert(&mut to[index(hash, to.len())], entry);
        }
        match bucket.child {
            Some(child) => bucket = *child,
            None => return,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
