//! What CLUSTER replies are made from: reading only.

use super::*;
use crate::ShardId;

impl Bus {
    pub fn myself(&self) -> NodeId {
        self.table.me
    }

    pub fn myself_node(&self) -> &Node {
        self.table
            .get(self.table.me)
            .expect("the own node never leaves")
    }

    pub fn self_state(&self) -> &SelfState {
        &self.me
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// All nodes, this one among them, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.table.iter()
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.table.get(id)
    }

    pub fn owner(&self, slot: u16) -> Option<NodeId> {
        self.table.owner(slot)
    }

    /// The master that has this slot and goes on claiming it, if it has not failed.
    pub fn claimed_by(&self, slot: u16) -> Option<NodeId> {
        let owner = self.table.owner(slot)?;
        let node = self.table.get(owner)?;
        let claims = node.is_master() && !self.table.unclaimed.contains(slot);
        (claims && !node.flags.has(Flags::FAIL)).then_some(owner)
    }

    /// The shard of a node; of a replica whose own word is missing, its master's.
    pub fn shard_of(&self, id: NodeId) -> Option<ShardId> {
        self.table.shard_of(id)
    }

    /// `cluster_state` (C3).
    pub fn state_ok(&self) -> bool {
        self.state_ok
    }

    /// How many masters have slots.
    pub fn size(&self) -> usize {
        self.table.size()
    }

    pub fn current_epoch(&self) -> u64 {
        self.current_epoch
    }

    pub fn last_vote_epoch(&self) -> u64 {
        self.last_vote_epoch
    }

    /// Handshakes that are done since the start: the nodes that were met are to be on disk before the packets
    /// that follow leave.
    pub fn meetings(&self) -> u64 {
        self.meetings
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// How many masters say that a node is down (CLUSTER COUNT-FAILURE-REPORTS).
    pub fn failure_reports(&self, id: NodeId) -> usize {
        let valid = 2 * self.options.node_timeout_ms;
        let reports = self.table.get(id).map(|node| node.reports.values());
        reports.map_or(0, |times| {
            times.filter(|at| self.since(**at) <= valid).count()
        })
    }

    /// A time of a `Node` or a `Link` as Unix milliseconds; 0 for never.
    pub fn unix_ms(&self, at: Option<u64>) -> i64 {
        at.map_or(0, |at| {
            let ago = self.now.mono_ms as i64 - at as i64;
            (self.now.unix_ms - ago).max(1)
        })
    }
}
