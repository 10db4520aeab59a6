//! P11, P12: what of a shard's log is kept for its members. Its leader knows, and tells them.
//!
//! Owns when it is told. Never: drops anything (each member's shard does, at its next snapshot), or says what is
//! needed (that is [`Shard::look_at_log_end`]).

use super::control::Control;
use super::Cluster;
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use shard::Shard;
use storage::Disk;

impl Cluster {
    /// Every T: a leader tells the other members up to where the log is of use to none of them.
    pub(super) fn look_at_log_end<D: Disk>(&mut self, shard: &mut Shard<D>) {
        if !shard.group().is_leader() || self.now.mono < self.tell_log_end_at {
            return;
        }
        self.tell_log_end_at = self.now.mono + shard.group().election_timeout();
        let Some(index) = shard.look_at_log_end(self.states_travel) else {
            return;
        };
        let (group, me, term) = (
            shard.identity().group,
            shard.identity().raft_id,
            shard.group().term(),
        );
        let list = &shard.group().membership().list;
        for member in list.iter().filter(|m| m.raft_id != me) {
            let control = Control::TrimTo {
                group,
                raft_id: member.raft_id,
                term,
                index,
            };
            self.out.tell(member.node, &control);
        }
    }

    /// F9: a deposed leader may not know of a member that lacks more.
    pub(super) fn told_log_end<D: Disk>(
        &mut self,
        from: NodeId,
        (term, index): (u64, u64),
        shard: &mut Shard<D>,
    ) {
        let leads = self.leader_node(shard) == Some(from) && term == shard.group().term();
        if leads || mutation::is(Mutation::TrimToOfDeposed) {
            shard.trim_to(index);
        }
    }
}
