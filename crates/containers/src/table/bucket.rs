//! Owns one bucket of a table, a cache line or two, with the buckets that are chained behind it where it overflows.
//! Never knows hashes but for the tag, nor other buckets.
//!
//! Invariant: the elements of a chain lie without holes, from the first slot of the first bucket on; no bucket behind the first
//! is empty.

use super::Element;

/// Elements in one bucket, beside the pointer to a further one.
pub(super) const SLOTS: usize = 7;

#[repr(C, align(64))]
#[derive(Clone)]
pub(super) struct Bucket<T> {
    slots: [Option<T>; SLOTS],
    child: Option<Box<Bucket<T>>>,
}

impl<T> Default for Bucket<T> {
    fn default() -> Bucket<T> {
        Bucket {
            slots: [const { None }; SLOTS],
            child: None,
        }
    }
}

impl<T> Bucket<T> {
    /// What a further bucket takes, in bytes; it is a class of the allocator's by itself.
    pub const BYTES: usize = crate::size_class(size_of::<Bucket<T>>());

    /// The buckets of the chain, this one first.
    fn chain(&self) -> impl Iterator<Item = &Bucket<T>> {
        std::iter::successors(Some(self), |b| b.child.as_deref())
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chain().flat_map(|b| b.slots.iter()).flatten()
    }

    /// Elements of the chain.
    pub fn len(&self) -> usize {
        let count = |b: &Bucket<T>| b.slots.iter().flatten().count();
        self.chain().map(count).sum()
    }

    /// Buckets behind this one.
    pub fn children(&self) -> usize {
        self.chain().count() - 1
    }

    pub fn nth(&self, at: usize) -> Option<&T> {
        let bucket = self.chain().nth(at / SLOTS)?;
        bucket.slots[at % SLOTS].as_ref()
    }

    pub fn nth_mut(&mut self, at: usize) -> Option<&mut T> {
        let mut bucket = self;
        for _ in 0..at / SLOTS {
            bucket = bucket.child.as_deref_mut()?;
        }
        bucket.slots[at % SLOTS].as_mut()
    }

    /// Puts an element behind all others, and counts the bucket that this may need in `bytes`.
    pub fn push(&mut self, element: T, bytes: &mut u64) {
        let mut bucket = self;
        loop {
            if let Some(free) = bucket.slots.iter_mut().find(|s| s.is_none()) {
                *free = Some(element);
                return;
            }
            bucket = bucket.child.get_or_insert_with(|| {
                *bytes += Bucket::<T>::BYTES as u64;
                Box::default()
            });
        }
    }

    /// Takes an element out; the last one of the chain fills its place.
    pub fn remove(&mut self, at: usize, bytes: &mut u64) -> Option<T> {
        let last = self.pop(bytes)?;
        match self.nth_mut(at) {
            Some(element) => Some(std::mem::replace(element, last)),
            None => Some(last),
        }
    }

    fn pop(&mut self, bytes: &mut u64) -> Option<T> {
        let Some(child) = self.child.as_deref_mut() else {
            return self.slots.iter_mut().rev().find_map(Option::take);
        };
        let last = child.pop(bytes);
        if child.slots[0].is_none() {
            *bytes -= Bucket::<T>::BYTES as u64;
            self.child = None;
        }
        last
    }

    /// Takes all elements out.
    pub fn drain(self, bytes: &mut u64) -> impl Iterator<Item = T> {
        *bytes -= (self.children() * Bucket::<T>::BYTES) as u64;
        let mut next = Some(self);
        let buckets = std::iter::from_fn(move || {
            let bucket = next.take()?;
            next = bucket.child.map(|c| *c);
            Some(bucket.slots)
        });
        buckets.flatten().flatten()
    }
}

impl<T: Element> Bucket<T> {
    /// A bit for each slot that may hold an element of this tag; without branches, for where in its
    /// bucket an element lies can't be predicted.
    #[inline]
    fn candidates(&self, tag: u16) -> u32 {
        let is_like = |slot: &Option<T>| slot.as_ref().is_some_and(|e| e.tag() == tag);
        (0..SLOTS).fold(0, |bits, i| bits | u32::from(is_like(&self.slots[i])) << i)
    }

    /// The element of this key, and where in the chain it is.
    #[inline]
    pub fn find(&self, tag: u16, key: &[u8]) -> Option<(usize, &T)> {
        let (mut bucket, mut before) = (self, 0);
        loop {
            let mut candidates = bucket.candidates(tag);
            while candidates != 0 {
                let i = candidates.trailing_zeros() as usize;
                if let Some(element) = bucket.slots[i].as_ref().filter(|e| e.key() == key) {
                    return Some((before + i, element));
                }
                candidates &= candidates - 1;
            }
            before += SLOTS;
            bucket = bucket.child.as_deref()?;
        }
    }

    /// Asks for the first lines of the elements in the first bucket, and for the next bucket of the chain.
    #[inline]
    pub fn prefetch(&self) {
        self.slots.iter().flatten().for_each(T::prefetch);
        if let Some(child) = &self.child {
            crate::shared::prefetch(&raw const **child);
        }
    }
}
