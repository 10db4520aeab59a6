//! A set of hash slots, as the bus sends it: a bitmap of 16384 bits.

use crate::slot::SLOT_COUNT;
use std::fmt;

const BYTES: usize = SLOT_COUNT as usize / 8;

/// A set of slots. Slot `s` is bit `s % 8` (the lowest first) of byte `s / 8`.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u8; BYTES]>);

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet(Box::new([0; BYTES]))
    }
}

impl SlotSet {
    pub fn from_bitmap(bytes: &[u8; BYTES]) -> SlotSet {
        SlotSet(Box::new(*bytes))
    }

    pub fn bitmap(&self) -> &[u8; BYTES] {
        &self.0
    }

    pub fn contains(&self, slot: u16) -> bool {
        self.0[usize::from(slot / 8)] & 1 << (slot % 8) != 0
    }

    /// Adds a slot; false if it was there.
    pub fn insert(&mut self, slot: u16) -> bool {
        let new = !self.contains(slot);
        self.0[usize::from(slot / 8)] |= 1 << (slot % 8);
        new
    }

    /// Takes a slot out; false if it was not there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let was = self.contains(slot);
        self.0[usize::from(slot / 8)] &= !(1 << (slot % 8));
        was
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|b| b.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }

    /// The slots in order. Empty stretches cost next to nothing: most sets of a large cluster are
    /// small.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words()
            .filter(|(_, word)| *word != 0)
            .flat_map(|(base, word)| {
                let bits =
                    std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
                let bits = bits.take_while(|word| *word != 0);
                bits.map(move |word| base + word.trailing_zeros() as u16)
            })
    }

    /// The slots that one of both has and the other has not.
    pub fn differences(&self, other: &SlotSet) -> SlotSet {
        let mut out = self.clone();
        for (byte, theirs) in out.0.iter_mut().zip(other.0.iter()) {
            *byte ^= theirs;
        }
        out
    }

    /// Adds all slots of another set.
    pub fn unite(&mut self, other: &SlotSet) {
        for (byte, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *byte |= theirs;
        }
    }

    /// Maximal runs of adjacent slots, both ends included, in order.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut out: Vec<(u16, u16)> = Vec::new();
        let mut from = 0;
        while let Some(first) = self.next(from, true) {
            from = self.next(first, false).unwrap_or(SLOT_COUNT);
            out.push((first, from - 1));
        }
        out
    }

    /// The first slot from `from` on that is, or is not, in the set.
    fn next(&self, from: u16, wanted: bool) -> Option<u16> {
        let flip = if wanted { 0 } else { u64::MAX };
        let mut ahead = u64::MAX << (from % 64);
        let words = self.words().skip(usize::from(from / 64));
        for (base, word) in words {
            let found = (word ^ flip) & ahead;
            if found != 0 {
                return Some(base + found.trailing_zeros() as u16);
            }
            ahead = u64::MAX;
        }
        None
    }

    /// 64 slots at a time: the first of them, and the lowest bit for it.
    fn words(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.0.chunks_exact(8).enumerate().map(|(i, bytes)| {
            let bytes = bytes.try_into().expect("a chunk has eight bytes");
            (i as u16 * 64, u64::from_le_bytes(bytes))
        })
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> SlotSet {
        let mut set = SlotSet::default();
        slots.into_iter().for_each(|s| {
            set.insert(s);
        });
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_differ_and_unite_slot_by_slot() {
        let a: SlotSet = [0, 1, 9, 16383].into_iter().collect();
        let b: SlotSet = [1, 2, 16383].into_iter().collect();
        assert_eq!(a.differences(&b).iter().collect::<Vec<_>>(), [0, 2, 9]);
        assert!(a.differences(&a).is_empty());
        let mut all = a.clone();
        all.unite(&b);
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 1, 2, 9, 16383]);
    }

    #[test]
    fn ranges_are_maximal_and_in_order() {
        let set: SlotSet = [0, 1, 2, 7, 16383, 16382, 100].into_iter().collect();
        assert_eq!(set.ranges(), [(0, 2), (7, 7), (100, 100), (16382, 16383)]);
        assert_eq!(set.len(), 7);
        assert_eq!(set.bitmap()[0], 0b1000_0111);
    }

    #[test]
    fn insert_and_remove_say_what_changed() {
        let mut set = SlotSet::default();
        assert!(set.insert(5) && !set.insert(5));
        assert!(set.remove(5) && !set.remove(5) && set.is_empty());
    }
}
