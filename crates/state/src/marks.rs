//! Marks and hand-overs: what changes them, on the leader and as effects of the log (M6, M8, M18, M19).
//!
//! Owns: each change as one function that makes the effect and carries it out. Never: checks whether it
//! is the right one (the shard's leader has), asks another shard. Invariant: every change of a slot in
//! motion makes the slot dirty, so no reply that follows from it leaves before it has committed (T3).

use super::apply::ApplyError;
use super::core::{Access, StateMachine};
use super::effects::effects;
use base::mutation::{self, Mutation};
use base::NodeId;
use base::ShardId;
use std::sync::Arc;
use topology::moves::{Departed, Importing, Migrating, MoveNumber};
use topology::{MoveId, Moves, Record};

effects! {
    /// The keys of a slot are to come from another shard: slot, shard, node, the mark's id, flags: 1 clean,
    /// 2 a real Redis.
    18 IMPORTING "the mark of an importing slot": read_importing => |state: &mut StateMachine, (slot, mark)| { state.mark_importing(slot, mark); Ok(()) };
    /// The keys of a slot are to go to another shard: slot, shard, node, the id of its mark or nothing; to a
    /// real Redis: a fifth, empty one.
    19 MIGRATING "the mark of a migrating slot": read_migrating => |state: &mut StateMachine, (slot, mark)| { state.mark_migrating(slot, mark); Ok(()) };
    /// The other shard's mark of a migrating slot is known: slot, its id.
    20 BIND "the binding of a mark": read_slot_and_id => |state: &mut StateMachine, (slot, mark)| known(state.bind(slot, mark), BIND);
    /// A slot is handed over: slot, the hand-over's id. To which shard, its mark says.
    26 HAND_OFF "the hand-over of a slot": read_slot_and_id => |state: &mut StateMachine, (slot, id)| known(state.hand_off(slot, id), HAND_OFF);
    /// A slot is taken over: slot, the hand-over's id, the slot's title there, what lies below is ended.
    27 TAKE "the taking over of a slot": read_take => |state: &mut StateMachine, (slot, id, title, floor)| { state.take(slot, id, title, floor); Ok(()) };
    /// The other shard has taken a slot: slot, the hand-over's id.
    28 HAND_OFF_FORGET "the end of a hand-over": read_slot_and_id => |state: &mut StateMachine, (slot, id)| known(state.forget_hand_off(slot, id), HAND_OFF_FORGET);
    /// The move of a migrating slot runs backwards (M11).
    29 MARK_CLOSING "the turning back of a slot": read_slot => |state: &mut StateMachine, slot| known(state.close_migrating(slot), MARK_CLOSING);
    /// The keys of an importing slot go back (M11).
    30 MARK_RETURNING "the sending back of a slot": read_slot => |state: &mut StateMachine, slot| known(state.return_importing(slot), MARK_RETURNING);
    /// The mark of an importing slot has ended.
    31 MARK_CLOSE "the end of an importing mark": read_slot => |state: &mut StateMachine, slot| known(state.end_importing(slot), MARK_CLOSE);
    /// The mark of a migrating slot has ended.
    32 MARK_END "the end of a migrating mark": read_slot => |state: &mut StateMachine, slot| known(state.end_migrating(slot), MARK_END);
}

impl StateMachine {
    /// The record, to be changed for this slot.
    pub(super) fn change_slot(&mut self, slot: u16, change: impl FnOnce(&mut Record)) {
        self.change_quietly(slot, change);
        if self.access == Access::Lead {
            self.dirty[usize::from(slot)] = self.batch_seq;
        }
    }

    /// The same, where no reply can tell what was from what is: the slot is as clean as before.
    pub(super) fn change_quietly(&mut self, slot: u16, change: impl FnOnce(&mut Record)) {
        self.record_changed = self.access == Access::Lead;
        change(Arc::make_mut(&mut self.record));
        self.motion.look_at(&self.record.moves, slot);
        if self.access == Access::Lead {
            self.footprint.slot.get_or_insert(slot);
        }
    }

    fn change_moves(&mut self, slot: u16, change: impl FnOnce(&mut Moves)) {
        self.change_slot(slot, |record| change(&mut record.moves));
    }

    /// SETSLOT IMPORTING (M8).
    pub fn mark_importing(&mut self, slot: u16, mark: Importing) {
        let args: [&[u8]; 5] = [
            &slot.to_le_bytes(),
            &mark.shard.0,
            &mark.node.0,
            &mark.mark.encode(),
            &[u8::from(mark.clean) | u8::from(mark.redis) << 1],
        ];
        let logged = mutation::is(Mutation::MarksNotLogged) || self.emit(self.db, IMPORTING, &args);
        if logged {
            self.change_moves(slot, |moves| {
                moves.importing.insert(slot, mark);
                moves.follows = None;
            });
        }
    }

    /// SETSLOT MIGRATING (M8).
    pub fn mark_migrating(&mut self, slot: u16, mark: Migrating) {
        let bound = mark.mark.map(MoveId::encode);
        let slot_bytes = slot.to_le_bytes();
        let args: [&[u8]; 5] = [
            &slot_bytes,
            &mark.shard.0,
            &mark.node.0,
            bound.as_ref().map_or(&[], |id| id.as_slice()),
            &[],
        ];
        let args = if mark.redis { &args[..] } else { &args[..4] };
        let logged = mutation::is(Mutation::MarksNotLogged) || self.emit(self.db, MIGRATING, args);
        if logged {
            self.change_moves(slot, |moves| {
                moves.migrating.insert(slot, mark);
            });
        }
    }

    /// M8: a mark that is unbound is bound; one that is bound, to the other shard's later mark: the one
    /// before it has ended. False: it can't be.
    pub fn bind(&mut self, slot: u16, mark: MoveId) -> bool {
        let moves = &self.record.moves;
        let Some(before) = moves.migrating.get(&slot) else {
            return false;
        };
        match before.mark {
            Some(bound) if bound == mark => return true,
            Some(bound) if bound > mark || before.closing || self.lent_in(slot) > 0 => {
                return false
            }
            _ if mark.shard != before.shard => return false,
            _ => {}
        }
        if self.emit(self.db, BIND, &[&slot.to_le_bytes(), &mark.encode()]) {
            self.change_moves(slot, |moves| bind(moves, slot, mark));
        }
        true
    }

    /// M18: the slot leaves this shard. False: it is not migrating.
    pub fn hand_off(&mut self, slot: u16, id: MoveId) -> bool {
        let Some(mark) = self.record.moves.migrating.get(&slot).cloned() else {
            return false;
        };
        assert!(
            !mark.closing && self.record.slots.contains(slot),
            "M18: what is handed over is owned and does not go back"
        );
        assert!(
            self.record
                .moves
                .lends
                .values()
                .all(|lend| lend.slot != slot)
                && self.keyspace.count_in_slot(slot) == 0,
            "M18: a slot with keys is not handed over"
        );
        if self.emit(self.db, HAND_OFF, &[&slot.to_le_bytes(), &id.encode()]) {
            self.change_slot(slot, |record| {
                record.slots.remove(slot);
                record.moves.migrating.remove(&slot);
                let departed = Departed {
                    id,
                    to: mark.shard,
                    node: mark.node,
                    mark: mark.mark,
                    title: record.moves.titles.of(slot),
                };
                record.moves.departed.insert(slot, departed);
                if record.slots.is_empty() {
                    record.moves.follows = Some(mark.shard);
                }
            });
        }
        true
    }

    /// M19: the slot is this shard's. Whether it was before does not matter: then only the hand-over is
    /// noted.
    pub fn take(&mut self, slot: u16, id: MoveId, title: u32, floor: MoveNumber) {
        let floor_id = MoveId {
            shard: id.shard,
            number: floor,
        };
        let args: [&[u8]; 4] = [
            &slot.to_le_bytes(),
            &id.encode(),
            &title.to_le_bytes(),
            &floor_id.encode(),
        ];
        if self.emit(self.db, TAKE, &args) {
            self.change_slot(slot, |record| {
                let ledger = record.moves.ledgers.entry(id.shard).or_default();
                ledger.raise_floor(floor);
                ledger.done.insert(id.number, Vec::new());
                record.moves.importing.remove(&slot);
                if record.slots.insert(slot) {
                    record.moves.departed.remove(&slot);
                    record.moves.titles.set(slot, title.saturating_add(1));
                    record.moves.follows = None;
                }
            });
        }
    }

    /// M19: the other shard has it. False: it is another hand-over that is open, or none.
    pub fn forget_hand_off(&mut self, slot: u16, id: MoveId) -> bool {
        let open = self.record.moves.departed.get(&slot);
        if open.is_none_or(|departed| departed.id != id) {
            return false;
        }
        if self.emit(
            self.db,
            HAND_OFF_FORGET,
            &[&slot.to_le_bytes(), &id.encode()],
        ) {
            self.change_moves(slot, |moves| {
                moves.departed.remove(&slot);
            });
        }
        true
    }

    /// M11: from here on the move runs backwards.
    pub fn close_migrating(&mut self, slot: u16) -> bool {
        if !self.record.moves.migrating.contains_key(&slot) {
            return false;
        }
        if self.emit(self.db, MARK_CLOSING, &[&slot.to_le_bytes()]) {
            self.change_moves(slot, |moves| {
                if let Some(mark) = moves.migrating.get_mut(&slot) {
                    mark.closing = true;
                }
            });
        }
        true
    }

    /// M11: the keys that have come go back.
    pub fn return_importing(&mut self, slot: u16) -> bool {
        if !self.record.moves.importing.contains_key(&slot) {
            return false;
        }
        if self.emit(self.db, MARK_RETURNING, &[&slot.to_le_bytes()]) {
            self.change_moves(slot, |moves| {
                if let Some(mark) = moves.importing.get_mut(&slot) {
                    mark.returning = true;
                }
            });
        }
        true
    }

    pub fn end_importing(&mut self, slot: u16) -> bool {
        if !self.record.moves.importing.contains_key(&slot) {
            return false;
        }
        if self.emit(self.db, MARK_CLOSE, &[&slot.to_le_bytes()]) {
            self.change_moves(slot, |moves| {
                moves.importing.remove(&slot);
            });
        }
        true
    }

    pub fn end_migrating(&mut self, slot: u16) -> bool {
        if !self.record.moves.migrating.contains_key(&slot) {
            return false;
        }
        if self.emit(self.db, MARK_END, &[&slot.to_le_bytes()]) {
            self.change_moves(slot, |moves| {
                moves.migrating.remove(&slot);
            });
        }
        true
    }
}

/// M8: a word that names the other shard's mark binds ours to it.
fn bind(moves: &mut Moves, slot: u16, mark: MoveId) {
    if let Some(migrating) = moves.migrating.get_mut(&slot) {
        migrating.mark = Some(mark);
    }
}

/// An effect that the record contradicts: members would drift apart.
pub(super) fn known(done: bool, op: effect::Op) -> Result<(), ApplyError> {
    done.then_some(()).ok_or(ApplyError::Mismatch(op))
}

pub(super) fn slot(bytes: &[u8]) -> Option<u16> {
    let slot = u16::from_le_bytes(bytes.try_into().ok()?);
    (slot < base::slot::SLOT_COUNT).then_some(slot)
}

fn read_slot(args: &[&[u8]]) -> Option<u16> {
    match args {
        [bytes] => slot(bytes),
        _ => None,
    }
}

fn read_slot_and_id(args: &[&[u8]]) -> Option<(u16, MoveId)> {
    match args {
        [bytes, id] => Some((slot(bytes)?, MoveId::decode(id)?)),
        _ => None,
    }
}

fn read_importing(args: &[&[u8]]) -> Option<(u16, Importing)> {
    let [bytes, shard, node, mark, clean] = args else {
        return None;
    };
    let flags = match clean {
        [flags] if *flags < 4 => *flags,
        _ => return None,
    };
    let mark = Importing {
        shard: ShardId((*shard).try_into().ok()?),
        node: NodeId((*node).try_into().ok()?),
        mark: MoveId::decode(mark)?,
        clean: flags & 1 != 0,
        returning: false,
        redis: flags & 2 != 0,
    };
    Some((slot(bytes)?, mark))
}

fn read_migrating(args: &[&[u8]]) -> Option<(u16, Migrating)> {
    let (bytes, shard, node, mark, redis) = match args {
        [bytes, shard, node, mark] => (bytes, shard, node, mark, false),
        [bytes, shard, node, mark, []] => (bytes, shard, node, mark, true),
        _ => return None,
    };
    let mark = Migrating {
        shard: ShardId((*shard).try_into().ok()?),
        node: NodeId((*node).try_into().ok()?),
        mark: match mark {
            [] => None,
            id => Some(MoveId::decode(id)?),
        },
        closing: false,
        redis,
    };
    Some((slot(bytes)?, mark))
}

fn read_take(args: &[&[u8]]) -> Option<(u16, MoveId, u32, MoveNumber)> {
    let [bytes, id, title, floor] = args else {
        return None;
    };
    let (id, floor) = (MoveId::decode(id)?, MoveId::decode(floor)?);
    let title = u32::from_le_bytes((*title).try_into().ok()?);
    (floor.shard == id.shard).then_some((slot(bytes)?, id, title, floor.number))
}
