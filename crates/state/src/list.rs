//! Lists: what changes them, on the leader and as effects of the log.
//!
//! Owns: pushes, pops, LMOVE, LSET, LINSERT, LREM, LTRIM and the list that SORT stores, each as one function that makes
//! the effect and carries it out. Never: parses a command, replies.
//!
//! Invariants: what an effect comes to depends on elements and arguments alone, whatever a list's form; indexes and
//! numbers in the log are those that the leader has resolved; a list that is left without elements is gone, which needs no
//! effect of its own.

use super::apply::ApplyError;
use super::core::StateMachine;
use super::effects::effects;
use super::room;
use base::number::parse_i64;
use effect::Op;
use keyspace::{Key, ListMut, Side};

effects! {
    /// `key LEFT|RIGHT element [element ...]`
    55 LISTPUSH "the pushing of elements": read_push, breathing |state: &mut StateMachine, (key, side, texts), pace| { let key = state.of_list(LISTPUSH, key)?; state.list_push(&key, side, texts, pace); Ok(()) };
    /// `key LEFT|RIGHT number`
    56 LISTPOP "the popping of elements": read_pop => |state: &mut StateMachine, (key, side, count)| { let key = state.of_list(LISTPOP, key)?; state.list_pop(&key, side, count); Ok(()) };
    /// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
    57 LMOVE "LMOVE": read_move => |state: &mut StateMachine, (from, to, sides)| { let (from, to) = (state.of_list(LMOVE, from)?, state.of_list(LMOVE, to)?); state.list_move(&from, &to, sides); Ok(()) };
    /// `LSET key index element`
    58 LSET "LSET": read_set => |state: &mut StateMachine, (key, index, text)| { let key = state.of_list(LSET, key)?; state.list_set(&key, index, text); Ok(()) };
    /// `LINSERT key BEFORE|AFTER pivot element`
    59 LINSERT "LINSERT": read_insert, breathing |state: &mut StateMachine, (key, place, text), pace| { let key = state.of_list(LINSERT, key)?; state.list_insert(&key, place, text, pace); Ok(()) };
    /// `LREM key count element`
    60 LREM "LREM": read_remove, breathing |state: &mut StateMachine, (key, count, text), pace| { let key = state.of_list(LREM, key)?; state.list_remove(&key, count, text, pace); Ok(()) };
    /// `LTRIM key start stop`, both counted from the first element
    61 LTRIM "LTRIM": read_trim => |state: &mut StateMachine, (key, from, last)| { let key = state.of_list(LTRIM, key)?; state.list_trim(&key, from, last); Ok(()) };
}

/// A list that is stored is logged in effects of about so many bytes.
const PIECE: usize = 64 << 10;

/// What an element takes in an effect beyond its bytes.
const ELEMENT: usize = 10;

impl StateMachine {
    /// What the log changes as a list is one, or nothing that could be another type.
    fn of_list<'k>(&self, op: Op, key: &'k [u8]) -> Result<Key<'k>, ApplyError> {
        let key = self.key(key);
        let entry = self.keyspace.get(self.db, &key);
        match entry.is_none_or(|entry| entry.value().list().is_some()) {
            true => Ok(key),
            false => Err(ApplyError::Mismatch(op)),
        }
    }

    /// How long a list is; 0 where there is none.
    fn list_len(&self, key: &Key<'_>) -> u64 {
        let entry = self.keyspace.get(self.db, key);
        let list = entry.and_then(|entry| entry.value().list());
        list.map_or(0, |list| list.len())
    }

    /// LPUSH, RPUSH: how long the list is then (of a command that is held: anything). `pace` is told the bytes of each (T9).
    pub fn list_push(
        &mut self,
        key: &Key<'_>,
        side: Side,
        texts: &[&[u8]],
        pace: &mut dyn FnMut(usize),
    ) -> u64 {
        self.assert_owned(LISTPUSH, key);
        if !self.emit_parts(self.db, LISTPUSH, &[key.bytes, name_of(side)], texts) {
            return 0;
        }
        let len = self.keyspace.edit_list(self.db, key, |list| {
            list.push_with(side, texts, pace);
            list.as_ref().len()
        });
        self.changed(self.db, key);
        self.recount(1, texts.len());
        len
    }

    /// LPOP, RPOP of so many elements, which are there.
    pub fn list_pop(&mut self, key: &Key<'_>, side: Side, count: u64) {
        self.assert_owned(LISTPOP, key);
        let mut text = itoa::Buffer::new();
        let args = [key.bytes, name_of(side), text.format(count).as_bytes()];
        if !self.emit(self.db, LISTPOP, &args) {
            return;
        }
        match count >= self.list_len(key) {
            // All at once: what is long is freed elsewhere.
            true => self.empty_list(key),
            false => self.edit_elements(key, |list| {
                list.pop(side, count);
                usize::try_from(count).expect("a list has not so many elements")
            }),
        }
    }

    fn empty_list(&mut self, key: &Key<'_>) {
        let len = self.list_len(key);
        if self.keyspace.remove(self.db, key) {
            self.note_emptied(self.db, key);
            self.changed(self.db, key);
            self.recount(1, usize::try_from(len).expect("they are in memory"));
        }
    }

    /// Changes a list that is there; `edit` says how many elements it has changed.
    fn edit_elements(&mut self, key: &Key<'_>, edit: impl FnOnce(&mut ListMut<'_>) -> usize) {
        if self.keyspace.get(self.db, key).is_none() {
            return;
        }
        let changes = self.keyspace.edit_list(self.db, key, edit);
        if self.keyspace.get(self.db, key).is_none() {
            self.note_emptied(self.db, key);
        }
        self.changed(self.db, key);
        self.recount(1, changes);
    }

    /// LMOVE of an element that is there. A list that it goes back to stays the same one, with its expiry.
    pub fn list_move(&mut self, from: &Key<'_>, to: &Key<'_>, (take, put): (Side, Side)) {
        self.assert_owned(LMOVE, from);
        self.assert_owned(LMOVE, to);
        let args = [from.bytes, to.bytes, name_of(take), name_of(put)];
        if !self.emit(self.db, LMOVE, &args) {
            return;
        }
        let entry = self.keyspace.get(self.db, from);
        let list = entry.and_then(|entry| entry.value().list());
        let Some(text) = list.and_then(|list| list.end(take)) else {
            return;
        };
        let text = text.to_vec();
        if from.bytes == to.bytes {
            return self.edit_elements(from, |list| {
                list.turn(take, (put, &text));
                1
            });
        }
        self.keyspace
            .edit_list(self.db, to, |list| list.push(put, &[&text]));
        self.changed(self.db, to);
        self.edit_elements(from, |list| {
            list.pop(take, 1);
            0 // the list that gets it has counted
        });
    }

    /// LSET at an index that is there.
    pub fn list_set(&mut self, key: &Key<'_>, index: u64, text: &[u8]) {
        self.assert_owned(LSET, key);
        let mut at = itoa::Buffer::new();
        let args = [key.bytes, at.format(index).as_bytes(), text];
        if self.emit(self.db, LSET, &args) {
            self.edit_elements(key, |list| {
                list.set(index, text);
                1
            });
        }
    }

    /// LINSERT before (true) or behind an element that is there. `pace` is told the bytes of each that is passed (T9).
    pub fn list_insert(
        &mut self,
        key: &Key<'_>,
        (before, pivot): (bool, &[u8]),
        text: &[u8],
        pace: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(LINSERT, key);
        let place: &[u8] = if before { b"BEFORE" } else { b"AFTER" };
        if self.emit(self.db, LINSERT, &[key.bytes, place, pivot, text]) {
            self.edit_elements(key, |list| {
                list.insert_beside(pivot, before, text, pace);
                1
            });
        }
    }

    /// LREM of an element that is there: how many were removed (of a command that is held: anything). `pace`: as above.
    pub fn list_remove(
        &mut self,
        key: &Key<'_>,
        count: i64,
        text: &[u8],
        pace: &mut dyn FnMut(usize),
    ) -> u64 {
        self.assert_owned(LREM, key);
        let (mut number, mut removed) = (itoa::Buffer::new(), 0);
        let args = [key.bytes, number.format(count).as_bytes(), text];
        if self.emit(self.db, LREM, &args) {
            self.edit_elements(key, |list| {
                removed = list.remove_value(text, count, pace);
                usize::try_from(removed).expect("they were in memory")
            });
        }
        removed
    }

    /// LTRIM: leaves the elements from one index to another; none is left where these do not follow each other.
    pub fn list_trim(&mut self, key: &Key<'_>, from: u64, last: u64) {
        self.assert_owned(LTRIM, key);
        let (mut first, mut end) = (itoa::Buffer::new(), itoa::Buffer::new());
        let args = [
            key.bytes,
            first.format(from).as_bytes(),
            end.format(last).as_bytes(),
        ];
        if !self.emit(self.db, LTRIM, &args) {
            return;
        }
        match from > last || from >= self.list_len(key) {
            true => self.empty_list(key),
            false => self.edit_elements(key, |list| {
                let len = list.as_ref().len();
                list.trim(from, last.saturating_add(1));
                usize::try_from(len - list.as_ref().len()).expect("they were in memory")
            }),
        }
    }

    /// Bytes of effects that [`StateMachine::list_store`] of these elements may take.
    pub fn bytes_of_store(key: &Key<'_>, texts: &[&[u8]]) -> usize {
        let bytes: usize = texts.iter().map(|text| text.len() + ELEMENT).sum();
        let pieces = 2 + 2 * bytes / PIECE;
        let bytes = bytes + pieces * (key.bytes.len() + room::COMMAND);
        bytes + room::headers(bytes)
    }

    /// Any value becomes a list of these elements, or nothing. The caller has asked for the room. `pace` is told the bytes of
    /// each (T9).
    pub fn list_store(&mut self, key: &Key<'_>, texts: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        if self.keyspace.get(self.db, key).is_some() {
            self.delete(key);
            // What takes its place counts.
            self.recount(u64::from(!texts.is_empty()), 0);
        }
        let mut rest = texts;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |text: &&&[u8]| {
                bytes += text.len() + ELEMENT;
                bytes <= PIECE
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (piece, behind) = rest.split_at(count);
            self.list_push(key, Side::Right, piece, pace);
            rest = behind;
        }
    }
}

fn name_of(side: Side) -> &'static [u8] {
    match side {
        Side::Left => b"LEFT",
        Side::Right => b"RIGHT",
    }
}

fn side_of(name: &[u8]) -> Option<Side> {
    match name {
        b"LEFT" => Some(Side::Left),
        b"RIGHT" => Some(Side::Right),
        _ => None,
    }
}

fn number_of(text: &[u8]) -> Option<u64> {
    u64::try_from(parse_i64(text)?).ok()
}

/// Several arguments of an effect.
type Run<'e, 'a> = &'e [&'a [u8]];

fn read_push<'e, 'a>(args: Run<'e, 'a>) -> Option<(&'a [u8], Side, Run<'e, 'a>)> {
    match args {
        [key, side, texts @ ..] if !texts.is_empty() => Some((key, side_of(side)?, texts)),
        _ => None,
    }
}

fn read_pop<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], Side, u64)> {
    match args {
        [key, side, count] => Some((key, side_of(side)?, number_of(count)?)),
        _ => None,
    }
}

/// From where to where.
type Move<'a> = (&'a [u8], &'a [u8], (Side, Side));

fn read_move<'a>(args: &[&'a [u8]]) -> Option<Move<'a>> {
    match args {
        [from, to, take, put] => Some((from, to, (side_of(take)?, side_of(put)?))),
        _ => None,
    }
}

fn read_set<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], u64, &'a [u8])> {
    match args {
        [key, index, text] => Some((key, number_of(index)?, text)),
        _ => None,
    }
}

type Insertion<'a> = (&'a [u8], (bool, &'a [u8]), &'a [u8]);

fn read_insert<'a>(args: &[&'a [u8]]) -> Option<Insertion<'a>> {
    match args {
        [key, b"BEFORE", pivot, text] => Some((key, (true, pivot), text)),
        [key, b"AFTER", pivot, text] => Some((key, (false, pivot), text)),
        _ => None,
    }
}

fn read_remove<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], i64, &'a [u8])> {
    match args {
        [key, count, text] => Some((key, parse_i64(count)?, text)),
        _ => None,
    }
}

fn read_trim<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], u64, u64)> {
    match args {
        [key, from, last] => Some((key, number_of(from)?, number_of(last)?)),
        _ => None,
    }
}
