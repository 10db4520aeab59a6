//! What the cluster core remembers of its shard between two turns, for the commands of clients in between; and a
//! replica's request to lead (E4).

use base::clock::{Mono, Now};
use cluster_bus::ShardId;
use raft_group::{transfer_kind, TransferKind};
use shard::Shard;
use std::sync::Arc;
use std::time::Duration;
use storage::base::MemberKind;
use storage::Disk;
use topology::Record;

/// How long CLUSTER FAILOVER is meant.
const LEAD_REQUEST: Duration = Duration::from_secs(2);

/// What this member is in its shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub is_member: bool,
    /// It votes, or can change places with the leader.
    pub may_lead: bool,
    pub unconfirmed: bool,
    pub leads: bool,
    /// C3: the shard has no leader with a quorum.
    pub without_quorum: bool,
    /// There are other members; other data members.
    pub others: bool,
    pub other_data: bool,
    pub shard: ShardId,
    pub slots: usize,
    pub epoch: u64,
    /// The record whose slots were counted.
    counted: Option<Arc<Record>>,
}

impl Standing {
    pub fn look<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        let (group, record) = (shard.group(), shard.record());
        let (me, membership) = (shard.identity().raft_id, group.membership());
        let others = membership.list.iter().filter(|m| m.raft_id != me);
        // Counting 16384 bits in every turn would be seen.
        let counted = self.counted.take().filter(|r| Arc::ptr_eq(r, record));
        let slots = counted
            .as_ref()
            .map_or_else(|| record.slots.len(), |_| self.slots);
        // E4: a learner can't stand by itself, so FORCE does nothing for it without a leader.
        let leader = group.leader().filter(|_| group.is_led(now));
        let way = leader.map(|leader| transfer_kind(leader, me, membership));
        *self = Standing {
            is_member: membership.contains(me),
            may_lead: membership.votes_on(me) || way == Some(TransferKind::Swap),
            unconfirmed: shard.awaits_confirmation(),
            leads: group.is_leader(),
            without_quorum: !shard.has_quorum(),
            others: others.clone().count() > 0,
            other_data: others.clone().any(|m| m.kind == MemberKind::Data),
            shard: record.shard,
            slots,
            epoch: record.epoch,
            counted: counted.or_else(|| Some(Arc::clone(record))),
        };
    }
}

/// CLUSTER FAILOVER of a replica.
#[derive(Debug, Default)]
pub(crate) struct LeadWish {
    wanted: bool,
    /// When the leader was last asked.
    asked: Option<Mono>,
}

impl LeadWish {
    pub fn request(&mut self) {
        self.wanted = true;
    }

    /// Whether the leader is to be asked in this turn.
    pub fn take(&mut self, now: Mono) -> bool {
        let wanted = std::mem::take(&mut self.wanted);
        if wanted {
            self.asked = Some(now);
        }
        wanted
    }

    /// Whether it is still meant.
    pub fn is_meant(&self, now: Mono) -> bool {
        self.asked.is_some_and(|at| now.since(at) <= LEAD_REQUEST)
    }
}
