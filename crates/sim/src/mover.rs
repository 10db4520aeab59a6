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
struct Standing {
    slot: u16,
    owner: usize,
    /// The shard that the owner's mark names, and whether it turns back.
    leaves_to: Option<(usize, bool)>,
    /// The shards that have a mark, whose it names, and whether it turns back.
    comes: Vec<(usize, usize, bool)>,
    /// Keys that are left at the owner.
    keys: u64,
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

    fn standing(&self, slot: u16) -> Option<Standing> {
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
        let leaves_to = leaves.and_then(|mark| Some((of(mark.shard)?, mark.closing)));
        let comes = records.iter().filter_map(|(shard, record)| {
            let mark = record.moves.importing.get(&slot)?;
            Some((*shard, of(mark.shard)?, mark.returning))
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

fn ask(w: &mut World, shard: usize, op: impl FnOnce(&mut World) -> Option<Op>) {
    let Some(m) = w.master_of(shard) else { return };
    if w.machines[m].operator.is_idle() {
        if let Some(op) = op(w) {
            w.op(m, op);
        }
    }
}

fn name_of(w: &World, shard: usize) -> Option<NodeId> {
    Some(w.node(w.master_of(shard)?)?.name())
}

fn import(w: &mut World, slot: u16, at: usize, from: usize) {
    ask(w, at, |w| Some(Op::Importing(slot, name_of(w, from)?)));
}

fn leave(w: &mut World, slot: u16, at: usize, to: usize) {
    ask(w, at, |w| Some(Op::Migrating(slot, name_of(w, to)?)));
}

fn stable(w: &mut World, slot: u16, at: usize) {
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
fn migrate(w: &mut World, slot: u16, at: usize, to: usize, all: bool) {
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
    let comes = s.comes.iter().find(|(_, from, _)| *from == owner);
    match (s.leaves_to, comes) {
        (None, None) => {
            let both = w.rng.chance(0.8);
            if both || w.rng.chance(0.5) {
                import(w, slot, other, owner);
            }
            if both || w.rng.chance(0.5) {
                leave(w, slot, owner, other);
            }
        }
        (Some((to, false)), Some(_)) => match w.rng.below(20) {
            n @ 0..=9 => migrate(w, slot, owner, to, s.keys > 0 && n < 5),
            10..=14 => assign(w, slot, to, to),
            15 => assign(w, slot, owner, to),
            16 => stable(w, slot, owner),
            17 => stable(w, slot, to),
            18 => import(w, slot, other, owner),
            _ => assign(w, slot, other, to),
        },
        (Some((to, false)), None) => match w.rng.below(4) {
            0 => stable(w, slot, owner),
            1 => migrate(w, slot, owner, to, true),
            _ => import(w, slot, to, owner),
        },
        (None, Some((at, ..))) => match w.rng.below(4) {
            0 => stable(w, slot, *at),
            1 => assign(w, slot, *at, *at),
            _ => leave(w, slot, owner, *at),
        },
        (Some((_, true)), _) => {}
    }
}

/// What `redis-cli --cluster fix` would do, one step at a time.
fn mend(w: &mut World, slot: u16) {
    let Some(s) = w.standing(slot) else { return };
    let comes: Vec<(usize, usize, bool)> = s.comes.clone();
    if let Some((to, false)) = s.leaves_to {
        let unclean = s.leftovers.contains(&(to, true));
        match comes.contains(&(to, s.owner, false)) && !unclean {
            true if s.keys > 0 => migrate(w, slot, s.owner, to, true),
            true => assign(w, slot, to, to),
            false => stable(w, slot, s.owner),
        }
    }
    for (at, marked) in &s.leftovers {
        match marked {
            true => stable(w, slot, *at),
            false => ask(w, *at, |_| Some(Op::FlushSlot(slot))),
        }
    }
    for (at, from, returning) in comes {
        let agreed = from == s.owner && s.leaves_to == Some((at, false));
        if !returning && !agreed {
            stable(w, slot, at);
        }
    }
}
