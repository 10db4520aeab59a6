//! C1: this node's own way out of one shard and into another.
//!
//! A node that is to join first leaves: it asks its leader until the removal has committed (a node
//! that is alone in its group has nothing to ask). Then it asks the target's leader for the group's
//! base, puts it on disk under the id that it minted, opens it, and asks to be added. Everything is
//! asked again until it has happened, also after a restart.

use super::{
    Act, Agent, Beginning, ForWitnesses, Resetting, LEAVE_PATIENCE, LEAVE_TIMEOUTS, RESEND,
};
use crate::agent::control::Control;
use crate::agent::identity::{Joining, NodeIdentity};
use crate::clock::Now;
use crate::cluster::Record;
use crate::ids::RaftId;
use crate::mutation::{self, Mutation};
use crate::raft::{way_to_lead, Way};
use crate::shard::Shard;
use crate::storage::base::{Base, MemberKind};
use crate::storage::Disk;
use cluster_bus::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A joiner that has a base and is not added within so many T asks for another one: the group that
/// it came from may be no more.
const READY_PATIENCE: u32 = 20;

/// Why a wish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the shard's other members have to stay or leave first: this node leads them")]
    Leads,
    #[error("the shard's leader did not answer in time: nothing has changed")]
    NoAnswer,
    #[error("the removal from the shard did not commit in time")]
    NotRemoved,
    #[error("another command has taken the place of this reset")]
    Replaced,
    #[error("this node is the last one with the shard's data")]
    LastWithData,
    #[error("this node begins in another shard as soon as its disk has room")]
    Begins,
    #[error("this replica is still catching up: it has no vote in its shard yet")]
    Learner,
}

/// What the agent remembers of its shard between two turns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
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
    pub shard: NodeId,
    pub slots: usize,
    pub epoch: u64,
}

/// Whether this member is the last of its shard that has the shard's data: keys, or slots that it
/// was not asked to give up.
fn holds_the_shard<D: Disk>(shard: &Shard<D>, gives_up_slots: bool) -> bool {
    let membership = shard.group().membership();
    let me = shard.identity().raft_id;
    let others = membership.list.iter().filter(|m| m.raft_id != me);
    let alone = others.clone().all(|m| m.kind == MemberKind::Witness);
    let slotless = gives_up_slots || shard.data().record().slots.is_empty();
    let empty = shard.data().keyspace().len(0) == 0 && slotless;
    !shard.is_removed() && membership.contains(me) && alone && !empty
}

impl Agent {
    /// REPLICATE: the identity that is to be on disk before [`Agent::replicate`]; none where the node is a
    /// member of that shard already.
    pub fn identity_to_replicate(
        &mut self,
        target: NodeId,
    ) -> Result<Option<NodeIdentity>, Refusal> {
        if self.is_beginning() {
            return Err(Refusal::Begins);
        }
        let same_shard = self.bus.shard_of(target) == Some(self.facts.shard);
        if self.facts.is_member && same_shard && self.joining().is_none() {
            return Ok(None);
        }
        if self.facts.leads && self.facts.other_data {
            return Err(Refusal::Leads);
        }
        let raft_id = RaftId(self.mint());
        Ok(Some(NodeIdentity {
            joining: Some(Joining { target, raft_id }),
            ..self.identity
        }))
    }

    /// This identity is on disk: the rest happens in the background.
    pub fn replicate(&mut self, identity: NodeIdentity) {
        self.identity = identity;
        self.resetting = None;
        self.leaving = true;
        self.hint = None;
        self.resend_at = self.now.mono;
        self.stale = true;
        self.shown = None;
    }

    /// RESET: the number of the reset to wait for, nothing once it has happened. A command that waits
    /// asks again with that number: what becomes of another reset is no answer to it.
    pub fn reset(
        &mut self,
        now: Now,
        hard: bool,
        waits_for: Option<u64>,
    ) -> Result<Option<u64>, Refusal> {
        self.now = now;
        let failed = self.reset_failed.filter(|(of, _)| waits_for == Some(*of));
        if let Some((_, why)) = failed {
            return Err(why);
        }
        if self.is_beginning() {
            return Err(Refusal::Begins);
        }
        if let Some(resetting) = &mut self.resetting {
            if waits_for.is_none_or(|of| of == resetting.number) {
                resetting.hard |= hard;
                return Ok(Some(resetting.number));
            }
        }
        if self.is_fresh(hard) {
            return Ok(None);
        }
        if waits_for.is_some() {
            return Err(Refusal::Replaced);
        }
        self.resets += 1;
        self.resetting = Some(Resetting {
            number: self.resets,
            hard,
            begun: now.mono,
            answered: false,
            told_witnesses: false,
            of_master: self.is_master(),
        });
        self.leaving = true;
        self.hint = None;
        self.resend_at = now.mono;
        Ok(Some(self.resets))
    }

    /// Whether a reset has just been carried out: a group of one without anything, no other node
    /// known.
    fn is_fresh(&self, hard: bool) -> bool {
        let facts = &self.facts;
        self.bus.nodes().count() == 1
            && self.joining().is_none()
            && facts.is_member
            && !facts.others
            && facts.slots == 0
            && (!hard || (facts.epoch == 0 && self.bus.current_epoch() == 0))
    }

    /// CLUSTER FAILOVER: the leader is asked to hand over (E4). FORCE is no different: without a
    /// leader this replica campaigns as soon as its promise has run out, of its own.
    pub fn ask_to_lead(&mut self) -> Result<(), Refusal> {
        if !self.facts.is_member || !self.facts.may_lead || self.is_joining() {
            return Err(Refusal::Learner);
        }
        self.wants_lead = true;
        Ok(())
    }

    pub(super) fn look_at<D: Disk>(&mut self, shard: &Shard<D>) {
        let (group, record) = (shard.group(), shard.record());
        let (me, membership) = (shard.identity().raft_id, group.membership());
        let others = membership.list.iter().filter(|m| m.raft_id != me);
        // Counting 16384 bits in every turn would be seen.
        let counted = self.counted.as_ref().filter(|r| Arc::ptr_eq(r, record));
        let slots = counted.map_or_else(|| record.slots.len(), |_| self.facts.slots);
        if counted.is_none() {
            self.counted = Some(Arc::clone(record));
        }
        // E4: a learner can't stand by itself, so FORCE does nothing for it without a leader.
        let leader = group.leader().filter(|_| group.is_led(self.now));
        let way = leader.map(|leader| way_to_lead(leader, me, membership));
        self.facts = Facts {
            is_member: membership.contains(me),
            may_lead: membership.votes_on(me) || way == Some(Way::Swap),
            unconfirmed: shard.awaits_confirmation(),
            leads: group.is_leader(),
            without_quorum: !shard.has_quorum(),
            others: others.clone().count() > 0,
            other_data: others.clone().any(|m| m.kind == MemberKind::Data),
            shard: record.shard,
            slots,
            epoch: record.epoch,
        };
    }

    /// The next step of a leave, a join or a reset.
    pub(super) fn proceed<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        if self.is_beginning() {
            return; // the identity is named already
        }
        self.expire_reset(now, shard);
        if shard.is_removed() && !self.leaving && self.joining().is_none() {
            return self.start_over(None, Beginning::Alone); // FORGET, or a leader that took this member for lost
        }
        if shard.is_removed() && !self.leaving {
            self.mint_again(shard);
        }
        if self.leaving || shard.awaits_confirmation() {
            self.leave(now, shard);
        } else if let Some(joining) = self.joining() {
            self.join(now, joining, shard);
        }
    }

    /// G2: a joiner that was added and removed before it knew begins anew, under another id.
    fn mint_again<D: Disk>(&mut self, shard: &Shard<D>) {
        let spent = |joining: &Joining| joining.raft_id == shard.identity().raft_id;
        if let Some(Joining { target, .. }) = self.joining().filter(spent) {
            self.begin_again(target);
        }
    }

    /// A joiner asks for a base once more, under another id. Should the old one be added after all,
    /// it is GONE (G2).
    fn begin_again(&mut self, target: NodeId) {
        let raft_id = RaftId(self.mint());
        self.identity.joining = Some(Joining { target, raft_id });
        self.ready_since = None;
        self.acts.push(Act::Identity(self.identity));
    }

    /// C1: the leader's answer comes within a second, the removal within a second more than a
    /// member keeps its vote (G3).
    fn expire_reset<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        let Some(resetting) = self.resetting else {
            return;
        };
        let (patience, why) = match resetting.answered {
            true => (
                shard.group().election_timeout() * LEAVE_TIMEOUTS + LEAVE_PATIENCE,
                Refusal::NotRemoved,
            ),
            false => (LEAVE_PATIENCE, Refusal::NoAnswer),
        };
        if now.mono.since(resetting.begun) >= patience {
            self.resetting = None;
            self.reset_failed = Some((resetting.number, why));
            self.leaving = self.joining().is_some();
        }
    }

    /// RESET: the witnesses on this node go too, from when it is sure that something changes.
    fn let_witnesses_go(&mut self, left: bool) {
        if let Some(resetting) = &mut self.resetting {
            resetting.answered |= left;
            if resetting.answered && !std::mem::replace(&mut resetting.told_witnesses, true) {
                self.acts.push(Act::Witness(ForWitnesses::LeaveAll));
            }
        }
    }

    fn leave<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
        let in_group = shard.group().membership().contains(raft_id)
            || self.is_added_there(shard)
            || shard.awaits_confirmation();
        let mut list = shard.group().membership().list.iter();
        let others = list.any(|m| m.raft_id != raft_id);
        let left = shard.is_removed() || !in_group || !others;
        let of_master = self.resetting.is_some_and(|r| r.of_master);
        let last = holds_the_shard(shard, of_master);
        if left && last && !mutation::is(Mutation::LastDataLeaves) {
            return self.stay();
        }
        self.let_witnesses_go(left);
        let hosts = self.resetting.is_some() && self.hosted_witnesses > 0;
        if left && !hosts {
            self.leaving = false;
            self.hint = None;
            self.resend_at = now.mono;
            if self.resetting.is_some() {
                self.carry_out_reset();
            }
            return;
        }
        if left || now.mono < self.resend_at {
            return;
        }
        self.resend_at = now.mono + RESEND;
        if shard.group().is_leader() {
            if let Some(resetting) = &mut self.resetting {
                resetting.answered = true; // by itself
            }
            if mutation::is(Mutation::OwnRemovalAsLeader) {
                return shard.wish_to_leave(raft_id);
            }
            // G4: nobody proposes its own removal.
            shard.hand_over(now);
            return;
        }
        // All are asked: who led last may be gone, and a learner learns of no other.
        let leader = self.leader_node(shard).into_iter().chain(self.hint.take());
        let mut asked: BTreeSet<NodeId> = self.mates(shard).into_iter().chain(leader).collect();
        asked.remove(&self.myself());
        for to in asked {
            self.tell(to, &Control::Leave { group, raft_id });
        }
    }

    /// C1: a master that is alone with slots or keys stays. The members with which this one would
    /// have left its data have gone while it was waiting for its turn.
    fn stay(&mut self) {
        self.leaving = false;
        self.hint = None;
        if let Some(resetting) = self.resetting.take() {
            self.reset_failed = Some((resetting.number, Refusal::LastWithData));
        }
        if self.identity.joining.take().is_some() {
            self.acts.push(Act::Identity(self.identity));
            self.stale = true;
            self.shown = None;
        }
    }

    /// A joiner that has its base but has not seen itself added may have been added all the same.
    fn is_added_there<D: Disk>(&self, shard: &Shard<D>) -> bool {
        shard.group().membership().joined_at.is_none() && shard.snapshot_meta().index >= 1 && {
            let me = shard.identity().raft_id;
            let base = &shard.snapshot_meta().conf_state;
            !base.voters.contains(&me.0)
        }
    }

    fn join<D: Disk>(&mut self, now: Now, joining: Joining, shard: &mut Shard<D>) {
        let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
        let opened = raft_id == joining.raft_id;
        if opened && shard.group().membership().contains(raft_id) {
            self.identity.joining = None;
            self.acts.push(Act::Identity(self.identity));
            self.stale = true;
            self.shown = None;
            return;
        }
        if now.mono < self.resend_at {
            return;
        }
        self.resend_at = now.mono + RESEND;
        if shard.group().is_led(now) {
            // A leader writes to members only: it was added, and sees that when it has applied the
            // log up to there, however long that takes.
            self.ready_since = None;
        }
        let patience = shard.group().election_timeout() * READY_PATIENCE;
        if opened && now.mono.since(*self.ready_since.get_or_insert(now.mono)) > patience {
            return self.begin_again(joining.target);
        }
        let led = self.leader_node(shard).filter(|_| opened);
        let asked = match led {
            Some(leader) => BTreeSet::from([leader]),
            None => self.ask_for_entry(joining, opened.then(|| shard.record().shard)),
        };
        let control = if opened {
            Control::Ready { group, raft_id }
        } else {
            let raft_id = joining.raft_id;
            Control::Join { raft_id }
        };
        for to in asked {
            self.tell(to, &control);
        }
    }

    /// Whom to ask for entry while no leader is known: the target may have gone for good since it
    /// was named, so everybody of its shard.
    fn ask_for_entry(&mut self, joining: Joining, shard: Option<NodeId>) -> BTreeSet<NodeId> {
        let shard = shard.or_else(|| self.bus.shard_of(joining.target));
        let nodes = self.bus.nodes().map(|node| node.id);
        let mut asked: BTreeSet<NodeId> = nodes
            .filter(|id| shard.is_some() && self.bus.shard_of(*id) == shard)
            .collect();
        asked.insert(joining.target);
        asked.extend(self.hint.take());
        asked.remove(&self.myself());
        asked
    }

    /// The other nodes of the shard: its members as far as this one knows them, and those who say on
    /// the bus that they are of it (its members of long ago may all have left since).
    fn mates<D: Disk>(&self, shard: &Shard<D>) -> Vec<NodeId> {
        let list = &shard.group().membership().list;
        let of_shard = |node: &NodeId| self.bus.shard_of(*node) == Some(shard.record().shard);
        let known = self.bus.nodes().map(|n| n.id).filter(of_shard);
        let all = list.iter().map(|m| m.node).chain(known);
        all.filter(|node| *node != self.myself()).collect()
    }

    /// The leader of the shard that this node joins has sent the group's base.
    pub(super) fn accepted(&mut self, from: NodeId, mut base: Base) {
        let wanted = self.joining().map(|j| j.raft_id);
        if self.leaving
            || wanted != Some(base.identity.raft_id)
            || self.identity.member == base.identity.raft_id
        {
            return;
        }
        // A hint about another group may have led the question to a leader of another shard.
        let target = self.joining().map(|j| j.target);
        let wanted = target.and_then(|target| self.bus.shard_of(target));
        let given = Record::decode(&base.snapshot.record).map(|record| record.shard);
        if given != wanted && (wanted.is_some() || target != Some(from)) {
            return;
        }
        if mutation::is(Mutation::JoinWithoutConfState) {
            base.snapshot.conf_state.voters = vec![base.identity.raft_id.0];
        }
        base.identity.kind = MemberKind::Data;
        // G2: the identity is the old member's tombstone: it was asked to leave, and has left.
        self.identity.spare = Some(self.identity.member);
        self.identity.member = base.identity.raft_id;
        self.ready_since = None;
        self.resend_at = self.now.mono;
        self.beginning = Some(Beginning::Joined);
        self.acts.push(Act::Begin {
            base: Box::new(base),
            identity: self.identity,
        });
    }

    /// A fresh group of its own. `left`: the member that was asked to leave; the folder of one that was
    /// not is kept (S4).
    fn start_over(&mut self, left: Option<RaftId>, beginning: Beginning) {
        let name = match beginning {
            Beginning::Reset { name: Some(name) } => name,
            _ => self.myself(),
        };
        let base = self.birth(name);
        self.identity = NodeIdentity {
            member: base.identity.raft_id,
            joining: None,
            spare: left,
        };
        self.beginning = Some(beginning);
        self.acts.push(Act::Begin {
            base: Box::new(base),
            identity: self.identity,
        });
        self.claims.clear();
        self.collision = false;
        self.stale = true;
        self.shown = None;
    }

    /// The bus, and with it nodes.conf, forgets the others when the new member is on disk
    /// ([`Agent::begun`]): after a crash in between the node still knows its shard, and can be reset again.
    fn carry_out_reset(&mut self) {
        let Some(resetting) = self.resetting.take() else {
            return;
        };
        self.identity.joining = None;
        let name = resetting.hard.then(|| self.mint_shard());
        self.start_over(Some(self.identity.member), Beginning::Reset { name });
    }
}
