//! What handlers of lists share: the names of a list's ends, indexes as clients write them, and the look at a list before
//! a change. Never: knows a command.

use crate::error::Error;
use crate::values::as_list;
use keyspace::{Key, ListRef, Side};
use state::StateMachine;

/// The end of a list that a word names.
pub(super) fn side(word: &[u8]) -> Result<Side, Error> {
    match word {
        word if word.eq_ignore_ascii_case(b"left") => Ok(Side::Left),
        word if word.eq_ignore_ascii_case(b"right") => Ok(Side::Right),
        _ => Err(Error::SYNTAX),
    }
}

/// An index as clients write it: below zero it counts from behind, from -1 on. `None`: before the first element.
pub(super) fn index_of(index: i64, len: u64) -> Option<u64> {
    match u64::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(index.unsigned_abs()),
    }
}

/// What elements a range from one index to another has, both ends included; `None`: none of `len`.
pub(super) fn range_of(start: i64, stop: i64, len: u64) -> Option<(u64, u64)> {
    let from = index_of(start, len).unwrap_or(0);
    let last = index_of(stop, len)?.min(len.checked_sub(1)?);
    (from <= last).then_some((from, last))
}

/// Shows the list, which a command is about to change, to `see`.
pub(super) fn with_list<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    see: impl FnOnce(Option<ListRef<'_>>) -> R,
) -> Result<R, Error> {
    data.with(key, |entry| {
        entry.map(|entry| as_list(&entry)).transpose().map(see)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_redis() {
        for (start, stop, want) in [
            (0, -1, Some((0, 4))),
            (-3, 100, Some((2, 4))),
            (-100, 0, Some((0, 0))),
            (i64::MIN, i64::MAX, Some((0, 4))),
            (3, 2, None),
            (5, 9, None),
            (0, -6, None),
            (-9, -6, None),
        ] {
            assert_eq!(range_of(start, stop, 5), want, "{start} {stop}");
        }
        assert_eq!(range_of(0, -1, 0), None);
        assert_eq!((index_of(-5, 5), index_of(-6, 5)), (Some(0), None));
    }
}
