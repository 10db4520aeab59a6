//! The packed values of Redis before 7.0: ziplists and zipmaps.
//!
//! Owns: [`ziplist`] and [`zipmap`], which check such bytes, and [`Elements`], which then walks through them. Never: writes
//! them; knows the types whose values they were (a zipmap's hash is type 9; ziplists are those of types 10 and 12 to 14, a
//! list, a sorted set, a hash and each node of a quicklist; type 11 is an intset, which Redis still writes).
//!
//! Invariants: total over any bytes; what was checked is walked without an error. An element is what a listpack would
//! keep: a string that is an integer's text comes as that integer. Empty ones are taken, and whether elements pair up or
//! are there twice is not looked at: both are the caller's.
//!
//! A ziplist (integers least significant byte first): the length of all (4), the offset of the last entry (4), the number of
//! entries (2, `0xffff` where unknown), the entries, `0xff`. An entry begins with the length of the one before it (1 byte,
//! or `0xfe` + 4), then has a head:
//!
//! | first byte | entry |
//! |---|---|
//! | `00xxxxxx` | a string of up to 63 bytes |
//! | `01xxxxxx` + 1 | a string, its length most significant byte first |
//! | `10______` + 4 | the same |
//! | `0xc0` + 2, `0xd0` + 4, `0xe0` + 8, `0xf0` + 3, `0xfe` + 1 | an integer |
//! | `0xf1` to `0xfd` | an integer from 0 to 12 |
//!
//! A zipmap: the number of pairs (1, `0xfe` where unknown), the pairs, `0xff`. A pair is a field's length and bytes, a
//! value's length, the number of unused bytes behind it (1), the value, and these. A length is 1 byte, or `0xfe` + 4.

use super::PACE_BYTES;
use containers::listpack::Element;

/// Why bytes are no ziplist, or no zipmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("{0} bytes are too short")]
    Short(usize),
    #[error("it says that it has {0} bytes")]
    Total(u32),
    #[error("it does not end with its end")]
    End,
    #[error("no entry begins so, or not all of it is there")]
    Entry,
    #[error("an entry says that {0} bytes are before it")]
    Before(usize),
    #[error("it says that its last entry is at {0}")]
    Last(u32),
    #[error("it says that it has {0} entries")]
    Count(usize),
}

const END: u8 = 0xff;
const LONG_LENGTH: u8 = 0xfe;
const ZIPLIST_HEADER: usize = 10;
const ZIPLIST_UNKNOWN: u16 = u16::MAX;
const ZIPMAP_UNKNOWN: u8 = 0xfe;

/// The elements of a ziplist or a zipmap: of the latter each field, and behind it its value.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    count: usize,
    next: Next,
}

/// What stands where the next element begins.
#[derive(Clone, Copy, Debug)]
enum Next {
    Entry,
    Field,
    Value,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (element, rest) = match self.next {
            Next::Entry => entry(self.rest).map(|entry| (entry.element, entry.rest))?,
            Next::Field => field(self.rest)?,
            Next::Value => value(self.rest)?,
        };
        self.rest = rest;
        self.count -= 1;
        self.next = match self.next {
            Next::Entry => Next::Entry,
            Next::Field => Next::Value,
            Next::Value => Next::Field,
        };
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// The elements of the ziplist that these bytes are.
pub fn ziplist<'a>(bytes: &'a [u8], pace: &mut dyn FnMut()) -> Result<Elements<'a>, Bad> {
    let (header, behind) = bytes
        .split_first_chunk::<ZIPLIST_HEADER>()
        .filter(|(_, behind)| !behind.is_empty())
        .ok_or(Bad::Short(bytes.len()))?;
    let [a, b, c, d, e, f, g, h, i, j] = *header;
    let total = u32::from_le_bytes([a, b, c, d]);
    if usize::try_from(total) != Ok(bytes.len()) {
        return Err(Bad::Total(total));
    }
    let Some((&END, all)) = behind.split_last() else {
        return Err(Bad::End);
    };
    let (mut rest, mut count, mut last) = (all, 0usize, None);
    let mut paced = 0;
    while !rest.is_empty() {
        let entry = entry(rest).ok_or(Bad::Entry)?;
        let at = all.len() - rest.len();
        let before = last.map_or(0, |last| at - last);
        if entry.before as usize != before {
            return Err(Bad::Before(entry.before as usize));
        }
        (last, rest, count) = (Some(at), entry.rest, count + 1);
        if at - paced >= PACE_BYTES {
            paced = at;
            pace();
        }
    }
    let says = u32::from_le_bytes([e, f, g, h]);
    let is_last = match last {
        Some(at) => says as usize == ZIPLIST_HEADER + at,
        None => (says as usize) < bytes.len(), // Redis looks no closer
    };
    if !is_last {
        return Err(Bad::Last(says));
    }
    match u16::from_le_bytes([i, j]) {
        ZIPLIST_UNKNOWN => {}
        says if usize::from(says) == count => {}
        says => return Err(Bad::Count(says.into())),
    }
    Ok(Elements {
        rest: all,
        count,
        next: Next::Entry,
    })
}

/// The fields and values of the zipmap that these bytes are.
pub fn zipmap<'a>(bytes: &'a [u8], pace: &mut dyn FnMut()) -> Result<Elements<'a>, Bad> {
    let (&says, behind) = bytes
        .split_first()
        .filter(|(_, behind)| !behind.is_empty())
        .ok_or(Bad::Short(bytes.len()))?;
    let Some((&END, all)) = behind.split_last() else {
        return Err(Bad::End);
    };
    let (mut rest, mut pairs, mut paced) = (all, 0usize, all.len());
    while !rest.is_empty() {
        let (_, behind) = field(rest).ok_or(Bad::Entry)?;
        (_, rest) = value(behind).ok_or(Bad::Entry)?;
        pairs += 1;
        if paced - rest.len() >= PACE_BYTES {
            paced = rest.len();
            pace();
        }
    }
    if says != ZIPMAP_UNKNOWN && usize::from(says) != pairs {
        return Err(Bad::Count(says.into()));
    }
    Ok(Elements {
        rest: all,
        count: 2 * pairs,
        next: Next::Field,
    })
}

/// An entry of a ziplist.
struct Entry<'a> {
    /// The length of the entry before, as this one has it.
    before: u32,
    element: Element<'a>,
    rest: &'a [u8],
}

/// The entry that bytes begin with.
fn entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let (before, bytes) = length(bytes)?;
    let (&first, bytes) = bytes.split_first()?;
    let (element, rest) = match first {
        0..=0x3f => string(bytes, first.into())?,
        0x40..=0x7f => {
            let (low, bytes) = bytes.split_first()?;
            string(bytes, u16::from_be_bytes([first & 0x3f, *low]).into())?
        }
        0x80..=0xbf => {
            let (length, bytes) = bytes.split_first_chunk()?;
            string(bytes, u32::from_be_bytes(*length))?
        }
        0xc0 => int(bytes, i16::from_le_bytes)?,
        0xd0 => int(bytes, i32::from_le_bytes)?,
        0xe0 => int(bytes, i64::from_le_bytes)?,
        0xf0 => int(bytes, |[a, b, c]| i32::from_le_bytes([0, a, b, c]) >> 8)?,
        0xfe => int(bytes, i8::from_le_bytes)?,
        0xf1..=0xfd => (Element::Int((first - 0xf1).into()), bytes),
        _ => return None,
    };
    Some(Entry {
        before,
        element,
        rest,
    })
}

fn int<T: Into<i64>, const N: usize>(
    bytes: &[u8],
    of: fn([u8; N]) -> T,
) -> Option<(Element<'_>, &[u8])> {
    let (int, rest) = bytes.split_first_chunk()?;
    Some((Element::Int(of(*int).into()), rest))
}

fn string(bytes: &[u8], length: u32) -> Option<(Element<'_>, &[u8])> {
    let (string, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Element::of(string), rest))
}

/// The field of a zipmap that bytes begin with.
fn field(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (length, bytes) = length(bytes)?;
    string(bytes, length)
}

/// The value of a zipmap that bytes begin with; what is unused behind it is passed over.
fn value(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (length, bytes) = length(bytes)?;
    let (&unused, bytes) = bytes.split_first()?;
    let (element, rest) = string(bytes, length)?;
    Some((element, rest.get(unused.into()..)?))
}

/// A length in 1 byte or in 5.
fn length(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        END => None,
        LONG_LENGTH => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((u32::from_le_bytes(*length), rest))
        }
        length => Some((length.into(), rest)),
    }
}

#[cfg(test)]
#[path = "legacy_tests.rs"]
mod tests;
