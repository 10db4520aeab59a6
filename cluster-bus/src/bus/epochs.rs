//! Epochs: the cluster's current one, collisions, and votes for replicas of real Redis masters.
//!
//! Owns `currentEpoch` and `lastVoteEpoch`. Never changes the own config epoch: that is the record's
//! (S2). Invariants: both only go up (but for a hard reset); a vote leaves only after a `Save` that
//! has it, so a restart can't vote twice in an epoch.

use super::ping::MESSAGE_FORCES_ACK;
use super::*;
use crate::wire::{Body, Header, Message};

/// Epochs go up one by one. One that is so far above all that are known is a forgery or damage, and
/// believing it would soon leave none to go up to.
const FARTHEST: u64 = 1 << 32;

impl Bus {
    /// Whether a packet names an epoch that can't be.
    pub(super) fn is_of_no_epoch(&self, message: &Message) -> bool {
        let header = &message.header;
        let told = match &message.body {
            Body::Update { config_epoch, .. } => *config_epoch,
            _ => 0,
        };
        self.is_absurd(told.max(header.current_epoch).max(header.config_epoch))
    }

    /// Whether an epoch is too far above all that are known to be one.
    pub fn is_absurd(&self, epoch: u64) -> bool {
        let is_far = |from: u64| epoch > from.saturating_add(FARTHEST);
        is_far(self.current_epoch) && is_far(self.max_epoch())
    }

    /// Raises the current epoch (SET-CONFIG-EPOCH, BUMPEPOCH); it never falls.
    pub fn set_current_epoch(&mut self, now: Now, epoch: u64) {
        self.now = now;
        if epoch > self.current_epoch {
            self.current_epoch = epoch;
            self.unsaved = true;
        }
    }

    /// The highest epoch that this node has seen, of whatever kind.
    pub fn max_epoch(&self) -> u64 {
        let configs = self.table.iter().map(|node| node.config_epoch);
        configs.fold(self.current_epoch, u64::max)
    }

    pub(super) fn see_epoch(&mut self, epoch: u64) {
        if epoch > self.current_epoch {
            self.current_epoch = epoch;
            self.slots_unsaved = true;
            self.out.push(Action::EpochSeen(epoch));
        }
    }

    pub(super) fn epoch_of(&self, id: NodeId) -> Option<u64> {
        self.table.get(id).map(|node| node.config_epoch)
    }

    /// Two masters under one epoch: the one with the lower id must move on. We only say so.
    pub(super) fn check_collision(&mut self, with: NodeId, header: &Header) {
        let other_is_master = self.table.get(with).is_some_and(Node::is_master);
        let epoch = self.me.config_epoch;
        if self.me.role != NodeRole::Master || !other_is_master || header.master.is_some() {
            return;
        }
        if header.config_epoch != epoch || with <= self.table.me {
            return;
        }
        let now = self.now.mono_ms;
        if self
            .collision_told
            .is_none_or(|last| now >= last + REPEAT_MS)
        {
            self.collision_told = Some(now);
            self.out.push(Action::EpochCollision { with, epoch });
        }
    }

    /// A replica of a real Redis shard asks for our vote: Redis's rules.
    pub(super) fn receive_auth_request(&mut self, id: NodeId, header: &Header) {
        match self.may_vote(id, header) {
            Ok((master, link)) => {
                self.last_vote_epoch = self.current_epoch;
                if let Some(node) = self.table.get_mut(master) {
                    node.voted = Some(self.now.mono_ms);
                }
                let epoch = self.current_epoch;
                // The vote must be on disk before it is sent.
                self.save_now();
                let (header, body) = (self.header(), Body::AuthAck);
                self.send(link, &Message { header, body });
                self.log(
                    Level::Notice,
                    format!("Failover auth granted to {id} for epoch {epoch}"),
                );
            }
            Err(why) => self.complain(|| format!("Failover auth denied to {id}: {why}")),
        }
    }

    fn may_vote(&self, id: NodeId, header: &Header) -> Result<(NodeId, LinkId), &'static str> {
        if !self.myself_node().votes() {
            return Err("I am no master with slots");
        }
        if header.current_epoch < self.current_epoch {
            return Err("its epoch is old");
        }
        if self.last_vote_epoch == self.current_epoch {
            return Err("already voted for this epoch");
        }
        let node = self.table.get(id).ok_or("unknown")?;
        if node.is_master() {
            return Err("it is a master node");
        }
        let master = node.master.and_then(|master| self.table.get(master));
        let master = master.ok_or("I don't know its master")?;
        if master.id == self.table.me || self.table.shard_of(id) == Some(self.me.shard) {
            return Err("my shard elects by its log");
        }
        let forced = header.message_flags[0] & MESSAGE_FORCES_ACK != 0;
        if !master.flags.has(Flags::FAIL) && !forced {
            return Err("its master is up");
        }
        let pause = 2 * self.options.node_timeout_ms;
        if master.voted.is_some_and(|at| self.since(at) < pause) {
            return Err("a vote about this master was given a moment ago");
        }
        let newer = header.slots.iter().any(|slot| {
            let owner = self.table.owner(slot).and_then(|id| self.epoch_of(id));
            owner.is_some_and(|epoch| epoch > header.config_epoch)
        });
        if newer {
            return Err("some of its slots have a newer owner");
        }
        let link = node.link.filter(|_| node.connected);
        Ok((master.id, link.ok_or("there is no link to it")?))
    }
}
