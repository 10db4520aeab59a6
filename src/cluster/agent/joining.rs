//! C1: this node's own way out of one shard and into another.
//!
//! A node that is to join first leaves: it asks its leader until the removal has committed (a node
//! that is alone in its group has nothing to ask). Then it asks the target's leader for the group's
//! base, puts it on disk under the id that it minted, opens it, and asks to be added. Everything is
//! asked again until it has happened, also after a restart.

use super::{Act, Agent, ForWitnesses, Resetting, LEAVE_PATIENCE, RESEND};
use crate::clock::Now;
use crate::cluster::control::Control;
use crate::cluster::seat::{Joining, Seat};
use crate::mutation::{self, Mutation};
use crate::shard::Shard;
use crate::storage::base::{Base, MemberKind};
use crate::storage::Disk;
use cluster_bus::NodeId;

/// Why a wish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the shard's other members have to stay or leave first: this node leads them")]
    Leads,
    #[error("the removal from the shard did not commit in time")]
    NotRemoved,
}

impl Agent {
    /// REPLICATE: a synced mark, then the rest in the background.
    pub fn replicate<D: Disk>(&mut self, target: NodeId, shard: &Shard<D>) -> Result<(), Refusal> {
        let mine = shard.group().membership().member(shard.base().raft_id);
        let same_shard = self.bus.shard_of(target) == Some(shard.record().shard);
        if mine.is_some() && same_shard && self.joining().is_none() {
            return Ok(()); // it is a member of that shard already
        }
        if self.leads_others(shard) {
            return Err(Refusal::Leads);
        }
        let raft_id = self.mint();
        self.seat.joining = Some(Joining { target, raft_id });
        self.acts.push(Act::Seat(self.seat));
        self.resetting = None;
        self.leaving = true;
        self.hint = None;
        self.resend_at = self.now.mono;
        self.stale = true;
        self.shown = None;
        Ok(())
    }

    /// RESET: true once it has happened. It is asked again until then.
    pub fn reset<D: Disk>(
        &mut self,
        now: Now,
        hard: bool,
        shard: &Shard<D>,
    ) -> Result<bool, Refusal> {
        self.now = now;
        if std::mem::take(&mut self.reset_failed) {
            return Err(Refusal::NotRemoved);
        }
        if self.resetting.is_none() {
            if self.is_fresh(shard, hard) {
                return Ok(true);
            }
            self.resetting = Some(Resetting {
                hard,
                until: now.mono + LEAVE_PATIENCE,
            });
            self.leaving = true;
            self.hint = None;
            self.resend_at = now.mono;
            self.acts.push(Act::Witness(ForWitnesses::LeaveAll));
        }
        Ok(false)
    }

    /// Whether a reset has just been carried out: a group of one without anything, no other node
    /// known.
    fn is_fresh<D: Disk>(&self, shard: &Shard<D>, hard: bool) -> bool {
        let record = shard.record();
        self.bus.nodes().count() == 1
            && self.joining().is_none()
            && !self.others_exist(shard)
            && record.slots.is_empty()
            && (!hard || (record.epoch == 0 && self.bus.current_epoch() == 0))
    }

    fn others_exist<D: Disk>(&self, shard: &Shard<D>) -> bool {
        let me = shard.base().raft_id;
        let list = &shard.group().membership().list;
        list.iter().any(|m| m.raft_id != me)
    }

    fn leads_others<D: Disk>(&self, shard: &Shard<D>) -> bool {
        let me = shard.base().raft_id;
        let list = &shard.group().membership().list;
        let others = list
            .iter()
            .any(|m| m.raft_id != me && m.kind == MemberKind::Data);
        shard.group().is_leader() && others
    }

    /// The next step of a leave, a join or a reset.
    pub(super) fn proceed<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        self.expire_reset(now);
        if shard.is_removed() && !self.leaving && self.joining().is_none() {
            return self.start_over(); // FORGET, or a leader that took this member for lost
        }
        if self.leaving {
            self.leave(now, shard);
        } else if let Some(joining) = self.joining() {
            self.join(now, joining, shard);
        }
    }

    fn expire_reset(&mut self, now: Now) {
        if self.resetting.is_some_and(|r| now.mono >= r.until) {
            self.resetting = None;
            self.reset_failed = true;
            self.leaving = self.joining().is_some();
        }
    }

    fn leave<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let (group, raft_id) = (shard.base().group, shard.base().raft_id);
        let in_group = shard.group().membership().contains(raft_id) || self.is_added_there(shard);
        let left = shard.is_removed() || !in_group || !self.others_exist(shard);
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
            // G4: nobody proposes its own removal.
            match shard.successor(now) {
                Some(to) if !shard.group().is_transferring() => shard.transfer(now, to),
                _ => {}
            }
            return;
        }
        let known = shard.group().membership().list.iter();
        let any = known.map(|m| m.node).find(|node| *node != self.myself());
        let to = self.leader_node(shard).or(self.hint).or(any);
        if let Some(to) = to.filter(|to| *to != self.myself()) {
            self.tell(to, &Control::Leave { group, raft_id });
        }
    }

    /// A joiner that has its base but has not seen itself added may have been added all the same.
    fn is_added_there<D: Disk>(&self, shard: &Shard<D>) -> bool {
        shard.group().membership().joined_at.is_none() && shard.base().index >= 1 && {
            let me = shard.base().raft_id;
            let base = &shard.base().conf_state;
            !base.voters.contains(&me)
        }
    }

    fn join<D: Disk>(&mut self, now: Now, joining: Joining, shard: &mut Shard<D>) {
        let (group, raft_id) = (shard.base().group, shard.base().raft_id);
        let opened = raft_id == joining.raft_id;
        if opened && shard.group().membership().contains(raft_id) {
            self.seat.joining = None;
            self.acts.push(Act::Seat(self.seat));
            self.stale = true;
            self.shown = None;
            return;
        }
        if now.mono < self.resend_at {
            return;
        }
        self.resend_at = now.mono + RESEND;
        let led = self.leader_node(shard).filter(|_| opened);
        let to = led.or(self.hint.take()).unwrap_or(joining.target);
        let control = if opened {
            Control::Ready { group, raft_id }
        } else {
            let raft_id = joining.raft_id;
            Control::Join { raft_id }
        };
        self.tell(to, &control);
    }

    /// The leader of the shard that this node joins has sent the group's base.
    pub(super) fn accepted(&mut self, mut base: Base) {
        let wanted = self.joining().map(|j| j.raft_id);
        if self.leaving || wanted != Some(base.raft_id) || self.seat.member == base.raft_id {
            return;
        }
        if mutation::is(Mutation::JoinWithoutConfState) {
            base.conf_state.voters = vec![base.raft_id];
        }
        base.kind = MemberKind::Data;
        self.seat.member = base.raft_id;
        self.resend_at = self.now.mono;
        self.acts.push(Act::Begin {
            base: Box::new(base),
            seat: self.seat,
        });
    }

    /// A fresh group of its own, under the same name.
    fn start_over(&mut self) {
        let base = self.birth();
        self.seat = Seat {
            member: base.raft_id,
            joining: None,
        };
        self.acts.push(Act::Begin {
            base: Box::new(base),
            seat: self.seat,
        });
        self.claims.clear();
        self.collision = false;
        self.stale = true;
        self.shown = None;
    }

    fn carry_out_reset(&mut self) {
        let Some(resetting) = self.resetting.take() else {
            return;
        };
        self.seat.joining = None;
        let new_id = resetting.hard.then(|| self.mint_shard());
        self.bus.reset(super::bus_now(self.now), new_id);
        self.take_bus_actions();
        if let Some(id) = new_id {
            self.acts.push(Act::Myself(id));
        }
        self.start_over();
    }
}
