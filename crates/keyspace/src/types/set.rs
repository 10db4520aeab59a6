//! Owns sets: how their members are kept, read and changed.
//!
//! Forms, each reported by Redis's name: an intset as long as all members are integers, a listpack, a table. What
//! becomes which follows Redis 7.4 and its directives. Never: knows how sets are combined (`combine` does).
//!
//! Invariants: a member is there once; a set goes from an intset to a listpack or a table, from a listpack to a
//! table, and never back.

use std::sync::Arc;

use ahash::RandomState;
use containers::intset::{self, Intset};
use containers::listpack::{self, Builder, Digits, Element, Listpack};
use containers::{SharedBytes, Table};
use rand::RngCore;

use super::packed::{self, PackedBytes};
use super::{hash_of, Limits, PACKED_MAX};
use crate::digest::Digest;
use crate::form::Packing;
use crate::object::{Exact, Object};
use crate::raw::{EntryPtr, Payload, EMBED_MAX};
use crate::table::tag_of;

/// Redis's own limit of an intset, whatever the directive says.
const INTS_MAX: usize = 1 << 30;

/// A set that is not in an entry.
#[derive(Clone)]
pub(crate) enum SetObject {
    Ints(Vec<u8>),
    Packed(Vec<u8>),
    Table(SetTable),
}

impl SetObject {
    pub fn as_ref(&self) -> SetRef<'_> {
        SetRef(match self {
            SetObject::Ints(bytes) => Form::Ints(Intset::trusted(bytes), bytes),
            SetObject::Packed(bytes) => Form::Packed(Listpack::trusted(bytes)),
            SetObject::Table(table) => Form::Table(table),
        })
    }

    pub fn bytes(&self) -> usize {
        match self {
            SetObject::Ints(bytes) | SetObject::Packed(bytes) => bytes.capacity(),
            SetObject::Table(table) => table.members.bytes() as usize,
        }
    }

    /// The value of an entry that is this set.
    pub fn payload(self, store: impl FnOnce(Payload<'_>)) {
        match &self {
            SetObject::Ints(bytes) if bytes.len() <= EMBED_MAX => {
                store(Payload::Packed(Packing::SetInts, bytes));
            }
            SetObject::Packed(bytes) if bytes.len() <= EMBED_MAX => {
                store(Payload::Packed(Packing::Set, bytes));
            }
            _ => store(Payload::Object(Arc::new(Object::Set(self)))),
        }
    }
}

/// Members beyond what is packed.
#[derive(Clone)]
pub(crate) struct SetTable {
    members: Table<SharedBytes>,
    hasher: RandomState,
}

impl SetTable {
    fn new(hasher: &RandomState) -> SetTable {
        SetTable {
            members: Table::new(),
            hasher: hasher.clone(),
        }
    }

    fn contains(&self, member: &[u8]) -> bool {
        let hash = hash_of(&self.hasher, member);
        self.members.get(hash, member).is_some()
    }

    /// The bytes of a member of another table are shared where both hash alike.
    fn add(&mut self, member: Member<'_>) -> bool {
        let mut digits = Digits::default();
        let text = member.element().text(&mut digits);
        let hash = hash_of(&self.hasher, text);
        if self.members.get(hash, text).is_some() {
            return false;
        }
        let bytes = match member {
            Member::Shared(bytes) if bytes.tag() == tag_of(hash) => bytes.clone(),
            _ => SharedBytes::new(tag_of(hash), text),
        };
        let hasher = &self.hasher;
        self.members.insert(hash, bytes, |key| hash_of(hasher, key));
        true
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        let hash = hash_of(&self.hasher, member);
        self.members.remove(hash, member).is_some()
    }
}

/// A member as it is kept.
#[derive(Clone, Copy)]
pub(crate) enum Member<'a> {
    Element(Element<'a>),
    Shared(&'a SharedBytes),
}

impl<'a> Member<'a> {
    pub fn element(self) -> Element<'a> {
        match self {
            Member::Element(element) => element,
            Member::Shared(bytes) => Element::Bytes(bytes),
        }
    }
}

/// The bytes of a set, for what writes it as it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetLayout<'a> {
    /// An intset.
    Ints(&'a [u8]),
    /// A listpack.
    Packed(&'a [u8]),
    Table,
}

/// A set, borrowed.
#[derive(Clone, Copy)]
pub struct SetRef<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Ints(Intset<'a>, &'a [u8]),
    Packed(Listpack<'a>),
    Table(&'a SetTable),
}

impl<'a> SetRef<'a> {
    pub(crate) fn ints(bytes: &'a [u8]) -> SetRef<'a> {
        SetRef(Form::Ints(Intset::trusted(bytes), bytes))
    }

    pub(crate) fn packed(bytes: &'a [u8]) -> SetRef<'a> {
        SetRef(Form::Packed(Listpack::trusted(bytes)))
    }

    /// How many members there are.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(self) -> usize {
        match self.0 {
            Form::Ints(ints, _) => ints.len(),
            Form::Packed(list) => list.len(),
            Form::Table(table) => table.members.len(),
        }
    }

    /// OBJECT ENCODING.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            Form::Ints(..) => "intset",
            Form::Packed(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    /// How it is kept.
    pub fn layout(self) -> SetLayout<'a> {
        match self.0 {
            Form::Ints(_, bytes) => SetLayout::Ints(bytes),
            Form::Packed(list) => SetLayout::Packed(list.bytes()),
            Form::Table(_) => SetLayout::Table,
        }
    }

    /// Whether a draw takes no time that grows with the set.
    pub fn draws_at_once(self) -> bool {
        !matches!(self.0, Form::Packed(_))
    }

    pub(crate) fn is_ints(self) -> bool {
        matches!(self.0, Form::Ints(..))
    }

    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self.0 {
            Form::Ints(ints, _) => {
                let n = Element::of(member).int();
                n.is_some_and(|n| ints.contains(n))
            }
            Form::Packed(list) => list.find(list.start(), member, 0).is_some(),
            Form::Table(table) => table.contains(member),
        }
    }

    /// The same for a member of another set.
    pub fn has(self, member: Element<'_>) -> bool {
        match (self.0, member) {
            (Form::Ints(ints, _), Element::Int(n)) => ints.contains(n),
            _ => self.contains(member.text(&mut Digits::default())),
        }
    }

    /// All members: the integers of an intset upwards, packed ones in the order of their coming, those of a table in none.
    pub(crate) fn members(self) -> impl Iterator<Item = Member<'a>> {
        let (mut ints, mut list, mut table) = (None, None, None);
        match self.0 {
            Form::Ints(of, _) => ints = Some(of.iter()),
            Form::Packed(of) => list = Some(of.iter()),
            Form::Table(of) => table = Some(of.members.iter()),
        }
        let ints = ints.into_iter().flatten().map(Element::Int);
        let packed = ints.chain(list.into_iter().flatten()).map(Member::Element);
        packed.chain(table.into_iter().flatten().map(Member::Shared))
    }

    pub fn iter(self) -> impl Iterator<Item = Element<'a>> {
        self.members().map(Member::element)
    }

    pub fn for_each(self, mut visit: impl FnMut(Element<'a>)) {
        self.members().for_each(|member| visit(member.element()));
    }

    /// SSCAN: visits about `count` members from the cursor on, all of what is packed at once; the next cursor is 0 at the
    /// end.
    pub fn scan(self, cursor: u64, count: usize, visit: &mut dyn FnMut(Element<'_>)) -> u64 {
        let Form::Table(table) = self.0 else {
            self.for_each(visit);
            return 0;
        };
        super::scan_table(&table.members, cursor, count, &mut |member| {
            visit(Element::Bytes(member));
        })
    }

    /// A member drawn evenly.
    pub fn random(self, rng: &mut dyn RngCore) -> Element<'a> {
        match self.0 {
            Form::Ints(ints, _) => {
                let drawn = ints.get(super::below(rng, ints.len()));
                Element::Int(drawn.expect("an index below the length"))
            }
            Form::Packed(list) => {
                let index = i64::try_from(super::below(rng, list.len()));
                let at = list.seek(index.expect("a listpack's length fits"));
                list.get(at.expect("an index below the length"))
            }
            Form::Table(table) => {
                let drawn = table.members.random(rng);
                Element::Bytes(drawn.expect("no set is empty"))
            }
        }
    }

    /// `count` members that a number stands for, whatever the form and the order are: evenly drawn if the number is. Takes
    /// time for all members: `pace` is told the bytes of each.
    pub fn drawn_by(
        self,
        seed: u64,
        count: usize,
        pace: &mut dyn FnMut(usize),
    ) -> Vec<Element<'a>> {
        let lot = |member: Element<'_>| {
            let mut digits = Digits::default();
            Digest::of(&[&seed.to_le_bytes(), member.text(&mut digits)]).bytes()
        };
        let members = self.iter().map(|member| {
            pace(member.text_len());
            (lot(member), member)
        });
        let mut all: Vec<_> = members.collect();
        // Two members with one lot are taken for what they are: their texts differ.
        let order = |a: &([u8; 20], Element<'_>), b: &([u8; 20], Element<'_>)| {
            let by_text = || b.1.cmp_text(a.1.text(&mut Digits::default())).reverse();
            a.0.cmp(&b.0).then_with(by_text)
        };
        if count < all.len() {
            all.select_nth_unstable_by(count, |a, b| {
                pace(0);
                order(a, b)
            });
            all.truncate(count);
        }
        all.into_iter().map(|(_, member)| member).collect()
    }

    /// About how many bytes its members have.
    pub(crate) fn weight(self) -> usize {
        match self.0 {
            Form::Ints(ints, _) => ints.len() * size_of::<i64>(),
            Form::Packed(list) => list.bytes().len(),
            Form::Table(table) => table.members.bytes() as usize,
        }
    }

    /// Of all members, whatever their order.
    pub(crate) fn digest(self) -> Digest {
        let mut sum = Digest::default();
        self.for_each(|member| {
            let mut digits = Digits::default();
            sum.add(Digest::of(&[member.text(&mut digits)]));
        });
        sum
    }

    /// A table that shares all parts with this one, if this is one.
    pub(crate) fn share(self) -> Option<SetObject> {
        match self.0 {
            Form::Table(table) => Some(SetObject::Table(table.clone())),
            _ => None,
        }
    }
}

/// Where a set is while it is changed.
pub(crate) trait Home {
    fn set(&self) -> SetRef<'_>;

    /// The bytes of one that is packed, for edits that make it at most `added` bytes longer.
    fn open(&mut self, added: usize) -> PackedBytes<'_>;

    /// The table of one that is a table.
    fn table(&mut self) -> &mut SetTable;

    fn replace(&mut self, set: SetObject);
}

impl Home for EntryPtr {
    fn set(&self) -> SetRef<'_> {
        let set = crate::value::Value::of(self.payload()).set();
        set.expect("it stays a set while it is borrowed")
    }

    fn open(&mut self, added: usize) -> PackedBytes<'_> {
        packed::open(self, added)
    }

    fn table(&mut self) -> &mut SetTable {
        match self.object_to_change() {
            Some(Object::Set(SetObject::Table(table))) => table,
            _ => unreachable!("the caller has seen that it is a table"),
        }
    }

    fn replace(&mut self, set: SetObject) {
        let expiry = self.expiry();
        // What is replaced is packed, and freed at once.
        set.payload(|payload| drop(self.store(payload, expiry)));
    }
}

impl Home for SetObject {
    fn set(&self) -> SetRef<'_> {
        self.as_ref()
    }

    fn open(&mut self, _added: usize) -> PackedBytes<'_> {
        match self {
            SetObject::Ints(bytes) | SetObject::Packed(bytes) => PackedBytes::Object(Exact(bytes)),
            SetObject::Table(_) => unreachable!("the caller has seen that it is packed"),
        }
    }

    fn table(&mut self) -> &mut SetTable {
        match self {
            SetObject::Table(table) => table,
            _ => unreachable!("the caller has seen that it is a table"),
        }
    }

    fn replace(&mut self, set: SetObject) {
        *self = set;
    }
}

/// A set that is being changed. Left without members it must be removed.
pub struct SetMut<'e> {
    home: &'e mut dyn Home,
    limits: Limits,
    hasher: &'e RandomState,
}

impl<'e> SetMut<'e> {
    /// A new set begins as an intset without integers.
    pub(crate) fn new(
        home: &'e mut dyn Home,
        limits: Limits,
        hasher: &'e RandomState,
    ) -> SetMut<'e> {
        SetMut {
            home,
            limits,
            hasher,
        }
    }

    pub fn as_ref(&self) -> SetRef<'_> {
        self.home.set()
    }

    /// SADD: how many members are new. Their number alone may decide the form, as it does in Redis.
    /// `pace` is told the bytes of each.
    pub fn add_all(&mut self, members: &[&[u8]], pace: &mut dyn FnMut(usize)) -> usize {
        let set = self.as_ref();
        let ints_fit = members.len() <= self.limits.set_ints;
        let packed_fit = members.len() <= self.limits.set_entries;
        let is_new = set.len() == 0;
        let first = members.first().copied().unwrap_or_default();
        match set.0 {
            Form::Ints(..) if ints_fit && (!is_new || Element::of(first).int().is_some()) => {}
            Form::Ints(..) if is_new && packed_fit => {
                let nothing = listpack::EMPTY.to_vec();
                self.home.replace(SetObject::Packed(nothing));
            }
            Form::Packed(_) if packed_fit => {}
            Form::Table(_) => {}
            _ => self.become_table(),
        }
        let add = |member: &&&[u8]| {
            pace(member.len());
            self.add(member)
        };
        members.iter().filter(add).count()
    }

    /// Takes over an intset (`ints`) or a listpack that was checked; a member that is there more than once is there once. To
    /// be called on an empty set.
    pub fn set_packed(&mut self, bytes: &[u8], ints: bool) {
        assert_eq!(self.as_ref().len(), 0, "packed bytes are all of a set");
        let (set, most) = match ints {
            true => (SetRef::ints(bytes), self.limits.set_ints.min(INTS_MAX)),
            false => (SetRef::packed(bytes), self.limits.set_entries),
        };
        let fits = set.len() <= most && bytes.len() <= PACKED_MAX;
        let twice = |list| super::has_twice(list, 1);
        match set.0 {
            Form::Ints(..) if fits => self.home.replace(SetObject::Ints(bytes.to_vec())),
            Form::Packed(list) if fits && !twice(list) => {
                self.home.replace(SetObject::Packed(bytes.to_vec()));
            }
            _ => {
                if !fits {
                    self.become_table();
                }
                set.members().for_each(|member| {
                    self.insert(member);
                });
            }
        }
    }

    /// True if the member was not there.
    pub fn add(&mut self, member: &[u8]) -> bool {
        self.insert(Member::Element(Element::Bytes(member)))
    }

    pub(crate) fn insert(&mut self, member: Member<'_>) -> bool {
        match self.as_ref().0 {
            Form::Table(_) => {}
            Form::Packed(list) => {
                let (mut digits, text) = (Digits::default(), member.element());
                let text = text.text(&mut digits);
                if list.find(list.start(), text, 0).is_some() {
                    return false;
                }
                let element = Element::of(text);
                let fits = list.len() < self.limits.set_entries
                    && text.len() <= self.limits.set_value
                    && list.bytes().len() + element.size() <= PACKED_MAX;
                if fits {
                    listpack::append(&mut self.home.open(element.size()), [element]);
                    return true;
                }
                self.become_table();
            }
            Form::Ints(ints, _) => match member.element().int() {
                Some(n) if ints.contains(n) => return false,
                Some(n) => {
                    let size = ints.size_with(n);
                    let fits = ints.len() < self.limits.set_ints.min(INTS_MAX);
                    if fits && size <= PACKED_MAX {
                        // A wider integer makes all others longer as well.
                        let before = intset::EMPTY.len() + ints.len() * ints.width() as usize;
                        return intset::add(&mut self.home.open(size - before), n);
                    }
                    self.become_table();
                }
                None if self.may_pack_ints(member.element().text_len()) => {
                    self.pack_ints();
                    let element = member.element();
                    listpack::append(&mut self.home.open(element.size()), [element]);
                    return true;
                }
                None => self.become_table(),
            },
        }
        self.home.table().add(member)
    }

    /// Whether an intset may become a listpack that also has a text of this length.
    fn may_pack_ints(&self, text_len: usize) -> bool {
        let Form::Ints(ints, _) = self.as_ref().0 else {
            return false;
        };
        let ends = || [ints.first(), ints.last()].into_iter().flatten();
        let longest = ends().map(|n| Element::Int(n).text_len()).max();
        let largest = ends().map(|n| Element::Int(n).size()).max();
        ints.len() < self.limits.set_entries
            && text_len <= self.limits.set_value
            && longest.unwrap_or(0) <= self.limits.set_value
            && largest.unwrap_or(0) * ints.len() + text_len <= PACKED_MAX / 2
    }

    /// Makes a listpack of an intset.
    fn pack_ints(&mut self) {
        let mut list = Builder::default();
        self.as_ref().for_each(|member| list.push(member));
        self.home.replace(SetObject::Packed(list.finish()));
    }

    fn become_table(&mut self) {
        let mut table = SetTable::new(self.hasher);
        for member in self.as_ref().members() {
            table.add(member);
        }
        self.home.replace(SetObject::Table(table));
    }

    /// Makes an intset of integers that are kept otherwise, if one may have so many.
    pub(crate) fn become_ints(&mut self) {
        let set = self.as_ref();
        if set.is_ints() || set.len() > self.limits.set_ints.min(INTS_MAX) {
            return;
        }
        let mut integers: Vec<i64> = set.iter().filter_map(Element::int).collect();
        integers.sort_unstable();
        let mut bytes = intset::EMPTY.to_vec();
        for n in integers {
            if Intset::trusted(&bytes).size_with(n) > PACKED_MAX {
                return;
            }
            intset::add(&mut bytes, n);
        }
        self.home.replace(SetObject::Ints(bytes));
    }

    /// False if there is no such member.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.as_ref().0 {
            Form::Ints(ints, _) => match Element::of(member).int() {
                Some(n) if ints.contains(n) => intset::remove(&mut self.home.open(0), n),
                _ => false,
            },
            Form::Packed(list) => {
                let found = list.find(list.start(), member, 0);
                if let Some(at) = found {
                    listpack::remove(&mut self.home.open(0), at);
                }
                found.is_some()
            }
            Form::Table(_) => self.home.table().remove(member),
        }
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
