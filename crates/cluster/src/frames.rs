//! What comes in on Raft links: envelopes find their group, control messages their answer (G2, C1).

use super::transfer::message::Message;
use super::{around, Cluster, ClusterOutput, ForWitnesses};
use crate::control::{Control, Frame, FrameError, Said};
use base::clock::Now;
use base::ids::{GroupId, RaftId};
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use raft_group::{Envelope, Refusal};
use shard::{Shard, ShardError};
use storage::base::{Member, MemberKind};
use storage::Disk;
use topology::features::{SLOTS_MOVE, STATES_TRAVEL};

/// Whether a control message says nothing unless it is proved: it ends or changes a membership, or
/// answers what was asked, and an answer comes back on the link that asked.
fn needs_proof(control: &Control) -> bool {
    matches!(
        control,
        Control::Accept { .. }
            | Control::NotLeader { .. }
            | Control::Left { .. }
            | Control::Invited { .. }
            | Control::Declined { .. }
            | Control::Gone { .. }
            | Control::NotAMember { .. }
            | Control::Confirm { .. }
            | Control::Stored { .. }
            | Control::Unknown { .. }
    )
}

/// What a build must be able to do to read a frame (M9).
fn needed_feature(frame: &Frame) -> u32 {
    match frame {
        Frame::Words(_) | Frame::Control(Control::Introduce(_)) => SLOTS_MOVE,
        Frame::Transfer(_) | Frame::Control(Control::TrimTo { .. } | Control::Begins { .. }) => {
            STATES_TRAVEL
        }
        Frame::Raft(_) | Frame::Control(_) => 0,
    }
}

impl Cluster {
    /// Takes in a frame of `from`, whose link's handshake named both nodes. `proved`: and no
    /// other node can have sent it. An error of the shard ends the process; a frame that can't be read is only
    /// reported.
    pub fn frame<D: Disk>(
        &mut self,
        now: Now,
        from: NodeId,
        proved: bool,
        bytes: &[u8],
        shard: &mut Shard<D>,
    ) -> Result<Result<(), FrameError>, ShardError> {
        self.now = now;
        let proved = proved || mutation::is(Mutation::ForgedLeft);
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let needs = needed_feature(&frame);
        if self.own_features() & needs != needs {
            return Ok(Err(FrameError::Control));
        }
        let base = shard.base();
        let (group, me) = (base.identity.group, base.identity.raft_id);
        let minted = self.membership.mark().map(|mark| mark.raft_id);
        match frame {
            Frame::Raft(envelope) if (envelope.group, envelope.to) == (group, me) => {
                if let Some(refusal) = self.step(now, from, proved, *envelope, shard)? {
                    return Ok(Err(refusal.into()));
                }
            }
            Frame::Words(words) => self.hear(from, proved, words, shard),
            Frame::Control(Control::Introduce(said)) => {
                if proved {
                    self.introductions.hear(now.mono, from, said);
                }
            }
            // It is said again when the links have asked the node.
            Frame::Transfer(_)
            | Frame::Control(Control::TrimTo { .. } | Control::Begins { .. })
                if !proved => {}
            Frame::Transfer(Message::Offer { ref base, .. }) if base.identity.raft_id != me => {
                self.for_witnesses(from, proved, frame);
            }
            Frame::Transfer(message) => self.hear_of_state(from, message, shard),
            // G2: minted, and no RawNode yet.
            Frame::Raft(envelope) if minted == Some(envelope.to) => {}
            Frame::Control(control) if needs_proof(&control) && !proved => {
                self.warn(|| format!("Not proved to come from node {from}: {control:.60?}"));
            }
            Frame::Control(Control::NotAMember {
                group: of,
                raft_id,
                applied,
            }) if (of, raft_id) == (group, me) => self.told_no_member(from, applied, shard),
            Frame::Control(Control::Left { group: of, raft_id })
                if (of, raft_id) == (group, me) =>
            {
                self.told_left(from, shard);
            }
            Frame::Control(Control::Stored {
                group: of,
                raft_id,
                index,
            }) if (of, raft_id) == (group, me) => {
                if self.vouches(from, shard) {
                    shard.check_stored(index)?; // D6
                }
            }
            Frame::Control(Control::TrimTo {
                group: of,
                raft_id,
                term,
                index,
            }) if (of, raft_id) == (group, me) => self.told_log_end(from, (term, index), shard),
            Frame::Control(Control::Invite { .. }) if !proved => {
                self.really(from, Said::Invite, GroupId(0), RaftId(0));
            }
            frame @ (Frame::Raft(_)
            | Frame::Control(
                Control::Invite { .. }
                | Control::Left { .. }
                | Control::NotAMember { .. }
                | Control::Stored { .. }
                | Control::TrimTo { .. },
            )) => self.for_witnesses(from, proved, frame),
            Frame::Control(control) => self.control(from, proved, control, shard),
        }
        Ok(Ok(()))
    }

    fn told_no_member<D: Disk>(&mut self, from: NodeId, applied: u64, shard: &mut Shard<D>) {
        let ends = self.vouches(from, shard) && shard.not_a_member(applied);
        if !ends && shard.is_only_voter() {
            self.warn(|| format!("Node {from} says that the only voter is no member"));
        }
    }

    /// G2: only a member that asked to leave can have been let go.
    fn told_left<D: Disk>(&mut self, from: NodeId, shard: &mut Shard<D>) {
        let asked = self.membership.is_leaving() || shard.awaits_confirmation();
        if !(asked && self.vouches(from, shard) && shard.note_removal()) {
            self.warn(|| format!("Node {from} lets a member go that stays"));
        }
    }

    fn for_witnesses(&mut self, from: NodeId, proved: bool, frame: Frame) {
        // W3: a reset waits until the witnesses have left, and tells them once.
        if let (Frame::Control(Control::Invite { base }), true) =
            (&frame, self.membership.is_reset())
        {
            let group = base.identity.group;
            return self.out.answer(from, &Control::Declined { group });
        }
        self.out.push(ClusterOutput::Witness(ForWitnesses::Frame {
            from,
            proved,
            frame,
        }));
    }

    /// A message of another member. Without proof of its sender it is not stepped: it could make data,
    /// or an OK for what no follower has.
    fn step<D: Disk>(
        &mut self,
        now: Now,
        from: NodeId,
        proved: bool,
        envelope: Envelope,
        shard: &mut Shard<D>,
    ) -> Result<Option<Refusal>, ShardError> {
        let sender = envelope.from;
        match shard.group().membership().member(sender).map(|m| m.node) {
            None => self.peers.remember(sender, from),
            Some(node) if node == from => {}
            Some(node) => {
                self.warn(|| format!("Node {from} speaks for the member of node {node}"));
                return Ok(None);
            }
        }
        if !proved {
            // Anybody can have said it in a member's name. The links ask that node; Raft repeats.
            shard.note_sender(sender);
            return Ok(None);
        }
        match shard.step(now, envelope) {
            Err(ShardError::Step(error)) if !self.vouches(from, shard) => {
                self.warn(|| format!("Node {from} is none of this shard and says: {error}"));
                Ok(None)
            }
            stepped => stepped,
        }
    }

    fn control<D: Disk>(
        &mut self,
        from: NodeId,
        proved: bool,
        control: Control,
        shard: &mut Shard<D>,
    ) {
        match control {
            Control::Join { raft_id } => self.asked_to_accept(from, raft_id, shard),
            Control::Ready { group, raft_id } => {
                self.requested(from, proved, Said::Ready, (group, raft_id), shard);
            }
            Control::Leave { group, raft_id } => {
                if self.answers_for(from, group, shard) {
                    self.asked_to_let_go(from, raft_id, shard);
                }
            }
            Control::Failover { group, raft_id } => {
                self.requested(from, proved, Said::Failover, (group, raft_id), shard);
            }
            Control::Confirm {
                said,
                group,
                raft_id,
            } => self.requested(from, proved, said, (group, raft_id), shard),
            Control::Really {
                said,
                group,
                raft_id,
            } => self.asked_really(from, said, (group, raft_id), shard),
            Control::Gone { group, raft_id } => {
                if group == shard.identity().group {
                    shard.note_gone(raft_id, from);
                    self.member_is_gone(from, raft_id, shard);
                }
                let frame = Frame::Control(Control::Gone { group, raft_id });
                self.for_witnesses(from, proved, frame);
            }
            Control::Health { group, ha } if group == shard.identity().group => {
                if self.leader_node(shard) == Some(from) {
                    self.health.heard(self.now.mono, ha);
                }
            }
            Control::CheckStalePeer { group, raft_id } if group == shard.identity().group => {
                self.asked_if_member(from, raft_id, shard);
            }
            Control::Begins {
                group,
                raft_id,
                first,
            } => {
                let member = shard.group().membership().member(raft_id);
                let is_its = member.is_some_and(|m| m.node == from);
                if is_its && group == shard.identity().group {
                    shard.witness_begins(raft_id, first);
                }
            }
            Control::Accept { base } => self.accepted(from, *base, shard),
            Control::Unknown { raft_id } => self.told_unknown(from, raft_id, shard),
            Control::NotLeader { leader } => self.membership.told_leader(leader),
            Control::Invited { group, raft_id } => self.invited(from, group, raft_id, shard),
            Control::Declined { .. } => self.declined(from, shard),
            // These find their member above, or are about a group that this node is not in.
            Control::Health { .. }
            | Control::CheckStalePeer { .. }
            | Control::Introduce(_)
            | Control::Invite { .. }
            | Control::Left { .. }
            | Control::Stored { .. }
            | Control::TrimTo { .. }
            | Control::NotAMember { .. } => {}
        }
    }

    /// What a node wants of the leader: it is done when it is proved that the node wants it.
    fn requested<D: Disk>(
        &mut self,
        from: NodeId,
        proved: bool,
        said: Said,
        (group, raft_id): (GroupId, RaftId),
        shard: &mut Shard<D>,
    ) {
        if !self.answers_for(from, group, shard) {
            return;
        }
        // A leader that has not applied its own term may have added it all the same.
        let added = shard.group().membership().contains(raft_id);
        let sure = shard.group().own_term_applied();
        if said == Said::Ready && !added && sure && !self.knows(from) {
            return self.out.answer(from, &Control::Unknown { raft_id });
        }
        if !proved {
            return self.really(from, said, group, raft_id);
        }
        if said == Said::Ready && !self.may_be_member(from, shard) {
            return;
        }
        match said {
            Said::Ready => shard.request_join(Member {
                raft_id,
                node: from,
                kind: MemberKind::Data,
            }),
            Said::Leave => self.let_go(from, raft_id, shard),
            Said::Failover => {
                let now = self.now;
                shard.hand_over_to(now, raft_id);
            }
            Said::Invite => {} // it is confirmed by another one
        }
    }

    /// Somebody has heard something in this node's name, and asks whether it is meant.
    fn asked_really<D: Disk>(
        &mut self,
        from: NodeId,
        said: Said,
        (group, raft_id): (GroupId, RaftId),
        shard: &mut Shard<D>,
    ) {
        let mine = (group, raft_id) == (shard.identity().group, shard.identity().raft_id);
        let means_it = match said {
            Said::Ready => mine && self.membership.mark().is_some_and(|j| j.raft_id == raft_id),
            Said::Leave if mine => self.membership.asked_if_leaving(),
            Said::Leave => {
                let frame = Frame::Control(Control::Really {
                    said,
                    group,
                    raft_id,
                });
                return self.for_witnesses(from, false, frame);
            }
            Said::Failover => mine && self.membership.means_to_lead(self.now.mono),
            Said::Invite => return self.invite_again(from, shard),
        };
        if means_it {
            let control = Control::Confirm {
                said,
                group,
                raft_id,
            };
            self.out.answer(from, &control);
        }
    }

    /// G2, D6: a member that no node leads, or that doubts its log, asks what it is here.
    fn asked_if_member<D: Disk>(&mut self, from: NodeId, raft_id: RaftId, shard: &Shard<D>) {
        let (group, membership) = (shard.identity().group, shard.group().membership());
        match membership.member(raft_id) {
            None => {
                let applied = shard.group().applied();
                let control = Control::NotAMember {
                    group,
                    raft_id,
                    applied,
                };
                self.out.answer(from, &control);
            }
            Some(member) if member.node == from => {
                if let Some(index) = shard.stored_by(raft_id) {
                    let control = Control::Stored {
                        group,
                        raft_id,
                        index,
                    };
                    self.out.answer(from, &control);
                }
            }
            Some(_) => {}
        }
    }

    /// Whether this node leads that group; if not, the node that asked is told which one does.
    fn answers_for<D: Disk>(&mut self, from: NodeId, group: GroupId, shard: &Shard<D>) -> bool {
        let leads = shard.identity().group == group && shard.group().is_leader();
        if !leads {
            // The leader of another group would only lead astray.
            let leader = self
                .leader_node(shard)
                .filter(|_| shard.identity().group == group);
            self.out.answer(from, &Control::NotLeader { leader });
        }
        leads
    }

    /// The node that leads the shard's group, if it is known.
    pub(super) fn leader_node<D: Disk>(&self, shard: &Shard<D>) -> Option<NodeId> {
        self.peers.leader_of(shard.group(), self.myself())
    }

    /// A host has accepted.
    fn invited<D: Disk>(
        &mut self,
        from: NodeId,
        group: GroupId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        if !self.may_be_member(from, shard) {
            return;
        }
        let around = around(self.now.mono, &self.bus, &self.introductions, &self.config);
        self.placement
            .accepted(around, from, (group, raft_id), shard);
    }

    fn declined<D: Disk>(&mut self, from: NodeId, shard: &Shard<D>) {
        let around = around(self.now.mono, &self.bus, &self.introductions, &self.config);
        self.placement.declined(around, from, shard);
    }

    /// A host asks whether this node has invited it.
    fn invite_again<D: Disk>(&mut self, host: NodeId, shard: &mut Shard<D>) {
        if let Some(base) = self.placement.invites(host, shard) {
            let base = Box::new(base);
            self.out.answer(host, &Control::Invite { base });
        }
    }

    /// G2: a sender that is no member of the group and thinks that it is one gets told.
    pub fn tell_strangers<D: Disk>(&mut self, strangers: Vec<RaftId>, shard: &Shard<D>) {
        let (group, applied) = (shard.identity().group, shard.group().applied());
        let membership = shard.group().membership();
        // It may have been added since its message came, up to the very index that is told.
        let strangers = strangers.into_iter().filter(|id| !membership.contains(*id));
        for raft_id in strangers {
            if let Some(node) = self.peers.node_of(raft_id) {
                let control = Control::NotAMember {
                    group,
                    raft_id,
                    applied,
                };
                self.out.answer(node, &control);
            }
        }
    }
}
