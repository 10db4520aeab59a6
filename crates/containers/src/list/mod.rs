//! Owns [`List`]: elements in order, in chunks of packed bytes. Never knows keys, commands or which encoding is reported.
//!
//! The first and the last chunk lie outside the tree of the others, so that pushes and pops at both ends neither
//! go down a tree nor change one but for each full or emptied chunk.
//!
//! Invariants: no chunk is empty; `front`, the chunks of `middle` and `back` hold the elements in this order. Any of
//! them may be missing while others are there: [`List::pull_front`] and [`List::pull_back`] bring a chunk to its end,
//! [`List::settle`] brings all into the tree.

mod chunk;
#[cfg(test)]
mod tests;
mod walk;

use chunk::{Chunk, Incoming, Needle};
pub use chunk::{Content, Fill};
pub use walk::{Backward, Forward};

use crate::listpack::{Digits, Element, Listpack};
use crate::tree::{Item, Tree};

/// A list. Clones share all chunks.
#[derive(Clone, Default)]
pub struct List {
    front: Option<Chunk>,
    middle: Tree<Chunk>,
    back: Option<Chunk>,
}

/// Where an element is: its chunk, and its place within.
#[derive(Clone, Copy)]
enum Spot {
    Front(u64),
    /// A position in the tree.
    Middle(u64),
    Back(u64),
}

impl List {
    pub fn new() -> Self {
        List::default()
    }

    fn front_len(&self) -> u64 {
        self.front.as_ref().map_or(0, Chunk::count)
    }

    pub fn len(&self) -> u64 {
        self.front_len() + self.middle.weight() + self.back.as_ref().map_or(0, Chunk::count)
    }

    pub fn is_empty(&self) -> bool {
        self.front.is_none() && self.back.is_none() && self.middle.is_empty()
    }

    /// The memory of all chunks and of the tree. What is shared with clones counts in full.
    pub fn bytes(&self) -> usize {
        let of = |end: &Option<Chunk>| end.as_ref().map_or(0, Item::bytes);
        of(&self.front) + self.middle.bytes() + of(&self.back)
    }

    /// Brings the first chunk to the front.
    fn pull_front(&mut self) {
        if self.front.is_none() {
            self.front = self.middle.pop_first().or_else(|| self.back.take());
        }
    }

    fn pull_back(&mut self) {
        if self.back.is_none() {
            self.back = self.middle.pop_last().or_else(|| self.front.take());
        }
    }

    /// Brings both ends into the tree, for an edit that may change any chunks.
    fn settle(&mut self) {
        if let Some(front) = self.front.take() {
            self.middle.insert(0, front);
        }
        if let Some(back) = self.back.take() {
            self.middle.push(back);
        }
    }

    pub fn push_front(&mut self, text: &[u8], fill: Fill) {
        let incoming = Incoming::new(text, fill);
        self.pull_front();
        match &mut self.front {
            Some(front) if front.admits(incoming, fill) => front.prepend(incoming),
            front => {
                if let Some(mut old) = front.replace(Chunk::new(incoming)) {
                    old.seal();
                    self.middle.insert(0, old);
                }
            }
        }
    }

    pub fn push_back(&mut self, text: &[u8], fill: Fill) {
        let incoming = Incoming::new(text, fill);
        self.pull_back();
        match &mut self.back {
            Some(back) if back.admits(incoming, fill) => back.append(incoming),
            _ => self.push_chunk(Chunk::new(incoming)),
        }
    }

    /// Puts a chunk at the end. The last one is at the back, if there is one.
    fn push_chunk(&mut self, chunk: Chunk) {
        if let Some(mut old) = self.back.replace(chunk) {
            old.seal();
            self.middle.push(old);
        }
    }

    /// Lets `take` have the first element, which is gone afterwards.
    pub fn pop_front_with<R>(&mut self, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        self.pull_front();
        let front = self.front.as_mut()?;
        let result = take(front.get(0));
        match front.count() {
            1 => self.front = None,
            _ => front.remove(0, 1),
        }
        Some(result)
    }

    pub fn pop_back_with<R>(&mut self, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        self.pull_back();
        let back = self.back.as_mut()?;
        let last = back.count() - 1;
        let result = take(back.get(last));
        match last {
            0 => self.back = None,
            _ => back.remove(last, 1),
        }
        Some(result)
    }

    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.pop_front_with(|element| element.to_vec())
    }

    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.pop_back_with(|element| element.to_vec())
    }

    /// Where an index within the list is.
    fn spot(&self, index: u64) -> Spot {
        let front = self.front_len();
        if index < front {
            return Spot::Front(index);
        }
        match index - front {
            pos if pos < self.middle.weight() => Spot::Middle(pos),
            pos => Spot::Back(pos - self.middle.weight()),
        }
    }

    /// The chunk that an index lies in, and the index within.
    fn chunk(&self, index: u64) -> Option<(&Chunk, u64)> {
        match self.spot(index) {
            Spot::Front(at) => Some((self.front.as_ref()?, at)),
            Spot::Middle(pos) => self.middle.get(pos),
            Spot::Back(at) => {
                let back = self.back.as_ref().filter(|back| at < back.count())?;
                Some((back, at))
            }
        }
    }

    /// Lets `edit` change the chunk that an index within the list lies in.
    fn edit<R>(&mut self, index: u64, edit: impl FnOnce(&mut Chunk, u64) -> R) -> R {
        let there = "the index is within the list";
        match self.spot(index) {
            Spot::Front(at) => edit(self.front.as_mut().expect(there), at),
            Spot::Middle(pos) => self.middle.update(pos, edit),
            Spot::Back(at) => edit(self.back.as_mut().expect(there), at),
        }
    }

    pub fn get(&self, index: u64) -> Option<Element<'_>> {
        self.chunk(index).map(|(chunk, at)| chunk.get(at))
    }

    /// Puts another element in the place of the one at an index; false if there is none.
    pub fn set(&mut self, index: u64, text: &[u8], fill: Fill) -> bool {
        let incoming = Incoming::new(text, fill);
        let Some((chunk, at)) = self.chunk(index) else {
            return false;
        };
        if chunk.may_replace(at, incoming, fill) {
            self.edit(index, |chunk, at| chunk.replace(at, incoming));
        } else {
            drop(self.remove_range(index, index + 1));
            self.insert(index, text, fill);
        }
        true
    }

    /// Inserts before the element at an index, or at the end.
    pub fn insert(&mut self, index: u64, text: &[u8], fill: Fill) {
        if index == 0 {
            return self.push_front(text, fill);
        }
        if index >= self.len() {
            assert_eq!(index, self.len(), "an index within the list");
            return self.push_back(text, fill);
        }
        let incoming = Incoming::new(text, fill);
        let room =
            |chunk: Option<(&Chunk, u64)>| chunk.is_some_and(|(c, _)| c.admits(incoming, fill));
        if room(self.chunk(index)) {
            return self.edit(index, |chunk, at| chunk.insert(at, incoming));
        }
        // The chunk before has room only where it is another one, or where this one has been cut.
        if !room(self.chunk(index - 1)) {
            self.cut(index);
            self.settle();
        }
        if room(self.chunk(index - 1)) {
            self.edit(index - 1, |chunk, _| chunk.append(incoming));
        } else if room(self.chunk(index)) {
            self.edit(index, |chunk, _| chunk.prepend(incoming));
        } else {
            self.middle.insert(index, Chunk::new(incoming));
        }
    }

    /// Makes sure that a chunk begins at an index.
    fn cut(&mut self, index: u64) {
        let within = self.chunk(index).is_some_and(|(_, at)| at > 0);
        if within {
            self.settle();
            let behind = self.middle.update(index, Chunk::split_off);
            self.middle.insert(index, behind);
        }
    }

    /// Cuts out the elements from one index up to another; returns them, to be freed elsewhere if they are many.
    pub fn remove_range(&mut self, from: u64, to: u64) -> List {
        assert!(to <= self.len(), "indexes within the list");
        let mut removed = List::new();
        if from >= to {
            return removed;
        }
        let chunk = self.chunk(from).filter(|(chunk, at)| {
            let count = to - from;
            at + count <= chunk.count() && count < chunk.count()
        });
        if chunk.is_some() {
            self.edit(from, |chunk, at| chunk.remove(at, to - from));
            return removed;
        }
        self.cut(to);
        self.cut(from);
        self.settle();
        removed.middle = self.middle.remove_range(from, to);
        removed
    }

    /// Puts all elements of another list behind those of this one.
    pub fn append(&mut self, mut other: List) {
        self.settle();
        other.settle();
        self.middle.append(other.middle);
    }

    /// The index of the first element that reads like this text. `pace` is told the bytes of each that is looked at.
    pub fn find(&self, text: &[u8], pace: &mut dyn FnMut(usize)) -> Option<u64> {
        let needle = Needle::new(text);
        let found = self.iter().position(|element| {
            pace(element.text_len());
            needle.is(element)
        });
        found.map(|index| index as u64)
    }

    /// Inserts before or behind the first element that reads like `pivot`; false if there is none.
    pub fn insert_beside(&mut self, pivot: &[u8], before: bool, text: &[u8], fill: Fill) -> bool {
        let found = self.find(pivot, &mut |_| {});
        if let Some(index) = found {
            self.insert(index + u64::from(!before), text, fill);
        }
        found.is_some()
    }

    /// Removes elements that read like this text: all for 0, else the first ones or, below 0, the last ones. Returns how many.
    /// `pace` is called for each element that is looked at, chunk by chunk.
    pub fn remove_value(&mut self, text: &[u8], count: i64, pace: &mut dyn FnMut(usize)) -> u64 {
        let needle = Needle::new(text);
        let wanted = match count {
            0 => u64::MAX,
            count => count.unsigned_abs(),
        };
        let (mut removed, mut passed) = (0, 0);
        // Indexes are counted from the end that the walk begins at: what it has passed no longer changes.
        while removed < wanted && passed < self.len() {
            let index = match count {
                ..0 => self.len() - 1 - passed,
                _ => passed,
            };
            let (chunk, at) = self.chunk(index).expect("it is within the list");
            let (of_chunk, found) = (chunk.count(), chunk.count_of(needle));
            (0..of_chunk).for_each(|_| pace(0));
            let here = found.min(wanted - removed);
            if here == of_chunk {
                drop(self.remove_range(index - at, index - at + of_chunk));
            } else if here > 0 {
                let skip = if count < 0 { found - here } else { 0 };
                self.edit(index, |chunk, _| chunk.remove_each(needle, skip, here));
            }
            removed += here;
            passed += of_chunk - here;
        }
        removed
    }

    pub fn iter(&self) -> Forward<'_> {
        self.iter_from(0)
    }

    /// The elements from an index on.
    pub fn iter_from(&self, index: u64) -> Forward<'_> {
        Forward::new(self, index)
    }

    /// The element at an index and those before it, backward.
    pub fn iter_back_from(&self, index: u64) -> Backward<'_> {
        Backward::new(self, index)
    }

    /// The chunks in order, as a file has them.
    pub fn chunks(&self) -> impl Iterator<Item = Content<'_>> {
        let chunks = self.front.iter().chain(self.middle.iter());
        chunks.chain(self.back.iter()).map(Chunk::content)
    }

    /// All elements, if they are one listpack.
    pub fn as_listpack(&self) -> Option<Listpack<'_>> {
        let mut chunks = self.chunks();
        match (chunks.next(), chunks.next()) {
            (Some(Content::Packed(only)), None) => Some(only),
            _ => None,
        }
    }

    /// Puts the elements of a listpack at the end: as a chunk if it is none too large.
    pub fn push_listpack(&mut self, listpack: Listpack<'_>, fill: Fill) {
        if listpack.is_empty() {
            return;
        }
        if !fill.takes(listpack) {
            let mut digits = Digits::default();
            let push = |element: Element<'_>| self.push_back(element.text(&mut digits), fill);
            return listpack.iter().for_each(push);
        }
        self.pull_back();
        self.push_chunk(Chunk::of_listpack(listpack.bytes(), listpack.len()));
    }
}
