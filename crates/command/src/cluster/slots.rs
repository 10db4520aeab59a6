//! What changes the shard's record: ADDSLOTS, DELSLOTS, FLUSHSLOTS and the config epoch.
//!
//! Owns: Redis's checks and the changes, which are effects of the shard's log. S1: they execute on
//! the tail's copy of the record, so that `MULTI; DELSLOTS; ADDSLOTS; EXEC` validates; what other
//! shards have is the view's to say. Never: decides which shard serves a slot.

use super::super::env::{Done, Env, Flow, DONE};
use super::super::error::Error;
use super::shared::{holds_keys, host};
use cluster_bus::slot::SLOT_COUNT;
use cluster_bus::SlotSet;
use resp::args::Args;
use resp::number::parse_i64;
use topology::ClusterView;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
}

pub fn addslots(env: &mut Env<'_>, args: Args<'_>) -> Done {
    single(env, args, Change::Add)
}

pub fn delslots(env: &mut Env<'_>, args: Args<'_>) -> Done {
    single(env, args, Change::Delete)
}

pub fn addslotsrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    ranges(env, args, Change::Add)
}

pub fn delslotsrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    ranges(env, args, Change::Delete)
}

pub fn parse_slot(text: &[u8]) -> Result<u16, Error> {
    let slot = parse_i64(text).and_then(|number| u16::try_from(number).ok());
    slot.filter(|slot| *slot < SLOT_COUNT)
        .ok_or(Error::SLOT_OUT_OF_RANGE)
}

fn single(env: &mut Env<'_>, args: Args<'_>, change: Change) -> Done {
    let mut plan = Plan::new(env, change)?;
    let slots: Result<Vec<u16>, Error> = args.iter().skip(2).map(parse_slot).collect();
    for slot in slots? {
        plan.take(slot).map_err(|error| shown(env, error))?;
    }
    plan.carry_out(env)
}

fn ranges(env: &mut Env<'_>, args: Args<'_>, change: Change) -> Done {
    let mut plan = Plan::new(env, change)?;
    if args.len() % 2 == 1 {
        return Err(Error::wrong_arity(match change {
            Change::Add => "cluster|addslotsrange",
            Change::Delete => "cluster|delslotsrange",
        }));
    }
    for at in (2..args.len()).step_by(2) {
        let (first, last) = (parse_slot(&args[at])?, parse_slot(&args[at + 1])?);
        if first > last {
            return Err(Error::slot_range_backwards(first, last));
        }
        for slot in first..=last {
            plan.take(slot).map_err(|error| shown(env, error))?;
        }
    }
    plan.carry_out(env)
}

/// A refusal that shows the tail's record may not leave before the tail is committed (T3).
fn shown(env: &mut Env<'_>, error: Error) -> Error {
    env.data.depends_on_all();
    error
}

/// Slots of other shards, as far as this node knows. The own shard's are the record's.
fn of_others(view: &ClusterView) -> SlotSet {
    let me = view.me();
    let others = view.nodes.iter().filter(|node| {
        let same_shard = node.shard.is_some() && node.shard == me.shard;
        node.id != me.id && !same_shard
    });
    others.flat_map(|node| node.slots.iter()).collect()
}

/// The slots of one command, checked one by one; nothing changes before all have passed.
struct Plan {
    change: Change,
    own: SlotSet,
    others: SlotSet,
    chosen: SlotSet,
    /// Slots whose move is to end first (M12).
    moving: SlotSet,
}

impl Plan {
    fn new(env: &mut Env<'_>, change: Change) -> Result<Plan, Error> {
        let others = of_others(host(env)?.view());
        Ok(Plan {
            change,
            own: env.data.record().slots.clone(),
            others,
            chosen: SlotSet::default(),
            moving: env.data.record().moves.slots(),
        })
    }

    fn take(&mut self, slot: u16) -> Result<(), Error> {
        if self.moving.contains(slot) {
            return Err(Error::slot_migrating(slot));
        }
        let assigned = self.own.contains(slot) || self.others.contains(slot);
        match self.change {
            Change::Add if assigned => Err(Error::slot_busy(slot)),
            Change::Delete if !assigned => Err(Error::slot_unassigned(slot)),
            _ if !self.chosen.insert(slot) => Err(Error::slot_repeated(slot)),
            _ => Ok(()),
        }
    }

    fn carry_out(self, env: &mut Env<'_>) -> Done {
        match self.change {
            Change::Add => env.data.add_slots(&self.chosen),
            Change::Delete => {
                let of = |set: &SlotSet| -> SlotSet {
                    self.chosen.iter().filter(|s| set.contains(*s)).collect()
                };
                let (own, others) = (of(&self.own), of(&self.others));
                if !own.is_empty() {
                    env.data.del_slots(&own);
                    if env.data.footprint().hold {
                        return Ok(Flow::Hold);
                    }
                }
                if !others.is_empty() {
                    host(env)?.unassign(&others);
                }
            }
        }
        env.reply().ok();
        DONE
    }
}

pub fn flushslots(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?;
    if holds_keys(env) {
        return Err(Error::FLUSHSLOTS_NOT_EMPTY);
    }
    let record = env.data.record();
    if let Some(slot) = record.moves.slots().iter().next() {
        return Err(shown(env, Error::slot_migrating(slot)));
    }
    let own = record.slots.clone();
    if !own.is_empty() {
        env.data.del_slots(&own);
    }
    env.reply().ok();
    DONE
}

/// M22: keys of a slot that this shard neither owns nor imports under a clean mark can't be reached: they
/// are leftovers of an earlier ownership.
pub fn flushslot(env: &mut Env<'_>, args: Args<'_>) -> Done {
    host(env)?;
    let slot = parse_slot(&args[2])?;
    let record = env.data.record();
    if record.slots.contains(slot) {
        return Err(shown(env, Error::already_owner(slot)));
    }
    if env.data.imports_clean(slot) || env.data.lent_in(slot) > 0 {
        return Err(shown(env, Error::slot_migrating(slot)));
    }
    env.data.lose_slots(&[slot].into_iter().collect());
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    env.reply().ok();
    DONE
}

// ---- the epoch ---------------------------------------------------------------------------------

pub fn set_config_epoch(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let view = host(env)?.view();
    let (myself, alone) = (view.myself, view.nodes.len() == 1);
    let number = parse_i64(&args[2]).ok_or(Error::NOT_AN_INTEGER)?;
    let epoch = u64::try_from(number).map_err(|_| Error::invalid_config_epoch(number))?;
    if !alone {
        return Err(Error::CONFIG_EPOCH_NOT_ALONE);
    }
    if env.data.record().epoch != 0 {
        return Err(shown(env, Error::CONFIG_EPOCH_NOT_ZERO));
    }
    if epoch != 0 {
        env.data.set_epoch(epoch, myself);
    }
    env.reply().ok();
    DONE
}

pub fn bumpepoch(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let view = host(env)?.view();
    let (myself, highest) = (view.myself, view.max_epoch());
    let mine = env.data.record().epoch;
    let highest = highest.max(mine);
    if mine != 0 && mine == highest {
        env.data.depends_on_all();
        env.reply().simple(&format!("STILL {mine}"));
    } else {
        let next = highest.saturating_add(1);
        env.data.set_epoch(next, myself);
        env.reply().simple(&format!("BUMPED {next}"));
    }
    DONE
}
