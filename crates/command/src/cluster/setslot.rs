//! CLUSTER SETSLOT: a slot's marks, and its new owner (M8, M11, M18, M20).
//!
//! Owns: Redis's checks in their order, and what each form changes here. Never: moves a key, or makes a slot
//! another shard's: that is agreed upon by the leaders of both shards.

use super::super::env::{Block, BlockKind, Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::gains::{gain, owners, parse_slot, shown};
use super::super::upgrade::{are_upgraded, may_be_said};
use super::shared::{host, lives, parse_id};
use base::mutation::{self, Mutation};
use base::ShardId;
use cluster_bus::NodeId;
use resp::args::Args;
use std::time::Duration;
use topology::moves::{Importing, MarkQuestion, Migrating};

/// How long a client waits for the end of a move, which goes on without it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// M18: how long a client waits for a slot that it has asked for. A tool gives up its whole work at an error:
/// the owner's shard may need the time to elect another leader.
fn patience_for_owner(env: &Env<'_>) -> Duration {
    PATIENCE.max(Duration::from_millis(
        env.server.config().cluster_node_timeout,
    ))
}

/// A node that SETSLOT names.
struct Named {
    node: NodeId,
    shard: Option<ShardId>,
    is_slave: bool,
}

pub fn setslot(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if host(env)?.view().me().is_slave() {
        return Err(Error::SETSLOT_ON_REPLICA);
    }
    let slot = parse_slot(&args[2])?;
    let is = |name: &str, argc: usize| {
        args[3].eq_ignore_ascii_case(name.as_bytes()) && args.len() == argc
    };
    if is("migrating", 5) {
        migrating(env, slot, &args[4])
    } else if is("importing", 5) {
        importing(env, slot, &args[4])
    } else if is("stable", 4) {
        stable(env, slot)
    } else if is("stable", 5) && args[4].eq_ignore_ascii_case(b"force") {
        force(env, slot)
    } else if is("node", 5) {
        node(env, slot, &args[4])
    } else {
        Err(Error::SETSLOT_ACTION)
    }
}

/// None: no such node is known.
fn named(env: &mut Env<'_>, id: &[u8]) -> Result<Option<Named>, Error> {
    let view = host(env)?.view();
    let node = parse_id(id).and_then(|id| view.node(id));
    Ok(node.map(|node| Named {
        node: node.id,
        // A node that has just started has not said it.
        shard: node.stands_for().filter(|id| *id != ShardId::default()),
        is_slave: node.is_slave(),
    }))
}

/// What a node stands for.
#[derive(Clone, Copy)]
struct OtherEnd {
    node: NodeId,
    shard: ShardId,
    /// M9: nothing can be agreed with it.
    redis: bool,
}

impl OtherEnd {
    /// The shard with which a move is agreed upon; none with a real Redis.
    fn agrees(&self) -> Option<ShardId> {
        (!self.redis).then_some(self.shard)
    }
}

/// The shard that a node stands for, which the bus may not have told yet, and of which kind it is; none: the
/// command is held.
fn other_end(env: &mut Env<'_>, named: &Named, id: &[u8]) -> Result<Option<OtherEnd>, Error> {
    let redis = match host(env)?.is_redis(named.node) {
        Some(redis) => redis,
        None if env.overdue => false,
        None => return Ok(None),
    };
    // Redis 7.0 does not say which its shard is: the node stands for itself.
    let shard = named.shard.or(redis.then_some(ShardId(named.node.0)));
    match shard {
        None if env.overdue => Err(Error::stranger(id)),
        shard => Ok(shard.map(|shard| OtherEnd {
            node: named.node,
            shard,
            redis,
        })),
    }
}

/// A shard has no words for itself, so nothing would ever end such a mark (M11).
fn not_itself(env: &mut Env<'_>, slot: u16, other: OtherEnd) -> Result<(), Error> {
    let me = host(env)?.view().myself;
    match other.node == me || other.shard == env.data.record().shard {
        true => Err(Error::slot_to_itself(slot)),
        false => Ok(()),
    }
}

fn done(env: &mut Env<'_>) -> Done {
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    env.reply().ok();
    DONE
}

fn migrating(env: &mut Env<'_>, slot: u16, id: &[u8]) -> Done {
    let departed = env.data.record().moves.departed.get(&slot).map(|d| d.to);
    if departed.is_none() && !env.data.record().slots.contains(slot) {
        return Err(shown(env, Error::not_owner(slot)));
    }
    let to = named(env, id)?.ok_or_else(|| Error::stranger(id))?;
    if to.is_slave {
        return Err(Error::SETSLOT_TARGET);
    }
    let Some(to) = other_end(env, &to, id)? else {
        return Ok(Flow::Hold);
    };
    not_itself(env, slot, to)?;
    if let Some(gone_to) = departed {
        // M29: it is shown as migrating, until the other shard has it.
        env.data.depends_on_all();
        return match gone_to == to.shard {
            true => done(env),
            false => Err(Error::slot_migrating(slot)),
        };
    }
    let before = env.data.record().moves.migrating.get(&slot).cloned();
    if let Some(mark) = before {
        env.data.depends_on_all();
        return match mark.shard == to.shard && !mark.closing {
            true => done(env),
            false => Err(Error::slot_still_open(slot, mark.node)),
        };
    }
    if !are_upgraded(env, to.agrees(), 0)? {
        return Ok(Flow::Hold);
    }
    // The other shard's mark is bound when the first key goes there (M8).
    let mark = Migrating {
        shard: to.shard,
        node: to.node,
        mark: None,
        closing: false,
        redis: to.redis,
    };
    env.data.mark_migrating(slot, mark);
    done(env)
}

fn importing(env: &mut Env<'_>, slot: u16, id: &[u8]) -> Done {
    if env.data.record().slots.contains(slot) {
        return Err(shown(env, Error::already_owner(slot)));
    }
    let from = named(env, id)?.ok_or_else(|| Error::stranger(id))?;
    if from.is_slave {
        return Err(Error::SETSLOT_TARGET);
    }
    let Some(from) = other_end(env, &from, id)? else {
        return Ok(Flow::Hold);
    };
    not_itself(env, slot, from)?;
    if env.data.record().moves.departed.contains_key(&slot) {
        // It comes back before the shard that it went to has said that it has it.
        return match env.overdue {
            true => Err(shown(env, Error::slot_migrating(slot))),
            false => Ok(Flow::Hold),
        };
    }
    let before = env.data.record().moves.importing.get(&slot).cloned();
    if let Some(mark) = before {
        env.data.depends_on_all();
        return match mark.shard == from.shard && !mark.returning {
            true => done(env),
            false => Err(Error::slot_still_open(slot, mark.node)),
        };
    }
    if !are_upgraded(env, from.agrees(), 0)? {
        return Ok(Flow::Hold);
    }
    let empty = env.data.keyspace().count_in_slot(slot) == 0;
    let mark = Importing {
        shard: from.shard,
        node: from.node,
        mark: host(env)?.mint(),
        clean: empty || mutation::is(Mutation::UncleanCountsAsClean),
        returning: false,
        redis: from.redis,
    };
    // M11: one that takes no keys just goes, and nobody hears of that.
    if mark.clean && !mark.redis {
        host(env)?.announce_mark(slot, mark.mark);
    }
    env.data.mark_importing(slot, mark);
    done(env)
}

/// M11: a move that began runs backwards; one under which nothing can have gone ends at once.
fn stable(env: &mut Env<'_>, slot: u16) -> Done {
    let moves = &env.data.record().moves;
    let leaving = moves.migrating.get(&slot).cloned();
    let coming = moves.importing.get(&slot).cloned();
    env.data.depends_on_all();
    match (leaving, coming) {
        (Some(mark), _) => {
            if mark.mark.is_none() {
                env.data.end_migrating(slot);
                return done(env);
            }
            if !mark.closing {
                env.data.close_migrating(slot);
            }
        }
        // M22: nobody takes anything back: what is here stays, unreachable.
        (None, Some(mark)) if mark.redis || !mark.clean => {
            let lends = env.data.lent_in(slot) > 0; // leftovers on their way to the owner
            if lends && env.overdue {
                return Err(shown(env, Error::slot_migrating(slot)));
            }
            if lends {
                return Ok(Flow::Hold);
            }
            env.data.end_importing(slot);
            return done(env);
        }
        (None, Some(mark)) => {
            if !mark.returning {
                env.data.return_importing(slot);
            }
        }
        (None, None) => return done(env),
    }
    if env.session.deny_blocking || env.data.footprint().hold {
        return done(env);
    }
    until_end(slot)
}

/// The reply waits for the end of the move, for so long as a client is patient.
fn until_end(slot: u16) -> Done {
    Ok(Flow::Block(Block {
        kind: BlockKind::MarkEnd { slot },
        timeout: Some(PATIENCE),
    }))
}

/// M11, an operator's word that the other shard is gone for good: what is lent there is taken back, and the
/// mark ends, or the hand-over of a slot that a third shard has by now. Should that shard come back all the same,
/// it has copies.
fn force(env: &mut Env<'_>, slot: u16) -> Done {
    let moves = env.data.record().moves.clone();
    let leaving = moves.migrating.get(&slot).map(|mark| mark.shard);
    let coming = moves.importing.get(&slot).map(|mark| mark.shard);
    let departed = moves.departed.get(&slot).map(|d| (d.to, d.id));
    let left = departed.map(|(shard, _)| shard);
    let Some(shard) = leaving.or(coming).or(left) else {
        env.data.depends_on_all();
        return done(env);
    };
    if lives(host(env)?.view(), shard) {
        return Err(Error::SHARD_LIVES);
    }
    let lends = moves.lends.iter().filter(|(_, lend)| lend.slot == slot);
    let lends: Vec<_> = lends.map(|(id, _)| *id).collect();
    if !env.data.room_for((lends.len() + 2) * state::room::COMMAND) {
        return Ok(Flow::Hold);
    }
    for id in lends {
        env.data.return_lend(id);
    }
    match (leaving, departed) {
        (Some(_), _) => env.data.end_migrating(slot),
        (None, Some((_, id))) => env.data.forget_hand_off(slot, id),
        (None, None) => env.data.end_importing(slot),
    };
    done(env)
}

fn node(env: &mut Env<'_>, slot: u16, id: &[u8]) -> Done {
    let to = named(env, id)?.ok_or_else(|| Error::unknown_node(id))?;
    if to.is_slave {
        return Err(Error::SETSLOT_TARGET);
    }
    let me = host(env)?.view().myself;
    let record = env.data.record().clone();
    let owned = record.slots.contains(slot);
    if to.node == me {
        return take(env, slot, owned);
    }
    if owned {
        if env.data.keyspace().count_in_slot(slot) > 0 {
            return Err(shown(env, Error::slot_holds_keys(slot)));
        }
        let Some(to) = other_end(env, &to, id)? else {
            return Ok(Flow::Hold);
        };
        return match to.redis {
            true => give_up(env, slot, to.node),
            false => give(env, slot, (to.shard, to.node)),
        };
    }
    let departed = record.moves.departed.get(&slot);
    if departed.is_some_and(|d| Some(d.to) == to.shard) {
        env.data.depends_on_all();
        return match env.session.deny_blocking {
            true => done(env),
            false => until_end(slot),
        };
    }
    match record.moves.importing.get(&slot) {
        // The move has ended elsewhere.
        Some(mark) if mark.redis => {
            env.data.end_importing(slot);
            if env.data.footprint().hold {
                return Ok(Flow::Hold);
            }
        }
        Some(_) => return Err(shown(env, Error::slot_migrating(slot))),
        None => {}
    }
    host(env)?.set_owner(slot, to.node);
    env.reply().ok();
    DONE
}

/// M20: the slot, which has no key here, is to be a real Redis's, which is not asked.
fn give_up(env: &mut Env<'_>, slot: u16, to: NodeId) -> Done {
    if !env.data.room_for(3 * state::room::RECORD) {
        return Ok(Flow::Hold);
    }
    let moves = &env.data.record().moves;
    if let Some(mark) = moves.migrating.get(&slot).filter(|mark| !mark.redis) {
        let error = Error::slot_still_open(slot, mark.node);
        return Err(shown(env, error));
    }
    host(env)?.set_owner(slot, to);
    env.data.end_migrating(slot);
    env.data.del_slots(&[slot].into_iter().collect());
    done(env)
}

/// M20: a slot whose keys came from a real Redis, which is not asked either: its next packets lose against the
/// higher epoch.
fn take_unasked(env: &mut Env<'_>, slot: u16) -> Done {
    let view = host(env)?.view();
    let owner = view.nodes.iter().find(|node| node.slots.contains(slot));
    let theirs = owner.map_or(0, |node| node.config_epoch);
    let highest = view.max_epoch();
    if !env.data.room_for(4 * state::room::RECORD) {
        return Ok(Flow::Hold);
    }
    let title = env.data.record().moves.titles.of(slot).saturating_add(1);
    let (before, master) = (env.data.record().epoch, env.data.record().master);
    let highest = highest.max(before);
    env.data.end_importing(slot);
    env.data.add_slots(&[slot].into_iter().collect());
    env.data.set_titles(&[(slot, slot, title)]);
    if before <= theirs || before < highest {
        env.data.set_epoch(highest.saturating_add(1), master);
    }
    done(env)
}

/// M18: the slot, which has no key here, is to be another shard's, which agrees to it by its mark. It is asked for
/// one, unless ours is bound already: a tool may set none at all.
fn give(env: &mut Env<'_>, slot: u16, (shard, node): (ShardId, NodeId)) -> Done {
    if env.session.deny_blocking {
        return Err(Error::SETSLOT_IN_MULTI);
    }
    let before = env.data.record().moves.migrating.get(&slot).cloned();
    if let Some(mark) = before.as_ref().filter(|m| m.shard != shard || m.closing) {
        let error = Error::slot_still_open(slot, mark.node);
        return Err(shown(env, error));
    }
    // An answer that can't be used is asked for again, as fast as it comes: room first.
    if !may_be_said(env, Some(shard), 0)? {
        return Ok(Flow::Hold);
    }
    let question = &mut env.session.question;
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let bound = before.as_ref().and_then(|mark| mark.mark);
    let asks = bound.map_or(MarkQuestion::Wanted, |_| MarkQuestion::Which);
    let Some(known) = cluster.mark_elsewhere(question, shard, slot, asks) else {
        if env.overdue {
            env.session.question = None;
            return Err(Error::HAND_OVER_TIMEOUT);
        }
        return Ok(Flow::Hold);
    };
    let Some(mark) = known.filter(|mark| bound.is_none_or(|bound| bound <= *mark)) else {
        return Err(shown(env, Error::not_migrating_there(slot)));
    };
    let id = cluster.mint();
    if !are_upgraded(env, Some(shard), 0)? {
        return Ok(Flow::Hold);
    }
    if before.is_none() {
        let mark = Migrating {
            shard,
            node,
            mark: Some(mark),
            closing: false,
            redis: false,
        };
        env.data.mark_migrating(slot, mark);
    }
    if !env.data.bind(slot, mark) {
        return Err(shown(env, Error::not_migrating_there(slot)));
    }
    env.data.hand_off(slot, id);
    match env.data.footprint().hold {
        true => Ok(Flow::Hold),
        false => until_end(slot),
    }
}

/// M18: this shard is to have the slot, under its mark.
fn take(env: &mut Env<'_>, slot: u16, owned: bool) -> Done {
    if owned {
        env.data.depends_on_all();
        return done(env);
    }
    let Some(mark) = env.data.record().moves.importing.get(&slot).cloned() else {
        return unowned(env, slot);
    };
    if mark.redis {
        return take_unasked(env, slot);
    }
    if !mark.clean {
        return Err(shown(env, Error::slot_unclean(slot)));
    }
    if env.session.deny_blocking {
        return Err(Error::SETSLOT_IN_MULTI);
    }
    env.data.depends_on_all();
    let patience = patience_for_owner(env);
    host(env)?.want_slot(slot, mark.shard, mark.mark, patience);
    Ok(Flow::Block(Block {
        kind: BlockKind::HandOver { slot },
        timeout: Some(patience),
    }))
}

/// M20: without a mark a slot is taken only if no node has it.
fn unowned(env: &mut Env<'_>, slot: u16) -> Done {
    if env.data.record().moves.slots().contains(slot) {
        return Err(shown(env, Error::slot_migrating(slot)));
    }
    let view = host(env)?.view();
    if view.nodes.iter().any(|node| node.slots.contains(slot)) {
        return Err(shown(env, Error::slot_busy(slot)));
    }
    let slots = [slot].into_iter().collect();
    let Some(owners) = owners(env, &slots)? else {
        return Ok(Flow::Hold);
    };
    match gain(env, &slots, &owners)? {
        true => done(env),
        false => Ok(Flow::Hold),
    }
}
