//! What the leader of a shard does for members that come and go (C1, G2): hands out the group's base,
//! answers those that want to leave, removes those of forgotten nodes.
//!
//! Owns what it was asked and has not answered yet ([`Removals`]). Never: decides the next change of members
//! (`raft::plan`), or whether this node itself leaves ([`super::membership`]).

use super::outbox::Outbox;
use super::Cluster;
use crate::control::{Control, Said};
use base::clock::{Mono, Now};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use cluster_bus::bus::ForgetError;
use cluster_bus::NodeId;
use shard::Shard;
use std::collections::BTreeSet;
use storage::base::{Base, MemberKind};
use storage::Disk;

/// How many that are not known may wait for an answer.
const UNKNOWN_LEAVERS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Nodes that a client has forgotten, until the member list was looked through for them.
    forgotten: Vec<NodeId>,
    /// Raft ids of forgotten nodes that are still members of the shard.
    expelled: BTreeSet<RaftId>,
    /// Members that asked to be let go and are not known here, and when: they are answered once it is sure
    /// that this member still leads (C1).
    unknown_leavers: Vec<(NodeId, RaftId, Mono)>,
}

impl Removals {
    /// FORGET: the members of this node are to go.
    pub fn forget(&mut self, node: NodeId) {
        self.forgotten.push(node);
    }

    /// C1: a member asks to be let go that the applied configuration does not name. A leader that has not
    /// applied everything, or was deposed and does not know it, may never have heard of the member. This
    /// turn's clock was read before the question came, so no lease that is tested against it says
    /// anything: a later turn answers (E3).
    fn answer_later<D: Disk>(
        &mut self,
        now: Mono,
        from: NodeId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        self.unknown_leavers.retain(|(_, id, _)| *id != raft_id);
        if shard.group().is_leader() && self.unknown_leavers.len() < UNKNOWN_LEAVERS {
            self.unknown_leavers.push((from, raft_id, now));
            shard.split().1.group.ping();
        }
    }

    /// C1: says *Left* to members that asked before a message was sent which a majority has acknowledged: a
    /// leader that had deposed this one by then had no majority.
    pub fn answer_leavers<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>, out: &mut Outbox) {
        if self.unknown_leavers.is_empty() {
            return;
        }
        let shard_group = shard.group();
        let (group, t) = (shard.identity().group, shard_group.election_timeout());
        let knows = shard_group.own_term_applied();
        let confirmed = shard_group.quorum_ack_time(now.mono).filter(|_| knows);
        let may_be_added = shard_group.has_pending_change();
        for (from, raft_id, at) in std::mem::take(&mut self.unknown_leavers) {
            if shard.group().membership().contains(raft_id) {
                continue; // it asks again, and is let go
            }
            // A join that is still to be proposed would make it a member behind its back.
            shard.withdraw_joins(|m| m.raft_id == raft_id);
            let sure = confirmed.is_some_and(|ack_of_send_time| ack_of_send_time > at);
            if sure && !may_be_added {
                out.answer(from, &Control::Left { group, raft_id });
            } else if shard.group().is_leader() && now.mono.since(at) < t {
                self.unknown_leavers.push((from, raft_id, at));
            }
        }
    }

    /// C1: the members of forgotten nodes are to go, whichever node leads by then: every node that was
    /// told to forget them remembers that.
    pub fn expel<D: Disk>(&mut self, shard: &mut Shard<D>) {
        let me = shard.identity().raft_id;
        shard.withdraw_joins(|m| self.forgotten.contains(&m.node));
        let list = &shard.group().membership().list;
        for node in &self.forgotten {
            let of = list.iter().filter(|m| m.node == *node && m.raft_id != me);
            self.expelled.extend(of.map(|m| m.raft_id));
        }
        // A change that is under way may add one of them yet.
        if !shard.group().has_pending_change() {
            self.forgotten.clear();
        }
        self.expelled
            .retain(|id| list.iter().any(|m| m.raft_id == *id));
        if self.expelled.is_empty() || !shard.group().is_leader() {
            return;
        }
        for raft_id in self.expelled.clone() {
            match shard.group().membership().member(raft_id).map(|m| m.kind) {
                Some(MemberKind::Data) => shard.request_leave(raft_id),
                Some(MemberKind::Witness) => shard.replace_witness(raft_id),
                None => {}
            }
        }
    }
}

/// G1: the base of a member that joins. The log has everything from the group's bootstrap on; where a state has
/// taken the bootstrap's place the member begins before any entry, so that no log ever brings it up: it is given
/// the state (P15), and the members that it begins with are those as of that.
fn base_for_joiner(base: &Base, raft_id: RaftId) -> Base {
    let mut given = base.clone();
    given.identity.raft_id = raft_id;
    let snapshot = &mut given.snapshot;
    if snapshot.file.take().is_some() {
        (snapshot.index, snapshot.term) = (0, 0);
    }
    given.start = None;
    given
}

impl Cluster {
    /// C1: a node asks for the group's base. Only the shard's master hands it out.
    pub(super) fn asked_to_accept<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &Shard<D>,
    ) {
        let leads = shard.group().is_leader() && shard.group().kind() == MemberKind::Data;
        if !leads || !shard.group().own_term_applied() || self.is_joining() {
            let leader = self.leader_node(shard);
            return self.out.answer(from, &Control::NotLeader { leader });
        }
        if !self.knows(from) {
            return self.out.answer(from, &Control::Unknown { raft_id });
        }
        if !self.may_be_member(from, shard) {
            return;
        }
        let base = Box::new(base_for_joiner(shard.base(), raft_id));
        self.out.answer(from, &Control::Accept { base });
    }

    /// C1: whether this node's bus knows that node. A member that it does not know could not be reached.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.bus.node(node).is_some_and(|n| !n.in_handshake())
    }

    /// C1: a member asks to be removed: the answer comes first, and the removal when it is confirmed.
    pub(super) fn asked_to_let_go<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        let group = shard.identity().group;
        let Some(member) = shard.group().membership().member(raft_id) else {
            if mutation::is(Mutation::LeftOnAStaleClock) && shard.group().holds_lease(self.now) {
                self.out.answer(from, &Control::Left { group, raft_id });
            }
            let now = self.now.mono;
            return self.removals.answer_later(now, from, raft_id, shard);
        };
        if member.node == from {
            self.really(from, Said::Leave, group, raft_id);
        }
    }

    /// C1: a member is to go, and it is proved that it wants to.
    pub(super) fn let_go<D: Disk>(&mut self, from: NodeId, raft_id: RaftId, shard: &mut Shard<D>) {
        let member = shard.group().membership().member(raft_id).copied();
        // Nobody speaks for another node's member.
        match member.filter(|m| m.node == from).map(|m| m.kind) {
            None => {}
            Some(MemberKind::Data) => shard.request_leave(raft_id),
            Some(MemberKind::Witness) => self.placement.let_go(self.now.mono, raft_id, shard),
        }
    }

    /// G2: `from` says that there is no such member: it has lost its disk, or has left.
    pub(super) fn member_is_gone<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        let member = shard.group().membership().member(raft_id).copied();
        match member.filter(|m| m.node == from) {
            Some(m) if m.kind == MemberKind::Data => shard.note_lost(raft_id),
            Some(_) => shard.replace_witness(raft_id),
            None => {}
        }
    }

    /// FORGET: a member of the shard that this node leads is removed from it as well (C1).
    pub fn forget(&mut self, now: Now, node: NodeId) -> Result<(), ForgetError> {
        let forgotten = self.bus_mut().forget(super::bus_now(now), node);
        // A member whose node the bus has forgotten already can still be removed.
        if forgotten != Err(ForgetError::Unknown) || !self.peers.has_spoken(node) {
            forgotten?;
        }
        self.removals.forget(node);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::{LogStart, Position, StateFile};

    #[test]
    fn a_joiner_begins_with_the_bootstrap_or_before_it() {
        let mut base = shard::testing::base();
        let given = base_for_joiner(&base, RaftId(9));
        assert_eq!(
            given.snapshot, base.snapshot,
            "the log has all that follows"
        );
        assert_eq!(given.identity.raft_id, RaftId(9));

        (base.snapshot.index, base.snapshot.term) = (50, 3);
        base.snapshot.file = Some(StateFile { bytes: 1, crc64: 2 });
        base.start = Some(LogStart {
            position: Position(8),
            chain: 1,
            before: base.snapshot.entry(),
        });
        let given = base_for_joiner(&base, RaftId(9));
        assert_eq!((given.snapshot.index, given.snapshot.term), (0, 0));
        assert_eq!((given.snapshot.file, given.start), (None, None));
        assert_eq!(given.snapshot.members, base.snapshot.members);
        assert_eq!(given.snapshot.conf_state, base.snapshot.conf_state);
    }
}
