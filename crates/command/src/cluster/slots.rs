//! What changes the shard's record: ADDSLOTS, DELSLOTS, FLUSHSLOTS and the config epoch.
//!
//! Owns: Redis's checks and the changes, which are effects of the shard's log. S1: they execute on
//! the tail's copy of the record, so that `MULTI; DELSLOTS; ADDSLOTS; EXEC` validates; what other
//! shards have is the view's to say, and theirs: [`owners`]. Never: decides which shard serves a slot.
//! Invariant (M12): a slot is gained when every other shard that can be asked has said that it is free.

use super::super::env::{Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::gains::{gain, owners, parse_slot, shown};
use super::shared::{holds_keys, host, lives};
use cluster_bus::SlotSet;
use resp::args::Args;
use resp::number::parse_i64;
use topology::{ClusterView, Moves, NodeView};

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

fn single(env: &mut Env<'_>, args: Args<'_>, change: Change) -> Done {
    let mut plan = Plan::new(env, change)?;
    let forced = change == Change::Add && args.len() > 3 && is_force(&args[args.len() - 1]);
    let count = args.len() - 2 - usize::from(forced);
    let slots = args.iter().skip(2).take(count).map(parse_slot);
    let slots: Vec<u16> = slots.collect::<Result<_, Error>>()?;
    if forced {
        return reclaim(env, &slots);
    }
    for slot in slots {
        plan.take(slot).map_err(|error| shown(env, error))?;
    }
    plan.carry_out(env)
}

fn is_force(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"force")
}

/// ADDSLOTS slot ... FORCE (M12): an operator's word that the shard is gone which slots of this one were
/// handed over to, and which has not said that it has them.
fn reclaim(env: &mut Env<'_>, slots: &[u16]) -> Done {
    for slot in slots {
        let Some(departed) = env.data.record().moves.departed.get(slot).cloned() else {
            return Err(shown(env, Error::slot_not_departed(*slot)));
        };
        let view = host(env)?.view();
        if lives(view, departed.to) {
            return Err(Error::SHARD_LIVES);
        }
        // It was taken, and has gone on: a third shard's title is as high as the one that force would give.
        let has = |node: &&NodeView| node.id != view.myself && node.slots.contains(*slot);
        let mut owners = view.nodes.iter().filter(has);
        if owners.any(|node| node.stands_for() != Some(departed.to)) {
            return Err(shown(env, Error::slot_busy(*slot)));
        }
    }
    if !env.data.room_for((slots.len() + 2) * state::room::COMMAND) {
        return Ok(Flow::Hold);
    }
    for slot in slots {
        env.data.reclaim(*slot);
    }
    env.reply().ok();
    DONE
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
    moves: Moves,
    /// EXEC: slots that it gives up and gains again.
    kept: SlotSet,
}

impl Plan {
    fn new(env: &mut Env<'_>, change: Change) -> Result<Plan, Error> {
        let others = of_others(host(env)?.view());
        let gains = env.session.gains.as_ref();
        Ok(Plan {
            change,
            own: env.data.record().slots.clone(),
            others,
            chosen: SlotSet::default(),
            moves: env.data.record().moves.clone(),
            kept: gains.map(|gains| gains.asked.clone()).unwrap_or_default(),
        })
    }

    fn take(&mut self, slot: u16) -> Result<(), Error> {
        let assigned = self.own.contains(slot) || self.others.contains(slot);
        match self.change {
            _ if self.keeps(slot) => Ok(()),
            _ if self.moves_now(slot) => Err(Error::slot_migrating(slot)),
            Change::Add if assigned => Err(Error::slot_busy(slot)),
            Change::Delete if !assigned => Err(Error::slot_unassigned(slot)),
            _ if !self.chosen.insert(slot) => Err(Error::slot_repeated(slot)),
            _ => Ok(()),
        }
    }

    /// M12: an EXEC that gives up a migrating slot and gains it again (`redis-cli --cluster fix`) changes
    /// nothing: the mark stays.
    fn keeps(&self, slot: u16) -> bool {
        self.moves.migrating.contains_key(&slot) && self.kept.contains(slot)
    }

    /// M12: what must end first. A slot that this shard imports may be gained if its source has it no more.
    fn moves_now(&self, slot: u16) -> bool {
        let lent = self.moves.lends.values().any(|lend| lend.slot == slot);
        let importing = self.moves.importing.get(&slot);
        let returning = importing.is_some_and(|mark| mark.returning);
        let migrating = self.moves.migrating.contains_key(&slot);
        // M27: with a Redis nothing is agreed, and `redis-cli --cluster fix` deletes it here first.
        let agreed = importing.is_some_and(|mark| !mark.redis);
        let imports = agreed && self.change == Change::Delete;
        lent || returning || migrating || imports || self.moves.departed.contains_key(&slot)
    }

    fn carry_out(self, env: &mut Env<'_>) -> Done {
        match self.change {
            Change::Add if self.chosen.is_empty() => {}
            Change::Add => {
                let Some(owners) = owners(env, &self.chosen)? else {
                    return Ok(Flow::Hold);
                };
                if !gain(env, &self.chosen, &owners)? {
                    return Ok(Flow::Hold);
                }
            }
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
    let migrating = record.moves.migrating.iter();
    // M11: under a mark that was never bound nothing can have gone, so it ends at once.
    let unbound: Vec<u16> = migrating
        .filter(|(_, mark)| mark.mark.is_none() && !mark.redis)
        .map(|(slot, _)| *slot)
        .collect();
    let moving = record.moves.slots();
    let mut others = moving.iter();
    if let Some(slot) = others.find(|slot| !unbound.contains(slot)) {
        return Err(shown(env, Error::slot_migrating(slot)));
    }
    let own = record.slots.clone();
    if !env.data.room_for((unbound.len() + 1) * state::room::RECORD) {
        return Ok(Flow::Hold);
    }
    for slot in unbound {
        env.data.end_migrating(slot);
    }
    if !own.is_empty() {
        env.data.del_slots(&own);
    }
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
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
