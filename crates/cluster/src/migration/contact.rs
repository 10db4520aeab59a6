//! Which node speaks for another shard.
//!
//! Owns a guess for each shard: the node that answered last, the one that it named, the master on the bus,
//! then the others in turn. Never: decides what is said. A wrong guess costs 200 ms.

use super::AGAIN;
use crate::introduction::Introductions;
use base::clock::Mono;
use base::ShardId;
use cluster_bus::bus::Bus;
use cluster_bus::wire::Flags;
use cluster_bus::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
struct Contact {
    node: NodeId,
    /// Since when it has been spoken to and has not been heard.
    silent_since: Option<Mono>,
    /// When a leader of the shard has spoken last.
    heard: Option<Mono>,
}

#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<ShardId, Contact>);

/// The nodes that are known, and what they have said of themselves.
pub(super) type Who<'a> = (&'a Bus, &'a Introductions);

/// The nodes of a shard that can be spoken to, in the order of their ids.
fn nodes_of(who: Who<'_>, shard: ShardId) -> Vec<(NodeId, bool)> {
    let (bus, introductions) = who;
    let of = bus.nodes().filter(|node| {
        let known = introductions.shard_of(bus, node.id) == Some(shard);
        known && node.id != bus.myself() && !node.in_handshake()
    });
    let mut nodes: Vec<(NodeId, bool)> = of
        .map(|node| (node.id, node.flags.has(Flags::MASTER)))
        .collect();
    nodes.sort_unstable();
    nodes
}

/// Whether a node of the shard is known that can be spoken to.
pub(super) fn is_known(who: Who<'_>, shard: ShardId) -> bool {
    !nodes_of(who, shard).is_empty()
}

impl Contacts {
    /// The node to speak to now.
    pub fn of(&mut self, now: Mono, who: Who<'_>, shard: ShardId) -> Option<NodeId> {
        let nodes = nodes_of(who, shard);
        let known = |id: NodeId| nodes.iter().any(|(node, _)| *node == id);
        let contact = self.0.get_mut(&shard).filter(|c| known(c.node));
        let Some(contact) = contact else {
            let master = nodes.iter().find(|(_, master)| *master);
            let (node, _) = *master.or_else(|| nodes.first())?;
            let contact = Contact {
                node,
                silent_since: Some(now),
                heard: None,
            };
            self.0.insert(shard, contact);
            return Some(node);
        };
        match contact.silent_since {
            Some(since) if now.since(since) >= AGAIN => {
                let at = nodes.iter().position(|(node, _)| *node == contact.node);
                let next = at.map_or(0, |at| (at + 1) % nodes.len());
                contact.node = nodes[next].0;
                contact.silent_since = Some(now);
            }
            Some(_) => {}
            None => contact.silent_since = Some(now),
        }
        Some(contact.node)
    }

    /// A node has spoken for its shard as its leader.
    pub fn heard(&mut self, now: Mono, shard: ShardId, node: NodeId) {
        let contact = Contact {
            node,
            silent_since: None,
            heard: Some(now),
        };
        self.0.insert(shard, contact);
    }

    /// Whether a leader of the shard has spoken in this time.
    pub fn has_spoken(&self, now: Mono, shard: ShardId, within: Duration) -> bool {
        let heard = self.0.get(&shard).and_then(|contact| contact.heard);
        heard.is_some_and(|at| now.since(at) < within)
    }

    /// The node that was spoken to does not lead its shard; another one does, if known.
    pub fn told(&mut self, who: Who<'_>, shard: ShardId, by: NodeId, leader: Option<NodeId>) {
        let Some(contact) = self.0.get_mut(&shard).filter(|c| c.node == by) else {
            return; // it is no longer the one
        };
        let known = |id: &NodeId| nodes_of(who, shard).iter().any(|(node, _)| node == id);
        if let Some(node) = leader.filter(known) {
            contact.node = node;
            contact.silent_since = None;
        }
    }
}
