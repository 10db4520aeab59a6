//! MIGRATE: keys go to another shard, each of them once (M1, M24).
//!
//! Owns: the command's syntax and texts, which keys go, and what its client is told in the end. Never: sends
//! a value (the cluster core does), or decides whether the keys have come (the target's commit does).

mod outside;
mod plan;
mod shards;

use super::env::{Done, Env, Flow, DONE};
use super::error::Error;
use super::motion::{hold, Admitted};
use super::rows::rows;
use super::spec::Role;
use plan::{find_keys, parse, shard_at, Plan, Target};
use resp::args::Args;
use shards::to_shard;

rows! { pub static ROWS: Generic [KEYSPACE DANGEROUS] {
    "migrate" -6 [WRITE] "2.6.0" key(3 RW ACCESS DELETE) keyword("KEYS" -2 -1 1 RW ACCESS DELETE INCOMPLETE) => migrate: "Moves keys to another server." .role(Role::Migrate).keys_by(find_keys).tips(&["nondeterministic_output"]);
}}

fn migrate(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut plan = parse(args)?;
    plan.keys.sort_unstable();
    plan.keys.dedup();
    if env.session.deny_blocking {
        return Err(Error::NO_MULTI);
    }
    plan.keys
        .retain(|bytes| env.data.exists(&env.data.key(bytes)));
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    // M5: what is lent already is not lent again.
    let lent = plan.keys.iter().any(|key| env.data.frozen(key).is_some());
    if lent && hold(env)? == Admitted::Hold {
        return Ok(Flow::Hold);
    }
    let Some(first) = plan.keys.first() else {
        env.session.question = None;
        env.reply().simple("NOKEY");
        return DONE;
    };
    let slot = env.data.key(first).slot;
    match target(env, &plan)? {
        None => Ok(Flow::Hold),
        Some(Target::Shard(to)) => to_shard(env, &plan, slot, to),
        Some(Target::Outside) => outside::migrate(env, &plan, slot),
    }
}

/// None: it is not known yet.
fn target(env: &mut Env<'_>, plan: &Plan<'_>) -> Result<Option<Target>, Error> {
    let host = String::from_utf8_lossy(plan.host).into_owned();
    let Some(cluster) = env.server.cluster() else {
        return Ok(Some(Target::Outside));
    };
    let view = cluster.view();
    let at = |node: &&topology::NodeView| {
        node.port == plan.port && (node.ip == host || node.hostname == host)
    };
    let Some(node) = view.nodes.iter().find(at).map(|node| node.id) else {
        return Ok(Some(Target::Outside));
    };
    shard_at(env, node)
}
