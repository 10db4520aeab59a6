//! Lends: what changes them at both ends, on the leader and as effects of the log (M1-M5).
//!
//! Owns: each change as one function that makes the effect and carries it out. Never: sends a value, or
//! knows how far the other shard is. Invariants: a lent key stays where it is, frozen, until its lend has
//! ended; what a lend has come to at the target is one entry with the values, so it has happened whole
//! or not at all (T8).

use super::apply::ApplyError;
use super::core::{Access, StateMachine};
use super::effects::effects;
use base::events::Classes;
use base::mutation::{self, Mutation};
use topology::moves::{Lend, MoveNumber};
use topology::{MoveId, Record};

effects! {
    /// Keys are on their way to another shard, and frozen: the lend's id, then [`Lend`] as the record has it.
    21 LEND "the lending of keys": read_lend => |state: &mut StateMachine, (id, lend)| { state.lend(id, lend); Ok(()) };
    /// The other shard has them: they are deleted here, but for those that it has refused (positions).
    22 LEND_DONE "the end of a lend": read_done => |state: &mut StateMachine, (id, refused): (MoveId, Vec<u32>)| known(state.end_lend(id, &refused), LEND_DONE);
    /// The other shard has refused them for ever: they are as before.
    23 LEND_RETURN "the return of a lend": read_id => |state: &mut StateMachine, id| known(state.return_lend(id), LEND_RETURN);
    /// At the target: this lend is refused for ever; what lies below the second id is ended.
    24 LEND_VOID "the refusal of a lend": read_void => |state: &mut StateMachine, (id, floor)| { state.void_lend(id, floor); Ok(()) };
    /// At the target, in the unit that makes the keys: this lend has come, but for the refused positions.
    33 LEND_RECEIVED "the receipt of a lend": read_received => |state: &mut StateMachine, (id, floor, refused): (MoveId, MoveNumber, Vec<u32>)| { state.receive_lend(id, floor, &refused); Ok(()) };
}

impl StateMachine {
    /// M1: the keys, which are here, go to another shard.
    pub fn lend(&mut self, id: MoveId, lend: Lend) {
        let slot = lend.slot;
        let one_slot = self.keyspace.is_cluster();
        for key in &lend.keys {
            let key = self.keyspace.key(key);
            let is_here = self.keyspace.get(lend.db, &key).is_some();
            assert!(
                (key.slot == slot || !one_slot) && (is_here || self.access == Access::Record),
                "M1: what is lent is here, in one slot"
            );
        }
        if !self.emit(0, LEND, &[&id.encode(), &lend.to_bytes()]) {
            return;
        }
        let readable = self.access == Access::Lead;
        self.motion.freeze(id, &lend, readable);
        self.change_slot(slot, |record| {
            let before = record.moves.lends.insert(id, lend);
            assert!(before.is_none(), "M2: an id is used once");
        });
    }

    /// M1: they are there. False: no such lend is open.
    ///
    /// T3: between shards the target's commit has decided, so what is said here before this entry has
    /// committed is as true after its loss: the slot stays clean. A server outside decides nothing (M26).
    pub fn end_lend(&mut self, id: MoveId, refused: &[u32]) -> bool {
        let Some(lend) = self.record.moves.lends.get(&id).cloned() else {
            return false;
        };
        let (lend_id, places) = (id.encode(), positions(refused));
        let args: [&[u8]; 2] = [&lend_id, &places];
        if !self.emit_unhurried(0, LEND_DONE, (&args, &[])) {
            return true; // it is held, and comes again
        }
        let decided = lend.outside.is_none();
        self.motion.thaw(&lend);
        for (at, bytes) in (0u32..).zip(&lend.keys) {
            if !refused.contains(&at) {
                let key = self.keyspace.key(bytes);
                self.keyspace.remove(lend.db, &key);
                self.event_in(lend.db, Classes::GENERIC, "del", bytes);
                match decided {
                    true => self.moved_on(lend.db, &key),
                    false => self.changed(lend.db, &key),
                }
            }
        }
        let end = |record: &mut Record| drop(record.moves.lends.remove(&id));
        match decided {
            true => self.change_quietly(lend.slot, end),
            false => self.change_slot(lend.slot, end),
        }
        true
    }

    /// M1: they stay. False: no such lend is open.
    pub fn return_lend(&mut self, id: MoveId) -> bool {
        let Some(lend) = self.record.moves.lends.get(&id).cloned() else {
            return false;
        };
        if !self.emit(0, LEND_RETURN, &[&id.encode()]) {
            return true;
        }
        self.motion.thaw(&lend);
        self.change_slot(lend.slot, |record| {
            record.moves.lends.remove(&id);
        });
        true
    }

    /// M3, M4: never more will this lend, or this hand-over, be taken here.
    pub fn void_lend(&mut self, id: MoveId, floor: MoveNumber) {
        let args: [&[u8]; 2] = [&id.encode(), &floor_of(id, floor).encode()];
        if self.emit(0, LEND_VOID, &args) {
            self.change_ledger(id, floor, |ledger| {
                assert!(
                    !ledger.done.contains_key(&id.number),
                    "M1: what was taken is refused"
                );
                ledger.void.insert(id.number);
            });
        }
    }

    /// M1: the decision: the unit that this effect stands in has made the keys.
    pub fn receive_lend(&mut self, id: MoveId, floor: MoveNumber, refused: &[u32]) {
        let args: [&[u8]; 3] = [
            &id.encode(),
            &floor_of(id, floor).encode(),
            &positions(refused),
        ];
        if self.emit(0, LEND_RECEIVED, &args) {
            self.change_ledger(id, floor, |ledger| {
                assert!(
                    !ledger.void.contains(&id.number) && id.number > ledger.floor,
                    "M1: what was refused is taken"
                );
                let before = ledger.done.insert(id.number, refused.to_vec());
                assert!(before.is_none(), "M1: a lend is taken once");
            });
        }
    }

    fn change_ledger(
        &mut self,
        id: MoveId,
        floor: MoveNumber,
        change: impl FnOnce(&mut topology::moves::Ledger),
    ) {
        self.record_changed = self.access == Access::Lead;
        let record = std::sync::Arc::make_mut(&mut self.record);
        let ledger = record.moves.ledgers.entry(id.shard).or_default();
        change(ledger);
        ledger.raise_floor(floor);
        if mutation::is(Mutation::DoneDroppedBeforeFloor) {
            let newest = ledger.done.keys().next_back().copied();
            ledger.done.retain(|number, _| Some(*number) == newest);
        }
    }
}

fn floor_of(id: MoveId, number: MoveNumber) -> MoveId {
    MoveId {
        shard: id.shard,
        number,
    }
}

fn positions(refused: &[u32]) -> Vec<u8> {
    refused.iter().flat_map(|at| at.to_le_bytes()).collect()
}

fn known(done: bool, op: effect::Op) -> Result<(), ApplyError> {
    done.then_some(()).ok_or(ApplyError::Mismatch(op))
}

fn read_id(args: &[&[u8]]) -> Option<MoveId> {
    match args {
        [id] => MoveId::decode(id),
        _ => None,
    }
}

fn read_lend(args: &[&[u8]]) -> Option<(MoveId, Lend)> {
    match args {
        [id, lend] => Some((MoveId::decode(id)?, Lend::from_bytes(lend)?)),
        _ => None,
    }
}

fn read_positions(bytes: &[u8]) -> Option<Vec<u32>> {
    let chunks = bytes.chunks_exact(4);
    let whole = chunks.remainder().is_empty();
    let positions = chunks.map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
    whole.then(|| positions.collect())
}

fn read_done(args: &[&[u8]]) -> Option<(MoveId, Vec<u32>)> {
    match args {
        [id, refused] => Some((MoveId::decode(id)?, read_positions(refused)?)),
        _ => None,
    }
}

fn read_void(args: &[&[u8]]) -> Option<(MoveId, MoveNumber)> {
    match args {
        [id, floor] => {
            let (id, floor) = (MoveId::decode(id)?, MoveId::decode(floor)?);
            (id.shard == floor.shard).then_some((id, floor.number))
        }
        _ => None,
    }
}

fn read_received(args: &[&[u8]]) -> Option<(MoveId, MoveNumber, Vec<u32>)> {
    match args {
        [id, floor, refused] => {
            let (id, floor) = read_void(&[id, floor])?;
            Some((id, floor, read_positions(refused)?))
        }
        _ => None,
    }
}
