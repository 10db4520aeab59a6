//! MIGRATE: keys go to another shard, each of them once (M1, M24).
//!
//! Owns: the command's syntax and texts, which keys go, and what its client is told in the end. Never: sends
//! a value (the cluster core does), or decides whether the keys have come (the target's commit does).

use super::env::{Block, BlockKind, Done, Env, Flow, Serving, DONE};
use super::error::Error;
use super::key_spec::{BadKeys, KeyFlags};
use super::rows::rows;
use super::spec::Role;
use base::ShardId;
use resp::args::Args;
use resp::number::parse_i64;
use std::time::Duration;
use topology::moves::{Cargo, Lend, Parcel};
use topology::MoveId;

rows! { pub static ROWS: Generic [KEYSPACE DANGEROUS] {
    "migrate" -6 [WRITE] "2.6.0" key(3 RW ACCESS DELETE) keyword("KEYS" -2 -1 1 RW ACCESS DELETE INCOMPLETE) => migrate: "Moves keys to another server." .role(Role::Migrate).keys_by(find_keys).tips(&["nondeterministic_output"]);
}}

/// M2: lends to one shard that are open at a time.
const MOST_LENDS: usize = 64;

/// What the arguments say.
struct Plan<'a> {
    host: &'a [u8],
    port: u16,
    patience: Duration,
    copy: bool,
    replace: bool,
    keys: Vec<&'a [u8]>,
}

/// The key, or those behind KEYS where it is empty.
fn find_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    let flags = KeyFlags(KeyFlags::RW.0 | KeyFlags::ACCESS.0 | KeyFlags::DELETE.0);
    if !args.at(3).is_empty() {
        visit(3, flags);
        return Ok(());
    }
    let mut at = 6;
    while at < args.len() {
        let word = args.at(at);
        if word.eq_ignore_ascii_case(b"keys") {
            (at + 1..args.len()).for_each(|at| visit(at, flags));
            return Ok(());
        }
        at += match word.to_ascii_lowercase().as_slice() {
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    Ok(())
}

fn parse<'a>(args: Args<'a>) -> Result<Plan<'a>, Error> {
    let (mut copy, mut replace, mut keys) = (false, false, vec![args.at(3)]);
    let mut at = 6;
    while at < args.len() {
        let more = args.len() - at - 1;
        match args.at(at).to_ascii_lowercase().as_slice() {
            b"copy" => copy = true,
            b"replace" => replace = true,
            // The nodes of a cluster have one password, and prove it on their links.
            b"auth" if more >= 1 => at += 1,
            b"auth2" if more >= 2 => at += 2,
            b"keys" => {
                if !args.at(3).is_empty() {
                    return Err(Error::MIGRATE_KEYS);
                }
                keys = args.skip(at + 1).iter().collect();
                break;
            }
            _ => return Err(Error::SYNTAX),
        }
        at += 1;
    }
    let timeout = parse_i64(args.at(5)).ok_or(Error::NOT_AN_INTEGER)?;
    parse_i64(args.at(4)).ok_or(Error::NOT_AN_INTEGER)?;
    let port = parse_i64(args.at(2)).and_then(|port| u16::try_from(port).ok());
    let timeout = if timeout <= 0 { 1000 } else { timeout };
    Ok(Plan {
        host: args.at(1),
        port: port.unwrap_or(0),
        patience: Duration::from_millis(timeout.unsigned_abs()),
        copy,
        replace,
        keys,
    })
}

fn migrate(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut plan = parse(args)?;
    plan.keys.sort_unstable();
    plan.keys.dedup();
    if env.session.deny_blocking {
        return Err(Error::NO_MULTI);
    }
    let parcels = parcels(env, &plan);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    if parcels.is_empty() {
        env.session.question = None;
        env.reply().simple("NOKEY");
        return DONE;
    }
    let slot = env.data.key(&parcels[0].key).slot;
    let Some(target) = target(env, &plan) else {
        return Err(Error::MIGRATE_ELSEWHERE);
    };
    if plan.copy {
        return Err(Error::MIGRATE_COPY);
    }
    match mark(env, slot, target)? {
        None => Ok(Flow::Hold),
        Some(mark) => lend(env, &plan, (slot, target, mark), parcels),
    }
}

/// The keys that are here, with their values.
fn parcels(env: &mut Env<'_>, plan: &Plan<'_>) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    for bytes in &plan.keys {
        let key = env.data.key(bytes);
        let parcel = env
            .data
            .with(&key, |entry| entry.as_ref().map(state::parcel_of));
        parcels.extend(parcel);
    }
    parcels
}

/// The shard of the node at this address; none: no node of this cluster is there.
fn target(env: &mut Env<'_>, plan: &Plan<'_>) -> Option<ShardId> {
    let host = String::from_utf8_lossy(plan.host).into_owned();
    let view = env.server.cluster()?.view();
    let own = view.me().shard;
    let at = |node: &&topology::NodeView| {
        node.port == plan.port && (node.ip == host || node.hostname == host)
    };
    let node = view.nodes.iter().find(at)?;
    let shard = node.shard.filter(|shard| Some(*shard) != own)?;
    Some(shard).filter(|id| *id != ShardId::default())
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
    match cluster.mark_elsewhere(question, target, slot) {
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

fn own_shard(env: &Env<'_>) -> ShardId {
    env.data.record().shard
}

fn lend(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    (slot, to, mark): (u16, ShardId, MoveId),
    parcels: Vec<Parcel>,
) -> Done {
    assert!(
        matches!(env.serving, Serving::Lead { writable: true }),
        "T2: MIGRATE is admitted as a write"
    );
    if env.data.open_lends(to) >= MOST_LENDS || env.data.is_all_wanted() {
        return match env.overdue {
            true => Err(Error::MIGRATE_TIMEOUT),
            false => Ok(Flow::Hold),
        };
    }
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let id = cluster.mint();
    let keys = parcels.iter().map(|parcel| parcel.key.clone()).collect();
    let entry = Lend {
        slot,
        to,
        mark: Some(mark),
        keys,
    };
    // Both, or neither.
    let bytes: usize = plan.keys.iter().map(|key| key.len() + 8).sum();
    if !env.data.room_for(bytes + 3 * state::room::COMMAND) {
        return Ok(Flow::Hold);
    }
    env.data.bind(slot, mark);
    env.data.lend(id, entry);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    let cargo = Cargo {
        slot,
        mark: Some(mark),
        replace: plan.replace,
        parcels,
    };
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    cluster.begin_lend(id, cargo, plan.patience);
    Ok(Flow::Block(Block {
        kind: BlockKind::Lend { id },
        timeout: Some(plan.patience),
    }))
}
