//! Which node speaks for a raft id, where the nodes are that this one talks to, and what the host of
//! witnesses is told of them (W3).
//!
//! Owns both tables. Never: decides which node is a member, or sends what it was not given.

use super::control::encode_envelope;
use super::outbox::Outbox;
use super::{ClusterOutput, ForWitnesses};
use base::ids::RaftId;
use cluster_bus::bus::{Bus, IpAddr, Node};
use cluster_bus::NodeId;
use raft_group::{Envelope, Group};
use std::collections::BTreeMap;
use storage::base::Member;

/// Raft ids whose nodes are remembered because a message came from there. Members are known from
/// the list; these are strangers', and a stranger can invent any number.
const MAX_REMEMBERED: usize = 4096;

/// Remembers which node speaks for a Raft id, for the answer (G2).
pub(super) fn remember(nodes: &mut BTreeMap<RaftId, NodeId>, raft_id: RaftId, node: NodeId) {
    if nodes.len() < MAX_REMEMBERED || nodes.contains_key(&raft_id) {
        nodes.insert(raft_id, node);
    }
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Nodes behind raft ids, as messages and member lists have told.
    nodes: BTreeMap<RaftId, NodeId>,
    addrs: BTreeMap<NodeId, (IpAddr, u16)>,
    /// What the host of witnesses was told of the cluster.
    told_witnesses: Option<(usize, Vec<NodeId>)>,
}

impl Peers {
    /// Takes in a member list; true: there was events in it.
    pub fn learn(&mut self, list: &[Member]) -> bool {
        let mut event = false;
        for member in list {
            if self.nodes.get(&member.raft_id) != Some(&member.node) {
                self.nodes.insert(member.raft_id, member.node);
                event = true;
            }
        }
        event
    }

    /// A message for a raft id came from this node.
    pub fn remember(&mut self, raft_id: RaftId, node: NodeId) {
        remember(&mut self.nodes, raft_id, node);
    }

    /// The node that speaks for a raft id.
    pub fn node_of(&self, raft_id: RaftId) -> Option<NodeId> {
        self.nodes.get(&raft_id).copied()
    }

    /// Whether this node has ever spoken for a raft id.
    pub fn has_spoken(&self, node: NodeId) -> bool {
        self.nodes.values().any(|of| *of == node)
    }

    /// The node that leads the group, if it is known.
    pub fn leader_of(&self, group: &Group, myself: NodeId) -> Option<NodeId> {
        let leader = group.leader()?;
        if leader == group.id() {
            return Some(myself);
        }
        self.node_of(leader)
    }

    /// Whether there is a link to this node, or one can be made.
    pub fn reaches(&self, node: NodeId) -> bool {
        self.addrs.contains_key(&node)
    }

    /// All nodes that can be reached.
    pub fn reached(&self) -> Vec<NodeId> {
        self.addrs.keys().copied().collect()
    }

    /// Sends what the shard's group has to say.
    pub fn send(&self, messages: Vec<Envelope>, out: &mut Outbox) {
        for envelope in messages {
            let Some(to) = self.node_of(envelope.to) else {
                continue; // it is not known yet where that is; Raft repeats
            };
            out.push(ClusterOutput::Frame {
                to,
                urgent: super::is_urgent(&envelope),
                back: false,
                bytes: encode_envelope(&envelope),
            });
        }
    }

    /// Where the members of this node's groups are, and the nodes that it talks to besides.
    pub fn refresh(&mut self, bus: &Bus, list: &[Member], out: &mut Outbox) {
        let members = list.iter().map(|m| m.node);
        let others = bus.nodes().filter(|n| !n.in_handshake()).map(|n| n.id);
        let wanted = members.chain(others).filter(|id| *id != bus.myself());
        let mut addrs: BTreeMap<NodeId, (IpAddr, u16)> = BTreeMap::new();
        for id in wanted {
            // FORGET removes a member from the table before it has left the group.
            let known = self.addrs.get(&id).copied();
            if let Some(addr) = bus.node(id).and_then(bus_addr).or(known) {
                addrs.insert(id, addr);
            }
        }
        for (node, addr) in &addrs {
            if self.addrs.get(node) != Some(addr) {
                let (node, addr) = (*node, Some(*addr));
                out.push(ClusterOutput::Peer { node, addr });
            }
        }
        for node in self.addrs.keys().filter(|node| !addrs.contains_key(node)) {
            let (node, addr) = (*node, None);
            out.push(ClusterOutput::Peer { node, addr });
        }
        self.addrs = addrs;
        self.tell_witnesses(bus, out);
    }

    /// W3: a node's share of all witnesses, rounded up, and one for the time of a replacement.
    fn tell_witnesses(&mut self, bus: &Bus, out: &mut Outbox) {
        let nodes = bus.nodes().filter(|n| !n.in_handshake()).count().max(1);
        let share = bus.size().div_ceil(nodes) + 1;
        let told = Some((share, self.reached()));
        if self.told_witnesses == told {
            return;
        }
        self.told_witnesses = told;
        let nodes = self.reached();
        out.push(ClusterOutput::Witness(ForWitnesses::Cluster {
            share,
            nodes,
        }));
    }
}

fn bus_addr(node: &Node) -> Option<(IpAddr, u16)> {
    Some((node.ip.parse().ok()?, node.cport))
}
