//! What comes in on Raft links: envelopes find their group, control messages their answer (G2, C1).

use super::{Act, Agent, ForWitnesses};
use crate::agent::control::{Control, Frame, FrameError};
use crate::clock::Now;
use crate::shard::{Shard, ShardError};
use crate::storage::base::{Member, MemberKind};
use crate::storage::Disk;
use cluster_bus::NodeId;
use std::collections::BTreeMap;

/// Raft ids whose nodes are remembered because a message came from there. Members are known from
/// the list; these are strangers, of whom anybody can invent any number.
const MAX_REMEMBERED: usize = 4096;

/// Remembers who speaks for a Raft id, for the answer (G2).
pub(super) fn remember(nodes: &mut BTreeMap<u64, NodeId>, raft_id: u64, node: NodeId) {
    if nodes.len() < MAX_REMEMBERED || nodes.contains_key(&raft_id) {
        nodes.insert(raft_id, node);
    }
}

impl Agent {
    /// Takes in a frame of `from`, whose link's handshake named both nodes. An error of the shard
    /// ends the process; a frame that can't be read is only reported.
    pub fn frame<D: Disk>(
        &mut self,
        now: Now,
        from: NodeId,
        bytes: &[u8],
        shard: &mut Shard<D>,
    ) -> Result<Result<(), FrameError>, ShardError> {
        self.now = now;
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let base = shard.base();
        let (group, me) = (base.group, base.raft_id);
        match frame {
            Frame::Raft(envelope) if (envelope.group, envelope.to) == (group, me) => {
                remember(&mut self.nodes, envelope.from, from);
                if let Some(refusal) = shard.step(now, *envelope)? {
                    return Ok(Err(refusal.into()));
                }
            }
            // G2: minted, and no RawNode yet.
            Frame::Raft(envelope) if self.joining().is_some_and(|j| j.raft_id == envelope.to) => {}
            Frame::Control(Control::NotAMember {
                group: of,
                raft_id,
                applied,
            }) if (of, raft_id) == (group, me) => shard.not_a_member(applied),
            Frame::Control(Control::Left { group: of, raft_id })
                if (of, raft_id) == (group, me) =>
            {
                shard.note_removal();
            }
            frame @ (Frame::Raft(_)
            | Frame::Control(
                Control::Invite { .. } | Control::Left { .. } | Control::NotAMember { .. },
            )) => self
                .acts
                .push(Act::Witness(ForWitnesses::Frame { from, frame })),
            Frame::Control(control) => self.control(from, control, shard),
        }
        Ok(Ok(()))
    }

    fn control<D: Disk>(&mut self, from: NodeId, control: Control, shard: &mut Shard<D>) {
        match control {
            Control::Join { raft_id } => self.asked_to_accept(from, raft_id, shard),
            Control::Ready { group, raft_id } => {
                if self.answers_for(from, group, shard) {
                    shard.wish_to_join(Member {
                        raft_id,
                        node: from,
                        kind: MemberKind::Data,
                    });
                }
            }
            Control::Leave { group, raft_id } => {
                if self.answers_for(from, group, shard) {
                    self.asked_to_let_go(from, raft_id, shard);
                }
            }
            Control::Failover { group, raft_id } => {
                if self.answers_for(from, group, shard) {
                    let now = self.now;
                    shard.hand_over_to(now, raft_id);
                }
            }
            Control::Gone { group, raft_id } => {
                if group == shard.base().group {
                    shard.note_gone(raft_id, from);
                    self.member_is_gone(from, raft_id, shard);
                }
                let frame = Frame::Control(Control::Gone { group, raft_id });
                self.acts
                    .push(Act::Witness(ForWitnesses::Frame { from, frame }));
            }
            Control::Health { group, ha } if group == shard.base().group => {
                self.health = Some((ha, self.now.mono));
            }
            Control::Belongs { group, raft_id } if group == shard.base().group => {
                remember(&mut self.nodes, raft_id, from);
                self.tell_strangers(vec![raft_id], shard);
            }
            Control::Accept { base } => self.accepted(from, *base),
            Control::NotLeader { leader } => self.hint = leader,
            Control::Invited { group, raft_id } => self.invited(from, group, raft_id, shard),
            Control::Declined { .. } => self.declined(from),
            // These find their member above, or are about a group that this node is not in.
            Control::Health { .. }
            | Control::Belongs { .. }
            | Control::Invite { .. }
            | Control::Left { .. }
            | Control::NotAMember { .. } => {}
        }
    }

    /// Whether this node leads that group; if not, who asked is told who does.
    fn answers_for<D: Disk>(&mut self, from: NodeId, group: u64, shard: &Shard<D>) -> bool {
        let leads = shard.base().group == group && shard.group().is_leader();
        if !leads {
            // Who leads another group would only lead astray.
            let leader = self
                .leader_node(shard)
                .filter(|_| shard.base().group == group);
            self.tell(from, &Control::NotLeader { leader });
        }
        leads
    }

    /// The node that leads the shard's group, if it is known.
    pub(super) fn leader_node<D: Disk>(&self, shard: &Shard<D>) -> Option<NodeId> {
        let leader = shard.group().leader()?;
        if leader == shard.group().id() {
            return Some(self.myself());
        }
        self.nodes.get(&leader).copied()
    }

    /// G2: whoever is not a member of the group and thinks that it is gets told.
    pub fn tell_strangers<D: Disk>(&mut self, strangers: Vec<u64>, shard: &Shard<D>) {
        let (group, applied) = (shard.base().group, shard.group().applied());
        let membership = shard.group().membership();
        // It may have been added since its message came, up to the very index that is told.
        let strangers = strangers.into_iter().filter(|id| !membership.contains(*id));
        for raft_id in strangers {
            if let Some(&node) = self.nodes.get(&raft_id) {
                let control = Control::NotAMember {
                    group,
                    raft_id,
                    applied,
                };
                self.tell(node, &control);
            }
        }
    }
}
