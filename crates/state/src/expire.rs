//! Keys that expire: their times, and how a key that is due leaves.
//!
//! Owns: PEXPIREAT and PERSIST, the deletion of a key that is met when it is due, active expiry. Never:
//! reads a clock. Invariant: an expired key is deleted in the log before anybody sees it gone (T2).

use super::core::{Access, StateMachine};
use super::effects::effects;
use super::string::read_number;
use base::events::Classes;
use base::mutation::{self, Mutation};
use keyspace::{Entry, Key};

effects! {
    /// `PEXPIREAT key ms`
    7 PEXPIREAT "PEXPIREAT": read_number => |state: &mut StateMachine, (key, at)| { state.expire_at(&state.key(key), at); Ok(()) };
    /// `PERSIST key`
    8 PERSIST "PERSIST": read_key => |state: &mut StateMachine, key| { state.persist(&state.key(key)); Ok(()) };
}

impl StateMachine {
    /// PEXPIREAT of a key that exists.
    pub fn expire_at(&mut self, key: &Key<'_>, at_ms: i64) {
        self.assert_owned(PEXPIREAT, key);
        let mut text = itoa::Buffer::new();
        let args = [key.bytes, text.format(at_ms).as_bytes()];
        if !self.emit(self.db, PEXPIREAT, &args) {
            return;
        }
        self.keyspace.set_expiry(self.db, key, Some(at_ms));
        self.changed(self.db, key);
    }

    /// PERSIST of a key that has an expiry.
    pub fn persist(&mut self, key: &Key<'_>) {
        self.assert_owned(PERSIST, key);
        if !self.emit(self.db, PERSIST, &[key.bytes]) {
            return;
        }
        self.keyspace.set_expiry(self.db, key, None);
        self.changed(self.db, key);
    }

    pub fn is_due(&self, entry: &Entry<'_>) -> bool {
        // Apply carries out what was decided: the leader's DEL comes through the log.
        !self.is_applying() && entry.expiry().is_some_and(|at| self.now_ms > at)
    }

    /// T2: an expired key that is met passes the admission of a write: its deletion is logged, or
    /// the command that met it waits.
    pub(super) fn expire(&mut self, key: &Key<'_>) {
        match self.access {
            Access::Lead if mutation::is(Mutation::UnloggedExpiry) => {}
            // M5: it has expired when its lend has ended.
            Access::Lead
                if self.frozen(key.bytes).is_some() && !mutation::is(Mutation::ExpireLentKey) =>
            {
                self.footprint.hold = true;
            }
            Access::Lead if self.may_free() => self.delete_expired(self.db, key),
            Access::Lead => self.footprint.hold = true,
            Access::Replica => {}
            Access::Apply | Access::Record => unreachable!("apply never finds a key due"),
        }
    }

    /// D5: without room the command is held. With it, the deletion stands even if the command is held
    /// for something else.
    fn delete_expired(&mut self, db: u32, key: &Key<'_>) {
        let wrote = self.footprint.wrote;
        if self.delete_at(db, key) {
            self.recount(1, 0); // as in Redis
            self.counters.expired += 1;
            self.footprint.wrote = wrote;
            self.footprint.expired = true;
            self.tell_expired(Classes::EXPIRED, "expired", db, key.bytes);
        }
    }

    /// Deletes every key that is due, so that what runs next in this turn meets none. False: a slice
    /// of them is deleted, and the command is held.
    pub fn purge_due(&mut self) -> bool {
        if self.access != Access::Lead || mutation::is(Mutation::UnloggedExpiry) {
            return true;
        }
        while let Some((db, bytes)) = self.keyspace.next_expired(self.now_ms) {
            if self.slice_left() == 0 || !self.may_free() || self.frozen_in(db, &bytes).is_some() {
                self.footprint.hold = true;
            } else {
                let key = self.keyspace.key(&bytes);
                self.delete_expired(db, &key);
            }
            if self.footprint.hold {
                return false;
            }
        }
        self.purge_due_fields()
    }

    /// SWAPDB: of the keys that somebody watches in one of these databases those that are due are deleted in all of them, or
    /// the command waits. One that is due is no key: it must fail no watch in the other database, and a watch of it fails.
    pub fn expire_watched(&mut self, dbs: &[u32]) {
        let home = self.db;
        for bytes in self.watches.keys_of(dbs) {
            let key = self.key(&bytes);
            for db in dbs {
                self.db = *db;
                self.exists(&key);
            }
        }
        self.db = home;
    }

    /// Active expiry: deletes up to `limit` keys that are due, each as a unit of its own (T2: only
    /// when that may be written). How many.
    pub fn expire_due(&mut self, now_ms: i64, limit: usize) -> usize {
        self.begin_command(0, Access::Lead);
        let mut expired = 0;
        while expired < limit && self.may_free() {
            let next = match self.has_lent() {
                false => self.keyspace.next_expired(now_ms),
                // M5: a lent key expires when its lend has ended.
                true => {
                    let is_lent = |db: u32, key: &[u8]| self.frozen_in(db, key).is_some();
                    self.keyspace.next_expired_but(now_ms, &is_lent)
                }
            };
            let Some((db, bytes)) = next else {
                break;
            };
            let key = self.keyspace.key(&bytes);
            if !self.delete_at(db, &key) {
                break; // D5: it asks for the room, and goes on in a later turn
            }
            self.end_command();
            self.recount(1, 0);
            self.counters.expired += 1;
            self.tell_expired(Classes::EXPIRED, "expired", db, &bytes);
            expired += 1;
        }
        expired
    }
}

fn read_key<'a>(args: &[&'a [u8]]) -> Option<&'a [u8]> {
    match args {
        [key] => Some(key),
        _ => None,
    }
}
