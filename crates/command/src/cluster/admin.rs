//! What an operator asks of the node: MEET, FORGET, REPLICATE, FAILOVER, RESET, SAVECONFIG.
//!
//! Owns: the checks that Redis makes first, in its order, and its refusals. Never: carries anything
//! out; that is the host's (C1, E4), which may refuse as well.

use super::super::api::{Failover, ResetProgress};
use super::super::env::{Done, Env, Flow, Serving, DONE};
use super::super::error::Error;
use super::shared::{find_node, has_slots_in_log, holds_keys, host, parse_id, too_many};
use base::ShardId;
use cluster_bus::wire::Flags;
use config::CLUSTER_PORT_INCREMENT;
use resp::args::Args;
use resp::number::parse_i64;
use topology::{Moves, NodeView};

pub fn meet(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let cluster = host(env)?;
    if args.len() > 5 {
        return Err(too_many(args));
    }
    let port = parse_i64(&args[3]).ok_or_else(|| Error::invalid_port("base", &args[3]))?;
    let cport = match args.get(4) {
        Some(text) => parse_i64(text).ok_or_else(|| Error::invalid_port("bus", text))?,
        None => port.saturating_add(CLUSTER_PORT_INCREMENT.into()),
    };
    let valid = |port: i64| u16::try_from(port).ok().filter(|port| *port != 0);
    let met = match (std::str::from_utf8(&args[2]), valid(port), valid(cport)) {
        (Ok(ip), Some(port), Some(cport)) => cluster.meet(ip, port, cport),
        _ => false,
    };
    if !met {
        return Err(Error::invalid_node_address(&args[2], &args[3]));
    }
    env.reply().ok();
    DONE
}

pub fn forget(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let cluster = host(env)?;
    let view = cluster.view();
    let node = match find_node(view, &args[2]) {
        Ok(node) => node.id,
        // C1: a node can be forgotten that the bus has forgotten already, by gossip, and a member of
        // the shard removed.
        Err(unknown) => {
            let Some(id) = parse_id(&args[2]) else {
                return Err(unknown);
            };
            cluster.forget(id)?;
            env.reply().ok();
            return DONE;
        }
    };
    if node == view.myself {
        return Err(Error::FORGET_MYSELF);
    }
    if view.me().is_slave() && view.me().master == Some(node) {
        return Err(Error::FORGET_MASTER);
    }
    // M13: of the last node that could speak for a shard that slots move to or from the moves end first.
    let shard = view.node(node).and_then(NodeView::stands_for);
    let of = view.nodes.iter().filter(|n| n.stands_for() == shard);
    let last = of.count() == 1;
    if let Some(shard) = shard.filter(|_| last) {
        if !has_ended_moves(env, Some(shard))? {
            return Ok(Flow::Hold);
        }
    }
    let cluster = host(env)?;
    cluster.forget(node)?;
    env.reply().ok();
    DONE
}

/// C1: refused only when it is hopeless; the host joins in the background.
pub fn replicate(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let view = host(env)?.view();
    let master = find_node(view, &args[2])?;
    if master.id == view.myself {
        return Err(Error::REPLICATE_MYSELF);
    }
    if master.is_slave() {
        return Err(Error::REPLICATE_REPLICA);
    }
    let (master, me) = (master.id, view.me());
    if me.is_master() {
        let has_slots = !me.slots.is_empty();
        // Not two conditions in one: looking at the keys makes the reply depend on them.
        if has_slots || has_slots_in_log(env) || holds_keys(env) {
            return Err(Error::REPLICATE_NOT_EMPTY);
        }
        if !has_ended_moves(env, None)? {
            return Ok(Flow::Hold);
        }
    }
    host(env)?.replicate(master)?;
    env.reply().ok();
    DONE
}

/// M13: whether no move is open with this shard, or with any; if one is it is turned back, which takes a while:
/// the command is held. A shard that has agreed to take a slot, or waits for another one's word, does not end.
/// A replica can't turn anything back; it forgets, and its leader does not hear of that from it.
fn has_ended_moves(env: &mut Env<'_>, with: Option<ShardId>) -> Result<bool, Error> {
    if !matches!(env.serving, Serving::Lead { .. }) {
        return Ok(true);
    }
    let open = |moves: &Moves| match with {
        Some(shard) => moves.others().contains(&shard),
        None => moves.owes(),
    };
    let records = [env.data.record(), env.data.committed_record()];
    let Some(moves) = records.map(|r| &r.moves).into_iter().find(|m| open(m)) else {
        return is_heard(env, with);
    };
    if env.overdue || env.session.deny_blocking {
        let node = moves
            .node_of(with)
            .map_or_else(String::new, |id| id.to_string());
        env.data.depends_on_all();
        return Err(Error::slots_moving(&node));
    }
    host(env)?.end_moves(with);
    Ok(false)
}

/// M13: a shard that ends by an operator's word, and has had to do with moves, is heard first by those that wait
/// for what it has decided. It is asked for no longer than the command can be held.
fn is_heard(env: &mut Env<'_>, with: Option<ShardId>) -> Result<bool, Error> {
    let decided = !env.data.record().moves.ledgers.is_empty();
    let may_wait = !env.overdue && !env.session.deny_blocking;
    let question = &mut env.session.question;
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    if with.is_some() || !decided || !may_wait {
        cluster.withdraw_question(question);
        return Ok(true);
    }
    Ok(cluster.nobody_waits(question))
}

pub fn failover(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let cluster = host(env)?;
    let mode = match args.get(2) {
        _ if args.len() > 3 => return Err(too_many(args)),
        None => Failover::Planned,
        Some(word) if word.eq_ignore_ascii_case(b"force") => Failover::Force,
        Some(word) if word.eq_ignore_ascii_case(b"takeover") => Failover::Takeover,
        Some(_) => return Err(Error::SYNTAX),
    };
    let view = cluster.view();
    let me = view.me();
    if me.is_master() {
        return Err(Error::FAILOVER_ON_MASTER);
    }
    let master = me.master.and_then(|id| view.node(id));
    let master = master.ok_or(Error::FAILOVER_NO_MASTER)?;
    if mode == Failover::Planned && (master.flags.has(Flags::FAIL) || !master.connected) {
        return Err(Error::FAILOVER_MASTER_DOWN);
    }
    cluster.failover(mode)?;
    env.reply().ok();
    DONE
}

pub fn reset(env: &mut Env<'_>, args: Args<'_>) -> Done {
    host(env)?;
    let hard = match args.get(2) {
        _ if args.len() > 3 => return Err(too_many(args)),
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"hard") => true,
        Some(word) if word.eq_ignore_ascii_case(b"soft") => false,
        Some(_) => return Err(Error::SYNTAX),
    };
    if host(env)?.view().me().is_master() && holds_keys(env) {
        return Err(Error::RESET_NOT_EMPTY);
    }
    let master = host(env)?.view().me().is_master();
    if master && env.session.waits_for_reset.is_none() && !has_ended_moves(env, None)? {
        return Ok(Flow::Hold);
    }
    let waits_for = env.session.waits_for_reset.take();
    match host(env)?.reset(hard, waits_for)? {
        // Behind another command of an EXEC it can't wait: the reset goes on behind the reply.
        ResetProgress::Later(number) if !env.session.deny_blocking => {
            env.session.waits_for_reset = Some(number);
            return Ok(Flow::Hold);
        }
        ResetProgress::Later(_) | ResetProgress::Done => env.reply().ok(),
    }
    DONE
}

pub fn saveconfig(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?.save_config()?;
    env.reply().ok();
    DONE
}
