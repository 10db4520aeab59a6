//! Operators that move slots from shard to shard as redis-cli does, in steps of any order, turn back
//! half-way, and mend what was left when all works again.
//!
//! Never: changes anything but through the commands that an operator has, or keeps what it has begun in
//! mind: the marks say it.

use crate::clock::{MS, US};
use crate::ops::Op;
use crate::plan::Topology;
use crate::scenes::Step;
use crate::world::{Event, World};
use cluster_bus::slot::key_slot;
use cluster_bus::{NodeId, SlotSet};
use std::collections::BTreeMap;
use topology::Record;

/// A slot as the leaders' records have it.
pub struct Standing {
    pub slot: u16,
    pub owner: usize,
    /// The shard that the owner's mark names, none if it has ended, and whether the mark turns back.
    pub leaves_to: Option<(Option<usize>, bool)>,
    /// The shards that have a mark, whose it names, none if that one has ended, and whether it turns back.
    pub comes: Vec<(usize, Option<usize>, bool)>,
    /// Keys that are left at the owner.
    pub keys: u64,
    /// Shards that have keys of an earlier ownership, and whether they have a mark over them.
    leftovers: Vec<(usize, bool)>,
}

impl World {
    /// Whether slots move in this run.
    pub fn moves_slots(&self) -> bool {
        self.plan.topology == Topology::Moves
    }

    /// The shards that have not ended (M28).
    pub fn shards(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.plan.shards).filter(|shard| !self.checks.has_ended(self.groups[*shard]))
    }

    /// The slots that a shard is to have: those it was given, or, where slots move, those it has.
    pub fn expected_slots(&self, shard: usize) -> SlotSet {
        match self.leaders_record(shard) {
            Some(record) if self.moves_slots() => record.slots.clone(),
            _ => self.slots[shard].clone(),
        }
    }

    pub fn leaders_record(&self, shard: usize) -> Option<&Record> {
        let leader = self.master_of(shard)?;
        Some(self.node(leader)?.shard().record())
    }

    /// I1, I2, I8: in the end every slot has one owner, and nothing is on its way.
    pub fn moves_lack(&self) -> Option<String> {
        for shard in self.shards() {
            let record = self.leaders_record(shard)?;
            if record.moves.owes() {
                return Some(format!(
                    "shard {shard} has no move open: {:?}",
                    record.moves
                ));
            }
            if self.plan.follows && record.moves.follows.is_some() {
                return Some(format!("shard {shard} has gone where its slots are"));
            }
        }
        for slot in self.slots.iter().flat_map(SlotSet::iter) {
            let owners: Vec<usize> = self
                .shards()
                .filter(|s| {
                    self.leaders_record(*s)
                        .is_some_and(|r| r.slots.contains(slot))
                })
                .collect();
            if owners.len() != 1 {
                return Some(format!("slot {slot} has one owner, not {owners:?}"));
            }
            for shard in self.shards().filter(|s| *s != owners[0]) {
                let node = self.master_of(shard).and_then(|m| self.node(m))?;
                let left = node.shard().data().keyspace().count_in_slot(slot);
                if left > 0 && self.healed {
                    return Some(format!(
                        "slot {slot} of shard {}: {left} keys are at shard {shard}",
                        owners[0]
                    ));
                }
            }
        }
        None
    }

    pub fn standing(&self, slot: u16) -> Option<Standing> {
        let records: Option<BTreeMap<usize, &Record>> = self
            .shards()
            .map(|shard| Some((shard, self.leaders_record(shard)?)))
            .collect();
        let records = records?;
        let find = |is: &dyn Fn(&Record) -> bool| {
            let mut all = records.iter();
            all.find(|(_, r)| is(r)).map(|(shard, _)| *shard)
        };
        let of = |id: base::ShardId| find(&|r| r.shard == id);
        let owner = find(&|r| r.slots.contains(slot))?;
        let leaves = records[&owner].moves.migrating.get(&slot);
        let leaves_to = leaves.map(|mark| (of(mark.shard), mark.closing));
        let comes = records.iter().filter_map(|(shard, record)| {
            let mark = record.moves.importing.get(&slot)?;
            Some((*shard, of(mark.shard), mark.returning))
        });
        let count = |shard: usize| {
            let node = self.node(self.master_of(shard)?)?;
            Some(node.shard().data().keyspace().count_in_slot(slot))
        };
        let leftovers = (0..self.plan.shards).filter_map(|shard| {
            let mark = records.get(&shard)?.moves.importing.get(&slot);
            let unclean = mark.is_some_and(|mark| !mark.clean);
            let stray = mark.is_none() && count(shard)? > 0;
            (shard != owner && (unclean || stray)).then_some((shard, mark.is_some()))
        });
        Some(Standing {
            slot,
            owner,
            leaves_to,
            comes: comes.collect(),
            keys: count(owner)?,
            leftovers: leftovers.collect(),
        })
    }
}

pub fn look(w: &mut World) {
    let slots: Vec<u16> = w.slots.iter().flat_map(SlotSet::iter).collect();
    if w.healed {
        for slot in slots {
            mend(w, slot);
        }
        return;
    }
    if crate::farewell::proceed(w) {
        return;
    }
    let any = *w.rng.pick(&slots);
    let hurried = w.hurried.filter(|(_, until)| w.now < *until);
    let slot = hurried.map_or(any, |(slot, _)| slot);
    if w.plan.flushes > 0 && w.rng.chance(0.2) && flush(w) {
        w.plan.flushes -= 1;
        return;
    }
    if w.rng.chance(0.1) {
        // M12: an operator who thinks that the slot is nobody's.
        let shard = w.rng.below(w.plan.shards as u64) as usize;
        return ask(w, shard, |_| Some(Op::Grab(slot)));
    }
    let Some(standing) = w.standing(slot) else {
        return;
    };
    if w.plan.farewell && crate::farewell::begin(w, &standing) {
        return;
    }
    if standing.leaves_to.is_some() && w.rng.chance(0.05) {
        hold_commit(w, standing.owner);
    }
    match standing.leftovers.first() {
        Some((at, _)) if w.rng.chance(0.02) => ask(w, *at, |_| Some(Op::FlushSlot(slot))),
        _ => step(w, &standing),
    }
}

/// FLUSHALL of a shard, while it has lent something (M5). False: none has.
fn flush(w: &mut World) -> bool {
    let lends = |shard: &usize| {
        let record = w.leaders_record(*shard);
        record.is_some_and(|record| !record.moves.lends.is_empty())
    };
    let Some(shard) = (0..w.plan.shards).find(lends) else {
        return false;
    };
    let before = w.flushes.len();
    ask(w, shard, |w| {
        let group = w.groups[shard];
        w.flushes.push((group, w.now));
        Some(Op::FlushAll)
    });
    w.flushes.len() > before
}

/// What the shard's leader does now stays in its tail for a while.
fn hold_commit(w: &mut World, at: usize) {
    let Some(here) = w.master_of(at) else { return };
    let lasts = w.rng.range(w.plan.t() / 10, w.plan.t());
    let until = w.now + lasts;
    let machine = &mut w.machines[here];
    machine.slow_until = machine.slow_until.max(until);
}

/// What the other shard says to the one that speaks to it is held up for so long: the step that it answers has
/// been taken there, and is not known here.
fn hold_answers(w: &mut World, at: usize, to: usize, longest: u64) {
    let (Some(here), Some(there)) = (w.master_of(at), w.master_of(to)) else {
        return;
    };
    let from = w.now + w.rng.range(100 * US, 4 * MS);
    let lasts = w.rng.range(w.plan.t() / 10, longest);
    w.at(from, Event::Step(Step::Cut(there, here, lasts)));
}

pub fn ask(w: &mut World, shard: usize, op: impl FnOnce(&mut World) -> Option<Op>) {
    let Some(m) = w.master_of(shard) else { return };
    if w.machines[m].operator.is_idle() {
        if let Some(op) = op(w) {
            w.op(m, op);
        }
    }
}

pub fn name_of(w: &World, shard: usize) -> Option<NodeId> {
    Some(w.node(w.master_of(shard)?)?.name())
}

pub fn import(w: &mut World, slot: u16, at: usize, from: usize) {
    ask(w, at, |w| Some(Op::Importing(slot, name_of(w, from)?)));
}

pub fn leave(w: &mut World, slot: u16, at: usize, to: usize) {
    ask(w, at, |w| Some(Op::Migrating(slot, name_of(w, to)?)));
}

pub fn stable(w: &mut World, slot: u16, at: usize) {
    ask(w, at, |_| Some(Op::Stable(slot)));
}

fn assign(w: &mut World, slot: u16, at: usize, to: usize) {
    if !w.healed && w.rng.chance(0.15) {
        if let Some(s) = w.standing(slot) {
            hold_answers(w, s.owner, to, 5 * w.plan.t());
            // M19: it goes on to a third shard while the first one has not heard that it has come.
            w.hurried = Some((slot, w.now + 5 * w.plan.t()));
        }
    }
    ask(w, at, |w| Some(Op::SlotNode(slot, name_of(w, to)?)));
}

/// MIGRATE of some keys of the slot, or of all.
pub fn migrate(w: &mut World, slot: u16, at: usize, to: usize, all: bool) {
    if !w.healed {
        match w.rng.below(10) {
            0 | 1 => hold_answers(w, at, to, 2 * w.plan.t()),
            2 | 3 => hold_commit(w, at),
            _ => {}
        }
    }
    ask(w, at, |w| {
        let of = w.keys.iter().filter(|key| key_slot(key) == slot);
        let mut keys: Vec<Vec<u8>> = of.cloned().collect();
        if !all {
            keys.retain(|_| w.rng.chance(0.6));
        }
        let to = w.master_of(to)?;
        // The command may end long before its lend does: then there are several at a time.
        let timeout_ms = *w.rng.pick(&[1, 5, 200, 2000]);
        let replace = w.rng.chance(0.1);
        (!keys.is_empty()).then_some(Op::MigrateKeys {
            to,
            keys,
            timeout_ms,
            replace,
        })
    });
}

/// One step of some operator.
fn step(w: &mut World, s: &Standing) {
    let (slot, owner) = (s.slot, s.owner);
    let others: Vec<usize> = w.shards().filter(|shard| *shard != owner).collect();
    if others.is_empty() {
        return;
    }
    let other = *w.rng.pick(&others);
    let comes = s.comes.iter().find(|(_, from, _)| *from == Some(owner));
    let orphan = s
        .comes
        .iter()
        .find(|(_, from, back)| from.is_none() && !back);
    if let Some((at, ..)) = orphan.filter(|_| w.rng.chance(0.2)) {
        return stable(w, slot, *at);
    }
    match (s.leaves_to, comes) {
        (None, None) => {
            let both = w.rng.chance(0.8);
            let imports = both || w.rng.chance(0.5);
            if imports {
                import(w, slot, other, owner);
            }
            if both || w.rng.chance(0.5) {
                leave(w, slot, owner, other);
            } else if !imports && s.keys == 0 {
                // M18: without a mark at either end.
                assign(w, slot, owner, other);
            }
        }
        (Some((Some(to), false)), Some(_)) => match w.rng.below(20) {
            n @ 0..=9 => migrate(w, slot, owner, to, s.keys > 0 && n < 5),
            10..=14 => assign(w, slot, to, to),
            15 => assign(w, slot, owner, to),
            16 => stable(w, slot, owner),
            17 => stable(w, slot, to),
            18 => import(w, slot, other, owner),
            _ => assign(w, slot, other, to),
        },
        (Some((Some(to), false)), None) => match w.rng.below(4) {
            0 => stable(w, slot, owner),
            1 => migrate(w, slot, owner, to, true),
            _ => import(w, slot, to, owner),
        },
        (None, Some((at, ..))) => match w.rng.below(4) {
            0 => stable(w, slot, *at),
            1 => assign(w, slot, *at, *at),
            _ => leave(w, slot, owner, *at),
        },
        (Some((None, false)), _) => stable(w, slot, owner),
        (Some((_, true)), _) => {}
    }
}

fn mend(w: &mut World, slot: u16) {
    let Some(s) = w.standing(slot) else { return };
    for step in mends(&s) {
        match step {
            Mend::Move(to) => migrate(w, slot, s.owner, to, true),
            Mend::Assign(to) => assign(w, slot, to, to),
            Mend::Stable(at) => stable(w, slot, at),
            Mend::Flush(at) => ask(w, at, |_| Some(Op::FlushSlot(slot))),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mend {
    /// The keys that are left, from the owner to that shard.
    Move(usize),
    Assign(usize),
    Stable(usize),
    Flush(usize),
}

/// What `redis-cli --cluster fix` would do, one step at a time. A shard that a mark names may have ended: `fix`
/// looks at who has a mark, not at whom it names.
fn mends(s: &Standing) -> Vec<Mend> {
    let mut mends = Vec::new();
    if let Some((to, false)) = s.leaves_to {
        let comes = |to: &usize| s.comes.contains(&(*to, Some(s.owner), false));
        let clean = |to: &usize| !s.leftovers.contains(&(*to, true));
        mends.push(match to.filter(|to| comes(to) && clean(to)) {
            Some(to) if s.keys > 0 => Mend::Move(to),
            Some(to) => Mend::Assign(to),
            None => Mend::Stable(s.owner),
        });
    }
    mends.extend(s.leftovers.iter().map(|(at, marked)| match marked {
        true => Mend::Stable(*at),
        false => Mend::Flush(*at),
    }));
    for (at, from, returning) in &s.comes {
        let agreed = *from == Some(s.owner) && s.leaves_to == Some((Some(*at), false));
        if !returning && !agreed {
            mends.push(Mend::Stable(*at));
        }
    }
    mends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_rest() -> Standing {
        Standing {
            slot: 1,
            owner: 0,
            leaves_to: None,
            comes: Vec::new(),
            keys: 0,
            leftovers: Vec::new(),
        }
    }

    #[test]
    fn marks_of_ended_shards_are_made_stable() {
        let leaves = Standing {
            leaves_to: Some((None, false)),
            keys: 3,
            ..at_rest()
        };
        assert_eq!(mends(&leaves), [Mend::Stable(0)]);
        let comes = Standing {
            comes: vec![(1, None, false), (2, None, true)],
            ..at_rest()
        };
        assert_eq!(mends(&comes), [Mend::Stable(1)]);
    }

    #[test]
    fn a_move_with_both_marks_goes_on() {
        let mut both = Standing {
            leaves_to: Some((Some(1), false)),
            comes: vec![(1, Some(0), false)],
            keys: 3,
            ..at_rest()
        };
        assert_eq!(mends(&both), [Mend::Move(1)]);
        both.keys = 0;
        assert_eq!(mends(&both), [Mend::Assign(1)]);
        both.comes.clear();
        assert_eq!(mends(&both), [Mend::Stable(0)]);
    }
}
