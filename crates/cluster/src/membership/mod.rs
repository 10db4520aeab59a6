//! C1, G2: this node's own way out of one shard and into another.
//!
//! A node that is to join first leaves: it asks its leader until the removal has committed (a node
//! that is alone in its group has nothing to ask). Then it asks the target's leader for the group's
//! base, puts it on disk under the id that it minted, opens it, and asks to be added. Everything is
//! asked again until it has happened, also after a restart. A member that others have removed begins
//! anew by itself, alone.
//!
//! Owns where the node is on this way. [`machine`] decides; here its facts are gathered and its outputs
//! are carried out. Never: decides a change of members, or writes a file.

mod emptied;
mod machine;
mod phase;
mod stale;
mod standing;
#[cfg(test)]
mod tests;

use super::control::Control;
use super::identity::{Joining as Mark, NodeIdentity};
use super::{Cluster, ClusterOutput, ForWitnesses};
use base::clock::{Mono, Now};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use cluster_bus::{NodeId, ShardId};
use emptied::Emptied;
use machine::Machine;
use phase::{Event, Facts, Output, ResetWish};
use shard::Shard;
pub(super) use stale::StaleCheck;
use standing::{LeadWish, Standing};
use std::collections::BTreeSet;
use storage::base::{Base, MemberKind};
use storage::Disk;
use topology::Record;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorRefusal {
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

/// What this node is in its shard, and on its way to.
pub(super) struct Membership {
    machine: Machine,
    standing: Standing,
    lead_wish: LeadWish,
    /// G2: whether it still is one, where no node leads it; none: not looked at yet.
    stale_check: Option<StaleCheck>,
    /// M28: since when the shard has had nothing, or the one that was left has slots again.
    emptied: Emptied,
}

impl Membership {
    /// A node that starts with this identity on disk.
    pub fn new(identity: NodeIdentity, now: Mono) -> Membership {
        Membership {
            machine: Machine::new(identity, now),
            standing: Standing::default(),
            lead_wish: LeadWish::default(),
            stale_check: None,
            emptied: Emptied::default(),
        }
    }

    /// The identity as it should be on disk.
    pub fn identity(&self) -> NodeIdentity {
        self.machine.identity()
    }

    /// The mark of a join that is under way.
    pub fn mark(&self) -> Option<Mark> {
        self.machine.mark()
    }

    /// Whether it has asked to be removed.
    pub fn is_leaving(&self) -> bool {
        self.machine.is_leaving()
    }

    /// Whether a RESET is under way.
    pub fn is_reset(&self) -> bool {
        self.machine.is_reset()
    }

    /// Whether another shard is to take the place of this one, and has not: its log waits for room on
    /// the disk (D5).
    pub fn is_beginning(&self) -> bool {
        self.machine.is_beginning()
    }

    /// When the next question is due.
    pub fn deadline(&self) -> Option<Mono> {
        self.machine.deadline(self.standing.unconfirmed)
    }

    /// G2: no leader was heard for so long that all nodes were asked.
    pub fn is_stale(&self) -> bool {
        self.stale_check.as_ref().is_some_and(StaleCheck::is_stale)
    }

    /// Whether CLUSTER FAILOVER was asked for lately.
    pub fn means_to_lead(&self, now: Mono) -> bool {
        self.lead_wish.is_meant(now)
    }

    /// C3: whether the shard has a leader with a quorum, as far as was looked.
    pub fn has_quorum(&self) -> bool {
        !self.standing.without_quorum
    }

    /// The leader asks whether this member means to leave.
    pub fn asked_if_leaving(&mut self) -> bool {
        self.machine.step(Event::AskedIfLeaving, &Facts::default());
        self.machine.is_leaving()
    }

    /// A node that does not lead says which one does.
    pub fn told_leader(&mut self, leader: Option<NodeId>) {
        self.machine.step(Event::Told(leader), &Facts::default());
    }

    /// What commands need to know between two turns.
    pub fn look<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        self.standing.look(now, shard);
    }
}

impl Cluster {
    // ---- commands -------------------------------------------------------------------------

    /// REPLICATE: the identity that is to be on disk before [`Cluster::replicate`]; none where the node is a
    /// member of that shard already.
    pub fn identity_to_replicate(
        &mut self,
        target: NodeId,
    ) -> Result<Option<NodeIdentity>, OperatorRefusal> {
        let Membership {
            machine, standing, ..
        } = &self.membership;
        if machine.is_beginning() {
            return Err(OperatorRefusal::Begins);
        }
        let same_shard = self.bus.shard_of(target) == Some(standing.shard);
        if standing.is_member && same_shard && machine.mark().is_none() {
            return Ok(None);
        }
        if standing.leads && standing.other_data {
            return Err(OperatorRefusal::Leads);
        }
        let joining = Some(Mark {
            target,
            raft_id: self.ids.mint_member(),
        });
        Ok(Some(NodeIdentity {
            joining,
            ..self.membership.identity()
        }))
    }

    /// This identity is on disk: the rest happens in the background.
    pub fn replicate(&mut self, identity: NodeIdentity) {
        let mark = identity
            .joining
            .expect("an identity to replicate has a mark");
        let facts = Facts {
            now: self.now.mono,
            ..Facts::default()
        };
        let outputs = self.membership.machine.step(Event::Replicate(mark), &facts);
        assert_eq!(outputs, [Output::Changed], "the rest waits for a turn");
        self.show_anew();
    }

    /// RESET: the number of the reset to wait for, nothing once it has happened.
    pub fn reset(
        &mut self,
        now: Now,
        hard: bool,
        waits_for: Option<u64>,
    ) -> Result<Option<u64>, OperatorRefusal> {
        self.now = now;
        let request = ResetWish {
            hard,
            waits_for,
            fresh: self.is_fresh(hard),
            of_master: self.is_master(),
        };
        self.membership.machine.reset(now.mono, request)
    }

    /// Whether a reset has just been carried out: a group of one without anything, no other node
    /// known.
    fn is_fresh(&self, hard: bool) -> bool {
        let standing = &self.membership.standing;
        self.bus.nodes().count() == 1
            && standing.is_member
            && !standing.others
            && standing.slots == 0
            && (!hard || (standing.epoch == 0 && self.bus.current_epoch() == 0))
    }

    /// CLUSTER FAILOVER: the leader is asked to hand over (E4). FORCE is no different: without a
    /// leader this replica campaigns as soon as its promise has run out, of its own.
    pub fn ask_to_lead(&mut self) -> Result<(), OperatorRefusal> {
        let standing = &self.membership.standing;
        if !standing.is_member || !standing.may_lead || self.is_joining() {
            return Err(OperatorRefusal::Learner);
        }
        self.membership.lead_wish.request();
        Ok(())
    }

    /// E4: tells the leader of a request to lead.
    pub(super) fn tell_lead_wish<D: Disk>(&mut self, shard: &Shard<D>) {
        if !self.membership.lead_wish.take(self.now.mono) {
            return;
        }
        let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
        if let Some(leader) = self.leader_node(shard) {
            self.out.tell(leader, &Control::Failover { group, raft_id });
        }
    }

    // ---- a turn ---------------------------------------------------------------------------

    /// The next step of a leave, a join or a reset.
    pub(super) fn proceed<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        if shard.is_loading() {
            // P20: whether it has keys is not known, and what has some may not go.
            return self.membership.machine.wait(now.mono);
        }
        let (removed, unconfirmed) = (shard.is_removed(), shard.awaits_confirmation());
        if !self.membership.machine.rests(removed, unconfirmed) {
            self.take_step(now, Event::Turn, shard);
        }
        self.follow_slots(now, shard);
    }

    fn take_step<D: Disk>(&mut self, now: Now, event: Event, shard: &mut Shard<D>) {
        let facts = self.facts(now, shard);
        for output in self.membership.machine.step(event, &facts) {
            self.carry_out(now, output, shard);
        }
    }

    fn facts<D: Disk>(&self, now: Now, shard: &Shard<D>) -> Facts {
        let (group, base) = (shard.group(), shard.base());
        let (me, membership) = (base.identity.raft_id, group.membership());
        let others = || membership.list.iter().filter(|m| m.raft_id != me);
        Facts {
            now: now.mono,
            t: group.election_timeout(),
            removed: shard.is_removed(),
            unconfirmed: shard.awaits_confirmation(),
            listed: membership.contains(me),
            perhaps_added: membership.joined_at.is_none()
                && !base.snapshot.conf_state.voters.contains(&me.0),
            others: others().next().is_some(),
            abandoned: self.membership.is_stale()
                && shard.has_no_data_left()
                && shard.record().moves.follows.is_some(),
            other_data: others().any(|m| m.kind == MemberKind::Data),
            keys: shard.may_have_keys(),
            slots: !shard.data().record().slots.is_empty(),
            owes: shard.data().record().moves.owes() || shard.record().moves.owes(),
            follows: shard.record().moves.follows.is_some() && self.config.options.follows_slots,
            leads: group.is_leader(),
            led: group.is_led(now),
            leader_known: self.leader_node(shard).is_some(),
            hosts_witnesses: self.hosted_witnesses > 0,
        }
    }

    fn carry_out<D: Disk>(&mut self, now: Now, output: Output, shard: &mut Shard<D>) {
        let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
        match output {
            Output::Mint => {
                let raft_id = self.ids.mint_member();
                self.take_step(now, Event::Minted { raft_id }, shard);
            }
            Output::Found { renamed } => {
                if matches!(
                    self.membership.machine.phase(),
                    phase::Phase::Joining { .. }
                ) {
                    self.warn(|| {
                        "The shard that this node was to join does not know it any more (CLUSTER FORGET): \
                         it begins anew, alone. To join all the same: CLUSTER MEET, then CLUSTER REPLICATE"
                            .to_owned()
                    });
                }
                self.found_anew(now, renamed, shard);
            }
            Output::Save(identity) => self.out.push(ClusterOutput::Identity(identity)),
            Output::Changed => self.show_anew(),
            Output::AskToLeave { hint } => {
                // All are asked: the leader of before may be gone, and a learner learns of no other.
                let leader = self.leader_node(shard).into_iter().chain(hint);
                let mut asked: BTreeSet<NodeId> =
                    self.mates(shard).into_iter().chain(leader).collect();
                asked.remove(&self.myself());
                self.tell_all(asked, &Control::Leave { group, raft_id });
            }
            Output::AskForBase { mark, hint } => {
                let asked = self.shard_of_target(mark, None, hint);
                let raft_id = mark.raft_id;
                self.tell_all(asked, &Control::Join { raft_id });
            }
            Output::AskToBeAdded { mark, hint } => {
                let asked = match self.leader_node(shard) {
                    Some(leader) => BTreeSet::from([leader]),
                    None => self.shard_of_target(mark, Some(shard.record().shard), hint),
                };
                self.tell_all(asked, &Control::Ready { group, raft_id });
            }
            Output::HandOver => shard.hand_over(now),
            Output::ProposeOwnRemoval => shard.request_leave(raft_id),
            Output::LetWitnessesGo => self
                .out
                .push(ClusterOutput::Witness(ForWitnesses::LeaveAll)),
            Output::Begin(_) | Output::Renew { .. } => {
                unreachable!("they follow no turn: see found_anew, accepted and begun")
            }
        }
    }

    fn tell_all(&mut self, nodes: BTreeSet<NodeId>, control: &Control) {
        for node in nodes {
            self.out.tell(node, control);
        }
    }

    /// The nodes to ask for entry while no leader is known: the target may have gone for good since it
    /// was named, so all nodes of its shard.
    fn shard_of_target(
        &self,
        mark: Mark,
        shard: Option<ShardId>,
        hint: Option<NodeId>,
    ) -> BTreeSet<NodeId> {
        let shard = shard.or_else(|| self.bus.shard_of(mark.target));
        let nodes = self.bus.nodes().map(|node| node.id);
        let mut asked: BTreeSet<NodeId> = nodes
            .filter(|id| shard.is_some() && self.bus.shard_of(*id) == shard)
            .collect();
        asked.insert(mark.target);
        asked.extend(hint);
        asked.remove(&self.myself());
        asked
    }

    /// The other nodes of the shard: its members as far as this one knows them, and those that say on
    /// the bus that they are of it (its members of long ago may all have left since).
    fn mates<D: Disk>(&self, shard: &Shard<D>) -> Vec<NodeId> {
        let list = &shard.group().membership().list;
        let of_shard = |node: &NodeId| self.bus.shard_of(*node) == Some(shard.record().shard);
        let known = self.bus.nodes().map(|n| n.id).filter(of_shard);
        let all = list.iter().map(|m| m.node).chain(known);
        all.filter(|node| *node != self.myself()).collect()
    }

    // ---- another member in place of the present one -----------------------------------------

    /// The leader of the shard that this node joins has sent the group's base.
    pub(super) fn accepted<D: Disk>(&mut self, from: NodeId, mut base: Base, shard: &Shard<D>) {
        let raft_id = base.identity.raft_id;
        let mark = self.membership.machine.awaits_base();
        let Some(mark) = mark.filter(|mark| mark.raft_id == raft_id) else {
            return;
        };
        // A hint about another group may have led the question to a leader of another shard.
        let wanted = self.bus.shard_of(mark.target);
        let given = Record::decode(&base.snapshot.record).map(|record| record.shard);
        if given != wanted && (wanted.is_some() || mark.target != from) {
            return;
        }
        if mutation::is(Mutation::JoinWithoutConfState) {
            base.snapshot.conf_state.voters = vec![base.identity.raft_id.0];
        }
        base.identity.kind = MemberKind::Data;
        let facts = self.facts(self.now, shard);
        let accepted = Event::Accepted { raft_id };
        let outputs = self.membership.machine.step(accepted, &facts);
        self.begin(base, outputs);
    }

    /// C1: a node says that its bus does not know this one. It counts if it is of the target's shard.
    pub(super) fn told_unknown<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &Shard<D>,
    ) {
        let mark = self.membership.mark();
        let Some(mark) = mark.filter(|mark| mark.raft_id == raft_id) else {
            return;
        };
        let of = |node| self.bus.shard_of(node);
        if from == mark.target || (of(from).is_some() && of(from) == of(mark.target)) {
            let facts = self.facts(self.now, shard);
            self.membership.machine.step(Event::Unknown, &facts);
        }
    }

    /// A fresh group of its own, under another name for RESET HARD.
    fn found_anew<D: Disk>(&mut self, now: Now, renamed: bool, shard: &Shard<D>) {
        let name = renamed.then(|| self.ids.mint_node());
        // P22: a node that comes from another shard takes no file that lies about.
        let base = shard::without_import(self.bootstrap_base(name.unwrap_or(self.myself())));
        let raft_id = base.identity.raft_id;
        let facts = self.facts(now, shard);
        let founded = Event::Founded { raft_id, name };
        let outputs = self.membership.machine.step(founded, &facts);
        self.begin(base, outputs);
        self.record.begin_anew();
    }

    fn begin(&mut self, base: Base, outputs: Vec<Output>) {
        let mut base = Some(Box::new(base));
        for output in outputs {
            match output {
                Output::Begin(identity) => {
                    let base = base.take().expect("one member begins");
                    self.out.push(ClusterOutput::Begin { base, identity });
                }
                Output::Changed => self.show_anew(),
                other => unreachable!("no member begins with {other:?}"),
            }
        }
    }

    /// The member is on disk and open. The bus, and with it nodes.conf, forgets the others only now: after
    /// a crash in between the node still knows its shard, and can be reset again.
    pub(super) fn member_begun<D: Disk>(&mut self, shard: &Shard<D>) {
        let facts = self.facts(self.now, shard);
        for output in self.membership.machine.step(Event::Begun, &facts) {
            let Output::Renew { name } = output else {
                unreachable!("a member that has begun asks for nothing: {output:?}");
            };
            self.bus.reset(super::bus_now(self.now), name);
            self.take_bus_actions();
            if let Some(name) = name {
                self.out.push(ClusterOutput::Myself(name));
            }
        }
        self.membership.standing.look(self.now, shard);
        self.membership.stale_check = None;
    }

    /// G2: asks whether this node is still a member where no node leads it.
    pub(super) fn check_if_stale<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        let (led, t) = (shard.group().is_led(now), shard.group().election_timeout());
        let check = self.membership.stale_check.take();
        let mut check = check.unwrap_or_else(|| StaleCheck::new(now.mono, t));
        let asks = check.asks(now.mono, led, t);
        self.membership.stale_check = Some(check);
        if !asks {
            return;
        }
        let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
        for node in self.peers.reached() {
            self.out
                .tell(node, &Control::CheckStalePeer { group, raft_id });
        }
    }
}
