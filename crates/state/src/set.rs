//! Sets: what changes them, on the leader and as effects of the log.
//!
//! Owns: SADD, SREM, SMOVE, the storing of combined sets and what SPOP removes, each as one function that makes the
//! effect and carries it out. Never: parses a command, replies, draws.
//!
//! Invariants: what an effect comes to depends on members and arguments alone, whatever a set's form or order; a set that
//! is left without members is gone, which needs no effect of its own.

use super::apply::ApplyError;
use super::breath::free;
use super::core::StateMachine;
use super::effects::effects;
use super::room;
use base::events::Classes;
use base::number::parse_i64;
use effect::Op;
use keyspace::{Digits, Key, SetOp, Ttl};

effects! {
    /// `SADD key member [member ...]`
    65 SADD "SADD": read_members, breathing |state: &mut StateMachine, (key, members), pace| { let key = state.of_set(SADD, key)?; state.set_add(&key, members, pace); Ok(()) };
    /// `SREM key member [member ...]`
    66 SREM "SREM": read_members, breathing |state: &mut StateMachine, (key, members), pace| { let key = state.of_set(SREM, key)?; state.set_remove(&key, members, pace); Ok(()) };
    /// `SMOVE source destination member`
    67 SMOVE "SMOVE": read_move => |state: &mut StateMachine, (from, to, member)| { let (from, to) = (state.of_set(SMOVE, from)?, state.of_set(SMOVE, to)?); state.set_move(&from, &to, member); Ok(()) };
    /// `INTER|UNION|DIFF destination key [key ...]`
    68 SSTORE "the storing of combined sets": read_store, breathing apply_store;
    /// `key seed count`: the members that are drawn by a number
    69 SPOP "the removal of drawn members": read_draw, breathing |state: &mut StateMachine, (key, seed, count), pace| { let key = state.of_set(SPOP, key)?; state.set_remove_drawn(&key, seed, count, pace); Ok(()) };
}

/// A draw of many members is logged in effects of about so many bytes.
const PIECE: usize = 64 << 10;

/// What a member takes in an effect beyond its bytes.
const MEMBER: usize = 10;

impl StateMachine {
    /// What the log changes as a set is one, or nothing that could be another type.
    fn of_set<'k>(&self, op: Op, key: &'k [u8]) -> Result<Key<'k>, ApplyError> {
        let key = self.key(key);
        let entry = self.keyspace.get(self.db, &key);
        match entry.is_none_or(|entry| entry.value().set().is_some()) {
            true => Ok(key),
            false => Err(ApplyError::Mismatch(op)),
        }
    }

    /// SADD: how many members are new (of a command that is held: anything). `pace` is told the bytes of each (T9).
    pub fn set_add(
        &mut self,
        key: &Key<'_>,
        members: &[&[u8]],
        pace: &mut dyn FnMut(usize),
    ) -> usize {
        self.assert_owned(SADD, key);
        if !self.emit_parts(self.db, SADD, &[key.bytes], members) {
            return 0;
        }
        let add = |set: &mut keyspace::SetMut<'_>| set.add_all(members, pace);
        let added = self.keyspace.edit_set(self.db, key, add);
        self.changed(self.db, key);
        self.recount(1, added);
        added
    }

    /// SREM of members that are there. `pace`: as above.
    pub fn set_remove(&mut self, key: &Key<'_>, members: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        self.assert_owned(SREM, key);
        if self.emit_parts(self.db, SREM, &[key.bytes], members) {
            self.remove_members(key, members, pace);
        }
    }

    fn remove_members(&mut self, key: &Key<'_>, members: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        if self.keyspace.get(self.db, key).is_none() {
            return; // the effects of a unit before have emptied it
        }
        self.keyspace.edit_set(self.db, key, |set| {
            for member in members {
                set.remove(member);
                pace(member.len());
            }
        });
        if self.keyspace.get(self.db, key).is_none() {
            self.note_emptied(self.db, key);
        }
        self.changed(self.db, key);
        self.recount(1, members.len());
    }

    /// SMOVE of a member that is there, to another key.
    pub fn set_move(&mut self, from: &Key<'_>, to: &Key<'_>, member: &[u8]) {
        self.assert_owned(SMOVE, from);
        self.assert_owned(SMOVE, to);
        if !self.emit(self.db, SMOVE, &[from.bytes, to.bytes, member]) {
            return;
        }
        self.remove_members(from, &[member], &mut |_| {});
        self.event(Classes::SET, "srem", from);
        let add = |set: &mut keyspace::SetMut<'_>| set.add_all(&[member], &mut |_| {});
        if self.keyspace.edit_set(self.db, to, add) > 0 {
            self.changed(self.db, to);
            self.event(Classes::SET, "sadd", to);
        }
    }

    /// SINTERSTORE and its like: any value becomes what the sources, all sets or not there, come to; the destination of
    /// nothing is deleted. How many members it has (of a command that is held: anything). `pace` is told the bytes of
    /// each member that is looked at (T9).
    pub fn set_store(
        &mut self,
        op: SetOp,
        to: &Key<'_>,
        from: &[&[u8]],
        pace: &mut dyn FnMut(usize),
    ) -> usize {
        let sources: Vec<Option<Key<'_>>> = from.iter().map(|key| Some(self.key(key))).collect();
        let draft = self.keyspace.combine_sets(self.db, op, &sources, pace);
        let len = draft.set().len();
        if len == 0 {
            if self.exists(to) {
                self.delete(to);
                self.event(Classes::GENERIC, "del", to);
            }
            return 0;
        }
        self.assert_owned(SSTORE, to);
        if self.emit_parts(self.db, SSTORE, &[name_of(op), to.bytes], from) {
            self.keyspace.put_set(self.db, to, draft, Ttl::Clear);
            self.changed(self.db, to);
        }
        len
    }

    /// Bytes of effects that [`StateMachine::set_pop`] of these members may take.
    pub fn bytes_of_pop(key: &Key<'_>, members: &[&[u8]]) -> usize {
        let bytes: usize = members.iter().map(|member| member.len() + MEMBER).sum();
        let pieces = 1 + bytes / PIECE;
        let bytes = bytes + 2 * pieces * (key.bytes.len() + room::COMMAND);
        bytes + room::headers(bytes)
    }

    /// SPOP of members that are there, whether or not it leaves any. The caller has asked for the room. `pace`: as above.
    pub fn set_pop(&mut self, key: &Key<'_>, members: &[&[u8]], pace: &mut dyn FnMut(usize)) {
        let len = |state: &StateMachine| {
            let entry = state.keyspace.get(state.db, key);
            entry
                .and_then(|entry| entry.value().set())
                .map(|set| set.len())
        };
        if len(self) == Some(members.len()) {
            self.mark_emptied(self.db, key);
            self.delete(key);
            return self.recount(1, members.len());
        }
        let mut rest = members;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |member: &&&[u8]| {
                bytes += member.len() + MEMBER;
                bytes <= PIECE
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (piece, behind) = rest.split_at(count);
            self.set_remove(key, piece, pace);
            rest = behind;
        }
    }

    /// SPOP where the log can't take the members: a number stands for them, which each member of the group draws by
    /// again. `pace`: as above.
    pub fn set_remove_drawn(
        &mut self,
        key: &Key<'_>,
        seed: u64,
        count: usize,
        pace: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(SPOP, key);
        let (mut seed_text, mut count_text) = (itoa::Buffer::new(), itoa::Buffer::new());
        let numbers = [
            seed_text.format(seed).as_bytes(),
            count_text.format(count).as_bytes(),
        ];
        if !self.emit_parts(self.db, SPOP, &[key.bytes], &numbers) {
            return;
        }
        let entry = self.keyspace.get(self.db, key);
        let Some(set) = entry.and_then(|entry| entry.value().set()) else {
            return;
        };
        let drawn: Vec<Vec<u8>> = set
            .drawn_by(seed, count, pace)
            .into_iter()
            .map(|member| member.text(&mut Digits::default()).to_vec())
            .collect();
        let members: Vec<&[u8]> = drawn.iter().map(|member| &**member).collect();
        self.remove_members(key, &members, pace);
        free(drawn, pace);
    }
}

fn name_of(op: SetOp) -> &'static [u8] {
    match op {
        SetOp::Inter => b"INTER",
        SetOp::Union => b"UNION",
        SetOp::Diff => b"DIFF",
    }
}

fn read_members<'e, 'a>(args: &'e [&'a [u8]]) -> Option<(&'a [u8], &'e [&'a [u8]])> {
    match args {
        [key, members @ ..] if !members.is_empty() => Some((key, members)),
        _ => None,
    }
}

fn read_move<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    match args {
        [from, to, member] => Some((from, to, member)),
        _ => None,
    }
}

/// Several arguments of an effect.
type Run<'e, 'a> = &'e [&'a [u8]];

fn read_store<'e, 'a>(args: Run<'e, 'a>) -> Option<(SetOp, &'a [u8], Run<'e, 'a>)> {
    let [op, to, from @ ..] = args else {
        return None;
    };
    let ops = [SetOp::Inter, SetOp::Union, SetOp::Diff];
    let op = ops.into_iter().find(|known| name_of(*known) == *op)?;
    (!from.is_empty()).then_some((op, to, from))
}

fn read_draw<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], u64, usize)> {
    let [key, seed, count] = args else {
        return None;
    };
    let seed = std::str::from_utf8(seed).ok()?.parse().ok()?;
    let count = usize::try_from(parse_i64(count)?).ok()?;
    Some((key, seed, count))
}

fn apply_store(
    state: &mut StateMachine,
    (op, to, from): (SetOp, &[u8], &[&[u8]]),
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    for key in from {
        state.of_set(SSTORE, key)?;
    }
    let to = state.key(to);
    state.set_store(op, &to, from, pace);
    Ok(())
}
