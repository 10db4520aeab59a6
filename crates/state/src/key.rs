//! Keys of any type: what deletes, renames, copies and flushes them, on the leader and as effects of the log.
//!
//! Owns: DEL, RENAME, COPY, MOVE, SWAPDB, FLUSHDB and FLUSHALL, each as one function that makes the effect and carries it
//! out. Never: looks at a value.

use super::apply::ApplyError;
use super::core::{Access, StateMachine};
use super::effects::effects;
use super::string::two;
use base::number::parse_i64;
use keyspace::Key;

effects! {
    /// `DEL key [key ...]`
    3 DEL "DEL": read_keys, breathing apply_delete;
    /// `RENAME key newkey`
    9 RENAME "RENAME": two => apply_rename;
    /// `FLUSHDB`
    11 FLUSHDB "FLUSHDB": none => |state: &mut StateMachine, ()| { state.flush(Some(state.db())); Ok(()) };
    /// `FLUSHALL`
    12 FLUSHALL "FLUSHALL": none => |state: &mut StateMachine, ()| { state.flush(None); Ok(()) };
    /// `COPY source destination db`: the database is the destination's
    45 COPY "COPY": read_copy => apply_copy;
    /// `MOVE key db`
    46 MOVE "MOVE": read_move => apply_move;
    /// `SWAPDB db db`
    47 SWAPDB "SWAPDB": read_swap => apply_swap;
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
        self.note_remade(self.db, to);
        let renamed = self.keyspace.rename(self.db, from, to);
        self.changed(self.db, from);
        self.changed(self.db, to);
        self.recount(2, 1);
        renamed
    }

    /// COPY, where the source exists; the destination may be in another database, and is overwritten.
    pub fn copy(&mut self, from: &Key<'_>, to_db: u32, to: &Key<'_>) {
        self.assert_owned(COPY, to);
        let mut digits = itoa::Buffer::new();
        let args = [from.bytes, to.bytes, digits.format(to_db).as_bytes()];
        if self.emit(self.db, COPY, &args) {
            self.note_remade(to_db, to);
            let copied = self.keyspace.copy(self.db, from, to_db, to);
            assert!(copied, "the key exists");
            self.changed(to_db, to);
        }
    }

    /// MOVE of a key that exists to a database that has none of its name.
    pub fn move_to(&mut self, key: &Key<'_>, to_db: u32) {
        self.assert_owned(MOVE, key);
        let mut digits = itoa::Buffer::new();
        let args = [key.bytes, digits.format(to_db).as_bytes()];
        if self.emit(self.db, MOVE, &args) {
            self.note_absent(to_db, &[key.bytes]);
            self.note_gone(key);
            let copied = self.keyspace.copy(self.db, key, to_db, key);
            assert!(copied, "the key exists");
            self.keyspace.remove(self.db, key);
            self.changed(self.db, key);
            self.changed(to_db, key);
            self.recount(2, 1);
        }
    }

    /// SWAPDB of two databases.
    pub fn swap(&mut self, a: u32, b: u32) {
        let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
        let args = [first.format(a).as_bytes(), second.format(b).as_bytes()];
        if !self.emit(self.db, SWAPDB, &args) {
            return;
        }
        assert!(!self.has_lent(), "M5: a swap waits for what is lent");
        let keyspace = &self.keyspace;
        let is_in = |db: u32, key: &[u8]| keyspace.get(db, &keyspace.key(key)).is_some();
        let other = |of: u32, key: &[u8]| (of == a || of == b) && (is_in(a, key) || is_in(b, key));
        self.watches.touch_where(None, &other);
        self.keyspace.swap(a, b);
        self.awaited.touch_databases(&[a, b]);
        self.counters.changes += 1;
        if self.access == Access::Lead {
            self.floor = self.batch_seq; // T3: under all slots
        }
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
        let all = 0..self.keyspace.databases();
        let flushed = all.filter(|of| db.is_none_or(|db| db == *of));
        self.counters.changes += flushed.map(|of| self.keyspace.len(of)).sum::<u64>();
        self.keyspace.flush(db);
        if self.access == Access::Lead {
            self.floor = self.batch_seq; // T3: under all slots
        }
    }
}

fn read_keys<'e, 'a>(args: &'e [&'a [u8]]) -> Option<&'e [&'a [u8]]> {
    (!args.is_empty()).then_some(args)
}

fn read_db(text: &[u8]) -> Option<u32> {
    u32::try_from(parse_i64(text)?).ok()
}

fn read_copy<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8], u32)> {
    match args {
        [from, to, db] => Some((from, to, read_db(db)?)),
        _ => None,
    }
}

fn read_move<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], u32)> {
    match args {
        [key, db] => Some((key, read_db(db)?)),
        _ => None,
    }
}

fn read_swap(args: &[&[u8]]) -> Option<(u32, u32)> {
    match args {
        [a, b] => Some((read_db(a)?, read_db(b)?)),
        _ => None,
    }
}

/// The database, if there is one of this number.
fn checked(state: &StateMachine, db: u32) -> Result<u32, ApplyError> {
    let is_there = db < state.keyspace.databases();
    is_there
        .then_some(db)
        .ok_or(ApplyError::Database(db.into()))
}

fn apply_copy(
    state: &mut StateMachine,
    (from, to, db): (&[u8], &[u8], u32),
) -> Result<(), ApplyError> {
    let db = checked(state, db)?;
    let (from, to) = (state.key(from), state.key(to));
    if state.keyspace.get(state.db, &from).is_none() {
        return Err(ApplyError::Mismatch(COPY));
    }
    state.copy(&from, db, &to);
    Ok(())
}

fn apply_move(state: &mut StateMachine, (key, db): (&[u8], u32)) -> Result<(), ApplyError> {
    let db = checked(state, db)?;
    let key = state.key(key);
    if state.keyspace.get(state.db, &key).is_none() {
        return Err(ApplyError::Mismatch(MOVE));
    }
    state.move_to(&key, db);
    Ok(())
}

fn apply_swap(state: &mut StateMachine, (a, b): (u32, u32)) -> Result<(), ApplyError> {
    let (a, b) = (checked(state, a)?, checked(state, b)?);
    state.swap(a, b);
    Ok(())
}

fn none(args: &[&[u8]]) -> Option<()> {
    args.is_empty().then_some(())
}

fn apply_delete(
    state: &mut StateMachine,
    keys: &[&[u8]],
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    for key in keys {
        state.delete(&state.key(key));
        pace(key.len());
    }
    Ok(())
}

fn apply_rename(state: &mut StateMachine, (from, to): (&[u8], &[u8])) -> Result<(), ApplyError> {
    let renamed = state.rename(&state.key(from), &state.key(to));
    renamed.then_some(()).ok_or(ApplyError::Mismatch(RENAME))
}
