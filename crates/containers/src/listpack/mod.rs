//! Listpacks: elements packed one behind the other in one run of bytes, to the byte those of Redis 7.
//!
//! Owns: reading ([`Listpack`]), the one door for foreign bytes ([`check`]), editing ([`insert`], [`replace`],
//! [`remove`] and others over [`Splice`](crate::Splice)), building ([`Builder`]) and what an element is ([`Element`]).
//! Never: knows what elements mean together (pairs of a hash, members and scores), nor how long a listpack may get; its
//! caller asks [`fits`] before it adds.
//!
//! Invariants: what `check` took, and what edits made of it, is read to its end from both sides without a panic. What
//! edits and builders write is the shortest form of each element; foreign bytes may have longer ones, which are read alike.
//!
//! The bytes, with integers least significant byte first: the length of all (4), the number of elements (2, [`UNKNOWN`]
//! where it does not fit), the elements, `0xff`. An element is a head, which says what it is, the bytes of a string, and
//! its length once more, for those that come from behind (`layout.rs`).

mod check;
mod edit;
mod element;
mod layout;

#[cfg(test)]
mod tests;

pub use check::{check, check_with, Bad};
pub use edit::{
    append, fits, insert, insert_all, prepend, remove, remove_range, replace, retain, split_off,
    Builder,
};
pub use element::{Digits, Element};

use base::number::parse_i64;

/// A listpack without elements.
pub const EMPTY: [u8; 7] = [7, 0, 0, 0, 0, 0, END];

/// The number of elements in the header, where it is not known.
pub const UNKNOWN: u16 = u16::MAX;

const HEADER: usize = 6;
const END: u8 = 0xff;

/// Where an element begins, or the end: an offset into the bytes. An edit before it makes it another one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    #[inline]
    fn new(at: usize) -> Place {
        Place(at as u32) // no listpack is longer: its header has its length
    }

    #[inline]
    pub fn offset(self) -> usize {
        self.0 as usize
    }
}

/// A listpack that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listpack<'a> {
    bytes: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// Bytes that [`check`] took, or that edits made of such. Others give wrong elements, or panic.
    #[inline]
    pub fn trusted(bytes: &'a [u8]) -> Listpack<'a> {
        debug_assert!(bytes.len() > HEADER, "at least what an empty one has");
        Listpack { bytes }
    }

    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// How many elements there are: a walk where the header does not say it.
    #[inline]
    pub fn len(self) -> usize {
        match self.count() {
            UNKNOWN => self.iter().count(),
            n => n.into(),
        }
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() == EMPTY.len()
    }

    /// The number of elements as the header has it.
    #[inline]
    fn count(self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }

    /// The place of the first element, which is the end where there is none.
    #[inline]
    pub fn start(self) -> Place {
        Place::new(HEADER)
    }

    /// The place behind the last element.
    #[inline]
    pub fn end(self) -> Place {
        Place::new(self.bytes.len() - 1)
    }

    #[inline]
    pub fn first(self) -> Option<Place> {
        self.unless_end(self.start())
    }

    #[inline]
    pub fn last(self) -> Option<Place> {
        self.before(self.end())
    }

    /// The element at a place that is not the end.
    #[inline]
    pub fn get(self, at: Place) -> Element<'a> {
        layout::read(self.bytes, at.offset()).0
    }

    /// The element behind the one at a place that is not the end.
    #[inline]
    pub fn after(self, at: Place) -> Option<Place> {
        self.unless_end(self.behind(at))
    }

    /// The place behind the element at `at`: another element's, or the end.
    #[inline]
    pub fn behind(self, at: Place) -> Place {
        Place::new(layout::next(self.bytes, at.offset()))
    }

    /// The element before a place, which may be the end.
    #[inline]
    pub fn before(self, at: Place) -> Option<Place> {
        (at > self.start()).then(|| Place::new(layout::before(self.bytes, at.offset())))
    }

    #[inline]
    fn unless_end(self, at: Place) -> Option<Place> {
        (at < self.end()).then_some(at)
    }

    /// The element with an index; -1 is the last one's. The walk begins at the nearer end, where the header says which.
    pub fn seek(self, index: i64) -> Option<Place> {
        let index = match self.count() {
            UNKNOWN => index,
            count => {
                let count = i64::from(count);
                let index = if index < 0 { index + count } else { index };
                if !(0..count).contains(&index) {
                    return None;
                }
                index - if index < count / 2 { 0 } else { count }
            }
        };
        let mut entries = self.entries();
        let found = match usize::try_from(index) {
            Ok(n) => entries.nth(n),
            Err(_) => entries.nth_back(usize::try_from(index.unsigned_abs() - 1).ok()?),
        };
        found.map(|(at, _)| at)
    }

    /// The first element that reads like this text, at `from` or later; behind each that does not, `skip` are passed
    /// over unseen.
    #[inline]
    pub fn find(self, from: Place, text: &[u8], skip: usize) -> Option<Place> {
        match parse_i64(text) {
            Some(n) => self.find_by(from, skip, |element| match element {
                Element::Int(own) => own == n,
                Element::Bytes(own) => own == text,
            }),
            None => self.find_by(from, skip, |element| match element {
                Element::Int(_) => false,
                Element::Bytes(own) => layout::same(own, text),
            }),
        }
    }

    #[inline(always)]
    fn find_by(
        self,
        from: Place,
        skip: usize,
        is_it: impl Fn(Element<'a>) -> bool,
    ) -> Option<Place> {
        let (mut at, end) = (from.offset(), self.end().offset());
        while at < end {
            let (element, next) = layout::read(self.bytes, at);
            if is_it(element) {
                return Some(Place::new(at));
            }
            at = next;
            for _ in 0..skip {
                if at < end {
                    at = layout::next(self.bytes, at);
                }
            }
        }
        None
    }

    /// Among pairs of a field and a value: the value of the field that reads like this text.
    #[inline]
    pub fn value_of(self, field: &[u8]) -> Option<Element<'a>> {
        let field = self.find(self.start(), field, 1)?;
        Some(self.get(self.after(field)?))
    }

    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter(self.entries())
    }

    #[inline]
    pub fn entries(self) -> Entries<'a> {
        self.entries_between(self.start(), self.end())
    }

    /// The elements from one place on, up to and without the one at another.
    #[inline]
    pub fn entries_between(self, from: Place, to: Place) -> Entries<'a> {
        Entries {
            bytes: self.bytes,
            from: from.offset(),
            to: to.offset(),
        }
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Elements with their places, from both sides.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    from: usize,
    to: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Place, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<(Place, Element<'a>)> {
        let at = self.from;
        (at < self.to).then(|| {
            let (element, next) = layout::read(self.bytes, at);
            self.from = next;
            (Place::new(at), element)
        })
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<(Place, Element<'a>)> {
        for _ in 0..n {
            if self.from >= self.to {
                return None;
            }
            self.from = layout::next(self.bytes, self.from);
        }
        self.next()
    }

    fn count(mut self) -> usize {
        let mut count = 0;
        while self.from < self.to {
            self.from = layout::next(self.bytes, self.from);
            count += 1;
        }
        count
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        (self.from < self.to).then(|| {
            self.to = layout::before(self.bytes, self.to);
            let (element, _) = layout::read(self.bytes, self.to);
            (Place::new(self.to), element)
        })
    }

    #[inline]
    fn nth_back(&mut self, n: usize) -> Option<Self::Item> {
        for _ in 0..n {
            if self.from >= self.to {
                return None;
            }
            self.to = layout::before(self.bytes, self.to);
        }
        self.next_back()
    }
}

/// Elements, from both sides.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Entries<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.0.next().map(|(_, element)| element)
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<Element<'a>> {
        self.0.nth(n).map(|(_, element)| element)
    }

    fn count(self) -> usize {
        self.0.count()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(_, element)| element)
    }

    #[inline]
    fn nth_back(&mut self, n: usize) -> Option<Self::Item> {
        self.0.nth_back(n).map(|(_, element)| element)
    }
}
