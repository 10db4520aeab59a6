//! Lists: the rows of their commands, and what their handlers share.
//!
//! Owns: the table, the names of a list's ends. Never: changes a list (that is the state machine's).

use super::error::Error;
use super::rows::rows;
use super::values::as_list;
use keyspace::{Key, ListRef, Side};
use state::StateMachine;

mod change;
mod ends;
mod read;

rows! { pub static ROWS: List [LIST] {
    "lindex" 3 [READONLY] "1.0.0" key(1 RO ACCESS) => read::lindex: "The element at an index.";
    "linsert" 5 [WRITE DENYOOM] "2.2.0" key(1 RW INSERT) => change::linsert: "Inserts an element before or behind another one.";
    "llen" 2 [READONLY FAST] "1.0.0" key(1 RO) => read::llen: "How many elements there are.";
    "lmove" 5 [WRITE DENYOOM] "6.2.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => ends::lmove: "Moves an element from one end of a list to an end of another.";
    "lmpop" -4 [WRITE] "7.0.0" keynum(1 0 1 1 RW ACCESS DELETE) => ends::lmpop: "Takes elements off an end of the first list that has any.";
    "lpop" -2 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) => ends::lpop: "Takes the first elements.";
    "lpos" -3 [READONLY] "6.0.6" key(1 RO ACCESS) => read::lpos: "Where elements like this one are.";
    "lpush" -3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW INSERT) => ends::lpush: "Puts elements before all others.";
    "lpushx" -3 [WRITE DENYOOM FAST] "2.2.0" key(1 RW INSERT) => ends::lpushx: "Puts elements before all others of a list that is there.";
    "lrange" 4 [READONLY] "1.0.0" key(1 RO ACCESS) => read::lrange: "The elements from one index to another.";
    "lrem" 4 [WRITE] "1.0.0" key(1 RW DELETE) => change::lrem: "Removes elements like this one.";
    "lset" 4 [WRITE DENYOOM] "1.0.0" key(1 RW UPDATE) => change::lset: "Puts another element at an index.";
    "ltrim" 4 [WRITE] "1.0.0" key(1 RW DELETE) => change::ltrim: "Leaves the elements from one index to another.";
    "rpop" -2 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) => ends::rpop: "Takes the last elements.";
    "rpoplpush" 3 [WRITE DENYOOM] "1.2.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => ends::rpoplpush: "Moves the last element to the beginning of another list." .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments");
    "rpush" -3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW INSERT) => ends::rpush: "Puts elements behind all others.";
    "rpushx" -3 [WRITE DENYOOM FAST] "2.2.0" key(1 RW INSERT) => ends::rpushx: "Puts elements behind all others of a list that is there.";
}}

/// The end of a list that a word names.
fn side(word: &[u8]) -> Result<Side, Error> {
    match word {
        word if word.eq_ignore_ascii_case(b"left") => Ok(Side::Left),
        word if word.eq_ignore_ascii_case(b"right") => Ok(Side::Right),
        _ => Err(Error::SYNTAX),
    }
}

/// An index as clients write it: below zero it counts from behind, from -1 on. `None`: before the first element.
fn index_of(index: i64, len: u64) -> Option<u64> {
    match u64::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(index.unsigned_abs()),
    }
}

/// What elements a range from one index to another has, both ends included; `None`: none of `len`.
fn range_of(start: i64, stop: i64, len: u64) -> Option<(u64, u64)> {
    let from = index_of(start, len).unwrap_or(0);
    let last = index_of(stop, len)?.min(len.checked_sub(1)?);
    (from <= last).then_some((from, last))
}

/// Shows the list, which a command is about to change, to `see`.
fn with_list<R>(
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
