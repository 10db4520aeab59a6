//! What values with elements are: each type's forms, what is read of them, and how they are changed and converted.
//! Never knows keys, commands or time.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use containers::listpack::{self, Listpack};
use containers::{Element, Table};
use rand::RngCore;

pub mod combine;
pub mod hash;
pub mod list;
mod packed;
pub mod set;
#[cfg(test)]
mod test_cut;
pub mod zset;
pub mod zset_edit;
pub mod zset_range;

/// How large a container may get before it takes another form: the directives of Redis's names. No effect may depend
/// on them (they are each member's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub hash_entries: usize,
    pub hash_value: usize,
    /// `list-max-listpack-size`: elements of a chunk, or below zero the class of its bytes.
    pub list_size: i32,
    /// Not a directive: see [`crate::Keyspace::set_plain_elements`].
    pub list_plain: usize,
    pub set_ints: usize,
    pub set_entries: usize,
    pub set_value: usize,
    pub zset_entries: usize,
    pub zset_value: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hash_entries: 512,
            hash_value: 64,
            list_size: -2,
            list_plain: usize::MAX,
            set_ints: 512,
            set_entries: 128,
            set_value: 64,
            zset_entries: 128,
            zset_value: 64,
        }
    }
}

/// No packed container gets larger, whatever the directives say: an edit moves all that is behind it, and the first one beside a
/// snapshot copies it.
const PACKED_MAX: usize = 128 << 10;

/// A scan looks at up to this many buckets for each element that it was asked for.
const BUCKETS_PER_ELEMENT: usize = 10;

fn hash_of(hasher: &RandomState, bytes: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(bytes);
    state.finish()
}

/// Up to here each element is compared with each.
const FEW: usize = 16;

/// Whether an element is there twice, of those that stand first of each `width`.
fn has_twice(list: Listpack<'_>, width: usize) -> bool {
    let keys = || list.iter().step_by(width);
    if list.len() <= FEW * width {
        let same = |a: listpack::Element<'_>, b: listpack::Element<'_>| {
            let mut digits = listpack::Digits::default();
            a.is(b.text(&mut digits))
        };
        return (1..)
            .zip(keys())
            .any(|(at, key)| keys().skip(at).any(|other| same(key, other)));
    }
    let mut seen = HashSet::with_capacity(list.len() / width);
    keys().any(|key| !seen.insert(key.to_vec()))
}

/// A number drawn evenly from those below `end`, which is not 0.
fn below(rng: &mut dyn RngCore, end: usize) -> usize {
    rand::Rng::gen_range(rng, 0..end)
}

/// Visits about `count` elements of a table from the cursor on, at least one bucket of it. The next cursor is 0 at the end.
fn scan_table<T: Element>(
    table: &Table<T>,
    mut cursor: u64,
    count: usize,
    visit: &mut dyn FnMut(&T),
) -> u64 {
    let (mut seen, mut buckets) = (0, count.saturating_mul(BUCKETS_PER_ELEMENT));
    loop {
        cursor = table.scan(cursor, &mut |element| {
            seen += 1;
            visit(element);
        });
        buckets = buckets.saturating_sub(1);
        if cursor == 0 || seen >= count || buckets == 0 {
            return cursor;
        }
    }
}
