//! The one door to the keyspace.
//!
//! Owns: the keyspace of this member, the batch of the running turn, the dirty index and the
//! watched keys. Everything that reads or changes a key goes through here, so that three things
//! can't be forgotten: expired keys are deleted *in the log* before anybody sees them gone (T2),
//! every change becomes an effect of the running unit, and every reply knows the newest batch it
//! may show (T3).
//!
//! Never: writes replies, reads a clock (time is handed in once a turn), knows Raft or sockets.
//!
//! Invariants:
//! - A change and its effect are made by the same function, and a follower applies the effect by
//!   that same function: leader and followers can't drift apart.
//! - In [`Access::Apply`] time is never looked at and nothing is emitted.
//! - `dirty[slot]` is the newest batch that changed the slot; `floor` bounds all slots from below;
//!   neither ever decreases.

mod record;

use super::env::Footprint;
use super::room;
pub use super::watch::Watch;
use super::watch::Watches;
use crate::cluster::Record;
use crate::effect::{Batch, Op};
use crate::keyspace::{prefetch, Entry, Key, Keyspace, Ttl};
use crate::mutation::{self, Mutation};
use rand::rngs::StdRng;
use rand::SeedableRng;
pub use record::Ownership;
use std::sync::Arc;

/// Slots of the dirty index; single-database layouts index it by the key's hash.
const SLOTS: usize = 16384;

/// By what right a command touches the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The leader: changes become effects, expired keys are deleted when met.
    Lead,
    /// A replica's own copy (READONLY): expired keys are hidden, nothing is changed.
    Replica,
    /// Effects of the log: what was decided is carried out, time is not looked at.
    Apply,
}

/// What the keyspace counts for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    /// Changes to keys since the start (INFO rdb_changes_since_last_save).
    pub changes: u64,
}

pub struct Data {
    pub(super) keyspace: Keyspace,
    batch: Batch,
    /// Whether a unit is open in `batch`: it is opened by the first effect of a command.
    unit_open: bool,
    /// The number of the turn's first batch, and of the one that the running command writes to.
    first_seq: u64,
    batch_seq: u64,
    now_ms: i64,
    writable: bool,
    /// D5: the batches' bytes may not become more than this in this turn.
    grant: usize,
    /// What would have been enough for an effect that was held.
    wanted: Option<usize>,
    access: Access,
    pub(super) db: u32,
    dirty: Box<[u64]>,
    floor: u64,
    /// The newest batch that holds anything.
    newest: u64,
    footprint: Footprint,
    pub(super) watches: Watches,
    memo: Option<Memo>,
    pub(super) counters: Counters,
    rng: StdRng,
    /// The shard's record as executed (the tail's copy) and as committed (S1).
    record: Arc<Record>,
    committed: Arc<Record>,
    /// Whether the open unit has changed the record.
    record_changed: bool,
    /// The record as of the turn's batches that have changed it.
    turn_records: Vec<(u64, Arc<Record>)>,
}

/// The hash and slot of a key of the running command, worked out at admission. The address is
/// only compared: while the command runs, its arguments are borrowed, so no other slice of that
/// length can stand there.
#[derive(Clone, Copy)]
struct Memo {
    addr: usize,
    len: usize,
    hash: u64,
    slot: u16,
}

impl Data {
    /// `part_bytes`: see [`Batch::new`].
    pub fn new(keyspace: Keyspace, part_bytes: usize) -> Data {
        let watches = Watches::new(keyspace.databases());
        // The keyspace's own seed decides, so that a simulated run can be repeated.
        let rng = StdRng::seed_from_u64(keyspace.key(b"randomkey").hash);
        Data {
            keyspace,
            batch: Batch::new(part_bytes),
            unit_open: false,
            first_seq: 0,
            batch_seq: 0,
            now_ms: 0,
            writable: false,
            grant: 0,
            wanted: None,
            access: Access::Lead,
            db: 0,
            dirty: vec![0; SLOTS].into_boxed_slice(),
            floor: 0,
            newest: 0,
            footprint: Footprint::default(),
            watches,
            memo: None,
            counters: Counters::default(),
            rng,
            record: Arc::default(),
            committed: Arc::default(),
            record_changed: false,
            turn_records: Vec::new(),
        }
    }

    /// The record that the keyspace starts with: as of the group's base.
    pub fn begin_record(&mut self, record: Record) {
        self.record = Arc::new(record);
        self.commit_record();
    }

    /// A rebuild: the keyspace and the record start over (T6); whoever watched a key has lost (T7).
    pub fn restart(&mut self, keyspace: Keyspace, record: Record) -> Keyspace {
        self.watches.fail_all();
        self.record = Arc::new(record);
        std::mem::replace(&mut self.keyspace, keyspace)
    }

    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// For housekeeping off the command path (maintain, take_garbage): never changes a key.
    pub fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn reset_counters(&mut self) {
        self.counters = Counters {
            changes: self.counters.changes,
            ..Counters::default()
        };
    }

    /// The watches of clients whose shard this one replaces; all of them fail.
    pub fn take_watches(&mut self, old: &mut Data) {
        self.watches = std::mem::replace(&mut old.watches, Watches::new(1));
        self.watches.fail_all();
    }

    /// T7: this member has stopped leading; every EXEC that watches anything fails.
    pub fn fail_all_watches(&mut self) {
        self.watches.fail_all();
    }

    // ---- turns and commands --------------------------------------------------------------------

    /// The effects from here on belong to batch `batch_seq`, which is above all earlier ones, and
    /// to those after it, if a large unit makes them several.
    /// `grant`: the bytes of effects that the log has room for (D5).
    pub fn begin_turn(&mut self, batch_seq: u64, now_ms: i64, writable: bool, grant: usize) {
        assert!(self.batch.is_empty(), "the last turn's batch was not taken");
        assert!(batch_seq >= self.newest, "batches are numbered upwards");
        self.turn_records.clear();
        self.first_seq = batch_seq;
        self.batch_seq = batch_seq;
        self.now_ms = now_ms;
        self.writable = writable;
        self.grant = grant;
    }

    /// Admission may end within a turn (the budget of T1, the limits of T2).
    pub fn set_writable(&mut self, writable: bool) {
        self.writable = writable;
    }

    pub fn writable(&self) -> bool {
        self.writable
    }

    /// Bytes of effects so far in this turn.
    pub fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// The record as of the turn's batch `seq`, if that has changed it (S1).
    pub fn record_after(&self, seq: u64) -> Option<Arc<Record>> {
        let mut changes = self.turn_records.iter().rev();
        changes
            .find(|(of, _)| *of == seq)
            .map(|(_, r)| Arc::clone(r))
    }

    /// D5: whether a command may put `bytes` more into the log in this turn; if not the command is
    /// held, and room for them is asked for. For commands of several effects, before the first one.
    pub fn room_for(&mut self, bytes: usize) -> bool {
        let may = match self.access {
            Access::Lead => self.fits(bytes) || mutation::is(Mutation::RoomByArguments),
            Access::Replica | Access::Apply => true,
        };
        may || self.refuse(bytes)
    }

    #[inline]
    fn fits(&self, bytes: usize) -> bool {
        self.batch.len().saturating_add(bytes) <= self.grant
    }

    #[cold]
    fn refuse(&mut self, bytes: usize) -> bool {
        self.footprint.hold = true;
        let need = self.batch.len().saturating_add(bytes);
        self.wanted = self.wanted.max(Some(need));
        false
    }

    /// D5: what would have been enough for all that was held in this turn.
    pub fn take_wanted(&mut self) -> Option<usize> {
        self.wanted.take()
    }

    /// How many more bytes of expired keys may be deleted in this turn (T1, T9).
    pub(super) fn slice_left(&self) -> usize {
        room::SLICE.saturating_sub(self.batch.len())
    }

    /// What the turn has written, if anything: the bodies of the entries to propose.
    pub fn take_batch(&mut self) -> Option<Vec<Vec<u8>>> {
        assert!(!self.unit_open, "a command is still running");
        if self.batch.is_empty() {
            return None;
        }
        Some(self.batch.take())
    }

    pub fn begin_command(&mut self, db: u32, access: Access) {
        self.db = db;
        self.access = access;
        self.footprint = Footprint::default();
        self.memo = None;
    }

    /// Closes the command's unit (T8: a command, or a whole EXEC, is one unit).
    pub fn end_command(&mut self) -> Footprint {
        if self.unit_open {
            self.unit_open = false;
            self.batch.end_unit();
            // T6: the number is known only now: a unit that has grown large moves on to the next.
            self.footprint.depends = self.batch_seq;
            if self.record_changed {
                self.note_record();
            }
        }
        self.footprint
    }

    #[cold]
    fn note_record(&mut self) {
        self.record_changed = false;
        let record = Arc::clone(&self.record);
        self.turn_records.push((self.batch_seq, record));
    }

    /// The running command can't happen now: it will run again, and this run leaves no trace.
    pub(super) fn hold(&mut self) {
        self.footprint.hold = true;
    }

    pub fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    pub fn access(&self) -> Access {
        self.access
    }

    /// In cluster mode all keys of a command must have one slot.
    pub fn is_cluster(&self) -> bool {
        self.keyspace.is_cluster()
    }

    pub(super) fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// SELECT.
    pub fn select(&mut self, db: u32) {
        assert!(db < self.keyspace.databases(), "SELECT checks the range");
        self.db = db;
    }

    /// Keys that the next commands may name: their memory is fetched while others run.
    pub fn prefetch<'k>(&self, db: u32, keys: impl Iterator<Item = &'k [u8]>) {
        self.keyspace.prefetch(db, keys, |slot| {
            prefetch(&raw const self.dirty[usize::from(slot)]);
        });
    }

    // ---- keys ----------------------------------------------------------------------------------

    /// Hash and slot of a key; free when admission has worked them out already.
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        match self.memo {
            Some(m) if m.addr == bytes.as_ptr() as usize && m.len == bytes.len() => Key {
                bytes,
                hash: m.hash,
                slot: m.slot,
            },
            _ => self.keyspace.key(bytes),
        }
    }

    /// The slot of an argument of the running command; remembers its hash for the handler.
    pub(super) fn admit_key(&mut self, bytes: &[u8]) -> u16 {
        let key = self.keyspace.key(bytes);
        self.memo = Some(Memo {
            addr: bytes.as_ptr() as usize,
            len: bytes.len(),
            hash: key.hash,
            slot: key.slot,
        });
        key.slot
    }

    /// Shows the key to `see`: `None` if there is none or it has expired. One look at the table.
    pub fn with<R>(&mut self, key: &Key<'_>, see: impl FnOnce(Option<Entry<'_>>) -> R) -> R {
        self.depend_on(key.slot);
        match self.keyspace.get(self.db, key) {
            None => return see(None),
            Some(entry) if !self.is_due(&entry) => return see(Some(entry)),
            Some(_) => {}
        }
        self.expire(key);
        see(None)
    }

    /// As [`Data::with`], counted as a hit or a miss: for commands that read a value.
    pub fn with_counted<R>(
        &mut self,
        key: &Key<'_>,
        see: impl FnOnce(Option<Entry<'_>>) -> R,
    ) -> R {
        let (result, hit) = self.with(key, |entry| {
            let hit = entry.is_some();
            (see(entry), hit)
        });
        self.counters.hits += u64::from(hit);
        self.counters.misses += u64::from(!hit);
        result
    }

    /// The entry, if there is one that has not expired.
    pub fn lookup(&mut self, key: &Key<'_>) -> Option<Entry<'_>> {
        if self.exists(key) {
            self.keyspace.get(self.db, key)
        } else {
            None
        }
    }

    pub fn exists(&mut self, key: &Key<'_>) -> bool {
        self.with(key, |entry| entry.is_some())
    }

    /// The expiry of a living key: `None` without a key, `Some(None)` without an expiry.
    pub fn expiry(&mut self, key: &Key<'_>) -> Option<Option<i64>> {
        self.with(key, |entry| entry.map(|e| e.expiry()))
    }

    /// A key drawn at random; it may have expired.
    pub(super) fn random_key(&mut self) -> Option<Box<[u8]>> {
        let entry = self.keyspace.random_key(self.db, &mut self.rng)?;
        Some(entry.key().into())
    }

    /// The reply shows data without naming keys (DBSIZE, KEYS, SCAN, RANDOMKEY): it depends on all
    /// that was ever written (T3).
    pub fn depends_on_all(&mut self) {
        self.footprint.read = true;
        self.footprint.depends = self.footprint.depends.max(self.newest).max(self.floor);
    }

    /// T3: the reply shows what batch `dirty[slot]` left there.
    fn depend_on(&mut self, slot: u16) {
        let foot = &mut self.footprint;
        foot.read = true;
        foot.slot.get_or_insert(slot);
        foot.depends = foot
            .depends
            .max(self.dirty[usize::from(slot)])
            .max(self.floor);
    }

    pub(super) fn is_due(&self, entry: &Entry<'_>) -> bool {
        // Apply carries out what was decided: the leader's DEL comes through the log.
        self.access != Access::Apply && entry.expiry().is_some_and(|at| self.now_ms > at)
    }

    /// T2: an expired key that is met passes the admission of a write: its deletion is logged, or
    /// the command that met it waits.
    fn expire(&mut self, key: &Key<'_>) {
        match self.access {
            Access::Lead if mutation::is(Mutation::UnloggedExpiry) => {}
            Access::Lead if self.writable => self.delete_expired(self.db, key),
            Access::Lead => self.footprint.hold = true,
            Access::Replica => {}
            Access::Apply => unreachable!("apply never finds a key due"),
        }
    }

    /// D5: without room the command is held. With it, the deletion stands even if the command is held
    /// for something else.
    fn delete_expired(&mut self, db: u32, key: &Key<'_>) {
        let wrote = self.footprint.wrote;
        if self.delete_at(db, key) {
            self.counters.expired += 1;
            self.footprint.wrote = wrote;
            self.footprint.expired = true;
        }
    }

    /// Deletes every key that is due, so that what runs next in this turn meets none. False: a slice
    /// of them is deleted, and the command is held.
    pub(super) fn purge_due(&mut self) -> bool {
        if self.access != Access::Lead || mutation::is(Mutation::UnloggedExpiry) {
            return true;
        }
        while let Some((db, bytes)) = self.keyspace.next_expired(self.now_ms) {
            if self.slice_left() == 0 || !self.writable {
                self.footprint.hold = true;
            } else {
                let key = self.keyspace.key(&bytes);
                self.delete_expired(db, &key);
            }
            if self.footprint.hold {
                return false;
            }
        }
        true
    }

    // ---- changes -------------------------------------------------------------------------------

    /// Adds an effect to the running command's unit; only the leader makes effects. False: the log has
    /// no room for it now, nothing was added, and nothing may change (D5).
    #[must_use]
    fn emit(&mut self, db: u32, op: Op, args: &[&[u8]]) -> bool {
        if self.access == Access::Apply {
            return true;
        }
        assert!(
            self.access == Access::Lead && self.writable,
            "T2: a write was not admitted"
        );
        let bytes = Batch::size(args);
        let most = bytes + room::headers(bytes) + room::EFFECT;
        if !self.fits(most) && !mutation::is(Mutation::RoomByArguments) {
            return self.refuse(most);
        }
        let fresh = !self.unit_open;
        if fresh {
            self.unit_open = true;
            self.batch.begin_unit();
        }
        self.batch.push_sized(db, op, args, bytes);
        let seq = self.first_seq + u64::from(self.batch.number());
        if seq != self.batch_seq {
            self.next_batch(seq, fresh);
        }
        self.newest = self.batch_seq;
        self.footprint.wrote = true;
        true
    }

    /// T6: a large unit is a batch of its own, and so is what comes after it.
    #[cold]
    fn next_batch(&mut self, seq: u64, fresh: bool) {
        if mutation::is(Mutation::TailLostByTurn) {
            return;
        }
        self.batch_seq = seq;
        if !fresh {
            // T3: what the unit has changed before it grew large is marked with the number that it
            // has left.
            self.floor = seq;
        }
    }

    /// A key has changed: its slot is dirty (T3) and whoever watches it has lost.
    fn changed(&mut self, db: u32, key: &Key<'_>) {
        self.counters.changes += 1;
        if self.access == Access::Lead {
            self.dirty[usize::from(key.slot)] = self.batch_seq;
            self.footprint.slot.get_or_insert(key.slot);
        }
        self.watches.touch(db, key.bytes);
    }

    /// SET: any value becomes this string.
    pub fn set(&mut self, key: &Key<'_>, value: &[u8], ttl: Ttl) {
        self.assert_owned(Op::Set, key);
        let logged = match ttl {
            Ttl::Clear => self.emit(self.db, Op::Set, &[key.bytes, value]),
            Ttl::Keep => self.emit(self.db, Op::Set, &[key.bytes, value, b"KEEPTTL"]),
            Ttl::At(ms) => {
                let mut text = itoa::Buffer::new();
                let ms = text.format(ms).as_bytes();
                self.emit(self.db, Op::Set, &[key.bytes, value, b"PXAT", ms])
            }
        };
        if !logged {
            return;
        }
        self.keyspace.set_string(self.db, key, value, ttl);
        self.changed(self.db, key);
    }

    /// MSET: `pairs` is key, value, key, value, ...
    pub fn set_many(&mut self, pairs: &[&[u8]]) {
        if !self.emit(self.db, Op::MSet, pairs) {
            return;
        }
        for pair in pairs.chunks_exact(2) {
            let key = self.key(pair[0]);
            self.assert_owned(Op::MSet, &key);
            self.keyspace.set_string(self.db, &key, pair[1], Ttl::Clear);
            self.changed(self.db, &key);
        }
    }

    /// INCRBY, whose outcome the caller has worked out: `value` is the old one plus `delta`.
    pub fn set_incremented(&mut self, key: &Key<'_>, delta: i64, value: i64) {
        self.assert_owned(Op::IncrBy, key);
        let mut text = itoa::Buffer::new();
        let args = [key.bytes, text.format(delta).as_bytes()];
        if !self.emit(self.db, Op::IncrBy, &args) {
            return;
        }
        self.keyspace.set_int(self.db, key, value, Ttl::Keep);
        self.changed(self.db, key);
    }

    /// APPEND; the new length (of a command that is held: anything).
    pub fn append(&mut self, key: &Key<'_>, tail: &[u8]) -> usize {
        self.assert_owned(Op::Append, key);
        if !self.emit(self.db, Op::Append, &[key.bytes, tail]) {
            return 0;
        }
        let len = self.keyspace.append(self.db, key, tail);
        self.changed(self.db, key);
        len
    }

    /// SETRANGE; the new length (of a command that is held: anything).
    pub fn set_range(&mut self, key: &Key<'_>, offset: usize, bytes: &[u8]) -> usize {
        self.assert_owned(Op::SetRange, key);
        let mut text = itoa::Buffer::new();
        let at = text.format(offset).as_bytes();
        if !self.emit(self.db, Op::SetRange, &[key.bytes, at, bytes]) {
            return 0;
        }
        let len = self.keyspace.set_range(self.db, key, offset, bytes);
        self.changed(self.db, key);
        len
    }

    /// DEL of a key that exists.
    pub fn delete(&mut self, key: &Key<'_>) {
        let _held_if_not = self.delete_at(self.db, key);
    }

    #[must_use]
    fn delete_at(&mut self, db: u32, key: &Key<'_>) -> bool {
        let logged = self.emit(db, Op::Del, &[key.bytes]);
        if logged {
            self.keyspace.remove(db, key);
            self.changed(db, key);
        }
        logged
    }

    /// PEXPIREAT of a key that exists.
    pub fn expire_at(&mut self, key: &Key<'_>, at_ms: i64) {
        self.assert_owned(Op::PExpireAt, key);
        let mut text = itoa::Buffer::new();
        let args = [key.bytes, text.format(at_ms).as_bytes()];
        if !self.emit(self.db, Op::PExpireAt, &args) {
            return;
        }
        self.keyspace.set_expiry(self.db, key, Some(at_ms));
        self.changed(self.db, key);
    }

    /// PERSIST of a key that has an expiry.
    pub fn persist(&mut self, key: &Key<'_>) {
        self.assert_owned(Op::Persist, key);
        if !self.emit(self.db, Op::Persist, &[key.bytes]) {
            return;
        }
        self.keyspace.set_expiry(self.db, key, None);
        self.changed(self.db, key);
    }

    /// RENAME; false where there is no such key.
    pub fn rename(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        self.assert_owned(Op::Rename, to);
        if !self.emit(self.db, Op::Rename, &[from.bytes, to.bytes]) {
            return true; // it is held, and comes again
        }
        let renamed = self.keyspace.rename(self.db, from, to);
        self.changed(self.db, from);
        self.changed(self.db, to);
        renamed
    }

    /// FLUSHDB (`Some`) or FLUSHALL: logged also when nothing is there, as a flush may race with
    /// nothing that a reply could show.
    pub fn flush(&mut self, db: Option<u32>) {
        let logged = match db {
            Some(db) => self.emit(db, Op::FlushDb, &[]),
            None => self.emit(self.db, Op::FlushAll, &[]),
        };
        if !logged {
            return;
        }
        let keyspace = &self.keyspace;
        let gone = |of: u32, bytes: &[u8]| keyspace.get(of, &keyspace.key(bytes)).is_some();
        self.watches.touch_where(db, &gone);
        self.keyspace.flush(db);
        self.counters.changes += 1;
        if self.access == Access::Lead {
            self.floor = self.batch_seq; // T3: under all slots
        }
    }

    // ---- expiry --------------------------------------------------------------------------------

    /// Active expiry: deletes up to `limit` keys that are due, each as a unit of its own (T2: only
    /// when writable). How many.
    pub fn expire_due(&mut self, now_ms: i64, limit: usize) -> usize {
        self.begin_command(0, Access::Lead);
        let mut expired = 0;
        while expired < limit && self.writable {
            let Some((db, bytes)) = self.keyspace.next_expired(now_ms) else {
                break;
            };
            let key = self.keyspace.key(&bytes);
            if !self.delete_at(db, &key) {
                break; // D5: it asks for the room, and goes on in a later turn
            }
            self.end_command();
            self.counters.expired += 1;
            expired += 1;
        }
        expired
    }

    // ---- watches -------------------------------------------------------------------------------

    /// WATCH: what this key is now.
    pub fn watch(&mut self, key: &Key<'_>) -> Watch {
        self.exists(key); // a key that has expired is deleted first, so its expiry fails no EXEC
        self.watches.watch(self.db, key.bytes)
    }

    /// How many keys somebody watches.
    pub fn watched_keys(&self) -> usize {
        self.watches.len()
    }

    pub fn unwatch(&mut self, watch: &Watch) {
        self.watches.unwatch(watch);
    }

    /// Whether a watched key is as it was. The answer shows data (EXEC → nil is a read, T3).
    pub fn is_unchanged(&mut self, watch: &Watch) -> bool {
        let key = self.keyspace.key(&watch.key);
        let db = std::mem::replace(&mut self.db, watch.db);
        self.exists(&key);
        self.db = db;
        self.watches.is_unchanged(watch)
    }
}
