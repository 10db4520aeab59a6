//! What a command has to know of slots in motion, derived from the record (rules M).
//!
//! Owns: which slots need a second look ([`SlotMotion`]), which keys are frozen and whether they may still
//! be read, and the asserts that hold a leader and its followers to M5 and M10. Never: decides a move.
//! Invariant: frozen is what the tail's record says is lent, so it is the same under every leader.

use super::core::StateMachine;
use super::effects::name;
use base::mutation::{self, Mutation};
use base::ShardId;
use base::SlotSet;
use effect::Op;
use keyspace::Key;
use std::collections::BTreeMap;
use topology::moves::{Departed, Importing, Lend, Migrating};
use topology::{MoveId, Moves};

/// A slot in motion, for the admission of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotMotion {
    /// Nothing but lent keys, if any, tells it from a slot at rest.
    Still,
    /// M14: its keys go to another shard.
    Migrating(Migrating),
    /// M18: it was handed over, and the other shard has not said that it has it.
    Departed(Departed),
    /// M15: its keys come from another shard.
    Importing(Importing),
}

/// A key that is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    pub lend: MoveId,
    /// M5: nothing was said yet upon which the other shard may take it: its value is shown.
    pub readable: bool,
}

/// What is derived from the record.
#[derive(Default)]
pub(super) struct Motion {
    /// Slots that have a mark, a lend or an open hand-over.
    slots: SlotSet,
    /// By their databases, of which a cluster has one.
    frozen: BTreeMap<u32, BTreeMap<Box<[u8]>, Frozen>>,
    /// M10: keys that the running unit has deleted in a slot in motion: it may make them again.
    gone: Vec<Box<[u8]>>,
    /// It has deleted all.
    flushed: bool,
    /// M5: in this turn, in the one before: a command waits until nothing is lent.
    wants_all: (bool, bool),
}

impl Motion {
    /// After a start or a rebuild: the record says all, and nothing that is lent may be read.
    pub(super) fn of(moves: &Moves) -> Motion {
        let mut motion = Motion {
            slots: moves.slots(),
            ..Motion::default()
        };
        for (id, lend) in &moves.lends {
            motion.freeze(*id, lend, false);
        }
        motion
    }

    pub(super) fn freeze(&mut self, id: MoveId, lend: &Lend, readable: bool) {
        if !readable && mutation::is(Mutation::FrozenInMemoryOnly) {
            return;
        }
        let frozen = self.frozen.entry(lend.db).or_default();
        for key in &lend.keys {
            let before = frozen.insert(key.clone(), Frozen { lend: id, readable });
            assert!(before.is_none(), "M5: a lent key is lent again");
        }
    }

    pub(super) fn thaw(&mut self, lend: &Lend) {
        let frozen = self.frozen.entry(lend.db).or_default();
        for key in &lend.keys {
            let frozen = frozen.remove(key);
            let only = mutation::is(Mutation::FrozenInMemoryOnly);
            assert!(
                frozen.is_some() || only,
                "M5: a key comes back that was not lent"
            );
        }
        self.frozen.retain(|_, keys| !keys.is_empty());
    }

    fn all_frozen(&mut self) -> impl Iterator<Item = &mut Frozen> {
        self.frozen.values_mut().flat_map(BTreeMap::values_mut)
    }

    pub(super) fn begin_turn(&mut self) {
        self.wants_all = (false, self.wants_all.0);
    }

    /// What the record says of this slot has changed.
    pub(super) fn look_at(&mut self, moves: &Moves, slot: u16) {
        match moves.holds(slot) {
            true => self.slots.insert(slot),
            false => self.slots.remove(slot),
        };
        debug_assert_eq!(self.slots, moves.slots(), "one slot at a time changes");
    }
}

impl StateMachine {
    /// Whether a command on this slot needs a second look.
    #[inline]
    pub fn is_in_motion(&self, slot: u16) -> bool {
        self.motion.slots.contains(slot)
    }

    /// How the tail's record has the slot; the reply that follows from it waits for that record (T3).
    pub fn motion_of(&mut self, slot: u16) -> SlotMotion {
        self.depend_on(slot);
        let moves = &self.record.moves;
        if let Some(mark) = moves.migrating.get(&slot) {
            SlotMotion::Migrating(mark.clone())
        } else if let Some(departed) = moves.departed.get(&slot) {
            SlotMotion::Departed(departed.clone())
        } else if let Some(mark) = moves.importing.get(&slot) {
            SlotMotion::Importing(mark.clone())
        } else {
            SlotMotion::Still
        }
    }

    /// M5: whether the key of the selected database is lent.
    pub fn frozen(&self, key: &[u8]) -> Option<Frozen> {
        self.frozen_in(self.db, key)
    }

    pub fn frozen_in(&self, db: u32, key: &[u8]) -> Option<Frozen> {
        self.motion.frozen.get(&db)?.get(key).copied()
    }

    /// M5: the keys of this name that are lent, in whichever database.
    pub fn frozen_anywhere<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = Frozen> + 'a {
        let all = self.motion.frozen.values();
        all.filter_map(move |keys| keys.get(key).copied())
    }

    /// M5: FLUSHALL and what else names no keys waits for all that is lent.
    pub fn has_lent(&self) -> bool {
        !self.motion.frozen.is_empty()
    }

    /// M5: a command waits until nothing is lent. Held commands say it in every turn.
    pub fn want_all(&mut self) {
        self.motion.wants_all.0 = true;
    }

    /// M5: whether a new lend would go past a command that waits for all of them, which could then wait for
    /// as long as keys are moved.
    pub fn is_all_wanted(&self) -> bool {
        self.motion.wants_all.0 || self.motion.wants_all.1
    }

    /// M5: from now on the other shard may have the keys of this lend.
    pub fn hide_lent(&mut self, lend: MoveId) {
        let lent = self.motion.all_frozen();
        lent.filter(|frozen| frozen.lend == lend)
            .for_each(|frozen| frozen.readable = false);
    }

    /// This member leads no longer: what the next leader says is not known here (M5).
    pub fn hide_all_lent(&mut self) {
        let lent = self.motion.all_frozen();
        lent.for_each(|frozen| frozen.readable = false);
    }

    pub(super) fn begin_motion(&mut self) {
        self.motion.gone.clear();
        self.motion.flushed = false;
    }

    /// A key of a slot in motion is deleted.
    pub(super) fn note_gone(&mut self, key: &Key<'_>) {
        if self.is_in_motion(key.slot) {
            self.motion.gone.push(key.bytes.into());
        }
    }

    /// All keys are deleted.
    pub(super) fn note_flush(&mut self) {
        self.motion.flushed = true;
    }

    /// M5: nothing touches a lent key but what ends its lend.
    #[inline]
    pub(super) fn assert_thawed(&self, db: u32, key: &[u8]) {
        if !self.motion.frozen.is_empty() {
            let frozen = self.frozen_in(db, key);
            assert!(frozen.is_none(), "M5: a lent key is changed");
        }
    }

    /// M10: absence is final: while its keys leave, or go back, no missing key of the slot is made.
    #[cold]
    pub(super) fn assert_may_make(&self, op: Op, key: &Key<'_>) {
        let moves = &self.record.moves;
        let leaving = moves.migrating.get(&key.slot);
        let returning = moves.importing.get(&key.slot).is_some_and(|m| m.returning);
        if !(leaving.is_some_and(|mark| !mark.closing) || returning) {
            return;
        }
        let there = self.keyspace.get(self.db, key).is_some();
        let was =
            || self.motion.flushed || self.motion.gone.iter().any(|gone| **gone == *key.bytes);
        assert!(
            there || was(),
            "M10: {} makes a key of slot {}, whose keys are leaving",
            name(op),
            key.slot
        );
    }

    /// Whether this member may show and change keys of a slot that it does not own: it imports it.
    pub fn imports(&self, slot: u16) -> bool {
        self.is_in_motion(slot) && self.record.moves.importing.contains_key(&slot)
    }

    /// Whether all keys of the slot that are here have come under its mark.
    pub fn imports_clean(&self, slot: u16) -> bool {
        let mark = || self.record.moves.importing.get(&slot);
        self.is_in_motion(slot) && mark().is_some_and(|mark| mark.clean)
    }

    /// How many keys of the slot are lent.
    pub fn lent_in(&self, slot: u16) -> usize {
        let lends = self.record.moves.lends.values();
        let of = lends.filter(|lend| lend.slot == slot);
        of.map(|lend| lend.keys.len()).sum()
    }

    /// How many lends to a shard are open (M2).
    pub fn open_lends(&self, to: ShardId) -> usize {
        let lends = self.record.moves.lends.values();
        lends.filter(|lend| lend.to == to).count()
    }

    /// Whether the slot's keys go to another shard (M17).
    pub fn migrates(&self, slot: u16) -> bool {
        self.is_in_motion(slot) && self.record.moves.migrating.contains_key(&slot)
    }

    /// Whether the slot was handed over, and the other shard has not said that it has it.
    pub fn has_departed(&self, slot: u16) -> bool {
        self.is_in_motion(slot) && self.record.moves.departed.contains_key(&slot)
    }

    /// The right to apply what the log says of a slot.
    pub(super) fn has_right_to(&self, slot: u16) -> bool {
        !self.is_applying()
            || !self.keyspace.is_cluster()
            || self.record.slots.contains(slot)
            || self.imports(slot)
    }
}
