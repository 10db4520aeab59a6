//! Strings: what changes them, on the leader and as effects of the log.
//!
//! Owns: SET and its relatives, APPEND, SETRANGE and the increments, each as one function that makes
//! the effect and carries it out. Never: parses a command, replies.

use super::apply::ApplyError;
use super::core::StateMachine;
use super::effects::effects;
use base::events::Classes;
use base::number::parse_i64;
use keyspace::{Key, StringRef, Ttl};

effects! {
    /// `SET key value [PXAT ms | KEEPTTL]`
    2 SET "SET": read_set => |state: &mut StateMachine, (key, value, ttl)| { state.set(&state.key(key), value, ttl); Ok(()) };
    /// `APPEND key value`
    4 APPEND "APPEND": two => |state: &mut StateMachine, (key, tail)| { state.append(&state.key(key), tail); Ok(()) };
    /// `SETRANGE key offset value`
    5 SETRANGE "SETRANGE": read_set_range => |state: &mut StateMachine, (key, at, bytes)| { state.set_range(&state.key(key), at, bytes); Ok(()) };
    /// `INCRBY key increment` (the increment may be negative)
    6 INCRBY "INCRBY": read_number => apply_increment;
    /// `MSET key value [key value ...]`
    10 MSET "MSET": read_pairs, breathing |state: &mut StateMachine, pairs, pace| { state.set_many(pairs, pace); Ok(()) };
}

impl StateMachine {
    /// SET: any value becomes this string.
    pub fn set(&mut self, key: &Key<'_>, value: &[u8], ttl: Ttl) {
        self.assert_owned(SET, key);
        let logged = match ttl {
            Ttl::Clear => self.emit(self.db, SET, &[key.bytes, value]),
            Ttl::Keep => self.emit(self.db, SET, &[key.bytes, value, b"KEEPTTL"]),
            Ttl::At(ms) => {
                let mut text = itoa::Buffer::new();
                let ms = text.format(ms).as_bytes();
                self.emit(self.db, SET, &[key.bytes, value, b"PXAT", ms])
            }
        };
        if !logged {
            return;
        }
        self.keyspace.set_string(self.db, key, value, ttl);
        self.changed(self.db, key);
    }

    /// MSET: `pairs` is key, value, key, value, ... `pace` is told the bytes of each (T9).
    pub fn set_many(&mut self, pairs: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        if !self.emit(self.db, MSET, pairs) {
            return;
        }
        for pair in pairs.chunks_exact(2) {
            let key = self.key(pair[0]);
            self.note_absent(self.db, &pair[..1]);
            self.assert_owned(MSET, &key);
            self.keyspace.set_string(self.db, &key, pair[1], Ttl::Clear);
            self.changed(self.db, &key);
            pace(pair[0].len() + pair[1].len());
            self.event(Classes::STRING, "set", &key);
        }
    }

    /// INCRBY, whose outcome the caller has worked out: `value` is the old one plus `delta`.
    pub fn set_incremented(&mut self, key: &Key<'_>, delta: i64, value: i64) {
        self.assert_owned(INCRBY, key);
        let mut text = itoa::Buffer::new();
        let args = [key.bytes, text.format(delta).as_bytes()];
        if !self.emit(self.db, INCRBY, &args) {
            return;
        }
        self.keyspace.set_int(self.db, key, value, Ttl::Keep);
        self.changed(self.db, key);
    }

    /// APPEND; the new length (of a command that is held: anything).
    pub fn append(&mut self, key: &Key<'_>, tail: &[u8]) -> usize {
        self.assert_owned(APPEND, key);
        if !self.emit(self.db, APPEND, &[key.bytes, tail]) {
            return 0;
        }
        let len = self.keyspace.string_len(self.db, key);
        let len = match len {
            None => {
                self.keyspace.set_string(self.db, key, tail, Ttl::Clear);
                tail.len()
            }
            Some(len) => self.keyspace.write_string(self.db, key, len, tail),
        };
        self.changed(self.db, key);
        len
    }

    /// SETRANGE; the new length (of a command that is held: anything).
    pub fn set_range(&mut self, key: &Key<'_>, offset: usize, bytes: &[u8]) -> usize {
        self.assert_owned(SETRANGE, key);
        let mut text = itoa::Buffer::new();
        let at = text.format(offset).as_bytes();
        if !self.emit(self.db, SETRANGE, &[key.bytes, at, bytes]) {
            return 0;
        }
        let len = self.keyspace.write_string(self.db, key, offset, bytes);
        self.changed(self.db, key);
        len
    }
}

/// The integer that a string is, by the strict rules of INCR.
pub fn number(value: &StringRef<'_>) -> Option<i64> {
    match value {
        StringRef::Int(n) => Some(*n),
        StringRef::Bytes(text) => parse_i64(text),
        StringRef::Chunks(_) => None,
    }
}

fn read_set<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8], Ttl)> {
    let (key, value, how) = match args {
        [key, value, how @ ..] => (key, value, how),
        _ => return None,
    };
    let ttl = match how {
        [] => Ttl::Clear,
        [b"KEEPTTL"] => Ttl::Keep,
        [b"PXAT", ms] => Ttl::At(parse_i64(ms)?),
        _ => return None,
    };
    Some((key, value, ttl))
}

/// Two arguments, whatever they are.
pub(super) fn two<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8])> {
    match args {
        [a, b] => Some((a, b)),
        _ => None,
    }
}

/// A key and a number.
pub(super) fn read_number<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], i64)> {
    match args {
        [key, n] => Some((key, parse_i64(n)?)),
        _ => None,
    }
}

fn read_set_range<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], usize, &'a [u8])> {
    let [key, offset, bytes] = args else {
        return None;
    };
    let offset = usize::try_from(parse_i64(offset)?).ok()?;
    Some((key, offset, bytes))
}

fn read_pairs<'e, 'a>(args: &'e [&'a [u8]]) -> Option<&'e [&'a [u8]]> {
    (!args.is_empty() && args.len() % 2 == 0).then_some(args)
}

/// An increment is logged as such (it is the shortest); its outcome is worked out once more.
fn apply_increment(state: &mut StateMachine, (key, delta): (&[u8], i64)) -> Result<(), ApplyError> {
    let key = state.key(key);
    let old = state.with(&key, |entry| match entry {
        None => Some(0),
        Some(entry) => entry.string().and_then(|string| number(&string)),
    });
    let new = old
        .and_then(|old| old.checked_add(delta))
        .ok_or(ApplyError::Mismatch(INCRBY))?;
    state.set_incremented(&key, delta, new);
    Ok(())
}
