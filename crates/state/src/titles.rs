//! Titles: how often a slot has changed shards, and a slot that is taken back by force (M12, M21).
//!
//! Owns the two effects. Never: asks another shard which title it has, or decides between two.

use super::core::{Access, StateMachine};
use super::effects::effects;
use std::sync::Arc;
use topology::moves::{Migrating, Titles};

effects! {
    /// Slots get titles: runs of first, last (2 bytes each) and title (4 bytes), little endian.
    34 TITLES "the titles of slots": read_titles => |state: &mut StateMachine, runs: Vec<(u16, u16, u32)>| { state.set_titles(&runs); Ok(()) };
    /// A slot that was handed over is this shard's again; what was there comes back under its mark: slot.
    35 RECLAIM "the taking back of a slot": read_slot => |state: &mut StateMachine, slot| super::marks::known(state.reclaim(slot), RECLAIM);
}

impl StateMachine {
    /// M12: slots that are gained from no shard get a title above every one that is known.
    pub fn set_titles(&mut self, runs: &[(u16, u16, u32)]) {
        let bytes: Vec<u8> = runs
            .iter()
            .flat_map(|(first, last, title)| {
                let mut run = [0; 8];
                run[..2].copy_from_slice(&first.to_le_bytes());
                run[2..4].copy_from_slice(&last.to_le_bytes());
                run[4..].copy_from_slice(&title.to_le_bytes());
                run
            })
            .collect();
        if !self.emit(self.db, TITLES, &[&bytes]) {
            return;
        }
        self.record_changed = self.access == Access::Lead;
        let titles: &mut Titles = &mut Arc::make_mut(&mut self.record).moves.titles;
        for (first, last, title) in runs {
            (*first..=*last).for_each(|slot| titles.set(slot, *title));
        }
    }

    /// M12, amendment 3: by an operator's word that the shard which should have taken the slot is gone.
    /// Should it come back, its keys do too: the move runs backwards. False: the slot was not handed over.
    pub fn reclaim(&mut self, slot: u16) -> bool {
        if !self.record.moves.departed.contains_key(&slot) {
            return false;
        }
        if self.emit(self.db, RECLAIM, &[&slot.to_le_bytes()]) {
            self.change_slot(slot, |record| {
                let Some(departed) = record.moves.departed.remove(&slot) else {
                    return;
                };
                record.slots.insert(slot);
                record.moves.follows = None;
                let title = departed.title.saturating_add(2);
                record.moves.titles.set(slot, title);
                if let Some(mark) = departed.mark {
                    let mark = Migrating {
                        shard: departed.to,
                        node: departed.node,
                        mark: Some(mark),
                        closing: true,
                        redis: false,
                    };
                    record.moves.migrating.insert(slot, mark);
                }
            });
        }
        true
    }
}

fn read_slot(args: &[&[u8]]) -> Option<u16> {
    match args {
        [bytes] => super::marks::slot(bytes),
        _ => None,
    }
}

fn read_titles(args: &[&[u8]]) -> Option<Vec<(u16, u16, u32)>> {
    let [bytes] = args else {
        return None;
    };
    let chunks = bytes.chunks_exact(8);
    if !chunks.remainder().is_empty() {
        return None;
    }
    let run = |chunk: &[u8]| {
        let (first, last) = (
            super::marks::slot(&chunk[..2])?,
            super::marks::slot(&chunk[2..4])?,
        );
        let title = u32::from_le_bytes(chunk[4..].try_into().ok()?);
        (first <= last).then_some((first, last, title))
    };
    chunks.map(run).collect()
}
