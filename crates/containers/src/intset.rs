//! Intsets: sorted integers of one width, to the byte those of Redis.
//!
//! Owns: reading ([`Intset`]), the one door for foreign bytes ([`check`]) and editing ([`add`], [`remove`]). Never:
//! knows how many integers a set may have before it is kept otherwise. Invariant: strictly ascending, all of the width
//! that the header says; what was checked, or was edited since, is read without a panic.
//!
//! The bytes, least significant first: the width (4: it is 2, 4 or 8), the number of integers (4), the integers. The width
//! grows with the first integer that needs it, and never shrinks.

use crate::{Splice, PACE_BYTES};
use std::cmp::Ordering;

/// An intset without integers.
pub const EMPTY: [u8; HEADER] = [2, 0, 0, 0, 0, 0, 0, 0];

const HEADER: usize = 8;

/// Why bytes are no intset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("an intset of {0} bytes is too short")]
    Short(usize),
    #[error("no integer of an intset has {0} bytes")]
    Width(u32),
    #[error("the intset says that it has {0} integers")]
    Count(u32),
    #[error("the integers do not ascend")]
    Order,
}

/// The bytes of each integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    /// The narrowest that has this integer.
    pub fn of(n: i64) -> Width {
        if i16::try_from(n).is_ok() {
            Width::Two
        } else if i32::try_from(n).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }
}

/// An intset that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intset<'a> {
    width: Width,
    /// The integers, without the header.
    integers: &'a [u8],
}

/// The intset that these bytes are. An empty one is taken.
pub fn check(bytes: &[u8]) -> Result<Intset<'_>, Bad> {
    check_with(bytes, &mut || {})
}

/// As [`check`]; `pace` is called about every [`PACE_BYTES`], so that its caller can let other things happen.
pub fn check_with<'a>(bytes: &'a [u8], pace: &mut dyn FnMut()) -> Result<Intset<'a>, Bad> {
    let short = Bad::Short(bytes.len());
    let (header, integers) = bytes.split_first_chunk::<HEADER>().ok_or(short)?;
    let [a, b, c, d, e, f, g, h] = *header;
    let width = match u32::from_le_bytes([a, b, c, d]) {
        2 => Width::Two,
        4 => Width::Four,
        8 => Width::Eight,
        other => return Err(Bad::Width(other)),
    };
    let count = u32::from_le_bytes([e, f, g, h]);
    let says = usize::try_from(count).ok();
    if says.and_then(|n| n.checked_mul(width as usize)) != Some(integers.len()) {
        return Err(Bad::Count(count));
    }
    let set = Intset { width, integers };
    let step = PACE_BYTES / width as usize;
    let mut before = None;
    for index in 0..set.len() {
        let n = set.get(index);
        if index > 0 && before >= n {
            return Err(Bad::Order);
        }
        before = n;
        if index > 0 && index % step == 0 {
            pace();
        }
    }
    Ok(set)
}

impl<'a> Intset<'a> {
    /// Bytes that [`check`] took, or that edits made of such. Others give wrong integers, or panic.
    #[inline]
    pub fn trusted(bytes: &'a [u8]) -> Intset<'a> {
        let width = match bytes[0] {
            2 => Width::Two,
            4 => Width::Four,
            _ => Width::Eight,
        };
        let integers = &bytes[HEADER..];
        Intset { width, integers }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.integers.len() / self.width as usize
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.integers.is_empty()
    }

    #[inline]
    pub fn width(self) -> Width {
        self.width
    }

    /// The integer with an index, in ascending order.
    #[inline]
    pub fn get(self, index: usize) -> Option<i64> {
        let width = self.width as usize;
        let bytes = self.integers.get(index.checked_mul(width)?..)?;
        Some(match self.width {
            Width::Two => i16::from_le_bytes(*bytes.first_chunk()?).into(),
            Width::Four => i32::from_le_bytes(*bytes.first_chunk()?).into(),
            Width::Eight => i64::from_le_bytes(*bytes.first_chunk()?),
        })
    }

    /// The index of an integer, or else the one that it would get.
    pub fn find(self, n: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Sets are often filled in order: what is above all others is found at once.
        if self.last().is_none_or(|last| n > last) {
            return Err(high);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let own = self.get(middle).expect("the middle is below the length");
            match own.cmp(&n) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    pub fn contains(self, n: i64) -> bool {
        Width::of(n) <= self.width && self.find(n).is_ok()
    }

    #[inline]
    pub fn first(self) -> Option<i64> {
        self.get(0)
    }

    #[inline]
    pub fn last(self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + 'a {
        (0..self.len()).map(move |i| self.get(i).expect("all of these are there"))
    }

    /// The bytes of the intset if this integer were added that it has not.
    pub fn size_with(self, n: i64) -> usize {
        HEADER + (self.len() + 1) * self.width.max(Width::of(n)) as usize
    }
}

/// Adds an integer, and tells whether it was not there.
pub fn add(into: &mut (impl Splice + ?Sized), n: i64) -> bool {
    let set = Intset::trusted(into.bytes());
    let (width, count) = (set.width, set.len());
    if Width::of(n) > width {
        widen(into, n);
        return true;
    }
    let Err(index) = set.find(n) else {
        return false;
    };
    let bytes = n.to_le_bytes();
    let (at, new) = (HEADER + index * width as usize, &bytes[..width as usize]);
    into.splice(at, 0, &[new]);
    into.splice(0, HEADER, &[&header(width, count + 1)]);
    true
}

/// Adds an integer that needs more bytes than the others have, so it is below or above them all.
fn widen(into: &mut (impl Splice + ?Sized), n: i64) {
    let (old, width) = (Intset::trusted(into.bytes()), Width::of(n));
    let mut integers = Vec::with_capacity(old.size_with(n) - HEADER);
    let mut push = |n: i64| integers.extend_from_slice(&n.to_le_bytes()[..width as usize]);
    if n < 0 {
        push(n);
    }
    old.iter().for_each(&mut push);
    if n >= 0 {
        push(n);
    }
    let (count, length) = (old.len() + 1, HEADER + old.integers.len());
    into.splice(0, length, &[&header(width, count), &integers]);
}

/// Removes an integer, and tells whether it was there. The width stays.
pub fn remove(from: &mut (impl Splice + ?Sized), n: i64) -> bool {
    let set = Intset::trusted(from.bytes());
    let (width, count) = (set.width, set.len());
    if Width::of(n) > width {
        return false;
    }
    let Ok(index) = set.find(n) else {
        return false;
    };
    from.splice(HEADER + index * width as usize, width as usize, &[]);
    from.splice(0, HEADER, &[&header(width, count - 1)]);
    true
}

fn header(width: Width, count: usize) -> [u8; HEADER] {
    let count = u32::try_from(count).expect("sets of so many integers are kept otherwise");
    let ([a, b, c, d], [e, f, g, h]) = ((width as u32).to_le_bytes(), count.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
#[path = "intset_tests.rs"]
mod tests;
