//! Hashes: what changes them, on the leader and as effects of the log, and how fields that are due leave.
//!
//! Owns: HSET and its relatives, HDEL, the expiry of fields, each as one function that makes the effect and carries
//! it out. Never: parses a command, replies, reads a clock.
//!
//! Invariants: a field that is due is deleted in the log before anybody sees it gone (T2); of an effect each field is what the
//! leader saw there, so followers need no clock; a hash that is left without fields is gone, which needs no effect of its own.

use super::apply::ApplyError;
use super::core::{Access, StateMachine};
use super::effects::effects;
use super::string::read_number;
use base::events::Classes;
use base::mutation::{self, Mutation};
use base::number::parse_i64;
use effect::Op;
use keyspace::{FieldTtl, HashRef, Key};

effects! {
    /// `HSET key KEEPTTL|CLEAR field value [field value ...]`
    50 HSET "HSET": read_set, breathing |state: &mut StateMachine, (key, ttl, pairs), pace| { state.of_hash(HSET, key)?; let key = state.key(key); state.hash_set(&key, pairs, ttl, pace); Ok(()) };
    /// `HDEL key field [field ...]`
    51 HDEL "HDEL": read_fields, breathing |state: &mut StateMachine, (key, fields), pace| { state.of_hash(HDEL, key)?; let key = state.key(key); state.hash_remove(&key, fields, pace); Ok(()) };
    /// `HPEXPIREAT key ms field [field ...]`
    52 HPEXPIREAT "HPEXPIREAT": read_times, breathing |state: &mut StateMachine, (key, at, fields), pace| { state.of_hash(HPEXPIREAT, key)?; let key = state.key(key); state.hash_expire_at(&key, at, fields, pace); Ok(()) };
    /// `HPERSIST key field [field ...]`
    53 HPERSIST "HPERSIST": read_fields, breathing |state: &mut StateMachine, (key, fields), pace| { state.of_hash(HPERSIST, key)?; let key = state.key(key); state.hash_persist(&key, fields, pace); Ok(()) };
    /// `HDELDUE key ms`: all fields that expire before a time
    54 HDELDUE "the deletion of due fields": read_number, breathing |state: &mut StateMachine, (key, before), pace| { state.of_hash(HDELDUE, key)?; let key = state.key(key); state.hash_remove_due(state.db, &key, before, pace); Ok(()) };
}

/// T9: so many fields that are due are deleted at a time, of about so many bytes.
const DUE_AT_ONCE: usize = 1024;
const DUE_BYTES: usize = 64 << 10;
/// Whether INFO counts the fields that go. Redis hides those from commands that show all of a hash, and deletes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryCount {
    Counted,
    Uncounted,
}

impl StateMachine {
    /// What the log changes as a hash is one, or nothing that could be another type.
    fn of_hash(&self, op: Op, key: &[u8]) -> Result<(), ApplyError> {
        let entry = self.keyspace.get(self.db, &self.keyspace.key(key));
        match entry.is_none_or(|entry| entry.value().hash().is_some()) {
            true => Ok(()),
            false => Err(ApplyError::Mismatch(op)),
        }
    }

    /// HSET: `pairs` is field, value, field, value, ... How many fields are new (of a command that is held: anything).
    /// `pace` is told the bytes of each (T9).
    pub fn hash_set(
        &mut self,
        key: &Key<'_>,
        pairs: &[&[u8]],
        ttl: FieldTtl,
        pace: &mut dyn FnMut(usize),
    ) -> usize {
        self.assert_owned(HSET, key);
        let how: &[u8] = match ttl {
            FieldTtl::Keep => b"KEEPTTL",
            FieldTtl::Clear => b"CLEAR",
        };
        if !self.emit_parts(self.db, HSET, &[key.bytes, how], pairs) {
            return 0;
        }
        let added = self.keyspace.edit_hash(self.db, key, |hash| {
            let set = |pair: &&[&[u8]]| {
                pace(pair[0].len() + pair[1].len());
                hash.set(pair[0], pair[1], ttl)
            };
            pairs.chunks_exact(2).filter(set).count()
        });
        self.changed(self.db, key);
        self.recount(1, pairs.len() / 2);
        added
    }

    /// HDEL of fields that are there. `pace`: as above.
    pub fn hash_remove(&mut self, key: &Key<'_>, fields: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        self.assert_owned(HDEL, key);
        if self.emit_parts(self.db, HDEL, &[key.bytes], fields) {
            self.edit_fields(self.db, key, |hash| {
                for field in fields {
                    hash.remove(field);
                    pace(field.len());
                }
                fields.len()
            });
        }
    }

    /// HPEXPIREAT of fields that are there. `pace`: as above.
    pub fn hash_expire_at(
        &mut self,
        key: &Key<'_>,
        at_ms: i64,
        fields: &[&[u8]],
        pace: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(HPEXPIREAT, key);
        let mut text = itoa::Buffer::new();
        let at = text.format(at_ms).as_bytes();
        if self.emit_parts(self.db, HPEXPIREAT, &[key.bytes, at], fields) {
            self.edit_fields(self.db, key, |hash| {
                for field in fields {
                    hash.set_expiry(field, Some(at_ms));
                    pace(field.len());
                }
                fields.len()
            });
        }
    }

    /// HPERSIST of fields that are there. `pace`: as above.
    pub fn hash_persist(&mut self, key: &Key<'_>, fields: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        self.assert_owned(HPERSIST, key);
        if self.emit_parts(self.db, HPERSIST, &[key.bytes], fields) {
            self.edit_fields(self.db, key, |hash| {
                for field in fields {
                    hash.set_expiry(field, None);
                    pace(field.len());
                }
                1
            });
        }
    }

    /// Changes a hash that is there; `edit` says how many changes that counts for.
    fn edit_fields(
        &mut self,
        db: u32,
        key: &Key<'_>,
        edit: impl FnOnce(&mut keyspace::HashMut<'_>) -> usize,
    ) {
        if self.keyspace.get(db, key).is_none() {
            return; // the effects of a unit before have emptied it
        }
        let changes = self.keyspace.edit_hash(db, key, edit);
        if self.keyspace.get(db, key).is_none() {
            self.note_emptied(db, key);
        }
        self.changed(db, key);
        self.recount(1, changes);
    }

    // ---- fields that are due -------------------------------------------------------------------

    /// Whether a field with this expiry is there no more for a command.
    pub fn is_field_due(&self, expiry: Option<i64>) -> bool {
        !self.is_applying() && expiry.is_some_and(|at| self.now_ms > at)
    }

    /// T2: of the named fields those that are due are deleted in the log, or the command waits. A replica's own copy
    /// keeps them: the command hides them.
    pub fn expire_fields(
        &mut self,
        key: &Key<'_>,
        fields: &mut dyn Iterator<Item = &[u8]>,
        count: ExpiryCount,
    ) {
        let first = self.first_field_expiry(key);
        let leads = self.access == Access::Lead && !mutation::is(Mutation::UnloggedFieldExpiry);
        if !leads || !self.is_field_due(first) {
            return;
        }
        let due: Vec<&[u8]> = {
            let hash = self.hash(key).expect("it has a field that expires");
            let is_due = |field: &&[u8]| {
                let found = hash.get(field);
                found.is_some_and(|(_, expiry)| self.is_field_due(expiry))
            };
            fields.filter(is_due).collect()
        };
        if !due.is_empty() && self.may_expire_fields(key) {
            let wrote = self.footprint.wrote;
            let changes = self.counters.changes;
            self.hash_remove(key, &due, &mut |_| {});
            self.counters.changes = changes;
            if !self.footprint.hold {
                self.note_expired(wrote, (due.len(), count), (self.db, key.bytes));
            }
        }
    }

    /// The same for all fields, for commands that show any of them.
    pub fn expire_all_fields(&mut self, key: &Key<'_>, count: ExpiryCount) {
        let first = self.first_field_expiry(key);
        if !self.is_field_due(first) || self.access != Access::Lead {
            return;
        }
        self.expire_slice((self.db, key), count);
    }

    /// T9: of millions of fields that are due a slice goes in each turn, by their names; as long as some are left the
    /// command is held. False: it is.
    fn expire_slice(&mut self, (db, key): (u32, &Key<'_>), count: ExpiryCount) -> bool {
        let (wrote, mut gone) = (self.footprint.wrote, 0);
        let is_over = loop {
            let may =
                self.slice_left() > 0 && self.may_free() && self.frozen_in(db, key.bytes).is_none();
            let removed = match may {
                true => self.remove_due_fields(db, key, self.now_ms, DUE_AT_ONCE),
                false => 0,
            };
            gone += removed;
            let hash = self.keyspace.get(db, key).and_then(|e| e.value().hash());
            let is_due = self.is_field_due(hash.and_then(HashRef::first_expiry));
            if removed == 0 || !is_due {
                break removed > 0;
            }
        };
        if gone > 0 {
            self.note_expired(wrote, (gone, count), (db, key.bytes));
        }
        self.footprint.hold |= !is_over;
        is_over
    }

    /// The same for the fields of all hashes, so that what runs next in this turn meets none that is due. False: some are
    /// deleted, and the command is held.
    pub(super) fn purge_due_fields(&mut self) -> bool {
        while let Some((db, bytes)) = self.keyspace.next_due_hash(self.now_ms, &|_, _| false) {
            let key = self.keyspace.key(&bytes);
            if !self.expire_slice((db, &key), ExpiryCount::Counted) {
                return false;
            }
        }
        true
    }

    /// M5, T2: as of keys that expire.
    fn may_expire_fields(&mut self, key: &Key<'_>) -> bool {
        let may = self.frozen(key.bytes).is_none() && self.may_free();
        self.footprint.hold |= !may;
        may
    }

    /// The deletion stands even if the command is held for something else.
    fn note_expired(
        &mut self,
        wrote: bool,
        (fields, count): (usize, ExpiryCount),
        (db, key): (u32, &[u8]),
    ) {
        if count == ExpiryCount::Counted {
            self.counters.expired_fields += fields as u64;
        }
        self.footprint.wrote = wrote;
        self.footprint.expired = true;
        self.tell_expired(Classes::HASH, "hexpired", db, key);
    }

    /// Up to `limit` fields that are due, of about [`DUE_BYTES`]. How many went: none where the log has no room.
    ///
    /// Which of many goes first is not the same on all members, as their tables differ: only all of them, or these by
    /// name, are one effect.
    fn remove_due_fields(&mut self, db: u32, key: &Key<'_>, before_ms: i64, limit: usize) -> usize {
        let hash = self.keyspace.get(db, key).and_then(|e| e.value().hash());
        let mut due = hash.map_or(Vec::new(), |hash| hash.due(before_ms, limit + 1));
        if due.len() <= limit {
            return self.hash_remove_due(db, key, before_ms, &mut |_| {});
        }
        due.truncate(limit);
        let mut bytes = 0;
        let fits = |field: &&[u8]| {
            let first = bytes == 0;
            bytes += field.len() + 1;
            first || bytes <= DUE_BYTES
        };
        let names = due.iter().map(|field| &**field).take_while(fits);
        let names: Vec<&[u8]> = names.collect();
        if !self.emit_parts(db, HDEL, &[key.bytes], &names) {
            return 0;
        }
        self.edit_fields(db, key, |hash| {
            for field in &names {
                hash.remove(field);
            }
            0 // as of keys that expire
        });
        names.len()
    }

    /// All fields that are due. How many went: none where the log has no room. `pace` is told the bytes of each (T9).
    fn hash_remove_due(
        &mut self,
        db: u32,
        key: &Key<'_>,
        before_ms: i64,
        pace: &mut dyn FnMut(usize),
    ) -> usize {
        let mut text = itoa::Buffer::new();
        let args = [key.bytes, text.format(before_ms).as_bytes()];
        let mut gone = 0;
        if self.emit(db, HDELDUE, &args) {
            self.edit_fields(db, key, |hash| {
                loop {
                    let due = hash.as_ref().due(before_ms, DUE_AT_ONCE);
                    gone += due.len();
                    for field in &due {
                        hash.remove(field);
                        pace(field.len());
                    }
                    if due.len() < DUE_AT_ONCE {
                        break;
                    }
                }
                0
            });
        }
        gone
    }

    /// Active expiry of fields: up to `limit` of them, in units of their own. How many.
    pub fn expire_due_fields(&mut self, now_ms: i64, limit: usize) -> usize {
        self.begin_command(0, Access::Lead);
        let mut expired = 0;
        while expired < limit && self.may_free() {
            let is_lent = |db: u32, key: &[u8]| self.frozen_in(db, key).is_some();
            let Some((db, bytes)) = self.keyspace.next_due_hash(now_ms, &is_lent) else {
                break;
            };
            let key = self.keyspace.key(&bytes);
            let gone = self.remove_due_fields(db, &key, now_ms, limit - expired);
            if gone == 0 {
                break; // D5: it asks for the room, and goes on in a later turn
            }
            self.end_command();
            self.counters.expired_fields += gone as u64;
            self.tell_expired(Classes::HASH, "hexpired", db, &bytes);
            expired += gone;
        }
        expired
    }

    fn first_field_expiry(&self, key: &Key<'_>) -> Option<i64> {
        self.hash(key)?.first_expiry()
    }

    fn hash(&self, key: &Key<'_>) -> Option<HashRef<'_>> {
        self.keyspace.get(self.db, key)?.value().hash()
    }
}

/// A key, something beside it, and fields.
type Fields<'e, 'a, T> = (&'a [u8], T, &'e [&'a [u8]]);

fn read_set<'e, 'a>(args: &'e [&'a [u8]]) -> Option<Fields<'e, 'a, FieldTtl>> {
    let [key, how, pairs @ ..] = args else {
        return None;
    };
    let ttl = match *how {
        b"KEEPTTL" => FieldTtl::Keep,
        b"CLEAR" => FieldTtl::Clear,
        _ => return None,
    };
    (!pairs.is_empty() && pairs.len() % 2 == 0).then_some((key, ttl, pairs))
}

fn read_fields<'e, 'a>(args: &'e [&'a [u8]]) -> Option<(&'a [u8], &'e [&'a [u8]])> {
    match args {
        [key, fields @ ..] if !fields.is_empty() => Some((key, fields)),
        _ => None,
    }
}

fn read_times<'e, 'a>(args: &'e [&'a [u8]]) -> Option<Fields<'e, 'a, i64>> {
    match args {
        [key, at, fields @ ..] if !fields.is_empty() => {
            let at = parse_i64(at).filter(|at| *at > 0)?;
            Some((key, at, fields))
        }
        _ => None,
    }
}
