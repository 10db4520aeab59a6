//! Slots that a shard gains without another one's hand-over (M12, M21).
//!
//! Owns: the question to all other shards, and what follows from their answers. Never: decides which
//! slots a command may name. Invariant: a slot is gained when every other shard that can be asked has said
//! that it is free.

use super::env::Env;
use super::error::Error;
use super::session::Queued;
use super::upgrade::can_say;
use base::mutation::{self, Mutation};
use base::slot::SLOT_COUNT;
use base::SlotSet;
use resp::args::Args;
use resp::number::parse_i64;
use topology::moves::{Owners, Titles};

pub fn parse_slot(text: &[u8]) -> Result<u16, Error> {
    let slot = parse_i64(text).and_then(|number| u16::try_from(number).ok());
    slot.filter(|slot| *slot < SLOT_COUNT)
        .ok_or(Error::SLOT_OUT_OF_RANGE)
}

/// A refusal that shows the tail's record may not leave before the tail is committed (T3).
pub fn shown(env: &mut Env<'_>, error: Error) -> Error {
    env.data.depends_on_all();
    error
}

/// What the other shards say of slots that this one is to gain. None: the command is held.
pub fn owners(env: &mut Env<'_>, slots: &SlotSet) -> Result<Option<Owners>, Error> {
    if let Some(owners) = env.session.gains.clone() {
        return Ok(Some(owners)); // EXEC has asked for all its slots
    }
    if mutation::is(Mutation::GainUnasked) {
        return Ok(Some(Owners::default()));
    }
    let overdue = env.overdue;
    let question = &mut env.session.question;
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let owners = cluster.owners_elsewhere(question, slots);
    if owners.is_none() && overdue {
        cluster.withdraw_question(question);
        return Err(Error::owner_unknown());
    }
    Ok(owners)
}

/// M12: the slots that an EXEC gains, so that the other shards are asked once, before it runs. Those that
/// this shard has are not asked for: EXEC may give them up and gain them again.
pub fn gained_by(env: &Env<'_>, queue: &[Queued]) -> SlotSet {
    let mut gained = SlotSet::default();
    for Queued { command, args } in queue {
        let args = Args::from(args.as_slice());
        let name = env.commands.command(*command).spec.full_name;
        match name {
            "cluster|addslots" => args.iter().skip(2).for_each(|text| {
                parse_slot(text).ok().map(|slot| gained.insert(slot));
            }),
            "cluster|addslotsrange" if args.len() % 2 == 0 => {
                for at in (2..args.len()).step_by(2) {
                    if let (Ok(first), Ok(last)) =
                        (parse_slot(&args[at]), parse_slot(&args[at + 1]))
                    {
                        (first..=last).for_each(|slot| {
                            gained.insert(slot);
                        });
                    }
                }
            }
            "cluster|setslot" if args[3].eq_ignore_ascii_case(b"node") => {
                parse_slot(&args[2]).ok().map(|slot| gained.insert(slot));
            }
            _ => {}
        }
    }
    gained
}

/// M12, M21: how far a title goes up. A shard that was forgotten may come back with the first title of its slots.
const REGAINED: u32 = 2;

/// M12, M21: the same when the shards that may know of a higher one have failed.
const FORCED: u32 = 65_536;

/// The slots become this shard's, unless another one has them. False: no room now.
pub fn gain(env: &mut Env<'_>, slots: &SlotSet, owners: &Owners) -> Result<bool, Error> {
    let busy = |slot: &u16| owners.owned.contains(*slot) || owners.reserved.contains(*slot);
    if let Some(slot) = slots.iter().find(busy) {
        return Err(shown(env, Error::slot_busy(slot)));
    }
    let record = env.data.record().clone();
    let mut titles = Titles::default();
    for slot in slots.iter() {
        let highest = owners.titles.of(slot).max(record.moves.titles.of(slot));
        let more = match (owners.answered, owners.failed) {
            (_, 1..) => FORCED,
            (1.., 0) => REGAINED,
            (0, 0) => 0, // the first node of a cluster
        };
        titles.set(slot, highest.saturating_add(more));
    }
    let runs = titles.runs();
    let marked: Vec<u16> = slots
        .iter()
        .filter(|slot| record.moves.importing.contains_key(slot))
        .collect();
    let bytes = 2 * state::room::RECORD + state::room::GAIN * slots.len();
    if !env.data.room_for(bytes) {
        return Ok(false);
    }
    for slot in marked {
        env.data.end_importing(slot);
    }
    env.data.add_slots(slots);
    // M9: while an older build is among the members no slot moves, and there are no titles.
    if titles != Titles::default() && can_say(env) {
        env.data.set_titles(&runs);
    }
    Ok(true)
}
