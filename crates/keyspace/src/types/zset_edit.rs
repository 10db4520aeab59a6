//! How sorted sets are changed, and when a packed one becomes a table.

use std::ops::Range;
use std::sync::Arc;

use ahash::RandomState;
use containers::listpack::{self, Digits, Element, Listpack};
use containers::Splice;

use super::zset::{in_order, pair, score_element, Form, ZsetObject, ZsetRef, ZsetTable};
use super::{packed, Limits, PACKED_MAX};
use crate::form::Packing;
use crate::object::Object;
use crate::raw::{EntryPtr, Payload};

/// A sorted set that is being changed. It may become empty: its key goes then.
pub struct ZsetMut<'e> {
    entry: &'e mut EntryPtr,
    limits: Limits,
    hasher: &'e RandomState,
}

impl<'e> ZsetMut<'e> {
    /// The entry must hold a sorted set, and be saved.
    pub(crate) fn new(entry: &'e mut EntryPtr, limits: Limits, hasher: &'e RandomState) -> Self {
        ZsetMut {
            entry,
            limits,
            hasher,
        }
    }

    pub fn as_ref(&self) -> ZsetRef<'_> {
        let zset = crate::value::Value::of(self.entry.payload()).sorted_set();
        zset.expect("it stays a sorted set while it is borrowed")
    }

    /// So many members are about to be set: more than a packed one may have do not begin with one.
    pub fn expect(&mut self, members: usize) {
        if members > self.limits.zset_entries {
            self.unpack();
        }
    }

    /// A new sorted set becomes what a listpack of members and scores has, which was checked: they may be in any order, and of a
    /// member that is there more than once the last score stays.
    pub fn set_packed(&mut self, bytes: &[u8]) {
        assert_eq!(
            self.as_ref().len(),
            0,
            "packed bytes are all of a sorted set"
        );
        let list = Listpack::trusted(bytes);
        let zset = ZsetRef::packed(bytes);
        let longest = zset
            .iter(0..zset.len())
            .map(|found| found.member.text_len());
        let fits = bytes.len() <= PACKED_MAX
            && zset.len() <= self.limits.zset_entries
            && longest.max().unwrap_or(0) <= self.limits.zset_value;
        if fits && zset.is_ordered() && !super::has_twice(list, 2) {
            return packed::take_over(self.entry, Packing::SortedSet, bytes);
        }
        self.expect(zset.len());
        zset.for_each(|found| {
            let mut digits = Digits::default();
            self.set(found.member.text(&mut digits), found.score);
        });
    }

    /// Gives a member its score, which is no NaN. True if the member was not there. A score that is equal to the old one
    /// changes nothing, not even the sign of a zero.
    pub fn set(&mut self, member: &[u8], score: f64) -> bool {
        let old = self.as_ref().score(member);
        if old == Some(score) {
            return false;
        }
        let mut text = Vec::new();
        let pair = [Element::of(member), score_element(score, &mut text)];
        let added = pair.iter().map(|element| element.size()).sum();
        self.make_room(added, old.is_none().then_some(member));
        match (self.as_ref().0, old) {
            (Form::Packed(_), old) => {
                if old.is_some() {
                    self.remove_packed(member);
                }
                self.insert_packed(member, score, pair);
            }
            (Form::Table(_), None) => self.table().insert(member, score),
            (Form::Table(_), Some(old)) => self.table().rescore(member, old, score),
        }
        old.is_none()
    }

    /// The score that the member had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self.as_ref().0 {
            Form::Packed(_) => {
                let old = self.as_ref().score(member)?;
                self.remove_packed(member);
                Some(old)
            }
            Form::Table(_) => self.table().remove(member),
        }
    }

    /// Removes the members at these positions; `each` is called now and then, for there may be many.
    pub fn remove_range(&mut self, range: Range<usize>, each: &mut dyn FnMut()) {
        if range.is_empty() {
            return;
        }
        assert!(range.end <= self.as_ref().len(), "positions of members");
        match self.as_ref().0 {
            Form::Packed(list) => {
                let index = i64::try_from(2 * range.start).expect("a listpack's length fits");
                let at = list.seek(index).expect("a position of a member");
                let mut bytes = packed::open(self.entry, 0);
                listpack::remove_range(&mut bytes, at, 2 * range.len());
            }
            Form::Table(_) => self.table().remove_range(range, each),
        }
    }

    fn table(&mut self) -> &mut ZsetTable {
        match self.entry.object_to_change() {
            Some(Object::SortedSet(ZsetObject::Table(table))) => table,
            _ => unreachable!("the caller has seen that it is a table"),
        }
    }

    /// Makes a table of a packed sorted set that would be longer than it may be with `added` bytes more, or with a member more.
    fn make_room(&mut self, added: usize, new: Option<&[u8]>) {
        let Form::Packed(list) = self.as_ref().0 else {
            return;
        };
        let fits = list.bytes().len() + added <= PACKED_MAX
            && new.is_none_or(|member| {
                member.len() <= self.limits.zset_value
                    && self.as_ref().len() < self.limits.zset_entries
            });
        if !fits {
            self.unpack();
        }
    }

    fn unpack(&mut self) {
        let Form::Packed(_) = self.as_ref().0 else {
            return;
        };
        let mut table = ZsetTable::new(self.hasher);
        self.as_ref().for_each(|found| {
            let mut digits = Digits::default();
            table.push(found.member.text(&mut digits), found.score);
        });
        let expiry = self.entry.expiry();
        let object = Arc::new(Object::SortedSet(ZsetObject::Table(table)));
        // What is replaced is packed, and freed at once.
        drop(self.entry.store(Payload::Object(object), expiry));
    }

    fn remove_packed(&mut self, member: &[u8]) {
        let mut bytes = packed::open(self.entry, 0);
        let list = Listpack::trusted(bytes.bytes());
        if let Some(at) = list.find(list.start(), member, 1) {
            listpack::remove_range(&mut bytes, at, 2);
        }
    }

    /// Puts a member that is not there before the first that comes behind it.
    fn insert_packed(&mut self, member: &[u8], score: f64, elements: [Element<'_>; 2]) {
        let added = elements.iter().map(|element| element.size()).sum();
        let mut bytes = packed::open(self.entry, added);
        let list = Listpack::trusted(bytes.bytes());
        let mut place = list.start();
        while place < list.end() {
            let (other, last) = pair(list, place);
            let mut digits = Digits::default();
            let text = other.member.text(&mut digits);
            if in_order((other.score, text), (score, member)).is_gt() {
                break;
            }
            place = list.behind(last);
        }
        listpack::insert(&mut bytes, place, elements);
    }
}

#[cfg(test)]
#[path = "zset_tests.rs"]
mod tests;
