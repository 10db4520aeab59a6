//! G3: whether the shard survives the loss of a member. Its leader knows, and tells the others.
//!
//! Owns what was said last, and when. Never: decides it (that is [`Shard::is_ha`]).

use super::control::Control;
use super::outbox::Outbox;
use base::clock::{Mono, Now};
use cluster_bus::NodeId;
use shard::Shard;
use std::time::Duration;
use storage::base::MemberKind;
use storage::Disk;

#[derive(Debug, Default)]
pub(super) struct Health {
    /// What the leader said last, and when.
    last: Option<(bool, Mono)>,
    tell_at: Mono,
}

impl Health {
    /// `raft_ha`, as the leader knows it or has told lately.
    pub fn is_ha(&self, now: Mono, limit: Duration) -> bool {
        self.last
            .is_some_and(|(ha, at)| ha && now.since(at) <= limit)
    }

    /// The leader has told it.
    pub fn heard(&mut self, now: Mono, ha: bool) {
        self.last = Some((ha, now));
    }

    /// A leader tells the other data members, when it has changed and every T.
    pub fn tell<D: Disk>(&mut self, now: Now, shard: &Shard<D>, myself: NodeId, out: &mut Outbox) {
        if !shard.group().is_leader() {
            return;
        }
        let ha = shard.is_ha(now);
        let changed = self.last.map(|(was, _)| was) != Some(ha);
        self.last = Some((ha, now.mono));
        if !changed && now.mono < self.tell_at {
            return;
        }
        self.tell_at = now.mono + shard.group().election_timeout();
        let group = shard.identity().group;
        let list = &shard.group().membership().list;
        let data = list.iter().filter(|m| m.kind == MemberKind::Data);
        for node in data.map(|m| m.node).filter(|node| *node != myself) {
            out.tell(node, &Control::Health { group, ha });
        }
    }
}
