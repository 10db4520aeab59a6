//! MIGRATE to a server that is no node of this program in this cluster (M26).
//!
//! Owns which keys may go there, and in which order it is asked and they are lent. Never: sends anything.
//! Invariant: keys are lent only to a server that has greeted, so a server that can't be reached freezes none.

use super::super::env::{BlockKind, Done, Env, Flow};
use super::super::error::Error;
use super::super::upgrade::are_upgraded;
use super::plan::{may_lend, shard_at, wait_for, Plan, Target};
use super::shards::to_shard;
use base::ShardId;
use state::Reader;
use topology::moves::Lend;
use topology::outside::{Outside, Place, Server, Unreached};

pub fn migrate(env: &mut Env<'_>, plan: &Plan<'_>, slot: u16) -> Done {
    let record = env.data.record();
    // M22: under an unclean mark an operator's tool brings leftovers back to the slot's owner.
    let unclean = record.moves.importing.get(&slot).map(|mark| !mark.clean);
    if !record.slots.contains(slot) && unclean != Some(true) {
        return Err(Error::not_owner(slot));
    }
    // M11: while the move runs backwards nothing of the slot is lent.
    let closing = record.moves.migrating.get(&slot).map(|mark| mark.closing);
    if closing == Some(true) {
        return Err(Error::slot_migrating(slot));
    }
    let outside = ShardId::default();
    if !plan.copy && may_lend(env, plan, outside)?.is_none() {
        return Ok(Flow::Hold);
    }
    let place = Place {
        host: String::from_utf8_lossy(plan.host).into_owned(),
        port: plan.port,
        db: plan.db,
        credentials: plan.credentials.clone(),
    };
    let Some((link, server)) = reach(env, plan, &place)? else {
        return Ok(Flow::Hold);
    };
    // Under another name it may be a node of this cluster all the same.
    let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
    if let Some(node) = server.node.filter(|id| cluster.view().node(*id).is_some()) {
        match shard_at(env, node)? {
            Some(Target::Outside) => {}
            other => {
                let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
                cluster.leave(link);
                return match other {
                    Some(Target::Shard(to)) => to_shard(env, plan, slot, to),
                    _ => Ok(Flow::Hold),
                };
            }
        }
    }
    send(env, plan, slot, &place, (link, server))
}

/// None: it has not answered yet.
fn reach(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    place: &Place,
) -> Result<Option<(u64, Server)>, Error> {
    let overdue = env.overdue;
    let question = &mut env.session.question;
    let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
    match cluster.reach(question, place, plan.patience) {
        Some(Ok(reached)) => Ok(Some(reached)),
        Some(Err(Unreached::Refused(text))) => Err(Error::target_error(&text)),
        Some(Err(Unreached::Connecting | Unreached::Lost)) => Err(Error::MIGRATE_CONNECTING),
        None if overdue => {
            *question = None;
            Err(Error::MIGRATE_CONNECTING)
        }
        None => Ok(None),
    }
}

fn send(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    slot: u16,
    place: &Place,
    (link, server): (u64, Server),
) -> Done {
    // Any Redis refuses a payload of a version above its own.
    let cargo = plan.cargo(env, (slot, None), Reader::Any, &[]);
    let to = (link, server.is_cluster);
    if plan.copy {
        let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
        let number = cluster.copy_outside(to, cargo, plan.patience);
        return Ok(wait_for(plan, BlockKind::Copy { number }));
    }
    if !are_upgraded(env, None, plan.weight())? {
        return Ok(Flow::Hold);
    }
    let entry = Lend {
        slot,
        to: ShardId::default(),
        mark: None,
        keys: cargo.parcels.iter().map(|p| p.key.clone()).collect(),
        outside: Some(Outside::of(place, &server)),
    };
    let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
    let id = cluster.mint();
    env.data.lend(id, entry);
    let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
    if env.data.footprint().hold {
        cluster.leave(link);
        return Ok(Flow::Hold);
    }
    cluster.begin_outside(id, to, cargo, plan.patience);
    Ok(wait_for(plan, BlockKind::Lend { id }))
}
