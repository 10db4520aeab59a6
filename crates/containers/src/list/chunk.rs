//! Owns [`Chunk`], a run of a list's elements in one block, and [`Fill`], how much goes into one. Never knows the list.
//!
//! Invariants:
//! - a chunk has elements, and is a listpack, or it is the text of one element that is too large for that (`plain`);
//! - the bytes lie anywhere in their block: so room before them takes what is pushed at the front, and an edit moves the
//!   shorter of the two sides;
//! - a block is no larger than the power of two above its bytes, so no larger than the limit that its bytes keep;
//! - clones share the block until one of them is edited.

use base::number::parse_i64;
use triomphe::Arc;

use crate::listpack::{self, Element, Listpack, Place};
use crate::memory::arc_size;
use crate::tree::Item;
use crate::{size_class, Splice};

/// Bytes of a chunk where its elements are counted.
const SAFE_SIZE: usize = 8192;
/// A block is not made smaller below this.
const SHRINK_FROM: usize = 128;

/// How much goes into a chunk: Redis's `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    size: usize,
    count: usize,
    plain_from: usize,
}

impl Fill {
    /// -1 to -5: 4 to 64 KiB. Others: so many elements, at least one, in at most 8 KiB.
    pub fn new(list_max_listpack_size: i32) -> Fill {
        let (size, count) = match list_max_listpack_size {
            size @ ..0 => (4096 << (size.max(-5) + 1).unsigned_abs(), usize::MAX),
            count => (SAFE_SIZE, count.max(1) as usize),
        };
        Fill {
            size,
            count,
            plain_from: usize::MAX,
        }
    }

    /// The same, but texts from this length on are chunks of their own, though there is room.
    pub fn plain_from(self, len: usize) -> Fill {
        Fill {
            plain_from: len,
            ..self
        }
    }

    fn is_plain(self, text: &[u8], size: usize) -> bool {
        text.len() >= self.plain_from || listpack::EMPTY.len() + size > self.size
    }

    /// Whether a listpack of this length is a chunk.
    pub(super) fn takes(self, listpack: Listpack<'_>) -> bool {
        listpack.bytes().len() <= self.size && listpack.len() <= self.count
    }
}

/// A text on its way into a list.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub text: &'a [u8],
    element: Element<'a>,
    size: usize,
    is_plain: bool,
}

impl<'a> Incoming<'a> {
    pub fn new(text: &'a [u8], fill: Fill) -> Incoming<'a> {
        let element = Element::of(text);
        let size = element.size();
        Incoming {
            text,
            element,
            size,
            is_plain: fill.is_plain(text, size),
        }
    }
}

/// A client's text, to be compared with elements.
#[derive(Clone, Copy)]
pub(super) struct Needle<'a>(Element<'a>);

impl<'a> Needle<'a> {
    pub fn new(text: &'a [u8]) -> Needle<'a> {
        Needle(Element::of(text))
    }

    pub fn is(self, element: Element<'_>) -> bool {
        match (self.0, element) {
            (Element::Int(own), Element::Bytes(text)) => parse_i64(text) == Some(own),
            (own, other) => own == other,
        }
    }
}

/// Bytes within a block that may be larger.
struct Block {
    /// Room before the bytes, and the bytes; behind them is the rest of the capacity.
    buffer: Vec<u8>,
    start: usize,
}

impl Clone for Block {
    /// Of the same size, for sums have counted it.
    fn clone(&self) -> Self {
        let mut buffer = Vec::with_capacity(self.buffer.capacity());
        buffer.extend_from_slice(&self.buffer);
        Block {
            buffer,
            start: self.start,
        }
    }
}

impl Block {
    fn exact(bytes: &[u8]) -> Block {
        Block {
            buffer: bytes.to_vec(),
            start: 0,
        }
    }

    fn memory(&self) -> usize {
        size_class(arc_size::<Block>()) + size_class(self.buffer.capacity())
    }

    /// The same bytes, but for those that a splice removes, in a block of another size; the room is at the front or behind.
    fn rebuild(&mut self, (at, remove, insert): (usize, usize, &[&[u8]]), room_in_front: bool) {
        let old = &self.buffer[self.start..];
        let added: usize = insert.iter().map(|part| part.len()).sum();
        let len = old.len() - remove + added;
        let capacity = size_class(len + len / 8).min(len.next_power_of_two());
        let start = if room_in_front { capacity - len } else { 0 };
        let mut buffer = Vec::with_capacity(capacity);
        buffer.resize(start, 0);
        buffer.extend_from_slice(&old[..at]);
        insert
            .iter()
            .for_each(|part| buffer.extend_from_slice(part));
        buffer.extend_from_slice(&old[at + remove..]);
        *self = Block { buffer, start };
    }

    /// Makes a gap of `gap` bytes in place of `remove` at `at`, by moving one side. There is room for it on that side.
    fn open(&mut self, (at, remove, gap): (usize, usize, usize), move_front: bool) {
        let (start, end) = (self.start, self.buffer.len());
        if move_front {
            self.start = start + remove - gap;
            self.buffer.copy_within(start..start + at, self.start);
        } else {
            let behind = start + at + remove;
            if gap > remove {
                self.buffer.resize(end + gap - remove, 0);
            }
            self.buffer.copy_within(behind..end, start + at + gap);
            self.buffer.truncate(end + gap - remove);
        }
    }
}

impl Splice for Block {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let len = self.bytes().len();
        assert!(at + remove <= len, "what is removed is there");
        let gap: usize = insert.iter().map(|part| part.len()).sum();
        let new_len = len - remove + gap;
        let move_front = at < len - (at + remove);
        let capacity = self.buffer.capacity();
        let more = gap.saturating_sub(remove);
        let room = match move_front {
            true => self.start,
            false => capacity - self.buffer.len(),
        };
        if more > room {
            // Room on the other side is used where it is enough for long: each time all bytes move.
            let free = capacity - len;
            if more <= free && free >= len / 8 {
                let start = if move_front { free } else { 0 };
                self.buffer.resize(self.buffer.len().max(start + len), 0);
                self.buffer.copy_within(self.start..self.start + len, start);
                self.buffer.truncate(start + len);
                self.start = start;
            } else {
                return self.rebuild((at, remove, insert), move_front);
            }
        } else if capacity > SHRINK_FROM && new_len < capacity / 2 && gap < remove {
            return self.rebuild((at, remove, insert), move_front);
        }
        self.open((at, remove, gap), move_front);
        let mut to = self.start + at;
        for part in insert {
            self.buffer[to..to + part.len()].copy_from_slice(part);
            to += part.len();
        }
    }
}

/// A run of elements.
#[derive(Clone)]
pub(super) struct Chunk {
    block: Arc<Block>,
    count: u32,
    is_plain: bool,
}

const _: () = assert!(size_of::<Chunk>() == 16 && size_of::<Option<Chunk>>() == 16);

impl Item for Chunk {
    type Key = ();

    fn key(&self) -> &() {
        &()
    }

    fn weight(&self) -> u64 {
        self.count.into()
    }

    fn bytes(&self) -> usize {
        self.block.memory()
    }
}

impl Chunk {
    pub fn new(incoming: Incoming<'_>) -> Chunk {
        let mut block = match incoming.is_plain {
            true => Block::exact(incoming.text),
            false => Block::exact(&listpack::EMPTY),
        };
        if !incoming.is_plain {
            listpack::append(&mut block, [incoming.element]);
        }
        Chunk {
            block: Arc::new(block),
            count: 1,
            is_plain: incoming.is_plain,
        }
    }

    /// A copy of a listpack that has elements.
    pub fn of_listpack(bytes: &[u8], count: usize) -> Chunk {
        Chunk {
            block: Arc::new(Block::exact(bytes)),
            count: u32::try_from(count).expect("a listpack has fewer bytes"),
            is_plain: false,
        }
    }

    pub fn count(&self) -> u64 {
        self.count.into()
    }

    pub fn content(&self) -> Content<'_> {
        match self.is_plain {
            true => Content::Plain(self.block.bytes()),
            false => Content::Packed(Listpack::trusted(self.block.bytes())),
        }
    }

    pub fn get(&self, at: u64) -> Element<'_> {
        match self.content() {
            Content::Plain(text) => Element::Bytes(text),
            Content::Packed(listpack) => listpack.get(self.place(at)),
        }
    }

    /// The place of an element of a listpack, or its end.
    fn place(&self, at: u64) -> Place {
        let listpack = Listpack::trusted(self.block.bytes());
        let place = listpack.seek(i64::try_from(at).expect("a chunk is small"));
        place.unwrap_or(listpack.end())
    }

    fn block(&mut self) -> &mut Block {
        Arc::make_mut(&mut self.block)
    }

    /// Whether an element may be added.
    pub fn admits(&self, incoming: Incoming<'_>, fill: Fill) -> bool {
        !self.is_plain
            && !incoming.is_plain
            && (self.count as usize) < fill.count
            && self.block.bytes().len() + incoming.size <= fill.size
    }

    pub fn prepend(&mut self, incoming: Incoming<'_>) {
        self.count += 1;
        listpack::prepend(self.block(), [incoming.element]);
    }

    pub fn append(&mut self, incoming: Incoming<'_>) {
        self.count += 1;
        listpack::append(self.block(), [incoming.element]);
    }

    pub fn insert(&mut self, at: u64, incoming: Incoming<'_>) {
        let place = self.place(at);
        self.count += 1;
        listpack::insert(self.block(), place, [incoming.element]);
    }

    /// Whether the element at `at` may be replaced within the chunk.
    pub fn may_replace(&self, at: u64, incoming: Incoming<'_>, fill: Fill) -> bool {
        if self.is_plain || incoming.is_plain {
            return self.is_plain && incoming.is_plain;
        }
        let bytes = self.block.bytes();
        let place = self.place(at);
        let behind = Listpack::trusted(bytes).behind(place);
        bytes.len() - (behind.offset() - place.offset()) + incoming.size <= fill.size
    }

    pub fn replace(&mut self, at: u64, incoming: Incoming<'_>) {
        if self.is_plain {
            self.block = Arc::new(Block::exact(incoming.text));
            return;
        }
        let place = self.place(at);
        listpack::replace(self.block(), place, incoming.element);
    }

    /// Removes some elements, not all.
    pub fn remove(&mut self, at: u64, count: u64) {
        assert!(count < self.count(), "a chunk has elements");
        let place = self.place(at);
        listpack::remove_range(self.block(), place, count as usize);
        self.count -= count as u32;
    }

    /// How many elements are this one.
    pub fn count_of(&self, needle: Needle<'_>) -> u64 {
        self.elements()
            .filter(|element| needle.is(*element))
            .count() as u64
    }

    /// Removes those elements that are this one, but for the first `skip`, `remove` of them, and not all of the chunk's.
    pub fn remove_each(&mut self, needle: Needle<'_>, skip: u64, remove: u64) {
        let mut seen = 0;
        let removed = listpack::retain(self.block(), |element| {
            let found = needle.is(element);
            seen += u64::from(found);
            !(found && seen > skip && seen <= skip + remove)
        });
        self.count -= removed as u32;
        assert_ne!(self.count, 0, "a chunk has elements");
    }

    /// Cuts between two elements; returns what is behind.
    pub fn split_off(&mut self, at: u64) -> Chunk {
        assert!(0 < at && at < self.count(), "both parts have elements");
        let place = self.place(at);
        let behind = listpack::split_off(self.block(), place);
        let count = self.count() - at;
        self.count = at as u32;
        Chunk::of_listpack(&behind, count as usize)
    }

    /// Gives back the room that is left: of a chunk that is no longer at an end.
    pub fn seal(&mut self) {
        let len = self.block.bytes().len();
        if size_class(len) < size_class(self.block.buffer.capacity()) {
            self.block = Arc::new(Block::exact(self.block.bytes()));
        }
    }

    pub fn elements(&self) -> Elements<'_> {
        self.elements_from(0)
    }

    pub fn elements_from(&self, at: u64) -> Elements<'_> {
        match self.content() {
            Content::Plain(text) => Elements::Plain((at == 0).then_some(text)),
            Content::Packed(listpack) => {
                let from = if at == 0 {
                    listpack.start()
                } else {
                    self.place(at)
                };
                Elements::Packed(listpack.entries_between(from, listpack.end()))
            }
        }
    }

    pub fn elements_up_to(&self, at: u64) -> Elements<'_> {
        match self.content() {
            Content::Plain(text) => Elements::Plain((at > 0).then_some(text)),
            Content::Packed(listpack) => {
                let to = if at == self.count() {
                    listpack.end()
                } else {
                    self.place(at)
                };
                Elements::Packed(listpack.entries_between(listpack.start(), to))
            }
        }
    }

    #[cfg(test)]
    pub fn address(&self) -> usize {
        self.block.buffer.as_ptr() as usize
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.block.buffer.capacity()
    }
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Elements as Redis packs them.
    Packed(Listpack<'a>),
    /// The text of one element.
    Plain(&'a [u8]),
}

/// Elements of one chunk, from both sides.
pub(super) enum Elements<'a> {
    Packed(listpack::Entries<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Elements::Packed(entries) => entries.next().map(|(_, element)| element),
            Elements::Plain(text) => text.take().map(Element::Bytes),
        }
    }
}

impl DoubleEndedIterator for Elements<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Elements::Packed(entries) => entries.next_back().map(|(_, element)| element),
            Elements::Plain(text) => text.take().map(Element::Bytes),
        }
    }
}
