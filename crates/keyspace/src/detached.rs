//! Owns values that no key has yet: they are built element by element, and then given to a key. Never knows where
//! the elements come from. Invariant: until [`Keyspace::adopt`] the keyspace is as it was.

use ahash::RandomState;

use super::form::Packing;
use super::raw::{EntryPtr, Mark, Payload};
use super::table::tag_of;
use super::types::hash::HashMut;
use super::types::list::ListMut;
use super::types::set::SetMut;
use super::types::zset_edit::ZsetMut;
use super::types::Limits;
use super::value::{Kind, Value};
use super::{Key, Keyspace};

/// A value with elements that no key has yet.
pub struct Detached {
    /// Of the empty key.
    entry: EntryPtr,
    limits: Limits,
    hasher: RandomState,
}

impl Detached {
    pub fn value(&self) -> Value<'_> {
        Value::of(self.entry.payload())
    }

    pub fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// The hash that it is, to be changed.
    pub fn hash(&mut self) -> HashMut<'_> {
        HashMut::new(&mut self.entry, self.limits, &self.hasher)
    }

    /// The set that it is, to be changed.
    pub fn set(&mut self) -> SetMut<'_> {
        SetMut::new(&mut self.entry, self.limits, &self.hasher)
    }

    /// The list that it is, to be changed.
    pub fn list(&mut self) -> ListMut<'_> {
        ListMut::new(&mut self.entry, self.limits)
    }

    /// The sorted set that it is, to be changed.
    pub fn sorted_set(&mut self) -> ZsetMut<'_> {
        ZsetMut::new(&mut self.entry, self.limits, &self.hasher)
    }
}

impl Keyspace {
    /// A value of this kind without elements.
    ///
    /// # Panics
    /// For strings, which have none.
    pub fn detached(&self, kind: Kind) -> Detached {
        let packing = match kind {
            Kind::String => panic!("a string has no elements"),
            Kind::Hash => Packing::Hash,
            Kind::Set => Packing::SetInts,
            Kind::List => Packing::List,
            Kind::SortedSet => Packing::SortedSet,
        };
        let payload = Payload::Packed(packing, packing.nothing());
        Detached {
            entry: EntryPtr::new(0, Mark::default(), b"", None, payload),
            limits: self.limits,
            hasher: self.upkeep.hasher.clone(),
        }
    }

    /// Gives the key this value, which has elements, whatever it had before.
    pub fn adopt(&mut self, db: u32, key: &Key, value: Detached, expiry: Option<i64>) {
        self.remove(db, key);
        let mut entry = value.entry.with_key(tag_of(key.hash), key.bytes);
        entry.set_expiry(expiry);
        entry.set_mark(self.upkeep.saver.mark);
        self.change(db, key.slot, |d, upkeep| d.insert(key, entry, upkeep));
    }
}
