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
//! - In [`Access::Apply`] and [`Access::Record`] time is never looked at and nothing is emitted.
//! - `dirty[slot]` is the newest batch that changed the slot; `floor` bounds all slots from below;
//!   neither ever decreases.

use super::awaited::Awaited;
use super::effects;
use super::events::Events;
use super::gate::Footprint;
use super::moving::Motion;
use super::room;
use super::watch::{Watch, Watches};
use base::events::Classes;
use base::ids::BatchSeq;
use base::mutation::{self, Mutation};
use effect::{Batch, Op, Runs};
use keyspace::{prefetch, Entry, Key, Keyspace};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::sync::Arc;
use topology::Record;

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
    /// The same for the record alone, beside a keyspace that is empty.
    Record,
}

/// What the keyspace counts for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    /// Fields of hashes.
    pub expired_fields: u64,
    /// Changes since the start (INFO rdb_changes_since_last_save): as in Redis most commands count the elements that they
    /// change.
    pub changes: u64,
}

pub struct StateMachine {
    pub(super) keyspace: Keyspace,
    batch: Batch,
    /// Whether a unit is open in `batch`: it is opened by the first effect of a command.
    unit_open: bool,
    /// The number of the turn's first batch, and of the one that the running command writes to.
    first_seq: BatchSeq,
    pub(super) batch_seq: BatchSeq,
    pub(super) now_ms: i64,
    pub(super) writable: bool,
    /// D5: effects that only free memory may enter the batch, whatever `writable` says.
    freeing: bool,
    /// D5: the batches' bytes may not become more than this in this turn.
    grant: usize,
    /// What would have been enough for an effect that was held.
    wanted: Option<usize>,
    pub(super) access: Access,
    pub(super) db: u32,
    pub(super) dirty: Box<[BatchSeq]>,
    pub(super) floor: BatchSeq,
    /// The newest batch that holds anything.
    newest: BatchSeq,
    /// The turn has written something that somebody waits for, or may.
    hurries: bool,
    pub(super) footprint: Footprint,
    pub(super) watches: Watches,
    pub(super) awaited: Awaited,
    pub(super) events: Events,
    /// The first keys of the running command, and how many they are.
    memos: [Memo; MEMOS],
    memo_count: usize,
    pub(super) counters: Counters,
    rng: StdRng,
    /// The shard's record as executed (the tail's copy) and as committed (S1).
    pub(super) record: Arc<Record>,
    pub(super) committed: Arc<Record>,
    /// Whether the open unit has changed the record.
    pub(super) record_changed: bool,
    pub(super) motion: Motion,
    /// The record as of the turn's batches that have changed it.
    turn_records: Vec<(BatchSeq, Arc<Record>)>,
}

/// Keys whose hash is remembered: commands of a fixed number of keys have no more.
const MEMOS: usize = 4;

/// The hash and slot of a key of the running command, worked out at admission. The address is
/// only compared: while the command runs, its arguments are borrowed, so no other slice of that
/// length can stand there.
#[derive(Clone, Copy, Default)]
struct Memo {
    addr: usize,
    len: usize,
    hash: u64,
    slot: u16,
}

impl StateMachine {
    /// `part_bytes`: see [`Batch::new`].
    pub fn new(keyspace: Keyspace, part_bytes: usize) -> StateMachine {
        let watches = Watches::new(keyspace.databases());
        // The keyspace's own seed decides, so that a simulated run can be repeated.
        let rng = StdRng::seed_from_u64(keyspace.key(b"randomkey").hash);
        StateMachine {
            keyspace,
            batch: Batch::new(part_bytes),
            unit_open: false,
            first_seq: BatchSeq::NONE,
            batch_seq: BatchSeq::NONE,
            now_ms: 0,
            writable: false,
            freeing: false,
            grant: 0,
            wanted: None,
            access: Access::Lead,
            db: 0,
            dirty: vec![BatchSeq::NONE; SLOTS].into_boxed_slice(),
            floor: BatchSeq::NONE,
            newest: BatchSeq::NONE,
            hurries: false,
            footprint: Footprint::default(),
            watches,
            awaited: Awaited::default(),
            events: Events::default(),
            memos: [Memo::default(); MEMOS],
            memo_count: 0,
            counters: Counters::default(),
            rng,
            record: Arc::default(),
            committed: Arc::default(),
            record_changed: false,
            motion: Motion::default(),
            turn_records: Vec::new(),
        }
    }

    /// The record that the keyspace starts with: as of the group's base.
    pub fn begin_record(&mut self, record: Record) {
        self.motion = Motion::of(&record.moves);
        self.record = Arc::new(record);
        self.commit_record();
    }

    /// Another keyspace takes the place of this one, beside a record that is committed (T6); every client
    /// that watched a key has lost (T7). What was here comes back.
    pub fn restart(&mut self, keyspace: Keyspace, record: Arc<Record>) -> Keyspace {
        self.watches.fail_all();
        self.set_record(record);
        std::mem::replace(&mut self.keyspace, keyspace)
    }

    /// What the log has made of the record, where something else carries its entries out.
    pub fn set_record(&mut self, record: Arc<Record>) {
        if !Arc::ptr_eq(&record, &self.record) {
            self.motion = Motion::of(&record.moves);
            self.record = record;
        }
        self.commit_record();
    }

    /// The keyspace, of a state machine that has done its work.
    pub fn into_keyspace(self) -> Keyspace {
        self.keyspace
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
    pub fn take_watches(&mut self, old: &mut StateMachine) {
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
    pub fn begin_turn(&mut self, batch_seq: BatchSeq, now_ms: i64, writable: bool, grant: usize) {
        assert!(self.batch.is_empty(), "the last turn's batch was not taken");
        assert!(batch_seq >= self.newest, "batches are numbered upwards");
        self.turn_records.clear();
        self.hurries = false;
        self.first_seq = batch_seq;
        self.batch_seq = batch_seq;
        self.now_ms = now_ms;
        self.writable = writable;
        self.freeing = false;
        self.grant = grant;
        self.motion.begin_turn();
    }

    /// D5: the log has room left for nothing but so many bytes of effects that only free memory.
    pub fn grant_freeing(&mut self, grant: usize) {
        assert!(!self.writable, "there is room for any effect");
        self.freeing = true;
        self.grant = grant;
    }

    pub fn writable(&self) -> bool {
        self.writable
    }

    /// D5: whether effects that only free memory may enter the batch, and no others.
    pub fn only_frees(&self) -> bool {
        self.freeing
    }

    /// Whether keys may be deleted.
    pub(super) fn may_free(&self) -> bool {
        self.writable || self.freeing
    }

    /// The newest batch that holds anything.
    pub fn newest_batch(&self) -> BatchSeq {
        self.newest
    }

    /// Bytes of effects so far in this turn.
    pub fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// The record as of the turn's batch `seq`, if that has changed it (S1).
    pub fn record_after(&self, seq: BatchSeq) -> Option<Arc<Record>> {
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
            Access::Replica | Access::Apply | Access::Record => true,
        };
        may || self.refuse(bytes)
    }

    #[inline]
    pub(super) fn fits(&self, bytes: usize) -> bool {
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
    pub fn slice_left(&self) -> usize {
        room::SLICE.saturating_sub(self.batch.len())
    }

    /// M1: nobody waits for what the turn has written, unless a reply that shows it does.
    pub fn is_patient(&self) -> bool {
        !self.hurries
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
        self.begin_motion();
    }

    /// Closes the command's unit (T8: a command, or a whole EXEC, is one unit).
    pub fn end_command(&mut self) -> Footprint {
        // Its arguments may be gone, and other bytes stand where they were.
        self.memo_count = 0;
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
        let record = (self.batch_seq, Arc::clone(&self.record));
        // Only what a batch ends with is asked for; thousands of records in between would fill the memory.
        match self.turn_records.last_mut() {
            Some(last) if last.0 == record.0 => *last = record,
            _ => self.turn_records.push(record),
        }
    }

    /// The running command can't happen now: it will run again, and this run leaves no trace.
    pub fn hold(&mut self) {
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

    /// Whether what the log says is carried out.
    pub(super) fn is_applying(&self) -> bool {
        matches!(self.access, Access::Apply | Access::Record)
    }

    pub fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The database that the running command has selected.
    pub fn db(&self) -> u32 {
        self.db
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
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        if self.memo_count == 0 {
            return self.keyspace.key(bytes);
        }
        let first = &self.memos[0];
        if first.addr == bytes.as_ptr() as usize && first.len == bytes.len() {
            return Key {
                bytes,
                hash: first.hash,
                slot: first.slot,
            };
        }
        self.further_key(bytes)
    }

    fn further_key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        let addr = bytes.as_ptr() as usize;
        let is_it = |m: &&Memo| m.addr == addr && m.len == bytes.len();
        match self.memos[..self.memo_count].iter().find(is_it) {
            Some(m) => Key {
                bytes,
                hash: m.hash,
                slot: m.slot,
            },
            None => self.keyspace.key(bytes),
        }
    }

    /// The slot of an argument of the running command; remembers its hash for the handler.
    #[inline]
    pub fn admit_key(&mut self, bytes: &[u8]) -> u16 {
        let key = self.keyspace.key(bytes);
        if let Some(memo) = self.memos.get_mut(self.memo_count) {
            *memo = Memo {
                addr: bytes.as_ptr() as usize,
                len: bytes.len(),
                hash: key.hash,
                slot: key.slot,
            };
            self.memo_count += 1;
        }
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

    /// As [`StateMachine::with`], counted as a hit or a miss: for commands that read a value.
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
        if !hit {
            self.event(Classes::MISS, "keymiss", key);
        }
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
    pub fn random_key(&mut self) -> Option<Box<[u8]>> {
        let entry = self.keyspace.random_key(self.db, &mut self.rng)?;
        Some(entry.key().into())
    }

    /// A number by which a command draws at random; followers get what was drawn.
    pub fn draw(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// The reply shows data without naming keys (DBSIZE, KEYS, SCAN, RANDOMKEY): it depends on all
    /// that was ever written (T3).
    pub fn depends_on_all(&mut self) {
        self.footprint.read = true;
        self.footprint.depends = self.footprint.depends.max(self.newest).max(self.floor);
    }

    /// T3: the reply shows what batch `dirty[slot]` left there.
    pub fn depend_on(&mut self, slot: u16) {
        let foot = &mut self.footprint;
        foot.read = true;
        foot.slot.get_or_insert(slot);
        foot.depends = foot
            .depends
            .max(self.dirty[usize::from(slot)])
            .max(self.floor);
    }

    // ---- changes -------------------------------------------------------------------------------

    /// Adds an effect to the running command's unit; only the leader makes effects. False: the log has
    /// no room for it now, nothing was added, and nothing may change (D5).
    #[must_use]
    pub(super) fn emit(&mut self, db: u32, op: Op, args: &[&[u8]]) -> bool {
        self.emit_parts(db, op, args, &[])
    }

    /// The same for arguments in two runs.
    #[must_use]
    pub(super) fn emit_parts(&mut self, db: u32, op: Op, args: &[&[u8]], more: &[&[u8]]) -> bool {
        self.hurries = true;
        self.emit_unhurried(db, op, (args, more))
    }

    /// The same, where nobody waits for its commit but a reply that shows it (M1).
    #[must_use]
    pub(super) fn emit_unhurried(&mut self, db: u32, op: Op, args: Runs<'_, '_>) -> bool {
        if self.is_applying() {
            return true;
        }
        let admitted = self.writable || (self.freeing && effects::frees(op));
        assert!(
            self.access == Access::Lead && admitted,
            "T2: a write was not admitted"
        );
        let bytes = Batch::size(args.0) + Batch::size(args.1);
        let most = bytes + room::headers(bytes) + room::EFFECT;
        if !self.fits(most) && !mutation::is(Mutation::RoomByArguments) {
            return self.refuse(most);
        }
        self.note_effect(db, args.0.get(..2).unwrap_or(args.0));
        let fresh = !self.unit_open;
        if fresh {
            self.unit_open = true;
            self.batch.begin_unit();
        }
        self.batch.push_sized(db, op, args, bytes);
        let seq = self.first_seq.plus(self.batch.number().into());
        if seq != self.batch_seq {
            self.next_batch(seq, fresh);
        }
        self.newest = self.batch_seq;
        self.footprint.wrote = true;
        true
    }

    /// T6: a large unit is a batch of its own, and so is what comes after it.
    #[cold]
    fn next_batch(&mut self, seq: BatchSeq, fresh: bool) {
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

    /// A key has changed: its slot is dirty (T3) and every client that watches it has lost.
    pub(super) fn changed(&mut self, db: u32, key: &Key<'_>) {
        if self.access == Access::Lead {
            self.dirty[usize::from(key.slot)] = self.batch_seq;
        }
        self.moved_on(db, key);
    }

    /// The same, where no reply can tell what was from what is: the slot is as clean as before.
    pub(super) fn moved_on(&mut self, db: u32, key: &Key<'_>) {
        self.assert_thawed(db, key.bytes);
        self.counters.changes += 1;
        if self.access == Access::Lead {
            self.footprint.slot.get_or_insert(key.slot);
        }
        self.watches.touch(db, key.bytes);
        self.awaited.touch(db, key.bytes);
        self.note_made(db, key);
    }

    /// For tests: see [`Keyspace::set_plain_elements`].
    pub fn set_plain_elements(&mut self, from: usize) {
        self.keyspace.set_plain_elements(from);
    }

    /// So many changed keys, which have counted as one change each, count as so many changes.
    pub(super) fn recount(&mut self, keys: u64, changes: usize) {
        let others = self.counters.changes.saturating_sub(keys); // none has counted if the command is held
        self.counters.changes = others + changes as u64;
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

#[cfg(test)]
mod tests {
    use super::*;
    use keyspace::Layout;

    #[test]
    fn a_remembered_key_ends_with_its_command() {
        let keyspace = Keyspace::new(Layout::Cluster, 7);
        let mut state = StateMachine::new(keyspace, 1 << 20);
        let mut bytes = *b"first";
        state.begin_command(0, Access::Lead);
        state.admit_key(&bytes);
        state.end_command();
        bytes.copy_from_slice(b"other");
        assert_eq!(state.key(&bytes).hash, state.keyspace.key(b"other").hash);
    }
}
