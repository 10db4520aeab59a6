//! Owns the data of a node: databases, keys, values, expiry times, and the memory of all of these.
//! Never knows time (an expired key is there until it is removed), clients, effects or RESP.
//!
//! From the inside out: `raw` entries and buckets in memory (all unsafe code), `form` what an entry's header says of its value, `object` values
//! outside their entry, `string` how a string is kept and edited, `table` the hash table, `expiry` the order in which keys expire, `db` one
//! database, `cut` all keys as of one instant, `digest` the proof that two keyspaces are equal, `garbage`
//! memory on its way out.
//!
//! Invariants:
//! - no operation's pause grows with the number of keys: tables are resized a few buckets at a
//!   time, what is large is detached into [`Garbage`] and freed elsewhere;
//! - the same seed and the same operations give the same order of iteration on every machine.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rand::RngCore;

mod cut;
mod db;
mod detached;
mod digest;
mod expiry;
mod form;
mod garbage;
mod object;
mod raw;
mod string;
mod table;
mod types;
mod value;

use base::mutation::{self, Mutation};
pub use containers::blob::{Blob, CHUNK as BLOB_CHUNK};
pub use containers::list::Content;
pub use containers::listpack::{Digits, Element, Listpack};
use cut::Saver;
pub use cut::{CutBudget, CutBytes, CutEntry, CutMismatch, CutPart, CutReader, DbSize};
use db::Db;
pub use detached::Detached;
use digest::digest_of_all;
use digest::Digest;
pub use digest::KeysDigest;
use form::Packing;
pub use garbage::Garbage;
pub use raw::prefetch;
use raw::{EntryPtr, Payload, PayloadRef};
pub use string::StringDraft;
use table::{tag_of, Upkeep};
use types::combine::Combiner;
pub use types::combine::{intersect, SetDraft, SetOp};
pub use types::hash::{FieldRef, FieldTtl, HashLayout, HashMut, HashRef};
pub use types::list::{ListLayout, ListMut, ListRef, Side};
pub use types::set::{SetLayout, SetMut, SetRef};
pub use types::zset::{Scored, ZsetIter, ZsetLayout, ZsetRef};
pub use types::zset_edit::ZsetMut;
pub use types::zset_range::{LexBound, LexRange, ScoreBound, ScoreRange};
pub use types::Limits;
pub use value::{Entry, Kind, Scratch, StringRef, Value};

/// Bytes of values between two breaths of a digest, and what an entry counts for beside its value.
const BREATH: usize = 256 << 10;
const ENTRY_COST: usize = 256;

/// How keys are spread over tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Numbered databases of one table each.
    Single { databases: u32 },
    /// One database with a table for each hash slot.
    Cluster,
}

/// A key with all that is computed from it: made once for a command by [`Keyspace::key`].
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    pub bytes: &'k [u8],
    pub hash: u64,
    /// The hash slot in the cluster layout, else the top 14 bits of the hash.
    pub slot: u16,
}

/// What a write does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    Keep,
    Clear,
    /// Unix time in milliseconds.
    At(i64),
}

impl Ttl {
    /// The expiry that follows on `old`.
    fn applied_to(self, old: Option<i64>) -> Option<i64> {
        match self {
            Ttl::Keep => old,
            Ttl::Clear => None,
            Ttl::At(at) => Some(at),
        }
    }
}

/// Keys that are fetched ahead at a time: about as many as a core fetches lines at once.
pub const PREFETCH: usize = 8;

/// All databases of a node.
pub struct Keyspace {
    dbs: Vec<Db>,
    cluster: bool,
    upkeep: Upkeep,
    /// (database, slot) of the tables that are being resized.
    resizing: BTreeSet<(u32, u16)>,
    limits: Limits,
}

impl Keyspace {
    /// The seed keys the hash of keys.
    pub fn new(layout: Layout, seed: u64) -> Keyspace {
        let (databases, cluster) = match layout {
            Layout::Single { databases } => (databases, false),
            Layout::Cluster => (1, true),
        };
        assert!(databases > 0);
        let s = |n: u64| seed.rotate_left(16 * n as u32) ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Keyspace {
            dbs: (0..databases).map(|_| Db::new(cluster)).collect(),
            cluster,
            upkeep: Upkeep {
                hasher: ahash::RandomState::with_seeds(s(0), s(1), s(2), s(3)),
                garbage: Garbage::default(),
                moved: 0,
                saver: Saver::default(),
            },
            resizing: BTreeSet::new(),
            limits: Limits::default(),
        }
    }

    /// How large containers may get from here on before they take another form.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = Limits {
            list_plain: self.limits.list_plain,
            ..limits
        };
    }

    /// Elements of lists from this length on stand in chunks of their own, though there is room; for tests.
    pub fn set_plain_elements(&mut self, from: usize) {
        self.limits.list_plain = from;
    }

    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        let hash = self.upkeep.hash(bytes);
        let slot = if self.cluster {
            base::slot::key_slot(bytes)
        } else {
            (hash >> 50) as u16
        };
        Key { bytes, hash, slot }
    }

    /// Whether this is the cluster layout.
    pub fn is_cluster(&self) -> bool {
        self.cluster
    }

    pub fn databases(&self) -> u32 {
        self.dbs.len() as u32
    }

    fn db(&self, db: u32) -> &Db {
        &self.dbs[db as usize]
    }

    #[inline]
    pub fn get(&self, db: u32, key: &Key) -> Option<Entry<'_>> {
        self.db(db).get(key).map(Entry)
    }

    /// Fetches into the cache what commands on the first [`PREFETCH`] keys will read; changes
    /// nothing. `beside` is told each key's slot, to fetch what the caller keeps for that.
    pub fn prefetch<'k>(
        &self,
        db: u32,
        keys: impl Iterator<Item = &'k [u8]>,
        beside: impl Fn(u16),
    ) {
        let mut places = [(0, 0); PREFETCH];
        let mut count = 0;
        for (place, bytes) in places.iter_mut().zip(keys) {
            let key = self.key(bytes);
            *place = (key.hash, key.slot);
            beside(key.slot);
            count += 1;
        }
        self.db(db).prefetch(&places[..count]);
    }

    // Not by `change`: moving the payload into its closure reads as one word what was written as two
    // just before, and a CPU waits with that until all earlier writes have reached the cache.
    fn put(&mut self, db: u32, key: &Key, payload: Payload<'_>, ttl: Ttl) {
        let d = &mut self.dbs[db as usize];
        let before = d.table(key.slot).resizing();
        d.put(key, payload, ttl, &mut self.upkeep);
        self.follow_resize(db, key.slot, before);
    }

    /// Runs what may begin or end the resize of a table.
    fn change<R>(&mut self, db: u32, slot: u16, run: impl FnOnce(&mut Db, &mut Upkeep) -> R) -> R {
        let d = &mut self.dbs[db as usize];
        let before = d.table(slot).resizing();
        let result = run(d, &mut self.upkeep);
        self.follow_resize(db, slot, before);
        result
    }

    fn follow_resize(&mut self, db: u32, slot: u16, before: bool) {
        let after = self.db(db).table(slot).resizing();
        if before != after {
            self.note_resizing(db, slot, after);
        }
    }

    #[cold]
    fn note_resizing(&mut self, db: u32, slot: u16, resizing: bool) {
        let table = (db, if self.cluster { slot } else { 0 });
        if resizing {
            self.resizing.insert(table);
        } else {
            self.resizing.remove(&table);
        }
    }

    /// False if there is no such key.
    pub fn remove(&mut self, db: u32, key: &Key) -> bool {
        match self.change(db, key.slot, |d, upkeep| d.remove(key, upkeep)) {
            None => false,
            Some(entry) => {
                self.discard(entry);
                true
            }
        }
    }

    fn discard(&mut self, mut entry: EntryPtr) {
        if let Some(object) = entry.take_object() {
            self.upkeep.garbage.object(object);
        }
    }

    /// Has a hash changed, which is made where there is no key. Left without fields the key is gone.
    pub fn edit_hash<R>(
        &mut self,
        db: u32,
        key: &Key,
        edit: impl FnOnce(&mut HashMut<'_>) -> R,
    ) -> R {
        self.edit(db, key, Packing::Hash, |entry, limits, upkeep| {
            let mut hash = HashMut::new(entry, limits, &upkeep.hasher);
            let result = edit(&mut hash);
            (result, hash.as_ref().len() == 0)
        })
    }

    /// Has a set changed, which is made where there is no key. Left without members the key is gone.
    pub fn edit_set<R>(
        &mut self,
        db: u32,
        key: &Key,
        edit: impl FnOnce(&mut SetMut<'_>) -> R,
    ) -> R {
        self.edit(db, key, Packing::SetInts, |entry, limits, upkeep| {
            let mut set = SetMut::new(entry, limits, &upkeep.hasher);
            let result = edit(&mut set);
            (result, set.as_ref().len() == 0)
        })
    }

    /// Has a list changed, which is made where there is no key. Left without elements the key is gone.
    pub fn edit_list<R>(
        &mut self,
        db: u32,
        key: &Key,
        edit: impl FnOnce(&mut ListMut<'_>) -> R,
    ) -> R {
        self.edit(db, key, Packing::List, |entry, limits, upkeep| {
            let mut list = ListMut::new(entry, limits);
            let result = edit(&mut list);
            if let Some(removed) = list.take_removed() {
                upkeep.garbage.object(removed);
            }
            (result, list.as_ref().is_empty())
        })
    }

    /// What sets come to together. A source that is not there, or is no set, is an empty one. `pace` is told the bytes
    /// of each member that is looked at.
    pub fn combine_sets(
        &self,
        db: u32,
        op: SetOp,
        sources: &[Option<Key>],
        pace: &mut dyn FnMut(usize),
    ) -> SetDraft {
        let set = |key: &Option<Key>| self.get(db, key.as_ref()?)?.value().set();
        let sets: Vec<Option<SetRef<'_>>> = sources.iter().map(set).collect();
        let mut names = sources.iter().map(|key| key.map(|key| key.bytes));
        let first = names.next().flatten();
        let repeats = names.any(|name| name.is_some() && name == first);
        let mut combiner = Combiner {
            limits: self.limits,
            hasher: &self.upkeep.hasher,
            pace,
        };
        combiner.combine(op, &sets, repeats)
    }

    /// Any value becomes this set, which is not empty.
    pub fn put_set(&mut self, db: u32, key: &Key, draft: SetDraft, ttl: Ttl) {
        let set = draft.into_object();
        set.payload(|payload| self.put(db, key, payload, ttl));
    }

    /// Has a sorted set changed, which is made where there is no key. Left without members the key is gone.
    pub fn edit_zset<R>(
        &mut self,
        db: u32,
        key: &Key,
        edit: impl FnOnce(&mut ZsetMut<'_>) -> R,
    ) -> R {
        self.edit(db, key, Packing::SortedSet, |entry, limits, upkeep| {
            let mut zset = ZsetMut::new(entry, limits, &upkeep.hasher);
            let result = edit(&mut zset);
            (result, zset.as_ref().len() == 0)
        })
    }

    /// `empty`: how a container begins that is not there; `change` says whether no element is left.
    fn edit<R>(
        &mut self,
        db: u32,
        key: &Key,
        empty: Packing,
        change: impl FnOnce(&mut EntryPtr, Limits, &mut Upkeep) -> (R, bool),
    ) -> R {
        let limits = self.limits;
        if self.get(db, key).is_none() {
            self.put(db, key, Payload::Packed(empty, empty.nothing()), Ttl::Clear);
        }
        let d = &mut self.dbs[db as usize];
        let (result, is_empty) = d.edit(key, &mut self.upkeep, |entry, upkeep| {
            change(entry, limits, upkeep)
        });
        if is_empty {
            self.remove(db, key);
        }
        result
    }

    /// Moves value and expiry to another key, whatever that one held. False if there is no `from`.
    pub fn rename(&mut self, db: u32, from: &Key, to: &Key) -> bool {
        if from.bytes == to.bytes {
            return self.get(db, from).is_some();
        }
        let Some(entry) = self.change(db, from.slot, |d, upkeep| d.remove(from, upkeep)) else {
            return false;
        };
        let entry = entry.with_key(tag_of(to.hash), to.bytes);
        self.remove(db, to);
        self.change(db, to.slot, |d, upkeep| d.insert(to, entry, upkeep));
        true
    }

    /// Value and expiry of a key become those of another one too, whatever that one held. False if there is no
    /// `from`.
    pub fn copy(&mut self, db: u32, from: &Key, to_db: u32, to: &Key) -> bool {
        let Some(entry) = self.db(db).get(from) else {
            return false;
        };
        let ttl = entry.expiry().map_or(Ttl::Clear, Ttl::At);
        if let Some(object) = entry.share_object() {
            self.put(to_db, to, Payload::Object(object), ttl);
            return true;
        }
        match entry.payload() {
            PayloadRef::Int(n) => self.put(to_db, to, Payload::Int(n), ttl),
            PayloadRef::Bytes(bytes) => {
                let (bytes, written) = (bytes.to_vec(), entry.is_written());
                let payload = match written {
                    true => Payload::Written(&bytes),
                    false => Payload::Bytes(&bytes),
                };
                self.put(to_db, to, payload, ttl);
            }
            PayloadRef::Packed(packing, bytes) => {
                let bytes = bytes.to_vec();
                self.put(to_db, to, Payload::Packed(packing, &bytes), ttl);
            }
            PayloadRef::Object(_) => unreachable!("it was shared"),
        }
        true
    }

    /// Sets or clears the time, in Unix milliseconds, at which the key expires. False if there is
    /// no such key.
    pub fn set_expiry(&mut self, db: u32, key: &Key, at: Option<i64>) -> bool {
        self.dbs[db as usize].set_expiry(key, at, &mut self.upkeep.saver)
    }

    /// Of the keys whose expiry lies before `now_ms` (a key still lives at its expiry), the one
    /// with the earliest.
    pub fn next_expired(&self, now_ms: i64) -> Option<(u32, Box<[u8]>)> {
        let (db, due) = (0..)
            .zip(&self.dbs)
            .filter_map(|(i, d)| Some((i, d.expiries().first()?)))
            .min_by_key(|(_, due)| due.at)
            .filter(|(_, due)| due.at < now_ms)?;
        Some((db, self.db(db).due_entry(due, &self.upkeep).key().into()))
    }

    /// The first of one database, the lowest that has any, that is not spared.
    pub fn next_expired_but(
        &self,
        now_ms: i64,
        is_spared: &dyn Fn(u32, &[u8]) -> bool,
    ) -> Option<(u32, Box<[u8]>)> {
        (0..).zip(&self.dbs).find_map(|(of, db)| {
            let due = db.expiries().due(now_ms);
            let mut keys = due.map(|due| db.due_entry(due, &self.upkeep).key());
            let key = keys.find(|key| !is_spared(of, key))?;
            Some((of, key.into()))
        })
    }

    /// A hash with a field that expires before `now_ms`, the earliest one of the lowest database, that is not spared.
    pub fn next_due_hash(
        &self,
        now_ms: i64,
        is_spared: &dyn Fn(u32, &[u8]) -> bool,
    ) -> Option<(u32, Box<[u8]>)> {
        (0..).zip(&self.dbs).find_map(|(of, db)| {
            let due = db.field_expiries().due(now_ms);
            let mut keys = due.map(|due| db.field_due_entry(due, &self.upkeep).key());
            let key = keys.find(|key| !is_spared(of, key))?;
            Some((of, key.into()))
        })
    }

    /// The number of hashes with a field that has an expiry.
    pub fn with_field_expiry(&self, db: u32) -> u64 {
        self.db(db).field_expiries().len()
    }

    /// Whether any hash has a field that expires.
    pub fn fields_expire(&self) -> bool {
        self.dbs.iter().any(|db| db.field_expiries().len() > 0)
    }

    /// The number of keys.
    pub fn len(&self, db: u32) -> u64 {
        self.db(db).len()
    }

    /// The number of keys with an expiry.
    pub fn expires(&self, db: u32) -> u64 {
        self.db(db).expiries().len()
    }

    /// The average expiry, in Unix milliseconds, of the keys that have one.
    pub fn mean_expiry(&self, db: u32) -> Option<i64> {
        self.db(db).expiries().mean()
    }

    /// Visits about `count` keys and returns the cursor to go on with, 0 at the end. A key that is
    /// there from the first call to the last is visited at least once.
    pub fn scan(
        &self,
        db: u32,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> u64 {
        self.db(db)
            .scan(cursor, count, &mut |entry| visit(Entry(entry)))
    }

    /// Visits all keys until `visit` breaks.
    pub fn for_each(&self, db: u32, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) {
        let _ = self.db(db).try_for_each(&mut |entry| visit(Entry(entry)));
    }

    /// A key drawn evenly.
    pub fn random_key(&self, db: u32, rng: &mut dyn RngCore) -> Option<Entry<'_>> {
        self.db(db).random(rng).map(Entry)
    }

    /// The number of keys in a hash slot; none outside the cluster layout.
    pub fn count_in_slot(&self, slot: u16) -> u64 {
        if self.cluster {
            self.db(0).table(slot).len() as u64
        } else {
            0
        }
    }

    /// Visits up to `limit` keys of a hash slot; none outside the cluster layout.
    pub fn keys_in_slot(&self, slot: u16, limit: usize, visit: &mut dyn FnMut(Entry<'_>)) {
        if !self.cluster || limit == 0 {
            return;
        }
        let mut left = limit;
        let _ = self.db(0).table(slot).try_for_each(&mut |entry| {
            visit(Entry(entry));
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    }

    /// Empties a database, or all.
    pub fn flush(&mut self, db: Option<u32>) {
        let all = 0..self.databases();
        for i in db.map_or(all, |db| db..db + 1) {
            let d = &mut self.dbs[i as usize];
            if d.len() > 0 {
                let full = std::mem::replace(d, Db::new(self.cluster));
                full.detach(&mut self.upkeep);
                self.resizing.retain(|(db, _)| *db != i);
            }
        }
    }

    /// Each of the two databases gets the other one's keys.
    pub fn swap(&mut self, a: u32, b: u32) {
        if a == b {
            return;
        }
        self.dbs.swap(a as usize, b as usize);
        let other = |db| match db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
        let resizing = std::mem::take(&mut self.resizing).into_iter();
        self.resizing = resizing.map(|(db, slot)| (other(db), slot)).collect();
        if mutation::is(Mutation::SwapdbByIndex) {
            let mut first = std::mem::replace(&mut self.dbs[a as usize], Db::new(self.cluster));
            first.swap_numbers(&mut self.dbs[b as usize]);
            self.dbs[a as usize] = first;
        }
    }

    /// Empties a hash slot; how many keys it had. None outside the cluster layout.
    pub fn flush_slot(&mut self, slot: u16) -> u64 {
        if !self.cluster {
            return 0;
        }
        let keys = self.dbs[0].take_table(slot, &mut self.upkeep);
        if keys > 0 {
            self.resizing.remove(&(0, slot));
        }
        keys
    }

    /// What has been detached since the last call. It is for the caller to drop it, or hand it to
    /// a thread that does.
    pub fn take_garbage(&mut self) -> Option<Garbage> {
        let garbage = &mut self.upkeep.garbage;
        (!garbage.is_empty()).then(|| std::mem::take(garbage))
    }

    /// A number that two databases share if and (but for a negligible chance) only if they hold
    /// the same keys, kinds, values and expiry times. Looks at every entry.
    pub fn digest(&self, db: u32) -> [u8; 20] {
        self.digest_of(db, &mut || {})
    }

    fn digest_of(&self, db: u32, breathe: &mut dyn FnMut()) -> [u8; 20] {
        let (mut sum, mut looked_at) = (Digest::default(), 0);
        let _ = self.db(db).try_for_each(&mut |entry| {
            let entry = Entry(entry);
            looked_at += ENTRY_COST + entry.value().weight();
            if looked_at >= BREATH {
                looked_at = 0;
                breathe();
            }
            sum.add(entry.digest());
            ControlFlow::<()>::Continue(())
        });
        sum.bytes()
    }

    /// The same for all databases together.
    pub fn digest_all(&self) -> [u8; 20] {
        self.digest_with(&mut || {})
    }

    /// The same; `breathe` is called now and then, since it takes a second for millions of keys.
    pub fn digest_with(&self, breathe: &mut dyn FnMut()) -> [u8; 20] {
        let with_keys = (0..self.databases()).filter(|db| self.len(*db) > 0);
        digest_of_all(with_keys.map(|db| (db, self.digest_of(db, breathe))))
    }

    /// The digest of one key, value and expiry included.
    pub fn digest_key(&self, db: u32, key: &Key) -> Option<[u8; 20]> {
        self.get(db, key).map(|entry| entry.digest().bytes())
    }

    /// Does up to `steps` steps of work that was put off (moving one bucket each). True if there
    /// is more to do.
    pub fn maintain(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            let Some(&(db, slot)) = self.resizing.first() else {
                return false;
            };
            if !self.dbs[db as usize].step_table(slot, &mut self.upkeep) {
                self.resizing.remove(&(db, slot));
            }
        }
        !self.resizing.is_empty()
    }

    /// Buckets moved by resizes since the start.
    pub fn buckets_moved(&self) -> u64 {
        self.upkeep.moved
    }
}

#[cfg(test)]
mod tests;
