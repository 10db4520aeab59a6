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

/// `slot`: of the keys; outside a cluster slots say nothing.
pub fn migrate(env: &mut Env<'_>, plan: &Plan<'_>, slot: u16) -> Done {
    let in_cluster = env.server.cluster().is_some();
    if in_cluster {
        may_leave(env, slot)?;
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
    let at = match in_cluster {
        true => node_at(env, &server),
        false => Ok(Some(Target::Outside)),
    };
    let slot = if in_cluster { slot } else { 0 };
    let done = match at {
        Ok(Some(Target::Outside)) => send(env, plan, slot, &place, (link, &server)),
        Ok(Some(Target::Shard(to))) => {
            env.server.outside().leave(link);
            return to_shard(env, plan, slot, to);
        }
        Ok(None) => Ok(Flow::Hold),
        Err(error) => Err(error),
    };
    if !matches!(done, Ok(Flow::Block(_))) {
        env.server.outside().leave(link);
    }
    done
}

fn may_leave(env: &Env<'_>, slot: u16) -> Result<(), Error> {
    let record = env.data.record();
    // M22: under an unclean mark an operator's tool brings leftovers back to the slot's owner.
    let unclean = record.moves.importing.get(&slot).map(|mark| !mark.clean);
    if !record.slots.contains(slot) && unclean != Some(true) {
        return Err(Error::not_owner(slot));
    }
    // M11: while the move runs backwards nothing of the slot is lent.
    let closing = record.moves.migrating.get(&slot).map(|mark| mark.closing);
    match closing {
        Some(true) => Err(Error::slot_migrating(slot)),
        _ => Ok(()),
    }
}

/// None: it has not answered yet.
fn reach(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    place: &Place,
) -> Result<Option<(u64, Server)>, Error> {
    let overdue = env.overdue;
    let question = &mut env.session.question;
    match env.server.outside().reach(question, place, plan.patience) {
        // It waits for itself, as a Redis that migrates to itself does.
        Some(Ok((link, server))) if is_myself(env, &server) => {
            env.server.outside().leave(link);
            Err(Error::MIGRATE_TIMEOUT)
        }
        Some(Ok(reached)) => Ok(Some(reached)),
        Some(Err(Unreached::Refused(text))) => Err(Error::target_error(&text)),
        Some(Err(Unreached::Connecting)) => Err(Error::MIGRATE_CONNECTING),
        Some(Err(Unreached::Lost)) => Err(Error::MIGRATE_TIMEOUT),
        None if overdue => {
            env.session.question = None;
            Err(Error::MIGRATE_CONNECTING)
        }
        None => Ok(None),
    }
}

fn is_myself(env: &Env<'_>, server: &Server) -> bool {
    !server.run.is_empty() && server.run == env.server.process().run_id.as_bytes()
}

/// Under another name it may be a node of this cluster all the same. None: it is not known yet.
fn node_at(env: &mut Env<'_>, server: &Server) -> Result<Option<Target>, Error> {
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    match server.node.filter(|id| cluster.view().node(*id).is_some()) {
        Some(node) => shard_at(env, node),
        None => Ok(Some(Target::Outside)),
    }
}

fn send(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    slot: u16,
    place: &Place,
    (link, server): (u64, &Server),
) -> Done {
    // Any Redis refuses a payload of a version above its own.
    let cargo = plan.cargo(env, (slot, None), Reader::Any, &[]);
    let to = (link, server.is_cluster);
    if plan.copy {
        let number = env.server.outside().copy_outside(to, cargo, plan.patience);
        return Ok(wait_for(plan, BlockKind::Copy { number }));
    }
    // Outside a cluster nobody else reads the log.
    if env.server.cluster().is_some() && !are_upgraded(env, None, plan.weight())? {
        return Ok(Flow::Hold);
    }
    let entry = Lend {
        slot,
        to: ShardId::default(),
        mark: None,
        db: env.data.db(),
        keys: cargo.parcels.iter().map(|p| p.key.clone()).collect(),
        outside: Some(Outside::of(place, server)),
    };
    let id = env.server.outside().mint();
    env.data.lend(id, entry);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    let outside = env.server.outside();
    outside.begin_outside(id, to, cargo, plan.patience);
    Ok(wait_for(plan, BlockKind::Lend { id }))
}
