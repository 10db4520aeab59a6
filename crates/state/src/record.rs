//! The shard's record as the data shows and changes it (S1-S3).
//!
//! Owns: which slots are served by the tail's copy and by the committed one, and the effects that
//! change the record. Never: decides which shard should have a slot.

use super::core::{Access, StateMachine};
use super::effects::{effects, name};
use base::mutation::{self, Mutation};
use base::{NodeId, SlotSet};
use effect::Op;
use keyspace::Key;
use std::sync::Arc;
use topology::features::TYPES;
use topology::record::{decode_ranges, encode_ranges};
use topology::Record;

/// Whether the own shard serves a slot (S1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// By the tail's copy and by the committed one.
    Owned,
    /// Its gain is not committed yet: commands wait.
    Gaining,
    /// It is another's, or its loss is proposed.
    Foreign,
}

effects! {
    /// The shard gains slots: pairs of first and last (S1).
    13 ADD_SLOTS "CLUSTER ADDSLOTS": read_slots => |state: &mut StateMachine, slots: SlotSet| { state.add_slots(&slots); Ok(()) };
    /// The shard gives up slots; their keys stay (`DELSLOTS`).
    14 DEL_SLOTS "CLUSTER DELSLOTS": read_slots => |state: &mut StateMachine, slots: SlotSet| { state.del_slots(&slots); Ok(()) };
    /// The shard loses slots and their keys (S3).
    15 LOSE_SLOTS "the loss of slots": read_slots => |state: &mut StateMachine, slots: SlotSet| { state.lose_slots(&slots); Ok(()) };
    /// The shard's epoch (8 bytes, little endian) and its master (20 bytes) (S2).
    16 EPOCH "the epoch": read_epoch => |state: &mut StateMachine, (epoch, master)| { state.set_epoch(epoch, master); Ok(()) };
    /// What the builds of all members can do, from here on (M9): bits, u32.
    36 FEATURES "what all members can do": read_features => |state: &mut StateMachine, features| { state.set_features(features); Ok(()) };
}

impl StateMachine {
    /// The record as the running turn sees it.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// What gossip, nodes.conf and redirects say (S1).
    pub fn committed_record(&self) -> &Arc<Record> {
        &self.committed
    }

    /// All that has been applied is committed.
    pub fn commit_record(&mut self) {
        if !Arc::ptr_eq(&self.record, &self.committed) {
            self.committed = Arc::clone(&self.record);
        }
    }

    /// The record as of the last entry that is known to be committed.
    pub fn set_committed_record(&mut self, record: Arc<Record>) {
        self.committed = record;
    }

    /// S1: given up at the proposal, gained at the commit.
    pub fn ownership(&self, slot: u16) -> Ownership {
        let committed =
            self.committed.slots.contains(slot) || mutation::is(Mutation::ServeBeforeGainCommits);
        match (self.record.slots.contains(slot), committed) {
            (true, true) => Ownership::Owned,
            (true, false) => Ownership::Gaining,
            (false, _) => Ownership::Foreign,
        }
    }

    /// The shard gains these slots.
    pub fn add_slots(&mut self, slots: &SlotSet) {
        if !self.emit(self.db, ADD_SLOTS, &[&encode_ranges(slots)]) {
            return;
        }
        self.record_changed = self.access == Access::Lead;
        let record = Arc::make_mut(&mut self.record);
        slots.iter().for_each(|slot| {
            record.slots.insert(slot);
        });
        record.moves.follows = None;
    }

    /// The shard gives these slots up. As in Redis their keys stay, unreachable, until the slots
    /// are gained again.
    pub fn del_slots(&mut self, slots: &SlotSet) {
        if !self.emit(self.db, DEL_SLOTS, &[&encode_ranges(slots)]) {
            return;
        }
        self.remove_slots(slots);
    }

    /// These slots are no longer this shard's, and neither are their keys (M22). How many keys.
    pub fn lose_slots(&mut self, slots: &SlotSet) -> u64 {
        if !self.emit(self.db, LOSE_SLOTS, &[&encode_ranges(slots)]) {
            return 0;
        }
        self.remove_slots(slots);
        let mut lost = 0;
        for slot in slots.iter() {
            lost += self.keyspace.flush_slot(slot);
            if self.access == Access::Lead {
                self.dirty[usize::from(slot)] = self.batch_seq;
            }
        }
        if lost > 0 {
            self.watches.fail_all();
            self.counters.changes += lost;
        }
        lost
    }

    fn remove_slots(&mut self, slots: &SlotSet) {
        self.record_changed = self.access == Access::Lead;
        let record = Arc::make_mut(&mut self.record);
        slots.iter().for_each(|slot| {
            record.slots.remove(slot);
        });
    }

    /// S2: the shard's epoch, and the node that is its master from here on.
    pub fn set_epoch(&mut self, epoch: u64, master: NodeId) {
        let args: [&[u8]; 2] = [&epoch.to_le_bytes(), &master.0];
        if !self.emit(self.db, EPOCH, &args) {
            return;
        }
        self.record_changed = self.access == Access::Lead;
        let record = Arc::make_mut(&mut self.record);
        record.epoch = epoch;
        record.master = master;
    }

    /// M9: whether every member reads the effects of all types of values.
    pub fn types_are_read(&self) -> bool {
        self.record.moves.features & TYPES != 0
    }

    /// M9: from here on the log may say what needs this, and no member joins that can't read it.
    pub fn set_features(&mut self, features: u32) {
        if !self.emit(self.db, FEATURES, &[&features.to_le_bytes()]) {
            return;
        }
        self.record_changed = self.access == Access::Lead;
        Arc::make_mut(&mut self.record).moves.features |= features;
    }

    /// S1: a change of a key in a slot that the shard neither has nor imports means that a rule was broken.
    pub(super) fn assert_owned(&self, op: Op, key: &Key<'_>) {
        assert!(
            self.has_right_to(key.slot),
            "S1: {} in slot {}, which the shard does not have at this index",
            name(op),
            key.slot
        );
        if self.is_in_motion(key.slot) {
            self.assert_may_make(op, key);
        }
    }
}

fn read_slots(args: &[&[u8]]) -> Option<SlotSet> {
    match args {
        [ranges] => decode_ranges(ranges),
        _ => None,
    }
}

fn read_features(args: &[&[u8]]) -> Option<u32> {
    match args {
        [bits] => Some(u32::from_le_bytes((*bits).try_into().ok()?)),
        _ => None,
    }
}

fn read_epoch(args: &[&[u8]]) -> Option<(u64, NodeId)> {
    let [epoch, master] = args else {
        return None;
    };
    let epoch: [u8; 8] = (*epoch).try_into().ok()?;
    let master: [u8; 20] = (*master).try_into().ok()?;
    Some((u64::from_le_bytes(epoch), NodeId(master)))
}
