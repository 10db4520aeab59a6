//! Owns hashes: fields with values, and with an expiry of their own where they have one.
//!
//! Forms, each reported by Redis's name: a listpack of pairs, a listpack of triples (field, value, expiry or 0; the
//! earliest expiry first, fields without one last), a table with an index of the fields that expire. Never: looks at
//! a clock: a field that is due is there like any other until it is removed.
//!
//! Invariants: a field is there once; a hash goes from packed to a table and never back; the index has one element for
//! each field of the table with an expiry.

use std::ops::ControlFlow;
use std::sync::Arc;

use ahash::RandomState;
use containers::listpack::{self, Builder, Digits, Element, Listpack, Place};
use containers::{Pair, Splice, Table, Tree};
use rand::RngCore;

use super::{hash_of, packed, Limits, PACKED_MAX};
use crate::digest::Digest;
use crate::form::Packing;
use crate::object::Object;
use crate::raw::{EntryPtr, Payload, EMBED_MAX};
use crate::table::tag_of;
use crate::value::digest_field;

/// What a write does to a field's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldTtl {
    Keep,
    Clear,
}

/// A hash that is not in its entry.
#[derive(Clone)]
pub(crate) enum HashObject {
    Packed(Vec<u8>),
    PackedEx(Vec<u8>),
    Table(HashTable),
}

impl HashObject {
    pub fn as_ref(&self) -> HashRef<'_> {
        HashRef(match self {
            HashObject::Packed(bytes) => Form::Packed(Listpack::trusted(bytes)),
            HashObject::PackedEx(bytes) => Form::PackedEx(Listpack::trusted(bytes)),
            HashObject::Table(table) => Form::Table(table),
        })
    }

    pub fn bytes(&self) -> usize {
        match self {
            HashObject::Packed(bytes) | HashObject::PackedEx(bytes) => bytes.capacity(),
            HashObject::Table(table) => table.fields.bytes() as usize + table.due.bytes(),
        }
    }
}

/// Fields beyond what is packed.
#[derive(Clone)]
pub(crate) struct HashTable {
    fields: Table<Pair>,
    due: Tree<FieldDue>,
    hasher: RandomState,
}

/// When a field of a table expires, and the hash by which it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FieldDue {
    at: i64,
    hash: u64,
}

impl containers::Item for FieldDue {
    type Key = FieldDue;

    fn key(&self) -> &FieldDue {
        self
    }
}

/// A field, its value and its expiry in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRef<'a> {
    pub field: Element<'a>,
    pub value: Element<'a>,
    pub expiry: Option<i64>,
}

impl FieldRef<'_> {
    /// Whether it has expired before `now_ms`.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.expiry.is_some_and(|at| at < now_ms)
    }
}

/// How a hash is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashLayout<'a> {
    /// A listpack of fields and values.
    Pairs(&'a [u8]),
    /// A listpack of fields, values and expiries or 0, the earliest first.
    Triples(&'a [u8]),
    Table,
}

/// A hash, borrowed.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Packed(Listpack<'a>),
    PackedEx(Listpack<'a>),
    Table(&'a HashTable),
}

impl<'a> HashRef<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> HashRef<'a> {
        HashRef(Form::Packed(Listpack::trusted(bytes)))
    }

    pub(crate) fn packed_ex(bytes: &'a [u8]) -> HashRef<'a> {
        HashRef(Form::PackedEx(Listpack::trusted(bytes)))
    }

    /// How many fields there are, due ones with them.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(self) -> usize {
        match self.0 {
            Form::Packed(pairs) => pairs.len() / 2,
            Form::PackedEx(triples) => triples.len() / 3,
            Form::Table(table) => table.fields.len(),
        }
    }

    /// OBJECT ENCODING.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            Form::Packed(_) => "listpack",
            Form::PackedEx(_) => "listpackex",
            Form::Table(_) => "hashtable",
        }
    }

    /// How it is kept, for what writes it as it lies.
    pub fn layout(self) -> HashLayout<'a> {
        match self.0 {
            Form::Packed(pairs) => HashLayout::Pairs(pairs.bytes()),
            Form::PackedEx(triples) => HashLayout::Triples(triples.bytes()),
            Form::Table(_) => HashLayout::Table,
        }
    }

    /// The value of a field, and the field's expiry.
    #[inline]
    pub fn get(self, field: &[u8]) -> Option<(Element<'a>, Option<i64>)> {
        match self.0 {
            Form::Packed(pairs) => pairs.value_of(field).map(|value| (value, None)),
            Form::PackedEx(triples) => {
                let at = triples.find(triples.start(), field, 2)?;
                let found = Triple::at(triples, at);
                Some((found.value, found.expiry))
            }
            Form::Table(table) => {
                let (_, value, expiry) = table.get(field)?.parts();
                Some((Element::Bytes(value), expiry))
            }
        }
    }

    /// The same, unless the field has expired before `now_ms`.
    #[inline]
    pub fn get_alive(self, field: &[u8], now_ms: i64) -> Option<(Element<'a>, Option<i64>)> {
        let alive = |found: &(Element<'a>, Option<i64>)| found.1.is_none_or(|at| at >= now_ms);
        self.get(field).filter(alive)
    }

    /// All fields until `visit` breaks: packed ones in their order, those of a table in none.
    pub fn try_for_each<B>(
        self,
        mut visit: impl FnMut(FieldRef<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match self.0 {
            Form::Packed(pairs) => {
                let mut elements = pairs.iter();
                while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                    let expiry = None;
                    visit(FieldRef {
                        field,
                        value,
                        expiry,
                    })?;
                }
            }
            Form::PackedEx(triples) => {
                let mut at = triples.first();
                while let Some(place) = at {
                    let triple = Triple::at(triples, place);
                    visit(triple.as_field(triples))?;
                    at = triples.after(triple.last);
                }
            }
            Form::Table(table) => {
                for pair in table.fields.iter() {
                    visit(field_of(pair))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    pub fn for_each(self, mut visit: impl FnMut(FieldRef<'a>)) {
        let _ = self.try_for_each(|field| {
            visit(field);
            ControlFlow::<()>::Continue(())
        });
    }

    /// HSCAN: visits about `count` fields from the cursor on, all of a packed hash at once; the next cursor is 0 at the end.
    pub fn scan(self, cursor: u64, count: usize, visit: &mut dyn FnMut(FieldRef<'_>)) -> u64 {
        let Form::Table(table) = self.0 else {
            self.for_each(visit);
            return 0;
        };
        super::scan_table(&table.fields, cursor, count, &mut |pair| {
            visit(field_of(pair));
        })
    }

    /// A field drawn evenly.
    pub fn random(self, rng: &mut dyn RngCore) -> FieldRef<'a> {
        let (list, width) = match self.0 {
            Form::Packed(list) => (list, 2),
            Form::PackedEx(list) => (list, 3),
            Form::Table(table) => {
                let pair = table.fields.random(rng);
                return field_of(pair.expect("no hash is empty"));
            }
        };
        let drawn = super::below(rng, list.len() / width) * width;
        let index = i64::try_from(drawn).expect("a listpack's length fits");
        let at = list.seek(index).expect("an index below the length");
        match width {
            2 => FieldRef {
                field: list.get(at),
                value: list.get(list.after(at).expect("a field has a value")),
                expiry: None,
            },
            _ => Triple::at(list, at).as_field(list),
        }
    }

    /// The earliest expiry of a field.
    pub fn first_expiry(self) -> Option<i64> {
        match self.0 {
            Form::Packed(_) => None,
            Form::PackedEx(triples) => Triple::at(triples, triples.first()?).expiry,
            Form::Table(table) => table.due.first().map(|due| due.at),
        }
    }

    /// Up to `limit` fields that expire before `now_ms`, the earliest ones.
    pub fn due(self, now_ms: i64, limit: usize) -> Vec<Box<[u8]>> {
        match self.0 {
            Form::Packed(_) => Vec::new(),
            Form::PackedEx(triples) => {
                let mut due = Vec::new();
                let mut at = triples.first();
                while let Some(place) = at.filter(|_| due.len() < limit) {
                    let triple = Triple::at(triples, place);
                    if triple.expiry.is_none_or(|at| at >= now_ms) {
                        break;
                    }
                    due.push(triples.get(place).to_vec().into());
                    at = triples.after(triple.last);
                }
                due
            }
            Form::Table(table) => {
                let due = table.due.iter().take_while(|due| due.at < now_ms);
                let fields = due.take(limit).map(|due| table.due_field(*due));
                fields.map(|pair| pair.field().into()).collect()
            }
        }
    }

    /// About how many bytes its fields and values have.
    pub(crate) fn weight(self) -> usize {
        match self.0 {
            Form::Packed(list) | Form::PackedEx(list) => list.bytes().len(),
            Form::Table(table) => table.fields.bytes() as usize,
        }
    }

    /// Of all fields, whatever their order.
    pub(crate) fn digest(self) -> Digest {
        let mut sum = Digest::default();
        self.for_each(|found| {
            let mut digits = (Digits::default(), Digits::default());
            let (field, value) = (
                found.field.text(&mut digits.0),
                found.value.text(&mut digits.1),
            );
            sum.add(Digest::of(&[field, value, &digest_field(found.expiry)]));
        });
        sum
    }
}

fn field_of(pair: &Pair) -> FieldRef<'_> {
    let (field, value, expiry) = pair.parts();
    FieldRef {
        field: Element::Bytes(field),
        value: Element::Bytes(value),
        expiry,
    }
}

/// A field of a listpack of triples.
struct Triple<'a> {
    at: Place,
    /// Where the expiry stands.
    last: Place,
    value: Element<'a>,
    expiry: Option<i64>,
}

impl<'a> Triple<'a> {
    fn at(list: Listpack<'a>, at: Place) -> Triple<'a> {
        let value = list.behind(at);
        let last = list.behind(value);
        Triple {
            at,
            last,
            value: list.get(value),
            expiry: list.get(last).int().filter(|at| *at != 0),
        }
    }

    fn as_field(&self, list: Listpack<'a>) -> FieldRef<'a> {
        FieldRef {
            field: list.get(self.at),
            value: self.value,
            expiry: self.expiry,
        }
    }
}

impl HashTable {
    fn new(hasher: &RandomState) -> HashTable {
        HashTable {
            fields: Table::new(),
            due: Tree::new(),
            hasher: hasher.clone(),
        }
    }

    fn get(&self, field: &[u8]) -> Option<&Pair> {
        self.fields.get(hash_of(&self.hasher, field), field)
    }

    /// The field that an element of the index stands for.
    fn due_field(&self, due: FieldDue) -> &Pair {
        let is_it = |pair: &Pair| {
            pair.expiry() == Some(due.at) && hash_of(&self.hasher, pair.field()) == due.hash
        };
        let found = self.fields.find(due.hash, is_it);
        found.expect("every element of the index has its field")
    }

    fn reindex(&mut self, hash: u64, old: Option<i64>, new: Option<i64>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            let due = FieldDue { at, hash };
            let place = self.due.position(|other| other.cmp(&due));
            let removed = self
                .due
                .remove(place.expect("every expiry of a field is indexed"));
            assert_eq!(removed, due);
        }
        if let Some(at) = new {
            let due = FieldDue { at, hash };
            let (Ok(place) | Err(place)) = self.due.position(|other| other.cmp(&due));
            self.due.insert(place, due);
        }
    }

    fn set(&mut self, field: &[u8], value: &[u8], ttl: FieldTtl) -> bool {
        let hash = hash_of(&self.hasher, field);
        let Some(mut pair) = self.fields.get_mut(hash, field) else {
            self.insert(hash, Pair::new(tag_of(hash), field, value, None));
            return true;
        };
        let old = pair.expiry();
        pair.set_value(value);
        if ttl == FieldTtl::Clear && old.is_some() {
            pair.set_expiry(None);
            drop(pair);
            self.reindex(hash, old, None);
        }
        false
    }

    /// Adds a field that is not there.
    fn insert(&mut self, hash: u64, pair: Pair) {
        let (hasher, expiry) = (&self.hasher, pair.expiry());
        self.fields.insert(hash, pair, |key| hash_of(hasher, key));
        self.reindex(hash, None, expiry);
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let hash = hash_of(&self.hasher, field);
        let Some(pair) = self.fields.remove(hash, field) else {
            return false;
        };
        self.reindex(hash, pair.expiry(), None);
        true
    }

    fn set_expiry(&mut self, field: &[u8], expiry: Option<i64>) -> bool {
        let hash = hash_of(&self.hasher, field);
        let Some(mut pair) = self.fields.get_mut(hash, field) else {
            return false;
        };
        let old = pair.expiry();
        pair.set_expiry(expiry);
        drop(pair);
        self.reindex(hash, old, expiry);
        true
    }
}

/// A hash that is being changed. It may become empty: its key goes then.
pub struct HashMut<'e> {
    entry: &'e mut EntryPtr,
    limits: Limits,
    hasher: &'e RandomState,
}

impl<'e> HashMut<'e> {
    /// The entry must hold a hash, and be saved.
    pub(crate) fn new(entry: &'e mut EntryPtr, limits: Limits, hasher: &'e RandomState) -> Self {
        HashMut {
            entry,
            limits,
            hasher,
        }
    }

    pub fn as_ref(&self) -> HashRef<'_> {
        let hash = crate::value::Value::of(self.entry.payload()).hash();
        hash.expect("it stays a hash while it is borrowed")
    }

    /// Writes a field. True if it was not there.
    pub fn set(&mut self, field: &[u8], value: &[u8], ttl: FieldTtl) -> bool {
        let (name, text) = (Element::of(field), Element::of(value));
        let added = name.size() + text.size();
        self.keep_packed_if(added, field.len().max(value.len()));
        let is_new = match self.as_ref().0 {
            Form::Packed(pairs) => {
                let found = pairs.find(pairs.start(), field, 1);
                let mut bytes = packed::open(self.entry, added);
                match found {
                    Some(at) => {
                        let place = Listpack::trusted(bytes.bytes()).behind(at);
                        listpack::replace(&mut bytes, place, text);
                    }
                    None => listpack::append(&mut bytes, [name, text]),
                }
                found.is_none()
            }
            Form::PackedEx(triples) => {
                let found = triples.find(triples.start(), field, 2);
                let expiry = found.and_then(|at| Triple::at(triples, at).expiry);
                match (found, expiry, ttl) {
                    (Some(at), None, _) | (Some(at), _, FieldTtl::Keep) => {
                        let mut bytes = packed::open(self.entry, added);
                        let place = Listpack::trusted(bytes.bytes()).behind(at);
                        listpack::replace(&mut bytes, place, text);
                    }
                    (Some(_), Some(_), FieldTtl::Clear) => {
                        self.remove_triple(field);
                        self.insert_triple(name, text, None);
                    }
                    (None, ..) => self.insert_triple(name, text, None),
                }
                found.is_none()
            }
            Form::Table(_) => self.table().set(field, value, ttl),
        };
        self.keep_packed_if(0, 0);
        is_new
    }

    /// Takes a listpack over, of pairs or (`expiring`) triples in their order, which was checked; of a field that is there more than
    /// once the last stays. To be called on an empty hash.
    pub fn set_packed(&mut self, bytes: &[u8], expiring: bool) {
        assert_eq!(self.as_ref().len(), 0, "packed bytes are all of a hash");
        let list = Listpack::trusted(bytes);
        let form = match expiring {
            true => Form::PackedEx(list),
            false => Form::Packed(list),
        };
        let longest = list.iter().map(Element::text_len).max().unwrap_or(0);
        let width = 2 + usize::from(expiring);
        if self.may_be_packed(list, width, 0, longest) && !super::has_twice(list, width) {
            let packing = match expiring {
                true => Packing::HashEx,
                false => Packing::Hash,
            };
            return packed::take_over(self.entry, packing, bytes);
        }
        HashRef(form).for_each(|found| {
            let mut digits = (Digits::default(), Digits::default());
            let (field, value) = (
                found.field.text(&mut digits.0),
                found.value.text(&mut digits.1),
            );
            self.set(field, value, FieldTtl::Clear);
            if found.expiry.is_some() {
                self.set_expiry(field, found.expiry);
            }
        });
    }

    /// False if there is no such field.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self.as_ref().0 {
            Form::Packed(pairs) => {
                let found = pairs.find(pairs.start(), field, 1);
                if let Some(at) = found {
                    listpack::remove_range(&mut packed::open(self.entry, 0), at, 2);
                }
                found.is_some()
            }
            Form::PackedEx(_) => self.remove_triple(field),
            Form::Table(_) => self.table().remove(field),
        }
    }

    /// Sets or clears a field's expiry, in Unix milliseconds. False if there is no such field.
    pub fn set_expiry(&mut self, field: &[u8], expiry: Option<i64>) -> bool {
        let Some((value, old)) = self.as_ref().get(field) else {
            return false;
        };
        if old == expiry {
            return true;
        }
        if let Form::Table(_) = self.as_ref().0 {
            return self.table().set_expiry(field, expiry);
        }
        let value = value.to_vec();
        self.have_triples();
        // An expiry takes up to ten bytes.
        self.keep_packed_if(Element::Int(i64::MAX).size(), 0);
        if let Form::Table(_) = self.as_ref().0 {
            return self.table().set_expiry(field, expiry);
        }
        self.remove_triple(field);
        self.insert_triple(Element::of(field), Element::of(&value), expiry);
        true
    }

    fn table(&mut self) -> &mut HashTable {
        match self.entry.object_to_change() {
            Some(Object::Hash(HashObject::Table(table))) => table,
            _ => unreachable!("the caller has seen that it is a table"),
        }
    }

    /// Makes a table of a packed hash that is longer than it may be, or would be with `added` bytes more, or is to hold an element
    /// of so many bytes.
    fn keep_packed_if(&mut self, added: usize, longest: usize) {
        let (list, width) = match self.as_ref().0 {
            Form::Packed(list) => (list, 2),
            Form::PackedEx(list) => (list, 3),
            Form::Table(_) => return,
        };
        if self.may_be_packed(list, width, added, longest) {
            return;
        }
        let mut table = HashTable::new(self.hasher);
        self.as_ref().for_each(|found| {
            let mut digits = (Digits::default(), Digits::default());
            let (field, value) = (
                found.field.text(&mut digits.0),
                found.value.text(&mut digits.1),
            );
            let hash = hash_of(self.hasher, field);
            table.insert(hash, Pair::new(tag_of(hash), field, value, found.expiry));
        });
        self.become_object(HashObject::Table(table));
    }

    fn may_be_packed(
        &self,
        list: Listpack<'_>,
        width: usize,
        added: usize,
        longest: usize,
    ) -> bool {
        longest <= self.limits.hash_value
            && list.bytes().len() + added <= PACKED_MAX
            && list.len() <= self.limits.hash_entries.saturating_mul(width)
    }

    fn become_object(&mut self, object: HashObject) {
        let expiry = self.entry.expiry();
        let object = Arc::new(Object::Hash(object));
        // What is replaced is packed, and freed at once.
        drop(self.entry.store(Payload::Object(object), expiry));
    }

    /// Makes triples of pairs.
    fn have_triples(&mut self) {
        let Form::Packed(pairs) = self.as_ref().0 else {
            return;
        };
        let mut triples = Builder::with_capacity(pairs.bytes().len() * 3 / 2);
        self.as_ref().for_each(|found| {
            triples.push(found.field);
            triples.push(found.value);
            triples.push(Element::Int(0));
        });
        let triples = triples.finish();
        if triples.len() <= EMBED_MAX {
            let expiry = self.entry.expiry();
            let payload = Payload::Packed(Packing::HashEx, &triples);
            drop(self.entry.store(payload, expiry));
        } else {
            self.become_object(HashObject::PackedEx(triples));
        }
    }

    fn remove_triple(&mut self, field: &[u8]) -> bool {
        let mut bytes = packed::open(self.entry, 0);
        let triples = Listpack::trusted(bytes.bytes());
        let found = triples.find(triples.start(), field, 2);
        if let Some(at) = found {
            listpack::remove_range(&mut bytes, at, 3);
        }
        found.is_some()
    }

    /// Puts a field that is not there behind those that expire no later.
    fn insert_triple(&mut self, field: Element<'_>, value: Element<'_>, expiry: Option<i64>) {
        let at = Element::Int(expiry.unwrap_or(0));
        let mut bytes = packed::open(self.entry, field.size() + value.size() + at.size());
        let triples = Listpack::trusted(bytes.bytes());
        let mut place = triples.start();
        while place < triples.end() {
            let triple = Triple::at(triples, place);
            let goes_behind = match (triple.expiry, expiry) {
                (None, Some(_)) => false,
                (Some(other), Some(at)) => other <= at,
                (_, None) => true,
            };
            if !goes_behind {
                break;
            }
            place = triples.behind(triple.last);
        }
        listpack::insert(&mut bytes, place, [field, value, at]);
    }
}

#[cfg(test)]
#[path = "hash_tests.rs"]
mod tests;
