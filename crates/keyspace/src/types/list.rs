//! Owns lists: how their elements are kept, read and changed.
//!
//! Forms, each reported by Redis's name: a listpack, and chunks of elements (a quicklist). Which it is follows Redis 7.4
//! and its directive: a listpack that a change would make too large becomes chunks before it, and one chunk
//! that a change has left with half of what a listpack may have becomes a listpack.
//!
//! Invariant: what a change comes to depends on the elements alone, whatever the form.

use std::sync::Arc;

use containers::list::{self, Fill, List};
use containers::listpack::{self, Digits, Element, Entries, Listpack};

use super::packed::{self, PackedBytes};
use super::{Limits, PACKED_MAX};
use crate::digest::Digest;
use crate::form::Packing;
use crate::object::Object;
use crate::raw::{EntryPtr, Payload};

/// What a listpack may have at most where elements are counted.
const COUNTED_BYTES: usize = 8192;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A list that is not in an entry.
#[derive(Clone)]
pub(crate) enum ListObject {
    Packed(Vec<u8>),
    Chunks(List),
}

impl ListObject {
    pub fn as_ref(&self) -> ListRef<'_> {
        ListRef(match self {
            ListObject::Packed(bytes) => Form::Packed(Listpack::trusted(bytes)),
            ListObject::Chunks(list) => Form::Chunks(list),
        })
    }

    pub fn bytes(&self) -> usize {
        match self {
            ListObject::Packed(bytes) => bytes.capacity(),
            ListObject::Chunks(list) => list.bytes(),
        }
    }
}

/// A list, borrowed.
#[derive(Clone, Copy)]
pub struct ListRef<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Packed(Listpack<'a>),
    Chunks(&'a List),
}

/// The bytes of a list, for what writes it as it lies.
#[derive(Clone, Copy)]
pub enum ListLayout<'a> {
    /// A listpack.
    Packed(&'a [u8]),
    Chunks(&'a List),
}

impl<'a> ListRef<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> ListRef<'a> {
        ListRef(Form::Packed(Listpack::trusted(bytes)))
    }

    /// How many elements there are.
    pub fn len(self) -> u64 {
        match self.0 {
            Form::Packed(list) => list.len() as u64,
            Form::Chunks(list) => list.len(),
        }
    }

    /// Only while it is changed.
    pub fn is_empty(self) -> bool {
        match self.0 {
            Form::Packed(list) => list.is_empty(),
            Form::Chunks(list) => list.is_empty(),
        }
    }

    /// OBJECT ENCODING.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            Form::Packed(_) => "listpack",
            Form::Chunks(_) => "quicklist",
        }
    }

    /// How it is kept.
    pub fn layout(self) -> ListLayout<'a> {
        match self.0 {
            Form::Packed(list) => ListLayout::Packed(list.bytes()),
            Form::Chunks(list) => ListLayout::Chunks(list),
        }
    }

    pub fn get(self, index: u64) -> Option<Element<'a>> {
        match self.0 {
            Form::Packed(list) => {
                let place = list.seek(i64::try_from(index).ok()?)?;
                Some(list.get(place))
            }
            Form::Chunks(list) => list.get(index),
        }
    }

    /// The element at an end; none is empty.
    pub fn end(self, side: Side) -> Option<Element<'a>> {
        match side {
            Side::Left => self.get(0),
            Side::Right => self.get(self.len().checked_sub(1)?),
        }
    }

    pub fn iter(self) -> Elements<'a> {
        self.iter_from(0)
    }

    /// The elements from an index on.
    pub fn iter_from(self, index: u64) -> Elements<'a> {
        Elements(match self.0 {
            Form::Packed(list) => {
                let from = place_of(list, index);
                Walk::Packed(list.entries_between(from, list.end()))
            }
            Form::Chunks(list) => Walk::Forward(list.iter_from(index)),
        })
    }

    /// The element at an index and those before it, backward; the last one is first where there are fewer.
    pub fn iter_back_from(self, index: u64) -> Elements<'a> {
        Elements(match self.0 {
            Form::Packed(list) => {
                let to = place_of(list, index.saturating_add(1));
                Walk::PackedBack(list.entries_between(list.start(), to))
            }
            Form::Chunks(list) => Walk::Backward(list.iter_back_from(index)),
        })
    }

    /// The elements from one end to the other.
    pub fn iter_from_end(self, side: Side) -> Elements<'a> {
        match side {
            Side::Left => self.iter(),
            Side::Right => self.iter_back_from(self.len().saturating_sub(1)),
        }
    }

    /// The index of the first element that reads like this text. `pace` is told the bytes of each that is looked at.
    pub fn find(self, text: &[u8], pace: &mut dyn FnMut(usize)) -> Option<u64> {
        match self.0 {
            Form::Packed(list) => {
                let found = list.iter().position(|element| element.is(text));
                found.map(|index| index as u64)
            }
            Form::Chunks(list) => list.find(text, pace),
        }
    }

    /// About how many bytes its elements have.
    pub(crate) fn weight(self) -> usize {
        match self.0 {
            Form::Packed(list) => list.bytes().len(),
            Form::Chunks(list) => list.bytes(),
        }
    }

    /// Of all elements, each with its place.
    pub(crate) fn digest(self) -> Digest {
        let mut sum = Digest::default();
        for (index, element) in (0u64..).zip(self.iter()) {
            let mut digits = Digits::default();
            sum.add(Digest::of(&[
                &index.to_le_bytes(),
                element.text(&mut digits),
            ]));
        }
        sum
    }
}

/// The place of an element of a listpack, or its end.
fn place_of(list: Listpack<'_>, index: u64) -> listpack::Place {
    let place = i64::try_from(index).ok().and_then(|index| list.seek(index));
    place.unwrap_or(list.end())
}

/// Elements of a list, one after another.
pub struct Elements<'a>(Walk<'a>);

enum Walk<'a> {
    Packed(Entries<'a>),
    PackedBack(Entries<'a>),
    Forward(list::Forward<'a>),
    Backward(list::Backward<'a>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match &mut self.0 {
            Walk::Packed(entries) => entries.next().map(|(_, element)| element),
            Walk::PackedBack(entries) => entries.next_back().map(|(_, element)| element),
            Walk::Forward(elements) => elements.next(),
            Walk::Backward(elements) => elements.next(),
        }
    }
}

/// How much a listpack may have.
#[derive(Clone, Copy)]
struct Most {
    bytes: usize,
    count: u64,
}

impl Most {
    fn of(limits: Limits) -> Most {
        match limits.list_size {
            class @ ..0 => Most {
                bytes: 4096 << (class.max(-5) + 1).unsigned_abs(),
                count: u64::MAX,
            },
            count => Most {
                bytes: COUNTED_BYTES,
                count: count.unsigned_abs().max(1).into(),
            },
        }
    }

    fn has(self, bytes: usize, count: u64) -> bool {
        bytes <= self.bytes && count <= self.count
    }

    /// From here on what has shrunk is a listpack again. Where elements are counted their bytes do not matter, as in Redis.
    fn half(self) -> Most {
        match self.count {
            u64::MAX => Most {
                bytes: self.bytes / 2,
                ..self
            },
            count => Most {
                bytes: usize::MAX,
                count: count / 2,
            },
        }
    }
}

/// A list that is being changed. Left without elements it must be removed.
pub struct ListMut<'e> {
    entry: &'e mut EntryPtr,
    limits: Limits,
    /// Chunks that were cut out, which may take long to free.
    removed: Option<List>,
}

impl<'e> ListMut<'e> {
    /// A new list begins as a listpack without elements.
    pub(crate) fn new(entry: &'e mut EntryPtr, limits: Limits) -> ListMut<'e> {
        ListMut {
            entry,
            limits,
            removed: None,
        }
    }

    pub fn as_ref(&self) -> ListRef<'_> {
        let list = crate::value::Value::of(self.entry.payload()).list();
        list.expect("it stays a list while it is borrowed")
    }

    /// What was cut out, to be freed.
    pub(crate) fn take_removed(&mut self) -> Option<Arc<Object>> {
        let removed = self.removed.take()?;
        Some(Arc::new(Object::List(ListObject::Chunks(removed))))
    }

    fn fill(&self) -> Fill {
        Fill::new(self.limits.list_size).plain_from(self.limits.list_plain)
    }

    /// The bytes of one that is a listpack, for edits that make it at most `added` bytes longer.
    fn open(&mut self, added: usize) -> PackedBytes<'_> {
        packed::open(self.entry, added)
    }

    /// The chunks of one that has them.
    fn chunks(&mut self) -> &mut List {
        match self.entry.object_to_change() {
            Some(Object::List(ListObject::Chunks(list))) => list,
            _ => unreachable!("the caller has seen that it has chunks"),
        }
    }

    fn is_packed(&self) -> bool {
        matches!(self.as_ref().0, Form::Packed(_))
    }

    /// Puts texts at an end, one after another. All of them together decide the form, as they do in Redis.
    pub fn push(&mut self, side: Side, texts: &[&[u8]]) {
        self.push_with(side, texts, &mut |_| {});
    }

    /// The same; `pace` is told the bytes of each.
    pub fn push_with(&mut self, side: Side, texts: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        self.make_room(texts);
        let fill = self.fill();
        if self.is_packed() {
            let size = texts.iter().map(|text| Element::of(text).size()).sum();
            let mut bytes = self.open(size);
            for text in texts {
                match side {
                    Side::Left => listpack::prepend(&mut bytes, [Element::of(text)]),
                    Side::Right => listpack::append(&mut bytes, [Element::of(text)]),
                }
            }
            return;
        }
        let list = self.chunks();
        for text in texts {
            match side {
                Side::Left => list.push_front(text, fill),
                Side::Right => list.push_back(text, fill),
            }
            pace(text.len());
        }
    }

    /// Makes chunks of a listpack that would be too large with these texts.
    fn make_room(&mut self, texts: &[&[u8]]) {
        let Form::Packed(list) = self.as_ref().0 else {
            return;
        };
        let (mut long, mut size) = (list.bytes().len(), list.bytes().len());
        for text in texts {
            long += text.len();
            size += Element::of(text).size();
        }
        let count = list.len() + texts.len();
        if !Most::of(self.limits).has(long, count as u64) || size > PACKED_MAX {
            self.become_chunks();
        }
    }

    fn become_chunks(&mut self) {
        let Form::Packed(packed) = self.as_ref().0 else {
            return;
        };
        let mut list = List::new();
        list.push_listpack(packed, self.fill());
        let expiry = self.entry.expiry();
        let object = Arc::new(Object::List(ListObject::Chunks(list)));
        // What is replaced is packed, and freed at once.
        drop(self.entry.store(Payload::Object(object), expiry));
    }

    /// Makes a listpack of a single chunk that has no more than this.
    fn become_packed(&mut self, most: Most) {
        let Form::Chunks(list) = self.as_ref().0 else {
            return;
        };
        let Some(packed) = list.as_listpack() else {
            return;
        };
        let len = packed.bytes().len();
        if most.has(len, packed.len() as u64) && len <= PACKED_MAX {
            let bytes = packed.bytes().to_vec();
            packed::take_over(self.entry, Packing::List, &bytes);
        }
    }

    /// After elements have left it.
    fn shrink(&mut self) {
        self.become_packed(Most::of(self.limits).half());
    }

    /// Removes up to so many elements from an end.
    pub fn pop(&mut self, side: Side, count: u64) {
        let len = self.as_ref().len();
        let count = count.min(len);
        match side {
            Side::Left => self.remove_range(0, count),
            Side::Right => self.remove_range(len - count, len),
        }
        self.shrink();
    }

    /// Removes the element at one end, and puts a text at one.
    pub fn turn(&mut self, take: Side, (put, text): (Side, &[u8])) {
        match (take, self.as_ref().len()) {
            (Side::Left, _) => self.remove_range(0, 1),
            (Side::Right, len) => self.remove_range(len - 1, len),
        }
        self.push(put, &[text]);
        self.shrink();
    }

    /// Leaves the elements from one index up to another, which is not left.
    pub fn trim(&mut self, from: u64, to: u64) {
        let len = self.as_ref().len();
        self.remove_range(to.max(from).min(len), len);
        self.remove_range(0, from.min(len));
        self.shrink();
    }

    fn remove_range(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        if let Form::Packed(list) = self.as_ref().0 {
            let place = place_of(list, from);
            let count = usize::try_from(to - from).expect("a listpack's length fits");
            listpack::remove_range(&mut self.open(0), place, count);
            return;
        }
        let list = self.chunks();
        let removed = match (to - from, from == 0, to == list.len()) {
            // The ends lie where they are reached without a way down the tree.
            (1, true, _) => return list.pop_front_with(|_| ()).unwrap_or(()),
            (1, _, true) => return list.pop_back_with(|_| ()).unwrap_or(()),
            _ => list.remove_range(from, to),
        };
        match &mut self.removed {
            Some(before) => before.append(removed),
            none => *none = Some(removed),
        }
    }

    /// Puts another element in the place of the one at an index; false if there is none.
    pub fn set(&mut self, index: u64, text: &[u8]) -> bool {
        if index >= self.as_ref().len() {
            return false;
        }
        self.make_room(&[text]);
        let fill = self.fill();
        if let Form::Packed(list) = self.as_ref().0 {
            let (place, element) = (place_of(list, index), Element::of(text));
            listpack::replace(&mut self.open(element.size()), place, element);
            return true;
        }
        self.chunks().set(index, text, fill);
        self.shrink();
        true
    }

    /// Inserts before or behind the first element that reads like `pivot`; false if there is none. `pace`: as with
    /// [`ListRef::find`].
    pub fn insert_beside(
        &mut self,
        pivot: &[u8],
        before: bool,
        text: &[u8],
        pace: &mut dyn FnMut(usize),
    ) -> bool {
        let Some(found) = self.as_ref().find(pivot, pace) else {
            return false;
        };
        self.make_room(&[text]);
        let (index, fill) = (found + u64::from(!before), self.fill());
        if let Form::Packed(list) = self.as_ref().0 {
            let (place, element) = (place_of(list, index), Element::of(text));
            listpack::insert(&mut self.open(element.size()), place, [element]);
        } else {
            self.chunks().insert(index, text, fill);
        }
        true
    }

    /// Removes elements that read like this text: all for 0, else the first ones or, below 0, the last ones. Returns how many.
    /// `pace`: as with [`ListRef::find`].
    pub fn remove_value(&mut self, text: &[u8], count: i64, pace: &mut dyn FnMut(usize)) -> u64 {
        let removed = match self.as_ref().0 {
            Form::Packed(list) => {
                let all = list.iter().filter(|element| element.is(text)).count() as u64;
                let wanted = match count {
                    0 => all,
                    count => all.min(count.unsigned_abs()),
                };
                let skip = if count < 0 { all - wanted } else { 0 };
                let mut seen = 0;
                if wanted > 0 {
                    listpack::retain(&mut self.open(0), |element| {
                        let found = element.is(text);
                        seen += u64::from(found);
                        !(found && seen > skip && seen <= skip + wanted)
                    });
                }
                wanted
            }
            Form::Chunks(_) => self.chunks().remove_value(text, count, pace),
        };
        if removed > 0 {
            self.shrink();
        }
        removed
    }

    /// Puts a listpack that was checked at the end: as it is, if it may be all of the list.
    pub fn push_packed(&mut self, bytes: &[u8]) {
        let (packed, most) = (Listpack::trusted(bytes), Most::of(self.limits));
        let fits = most.has(bytes.len(), packed.len() as u64) && bytes.len() <= PACKED_MAX;
        if self.is_packed() && self.as_ref().is_empty() && fits {
            return packed::take_over(self.entry, Packing::List, bytes);
        }
        if packed.is_empty() {
            return;
        }
        self.become_chunks();
        let fill = self.fill();
        self.chunks().push_listpack(packed, fill);
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
