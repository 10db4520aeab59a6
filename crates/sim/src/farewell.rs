//! A shard whose last word about a slot is lost, and that gives all its slots away meanwhile: it must not end
//! before it has been heard (M28, I9).
//!
//! Owns the one such scene that a run has. Never: changes anything but as an operator, and by cutting links.
//! What it does depends on where the slot's move stands; often enough the word gets through.

use crate::clock::{True, MS, US};
use crate::mover::{self, Standing};
use crate::ops::Op;
use crate::scenes::Step;
use crate::world::{Event, World};
use cluster_bus::SlotSet;

#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    /// The shard that is to end, and the one to which its slots go.
    at: usize,
    to: usize,
    until: True,
}

/// How long the other shard hears nothing: an emptied shard's replicas go first, then its leader.
const LASTS: u64 = 15;

/// Begins one, where a slot is on its way from shard to shard. The word that is lost is that the slot has been
/// taken, or that its mark has ended.
pub fn begin(w: &mut World, s: &Standing) -> bool {
    let Some((Some(at), false)) = s.leaves_to else {
        return false;
    };
    let both = s.comes.contains(&(at, Some(s.owner), false));
    let third = w.shards().find(|shard| *shard != at && *shard != s.owner);
    let (Some(to), true) = (third, both) else {
        return false;
    };
    w.plan.farewell = false;
    let lasts = LASTS * w.plan.t();
    let from = w.now + w.rng.range(100 * US, 6 * MS);
    for here in w.members_of(at) {
        for there in w.members_of(s.owner) {
            w.at(from, Event::Step(Step::Cut(here, there, lasts)));
        }
    }
    let until = from + lasts;
    w.farewell = Some(Farewell { at, to, until });
    let taken = s.keys == 0 && w.rng.chance(0.8);
    let slot = s.slot;
    mover::ask(w, at, |w| match taken {
        true => Some(Op::SlotNode(slot, mover::name_of(w, at)?)),
        false => Some(Op::Stable(slot)),
    });
    true
}

/// The next step of what empties the shard. False: none is under way.
pub fn proceed(w: &mut World) -> bool {
    let Some(Farewell { at, to, until }) = w.farewell else {
        return false;
    };
    if w.now >= until || w.checks.has_ended(w.groups[at]) {
        w.farewell = None;
        return false;
    }
    let slots: Vec<u16> = w.slots.iter().flat_map(SlotSet::iter).collect();
    for slot in slots {
        let Some(s) = w.standing(slot).filter(|s| s.owner == at) else {
            continue;
        };
        match s.leaves_to {
            None => {
                mover::import(w, slot, to, at);
                mover::leave(w, slot, at, to);
            }
            Some((Some(towards), false)) if towards == to => match s.keys {
                0 => mover::ask(w, to, |w| Some(Op::SlotNode(slot, mover::name_of(w, to)?))),
                _ => mover::migrate(w, slot, at, to, true),
            },
            Some((_, false)) => mover::stable(w, slot, at),
            Some((_, true)) => {}
        }
    }
    true
}
