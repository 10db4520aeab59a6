//! Owns the order in which the keys of one database expire. Never reads a clock, never holds a key
//! or a pointer: an element is (time, hash, slot), so that the same operations with the same seed
//! give the same order on every machine.
//! Invariant: it holds exactly one element for each entry of the database that has an expiry.

use std::collections::BTreeMap;

/// Where to look for the entry that expires: several may share it when their hashes collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub at: i64,
    pub hash: u64,
    pub slot: u16,
}

#[derive(Default)]
pub(super) struct ExpiryIndex {
    order: BTreeMap<Due, u32>,
    len: u64,
    sum: i128,
}

impl ExpiryIndex {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The average expiry.
    pub fn mean(&self) -> Option<i64> {
        let mean = self.sum.checked_div(i128::from(self.len))?;
        Some(i64::try_from(mean).expect("a mean lies between the extremes"))
    }

    pub fn first(&self) -> Option<Due> {
        self.order.first_key_value().map(|(due, _)| *due)
    }

    /// All whose time lies before `now_ms`, in their order.
    pub fn due(&self, now_ms: i64) -> impl Iterator<Item = Due> + '_ {
        let all = self.order.keys().copied();
        all.take_while(move |due| due.at < now_ms)
    }

    /// One element goes, or another comes, or both; the same one twice is nothing.
    #[inline]
    pub fn replace(&mut self, old: Option<Due>, new: Option<Due>) {
        if old == new {
            return;
        }
        if let Some(due) = old {
            self.remove(due);
        }
        if let Some(due) = new {
            self.add(due);
        }
    }

    fn add(&mut self, due: Due) {
        *self.order.entry(due).or_insert(0) += 1;
        self.len += 1;
        self.sum += i128::from(due.at);
    }

    fn remove(&mut self, due: Due) {
        let count = self
            .order
            .get_mut(&due)
            .expect("every expiry of an entry is indexed");
        *count -= 1;
        if *count == 0 {
            self.order.remove(&due);
        }
        self.len -= 1;
        self.sum -= i128::from(due.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collisions_are_counted() {
        let mut index = ExpiryIndex::default();
        let due = Due {
            at: 5,
            hash: 1,
            slot: 0,
        };
        let later = Due {
            at: 9,
            hash: 0,
            slot: 0,
        };
        index.add(later);
        index.add(due);
        index.add(due);
        assert_eq!(
            (index.first(), index.len(), index.mean()),
            (Some(due), 3, Some(6))
        );
        index.remove(due);
        assert_eq!((index.first(), index.len()), (Some(due), 2));
        index.remove(due);
        assert_eq!((index.first(), index.len()), (Some(later), 1));
        index.remove(later);
        assert_eq!((index.first(), index.len(), index.mean()), (None, 0, None));
    }
}
