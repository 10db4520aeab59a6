//! CLUSTER, and what a client says about its connection to a cluster.
//!
//! Owns: the rows of this family. `topology` (NODES, SLOTS, SHARDS, ...) and `info` render the view;
//! `keys` is about keys and slots; `slots` changes the shard's record; `admin` asks the host for
//! everything else; `shared` is what they have in common, `help` the text of HELP. T3: these replies
//! show the view and never wait for a commit, but for those that show or change data or the record.
//! Never: knows the bus.

mod admin;
mod help;
mod info;
mod keys;
mod raft;
mod setslot;
mod shared;
mod slots;
#[cfg(test)]
mod tests;
mod topology;

use super::env::{Done, Env, DONE};
use super::room::{gain, gain_ranges, record, set_slot};
use super::rows::{no_subcommand, rows};
use super::spec::Role;
use resp::args::Args;
use shared::host;

rows! { pub static ROWS: Cluster [] {
    "asking" 1 [FAST] @CONNECTION "3.0.0" => asking: "Lets the next command use a slot that is being imported.";
    "cluster" -2 [] "3.0.0" => no_subcommand [SUBCOMMANDS]: "Groups the commands about the cluster.";
    "readonly" 1 [LOADING STALE FAST] @CONNECTION "3.0.0" => readonly: "Lets the connection read from a replica.";
    "readwrite" 1 [LOADING STALE FAST] @CONNECTION "3.0.0" => readwrite: "Takes READONLY back.";
}}

const VARIES: &[&str] = &["nondeterministic_output"];

rows! { static SUBCOMMANDS: Cluster [] {
    "cluster|addslots" -3 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "3.0.0" => slots::addslots: "Gives slots to this node." .amplifies(gain);
    "cluster|addslotsrange" -4 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "7.0.0" => slots::addslotsrange: "Gives ranges of slots to this node." .amplifies(gain_ranges);
    "cluster|bumpepoch" 2 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "3.0.0" => slots::bumpepoch: "Raises this node's config epoch above all others." .tips(VARIES).amplifies(record);
    "cluster|count-failure-reports" 3 [ADMIN STALE] "3.0.0" => topology::count_failure_reports: "Counts the masters that report a node as failing." .tips(VARIES);
    "cluster|countkeysinslot" 3 [STALE READS_DATA] "3.0.0" => keys::countkeysinslot: "Counts the keys of a slot.";
    "cluster|delslots" -3 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "3.0.0" => slots::delslots: "Makes slots nobody's, for this node." .amplifies(record);
    "cluster|delslotsrange" -4 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "7.0.0" => slots::delslotsrange: "Makes ranges of slots nobody's, for this node." .amplifies(record);
    "cluster|failover" -2 [NO_ASYNC_LOADING ADMIN STALE] "3.0.0" => admin::failover: "Makes this replica the master of its shard.";
    "cluster|flushslot" 3 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "0.3.0" => slots::flushslot: "Deletes keys of a slot that this shard does not own." .amplifies(record);
    "cluster|flushslots" 2 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "3.0.0" => slots::flushslots: "Takes all slots from this node." .amplifies(record);
    "cluster|forget" 3 [NO_ASYNC_LOADING ADMIN STALE] "3.0.0" => admin::forget: "Removes a node from this node's table.";
    "cluster|getkeysinslot" 4 [STALE READS_DATA] "3.0.0" => keys::getkeysinslot: "Lists keys of a slot." .tips(VARIES);
    "cluster|help" 2 [LOADING STALE] "5.0.0" => print_help: "Lists the subcommands.";
    "cluster|info" 2 [STALE] "3.0.0" => info::info: "Describes the state of the cluster." .tips(VARIES);
    "cluster|keyslot" 3 [STALE] "3.0.0" => keys::keyslot: "Computes the slot of a key.";
    "cluster|links" 2 [STALE] "7.0.0" => topology::links: "Describes the connections to other nodes." .tips(VARIES);
    "cluster|meet" -4 [NO_ASYNC_LOADING ADMIN STALE] "3.0.0" => admin::meet: "Introduces another node to this one.";
    "cluster|myid" 2 [STALE] "3.0.0" => topology::myid: "Answers with the id of this node.";
    "cluster|myshardid" 2 [STALE] "7.2.0" => topology::myshardid: "Answers with the id of this node's shard." .tips(VARIES);
    "cluster|nodes" 2 [STALE] "3.0.0" => topology::nodes: "Describes the known nodes, a line each." .tips(VARIES);
    "cluster|raft" 3 [LOADING STALE] "0.1.0" => raft::raft: "Describes the Raft group of this node's shard." .tips(VARIES);
    "cluster|replicas" 3 [ADMIN STALE] "5.0.0" => topology::replicas: "Describes the replicas of a master." .tips(VARIES);
    "cluster|replicate" 3 [NO_ASYNC_LOADING ADMIN STALE] "3.0.0" => admin::replicate: "Makes this node a replica of a master.";
    "cluster|reset" -2 [ADMIN STALE NOSCRIPT] "3.0.0" => admin::reset: "Takes this node out of its cluster." .role(Role::ClusterReset);
    "cluster|saveconfig" 2 [NO_ASYNC_LOADING ADMIN STALE] "3.0.0" => admin::saveconfig: "Writes the table of nodes to disk.";
    "cluster|set-config-epoch" 3 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "3.0.0" => slots::set_config_epoch: "Sets the config epoch of a new node." .amplifies(record);
    "cluster|setslot" -4 [NO_ASYNC_LOADING ADMIN STALE CHANGES_RECORD] "3.0.0" => setslot::setslot: "Marks a slot as moving, or assigns it." .amplifies(set_slot);
    "cluster|shards" 2 [LOADING STALE] "7.0.0" => topology::shards: "Describes the shards, their slots and nodes." .tips(VARIES);
    "cluster|slaves" 3 [ADMIN STALE] "3.0.0" => topology::replicas: "Describes the replicas of a master." .tips(VARIES).deprecated("5.0.0", "`CLUSTER REPLICAS`");
    "cluster|slots" 2 [LOADING STALE] "3.0.0" => topology::slots: "Lists the ranges of slots with their nodes." .tips(VARIES).deprecated("7.0.0", "`CLUSTER SHARDS`");
}}

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    host(env)?;
    super::help::write(&mut env.reply(), "CLUSTER", help::CLUSTER);
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
