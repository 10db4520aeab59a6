//! What the commands of this family have in common: the host, the view, its nodes, refusals.
//!
//! Owns: how a node is named by its id. Never: answers a command.

use super::super::api::ClusterApi;
use super::super::env::{Done, Env, Serving, DONE};
use super::super::error::Error;
use base::ShardId;
use cluster_bus::wire::Flags;
use cluster_bus::NodeId;
use resp::args::Args;
use resp::encode::Reply;
use state::Access;
use topology::{ClusterView, NodeView};

/// The cluster, if this instance is in cluster mode.
pub fn host<'e>(env: &'e mut Env<'_>) -> Result<&'e mut dyn ClusterApi, Error> {
    env.server.cluster().ok_or(Error::CLUSTER_DISABLED)
}

/// A reply that only shows the view.
pub fn show(
    env: &mut Env<'_>,
    write: impl FnOnce(&ClusterView, &mut Reply<'_>) -> Result<(), Error>,
) -> Done {
    let view = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?.view();
    write(view, &mut Reply::new(env.out, env.session.proto))?;
    DONE
}

/// A node's id as clients must write it: 40 hex digits in lower case.
pub fn parse_id(text: &[u8]) -> Option<NodeId> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    NodeId::from_hex(text).ok()
}

pub fn find_node<'v>(view: &'v ClusterView, text: &[u8]) -> Result<&'v NodeView, Error> {
    parse_id(text)
        .and_then(|id| view.node(id))
        .ok_or_else(|| Error::unknown_node(text))
}

/// What Redis answers to a subcommand with more arguments than any form of it has.
pub fn too_many(args: Args<'_>) -> Error {
    Error::unknown_subcommand_or_arity("CLUSTER", &args[1])
}

/// Whether there is any key; if so the refusal that follows shows data (T3).
pub fn holds_keys(env: &mut Env<'_>) -> bool {
    if env.data.keyspace().len(0) == 0 {
        return false;
    }
    if !matches!(env.serving, Serving::Lead { .. }) {
        env.data.set_access(Access::Replica); // its own copy, with no lease to wait for
    }
    env.data.depends_on_all();
    true
}

/// The tail's copy: the view shows only what is applied.
pub fn has_slots_in_log(env: &Env<'_>) -> bool {
    !env.data.record().slots.is_empty()
}

/// Whether a node of the shard is known that has not failed.
pub fn lives(view: &ClusterView, shard: ShardId) -> bool {
    let mut of = view
        .nodes
        .iter()
        .filter(|node| node.stands_for() == Some(shard));
    of.any(|node| !node.flags.has(Flags::FAIL))
}
