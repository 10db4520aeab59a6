//! MIGRATE to another shard of this cluster (M1, M22, M24, M30).
//!
//! Owns which mark the keys are lent under. Never: sends a value.

use super::super::env::{BlockKind, Done, Env, Flow};
use super::super::error::Error;
use super::super::gains::shown;
use super::super::upgrade::{are_upgraded, may_be_said};
use super::plan::{may_lend, own_shard, wait_for, Plan};
use base::ShardId;
use state::Reader;
use topology::moves::{Lend, MarkQuestion};
use topology::MoveId;

/// What a copy to another shard may be: it goes in one frame.
const MOST_COPIED: usize = 32 << 20;

/// To another shard of this cluster.
pub fn to_shard(env: &mut Env<'_>, plan: &Plan<'_>, slot: u16, to: ShardId) -> Done {
    if plan.db != 0 {
        let refused = Error::SELECT_IN_CLUSTER;
        return Err(Error::target_error(refused.as_bytes()));
    }
    if plan.copy {
        return copy(env, plan, (slot, to));
    }
    if !env.data.record().slots.contains(slot) {
        return lend(env, plan, (slot, to, None)); // M22: keys of before go to the slot's owner
    }
    // An answer that can't be used is asked for again, as fast as it comes: room first.
    if !has_place(env, plan, slot, to)? {
        return Ok(Flow::Hold);
    }
    match mark(env, slot, to)? {
        None => Ok(Flow::Hold),
        Some(mark) => lend(env, plan, (slot, to, Some(mark))),
    }
}

/// M8: the mark under which the keys are lent; none: it is asked for, and the command is held.
fn mark(env: &mut Env<'_>, slot: u16, target: ShardId) -> Result<Option<MoveId>, Error> {
    let leaving = env.data.record().moves.migrating.get(&slot);
    let Some(leaving) = leaving.filter(|mark| mark.shard == target && !mark.closing) else {
        return Err(Error::not_migrating_there(slot));
    };
    if let Some(mark) = leaving.mark {
        return Ok(Some(mark));
    }
    let question = &mut env.session.question;
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    match cluster.mark_elsewhere(question, target, slot, MarkQuestion::Which) {
        Some(Some(mark)) => Ok(Some(mark)),
        Some(None) => {
            let addr = env
                .routing
                .and_then(|r| r.masters.get(&own_shard(env)).cloned());
            let moved = format!("MOVED {slot} {}", addr.unwrap_or_default());
            Err(Error::target_error(moved.as_bytes()))
        }
        None if env.overdue => {
            env.session.question = None;
            Err(Error::MIGRATE_TIMEOUT)
        }
        None => Ok(None),
    }
}

/// M24: the keys stay, and the target restores them as well.
fn copy(env: &mut Env<'_>, plan: &Plan<'_>, (slot, to): (u16, ShardId)) -> Done {
    let cargo = plan.cargo(env, (slot, None), Reader::Newest, &[]);
    let bytes = cargo.parcels.iter().map(|p| p.key.len() + p.payload.len());
    if bytes.sum::<usize>() > MOST_COPIED {
        return Err(Error::MIGRATE_WRITING);
    }
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let number = cluster.begin_copy(to, cargo, plan.patience);
    Ok(wait_for(plan, BlockKind::Copy { number }))
}

/// Whether one more lend may be begun, with the keys that go ahead.
fn has_place(env: &mut Env<'_>, plan: &Plan<'_>, slot: u16, to: ShardId) -> Result<bool, Error> {
    let ahead = plan.ahead(env, slot);
    let bytes: usize = ahead.iter().map(|key| key.len() + 8).sum();
    Ok(may_lend(env, plan, to)?.is_some() && may_be_said(env, None, plan.weight() + bytes)?)
}

/// Under this mark; without one the keys are leftovers (M22).
fn lend(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    (slot, to, mark): (u16, ShardId, Option<MoveId>),
) -> Done {
    // All entries, or none.
    if !has_place(env, plan, slot, to)? || !are_upgraded(env, None, 0)? {
        return Ok(Flow::Hold);
    }
    let ahead = plan.ahead(env, slot);
    let cargo = plan.cargo(env, (slot, mark), Reader::Newest, &ahead);
    let entry = Lend {
        slot,
        to,
        mark,
        keys: cargo.parcels.iter().map(|p| p.key.clone()).collect(),
        db: 0,
        outside: None,
    };
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let id = cluster.mint();
    // M8: under a mark that stays unbound nothing goes: STABLE would end it beside the lend.
    if mark.is_some_and(|mark| !env.data.bind(slot, mark)) {
        return Err(shown(env, Error::not_migrating_there(slot)));
    }
    env.data.lend(id, entry);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    let named = cargo.parcels.len() - ahead.len();
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    cluster.begin_lend(id, (cargo, named), plan.patience);
    Ok(wait_for(plan, BlockKind::Lend { id }))
}
