//! Keys of any type: what deletes, renames and flushes them, on the leader and as effects of the log.
//!
//! Owns: DEL, RENAME, FLUSHDB and FLUSHALL, each as one function that makes the effect and carries it
//! out. Never: looks at a value.

use super::apply::ApplyError;
use super::core::{Access, StateMachine};
use super::effects::effects;
use super::string::two;
use keyspace::Key;

effects! {
    /// `DEL key [key ...]`
    3 DEL "DEL": read_keys => apply_delete;
    /// `RENAME key newkey`
    9 RENAME "RENAME": two => apply_rename;
    /// `FLUSHDB`
    11 FLUSHDB "FLUSHDB": none => |state: &mut StateMachine, ()| { state.flush(Some(state.db())); Ok(()) };
    /// `FLUSHALL`
    12 FLUSHALL "FLUSHALL": none => |state: &mut StateMachine, ()| { state.flush(None); Ok(()) };
}

impl StateMachine {
    /// DEL of a key that exists.
    pub fn delete(&mut self, key: &Key<'_>) {
        let _held_if_not = self.delete_at(self.db, key);
    }

    #[must_use]
    pub(super) fn delete_at(&mut self, db: u32, key: &Key<'_>) -> bool {
        let logged = self.emit(db, DEL, &[key.bytes]);
        if logged {
            self.note_gone(key);
            self.keyspace.remove(db, key);
            self.changed(db, key);
        }
        logged
    }

    /// RENAME; false where there is no such key.
    pub fn rename(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        self.assert_owned(RENAME, to);
        if !self.emit(self.db, RENAME, &[from.bytes, to.bytes]) {
            return true; // it is held, and comes again
        }
        self.note_gone(from);
        let renamed = self.keyspace.rename(self.db, from, to);
        self.changed(self.db, from);
        self.changed(self.db, to);
        renamed
    }

    /// FLUSHDB (`Some`) or FLUSHALL: logged also when nothing is there, as a flush may race with
    /// nothing that a reply could show.
    pub fn flush(&mut self, db: Option<u32>) {
        let logged = match db {
            Some(db) => self.emit(db, FLUSHDB, &[]),
            None => self.emit(self.db, FLUSHALL, &[]),
        };
        if !logged {
            return;
        }
        assert!(!self.has_lent(), "M5: a flush waits for what is lent");
        self.note_flush();
        let keyspace = &self.keyspace;
        let gone = |of: u32, bytes: &[u8]| keyspace.get(of, &keyspace.key(bytes)).is_some();
        self.watches.touch_where(db, &gone);
        self.keyspace.flush(db);
        self.counters.changes += 1;
        if self.access == Access::Lead {
            self.floor = self.batch_seq; // T3: under all slots
        }
    }
}

fn read_keys<'e, 'a>(args: &'e [&'a [u8]]) -> Option<&'e [&'a [u8]]> {
    (!args.is_empty()).then_some(args)
}

fn none(args: &[&[u8]]) -> Option<()> {
    args.is_empty().then_some(())
}

fn apply_delete(state: &mut StateMachine, keys: &[&[u8]]) -> Result<(), ApplyError> {
    for key in keys {
        state.delete(&state.key(key));
    }
    Ok(())
}

fn apply_rename(state: &mut StateMachine, (from, to): (&[u8], &[u8])) -> Result<(), ApplyError> {
    let renamed = state.rename(&state.key(from), &state.key(to));
    renamed.then_some(()).ok_or(ApplyError::Mismatch(RENAME))
}
