//! CLUSTER, and what a client says about its connection to a cluster.
//!
//! Owns: the rows of this family and what they share. `topology` (NODES, SLOTS, SHARDS, ...) and
//! `info` render the view; `keys` is about keys and slots; `slots` changes the shard's record;
//! `admin` asks the host for everything else. T3: these replies show the view and never wait for a
//! commit, but for those that show or change data or the record. Never: knows the bus.

mod admin;
mod info;
mod keys;
mod raft;
mod slots;
#[cfg(test)]
pub(super) mod tests;
mod topology;

use super::env::{Done, Env, DONE};
use super::error::Error;
use super::host::ClusterHost;
use super::server::{help, no_subcommand};
use super::spec::{flags, Acl, Flags, Group, Run, Spec};
use crate::cluster::{ClusterView, NodeView};
use crate::resp::args::Args;
use crate::resp::encode::Reply;
use cluster_bus::NodeId;

pub static SPECS: &[Spec] = &[
    Spec::new("asking", 1, flags![FAST], Group::Cluster, asking)
        .acl(Acl::CONNECTION)
        .since("3.0.0")
        .summary("Lets the next command use a slot that is being imported."),
    Spec::new("cluster", -2, Flags::NONE, Group::Cluster, no_subcommand)
        .since("3.0.0")
        .summary("Groups the commands about the cluster.")
        .subcommands(SUBCOMMANDS),
    Spec::new("readonly", 1, SESSION, Group::Cluster, readonly)
        .acl(Acl::CONNECTION)
        .since("3.0.0")
        .summary("Lets the connection read from a replica."),
    Spec::new("readwrite", 1, SESSION, Group::Cluster, readwrite)
        .acl(Acl::CONNECTION)
        .since("3.0.0")
        .summary("Takes READONLY back."),
];

const SESSION: Flags = flags![LOADING, STALE, FAST];
const ADMIN: Flags = flags![NO_ASYNC_LOADING, ADMIN, STALE];
const RECORD: Flags = flags![NO_ASYNC_LOADING, ADMIN, STALE, CHANGES_RECORD];
const ADMIN_READ: Flags = flags![ADMIN, STALE];
const READ: Flags = flags![STALE];
const READ_KEYS: Flags = flags![STALE, READS_DATA];
const ANY_TIME: Flags = flags![LOADING, STALE];
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(
    full: &'static str,
    arity: i16,
    flags: Flags,
    run: Run,
    summary: &'static str,
) -> Spec {
    Spec::sub(full, arity, flags, Group::Cluster, run)
        .since("3.0.0")
        .summary(summary)
}

#[rustfmt::skip]
static SUBCOMMANDS: &[Spec] = &[
    row("cluster|addslots", -3, RECORD, slots::addslots, "Gives slots to this node."),
    row("cluster|addslotsrange", -4, RECORD, slots::addslotsrange, "Gives ranges of slots to this node.")
        .since("7.0.0"),
    row("cluster|bumpepoch", 2, RECORD, slots::bumpepoch, "Raises this node's config epoch above all others.")
        .tips(VARIES),
    row("cluster|count-failure-reports", 3, ADMIN_READ, topology::count_failure_reports,
        "Counts the masters that report a node as failing.").tips(VARIES),
    row("cluster|countkeysinslot", 3, READ_KEYS, keys::countkeysinslot, "Counts the keys of a slot."),
    row("cluster|delslots", -3, RECORD, slots::delslots, "Makes slots nobody's, for this node."),
    row("cluster|delslotsrange", -4, RECORD, slots::delslotsrange, "Makes ranges of slots nobody's, for this node.")
        .since("7.0.0"),
    row("cluster|failover", -2, ADMIN, admin::failover, "Makes this replica the master of its shard."),
    row("cluster|flushslots", 2, RECORD, slots::flushslots, "Takes all slots from this node."),
    row("cluster|forget", 3, ADMIN, admin::forget, "Removes a node from this node's table."),
    row("cluster|getkeysinslot", 4, READ_KEYS, keys::getkeysinslot, "Lists keys of a slot.").tips(VARIES),
    row("cluster|help", 2, ANY_TIME, print_help, "Lists the subcommands.").since("5.0.0"),
    row("cluster|info", 2, READ, info::info, "Describes the state of the cluster.").tips(VARIES),
    row("cluster|keyslot", 3, READ, keys::keyslot, "Computes the slot of a key."),
    row("cluster|links", 2, READ, topology::links, "Describes the connections to other nodes.")
        .since("7.0.0").tips(VARIES),
    row("cluster|meet", -4, ADMIN, admin::meet, "Introduces another node to this one."),
    row("cluster|myid", 2, READ, topology::myid, "Answers with the id of this node."),
    row("cluster|myshardid", 2, READ, topology::myshardid, "Answers with the id of this node's shard.")
        .since("7.2.0").tips(VARIES),
    row("cluster|nodes", 2, READ, topology::nodes, "Describes the known nodes, a line each.").tips(VARIES),
    row("cluster|raft", 3, READ, raft::raft, "Describes the Raft group of this node's shard.")
        .since("0.1.0").tips(VARIES),
    row("cluster|replicas", 3, ADMIN_READ, topology::replicas, "Describes the replicas of a master.")
        .since("5.0.0").tips(VARIES),
    row("cluster|replicate", 3, ADMIN, admin::replicate, "Makes this node a replica of a master."),
    row("cluster|reset", -2, flags![ADMIN, STALE, NOSCRIPT], admin::reset, "Takes this node out of its cluster."),
    row("cluster|saveconfig", 2, ADMIN, admin::saveconfig, "Writes the table of nodes to disk."),
    row("cluster|set-config-epoch", 3, RECORD, slots::set_config_epoch, "Sets the config epoch of a new node."),
    row("cluster|setslot", -4, ADMIN, slots::setslot, "Marks a slot as moving, or assigns it."),
    row("cluster|shards", 2, ANY_TIME, topology::shards, "Describes the shards, their slots and nodes.")
        .since("7.0.0").tips(VARIES),
    row("cluster|slaves", 3, ADMIN_READ, topology::replicas, "Describes the replicas of a master.")
        .tips(VARIES).deprecated("5.0.0", "`CLUSTER REPLICAS`"),
    row("cluster|slots", 2, ANY_TIME, topology::slots, "Lists the ranges of slots with their nodes.")
        .tips(VARIES).deprecated("7.0.0", "`CLUSTER SHARDS`"),
];

/// The cluster, if this instance is in cluster mode.
fn host<'e>(env: &'e mut Env<'_>) -> Result<&'e mut dyn ClusterHost, Error> {
    env.host.cluster().ok_or(Error::CLUSTER_DISABLED)
}

/// A reply that only shows the view.
fn show(
    env: &mut Env<'_>,
    write: impl FnOnce(&ClusterView, &mut Reply<'_>) -> Result<(), Error>,
) -> Done {
    let view = env.host.cluster().ok_or(Error::CLUSTER_DISABLED)?.view();
    write(view, &mut Reply::new(env.out, env.session.proto))?;
    DONE
}

/// A node's id as clients must write it: 40 hex digits in lower case.
fn parse_id(text: &[u8]) -> Option<NodeId> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    NodeId::from_hex(text).ok()
}

fn find_node<'v>(view: &'v ClusterView, text: &[u8]) -> Result<&'v NodeView, Error> {
    parse_id(text)
        .and_then(|id| view.node(id))
        .ok_or_else(|| Error::unknown_node(text))
}

/// What Redis answers to a subcommand with more arguments than any form of it has.
fn too_many(args: Args<'_>) -> Error {
    Error::unknown_subcommand_or_arity("CLUSTER", &args[1])
}

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?;
    help::write(&mut env.reply(), "CLUSTER", help::CLUSTER);
    DONE
}

fn readonly(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?;
    env.session.readonly = true;
    env.reply().ok();
    DONE
}

fn readwrite(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?;
    env.session.readonly = false;
    env.reply().ok();
    DONE
}

/// Holds for the next command; the dispatcher takes it back after that.
fn asking(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?;
    env.session.asking = true;
    env.session.just_asked = !env.session.deny_blocking;
    env.reply().ok();
    DONE
}
