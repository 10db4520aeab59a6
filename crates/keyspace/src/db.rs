//! Owns one logical database: its tables (one, or one for each slot), the numbers of keys in them
//! and the expiry index. Knows entries and hashes; never decides what a value becomes or whether a
//! key has expired.
//!
//! Invariants: `len` and `groups` are the sums of the tables' lengths; the indexes have one element
//! for each entry with an expiry, and one for each hash with a field that has one; an entry that is not saved (P3) changes, goes or is detached by
//! [`Db::touch`] (and so [`Db::edit`]), [`Db::remove`], [`Db::take_table`] and [`Keyspace::flush`](super::Keyspace::flush)
//! alone, which save it first (P4).

use std::ops::ControlFlow;

use base::mutation::{self, Mutation};
use base::slot::SLOT_COUNT;
use rand::RngCore;

use super::cut::{CutBudget, Detached, Saver};
use super::expiry::{Due, ExpiryIndex};
use super::raw::{prefetch, EntryPtr, Payload};
use super::table::{below, tag_of, Table, Upkeep};
use super::value::{Kind, Value};
use super::{Key, Ttl};

/// Tables are counted in groups of this many, so that finding one by its keys' numbers looks at
/// a few hundred numbers and changing a number touches only one more.
const GROUP: usize = 128;

/// Bits of a cursor that hold the slot where there is a table for each.
const SLOT_BITS: u32 = SLOT_COUNT.trailing_zeros();

/// A scan call looks at up to this many buckets for each entry that it was asked for.
const BUCKETS_PER_ENTRY: usize = 10;

/// Fewer entries than this lie in the cache of a core anyway.
const FITS_CACHE: u64 = 8192;

pub(super) struct Db {
    tables: Box<[Table]>,
    groups: Box<[u64]>,
    len: u64,
    expiries: ExpiryIndex,
    /// Of hashes with fields that expire: by the earliest of these.
    field_expiries: ExpiryIndex,
    /// P5: the number at the last cut, which stays with the keys when databases are swapped.
    number: u32,
    /// How far the walk of the cut is, until it has passed all tables.
    walk: Option<Walk>,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Default)]
struct Walk {
    table: usize,
    cursor: u64,
}

impl Db {
    pub fn new(per_slot: bool) -> Db {
        let tables = if per_slot { usize::from(SLOT_COUNT) } else { 1 };
        Db {
            tables: (0..tables).map(|_| Table::default()).collect(),
            groups: vec![0; tables.div_ceil(GROUP)].into(),
            len: 0,
            expiries: ExpiryIndex::default(),
            field_expiries: ExpiryIndex::default(),
            number: 0,
            walk: None,
        }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn expiries(&self) -> &ExpiryIndex {
        &self.expiries
    }

    pub fn field_expiries(&self) -> &ExpiryIndex {
        &self.field_expiries
    }

    fn at(&self, slot: u16) -> usize {
        usize::from(slot) & (self.tables.len() - 1)
    }

    /// The table that holds the keys of a slot (and in a database of one table all others).
    pub fn table(&self, slot: u16) -> &Table {
        &self.tables[self.at(slot)]
    }

    fn table_mut(&mut self, slot: u16) -> &mut Table {
        &mut self.tables[usize::from(slot) & (self.tables.len() - 1)]
    }

    /// One step of a table's resize. True if there is more to do.
    pub fn step_table(&mut self, slot: u16, upkeep: &mut Upkeep) -> bool {
        self.table_mut(slot).step(1, upkeep)
    }

    /// Fetches into the cache what looking up these (hash, slot) will read. Each step needs what the
    /// one before has fetched, so each is taken for all keys before the next.
    pub fn prefetch(&self, keys: &[(u64, u16)]) {
        if self.len < FITS_CACHE {
            return;
        }
        if self.tables.len() > 1 {
            keys.iter()
                .for_each(|&(_, slot)| prefetch(self.table(slot)));
        }
        keys.iter()
            .for_each(|&(hash, slot)| self.table(slot).prefetch_bucket(hash));
        keys.iter()
            .for_each(|&(hash, slot)| self.table(slot).prefetch_entry(hash));
    }

    #[inline]
    pub fn get(&self, key: &Key) -> Option<&EntryPtr> {
        self.table(key.slot).get(key.hash, key.bytes)
    }

    /// P4: the door to an entry that is about to change.
    #[inline]
    pub fn touch(&mut self, key: &Key, saver: &mut Saver) -> Option<&mut EntryPtr> {
        let number = self.number;
        let entry = self.table_mut(key.slot).get_mut(key.hash, key.bytes)?;
        if entry.mark() != saver.mark {
            saver.save_touched(number, entry);
        }
        Some(entry)
    }

    /// Writes a value whether or not the key is there.
    pub fn put(&mut self, key: &Key, payload: Payload<'_>, ttl: Ttl, upkeep: &mut Upkeep) {
        let Some(entry) = self.touch(key, &mut upkeep.saver) else {
            let (tag, expiry) = (tag_of(key.hash), ttl.applied_to(None));
            let mark = match mutation::is(Mutation::NewEntryUnmarked) {
                true => upkeep.saver.mark.other(),
                false => upkeep.saver.mark,
            };
            let entry = EntryPtr::new(tag, mark, key.bytes, expiry, payload);
            self.insert(key, entry, upkeep);
            return;
        };
        let old = Times::of(entry);
        let replaced = entry.store(payload, ttl.applied_to(old.key));
        let new = Times::of(entry);
        if old != new {
            self.reindex(key, old, new);
        }
        if let Some(object) = replaced {
            upkeep.garbage.object(object);
        }
    }

    /// Adds an entry, new or saved, whose key is not there yet.
    pub fn insert(&mut self, key: &Key, entry: EntryPtr, upkeep: &mut Upkeep) {
        self.reindex(key, Times::NONE, Times::of(&entry));
        let at = self.at(key.slot);
        self.tables[at].insert(key.hash, entry, upkeep);
        self.groups[at / GROUP] += 1;
        self.len += 1;
    }

    pub fn remove(&mut self, key: &Key, upkeep: &mut Upkeep) -> Option<EntryPtr> {
        let at = self.at(key.slot);
        let mut entry = self.tables[at].remove(key.hash, key.bytes, upkeep)?;
        if entry.mark() != upkeep.saver.mark {
            upkeep.saver.save_touched(self.number, &mut entry);
        }
        self.reindex(key, Times::of(&entry), Times::NONE);
        self.groups[at / GROUP] -= 1;
        self.len -= 1;
        Some(entry)
    }

    /// Takes a slot's table out; where keys expire it looks at each of them. How many keys it had.
    pub fn take_table(&mut self, slot: u16, upkeep: &mut Upkeep) -> u64 {
        let at = self.at(slot);
        let table = std::mem::take(&mut self.tables[at]);
        if self.expiries.len() + self.field_expiries.len() > 0 {
            let (expiries, field_expiries) = (&mut self.expiries, &mut self.field_expiries);
            let _ = table.try_for_each(&mut |entry: &EntryPtr| {
                let times = Times::of(entry);
                if times != Times::NONE {
                    let hash = upkeep.hash(entry.key());
                    let due = |at| Due { at, hash, slot };
                    expiries.replace(times.key.map(due), None);
                    field_expiries.replace(times.field.map(due), None);
                }
                ControlFlow::<()>::Continue(())
            });
        }
        let keys = table.len() as u64;
        self.groups[at / GROUP] -= keys;
        self.len -= keys;
        let is_unsaved = self.walk.is_some_and(|walk| walk.table <= at);
        if keys > 0 && is_unsaved && upkeep.saver.wants_detached() {
            upkeep.saver.detach(self.number, Detached::Table(table));
        } else if keys > 0 {
            upkeep.garbage.table(table);
        }
        keys
    }

    /// The whole database has left the keyspace.
    pub fn detach(self, upkeep: &mut Upkeep) {
        if self.walk.is_some() && upkeep.saver.wants_detached() {
            let number = self.number;
            upkeep.saver.detach(number, Detached::Db(self));
        } else {
            upkeep.garbage.db(self);
        }
    }

    /// A cut is made, at which the database has this number.
    pub fn begin_walk(&mut self, number: u32) {
        self.number = number;
        self.walk = (self.len > 0).then(Walk::default);
    }

    /// Saves what comes next. False if the budget was spent first.
    pub fn walk(&mut self, budget: &mut CutBudget, saver: &mut Saver) -> bool {
        while let Some(walk) = self.walk {
            let Some(at) = self.next_table(walk.table) else {
                self.walk = None;
                break;
            };
            if budget.is_spent() {
                return false;
            }
            let cursor = if at == walk.table { walk.cursor } else { 0 };
            let (number, table) = (self.number, &mut self.tables[at]);
            let next = table.walk(cursor, &mut |entry| {
                if entry.mark() != saver.mark {
                    let bytes = saver.save_walked(number, entry);
                    budget.bytes = budget.bytes.saturating_sub(bytes);
                }
            });
            budget.chains -= 1;
            self.walk = Some(match next {
                0 => Walk {
                    table: at + 1,
                    cursor: 0,
                },
                cursor => {
                    table.prefetch_walk(cursor);
                    Walk { table: at, cursor }
                }
            });
        }
        true
    }

    /// The number at the cut goes to the other database: what [`Mutation::SwapdbByIndex`] does.
    pub fn swap_numbers(&mut self, other: &mut Db) {
        std::mem::swap(&mut self.number, &mut other.number);
    }

    /// False if there is no such key.
    pub fn set_expiry(&mut self, key: &Key, expiry: Option<i64>, saver: &mut Saver) -> bool {
        let entry = match mutation::is(Mutation::TouchForgotten) {
            true => self.table_mut(key.slot).get_mut(key.hash, key.bytes),
            false => self.touch(key, saver),
        };
        let Some(entry) = entry else {
            return false;
        };
        let old = Times::of(entry);
        entry.set_expiry(expiry);
        let new = Times::of(entry);
        self.reindex(key, old, new);
        true
    }

    /// Has a value changed in its place. The key must be there; an entry that is left without elements is the caller's
    /// to remove.
    pub fn edit<R>(
        &mut self,
        key: &Key,
        upkeep: &mut Upkeep,
        change: impl FnOnce(&mut EntryPtr, &mut Upkeep) -> R,
    ) -> R {
        let entry = self.touch(key, &mut upkeep.saver);
        let entry = entry.expect("the caller has seen or made it");
        let old = Times::of(entry);
        let result = change(entry, upkeep);
        let new = Times::of(entry);
        self.reindex(key, old, new);
        result
    }

    fn reindex(&mut self, key: &Key, old: Times, new: Times) {
        let due = |at| Due {
            at,
            hash: key.hash,
            slot: key.slot,
        };
        self.expiries.replace(old.key.map(due), new.key.map(due));
        let (old, new) = (old.field.map(due), new.field.map(due));
        self.field_expiries.replace(old, new);
    }

    /// The entry that an element of the expiry index stands for.
    pub fn due_entry(&self, due: Due, upkeep: &Upkeep) -> &EntryPtr {
        self.table(due.slot)
            .find(due.hash, |e| {
                e.expiry() == Some(due.at) && upkeep.hash(e.key()) == due.hash
            })
            .expect("every element of the index has its entry")
    }

    /// The hash that an element of the index of fields stands for.
    pub fn field_due_entry(&self, due: Due, upkeep: &Upkeep) -> &EntryPtr {
        self.table(due.slot)
            .find(due.hash, |e| {
                field_expiry(e) == Some(due.at) && upkeep.hash(e.key()) == due.hash
            })
            .expect("every element of the index has its entry")
    }

    /// The first table at or after `from` that has keys.
    fn next_table(&self, from: usize) -> Option<usize> {
        let mut at = from;
        while at < self.tables.len() {
            if at % GROUP == 0 && self.groups[at / GROUP] == 0 {
                at += GROUP;
            } else if self.tables[at].len() == 0 {
                at += 1;
            } else {
                return Some(at);
            }
        }
        None
    }

    /// Visits about `count` entries from the cursor on. Where there is a table for each slot, the
    /// cursor's low bits are the slot, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&EntryPtr)) -> u64 {
        let bits = if self.tables.len() == 1 { 0 } else { SLOT_BITS };
        let mut at = (cursor & ((1 << bits) - 1)) as usize;
        let mut inner = cursor >> bits;
        let mut seen = 0;
        for _ in 0..count.saturating_mul(BUCKETS_PER_ENTRY).max(1) {
            if self.tables[at].len() == 0 || inner == 0 {
                inner = 0;
                match self.next_table(at) {
                    Some(next) => at = next,
                    None => return 0,
                }
            }
            inner = self.tables[at].scan(inner, &mut |entry| {
                seen += 1;
                visit(entry);
            });
            if inner == 0 {
                match self.next_table(at + 1) {
                    Some(next) => at = next,
                    None => return 0,
                }
            }
            if seen >= count {
                break;
            }
        }
        inner << bits | at as u64
    }

    /// All entries, table by table.
    pub fn try_for_each<B>(
        &self,
        visit: &mut dyn FnMut(&EntryPtr) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut from = 0;
        while let Some(at) = self.next_table(from) {
            self.tables[at].try_for_each(visit)?;
            from = at + 1;
        }
        ControlFlow::Continue(())
    }

    /// An entry drawn evenly.
    pub fn random(&self, rng: &mut dyn RngCore) -> Option<&EntryPtr> {
        if self.len == 0 {
            return None;
        }
        let mut rank = below(rng, self.len);
        let in_group = self.groups.iter().position(|&count| skip(&mut rank, count));
        let group = in_group.expect("the groups' sum is the length") * GROUP;
        let tables = &self.tables[group..self.tables.len().min(group + GROUP)];
        let table = tables
            .iter()
            .find(|table| skip(&mut rank, table.len() as u64));
        table
            .expect("a group's number is its tables' sum")
            .random(rng)
    }
}

/// What of an entry is indexed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Times {
    key: Option<i64>,
    field: Option<i64>,
}

impl Times {
    const NONE: Times = Times {
        key: None,
        field: None,
    };

    #[inline]
    fn of(entry: &EntryPtr) -> Times {
        Times {
            key: entry.expiry(),
            field: field_expiry(entry),
        }
    }
}

/// The earliest expiry of a field, where the entry is a hash.
#[inline]
fn field_expiry(entry: &EntryPtr) -> Option<i64> {
    match entry.kind() {
        Kind::Hash => Value::of(entry.payload()).hash()?.first_expiry(),
        _ => None,
    }
}

/// True if the rank lies within the next `count`; else takes them off the rank.
fn skip(rank: &mut u64, count: u64) -> bool {
    let within = *rank < count;
    if !within {
        *rank -= count;
    }
    within
}
