//! What the leader's log has to say of the shard's record: the epoch of a new master, slots that were
//! lost to another shard (S2, S3).
//!
//! Owns the claims of other shards and the events of a collision of epochs. Never: writes while the shard
//! does not admit writes, or believes a claim of its own shard.

use base::clock::Mono;
use base::mutation::{self, Mutation};
use cluster_bus::bus::Bus;
use cluster_bus::{NodeId, SlotSet};
use state::{room, Access, StateMachine};
use std::time::Duration;

/// S3: how long a claim is remembered at least; the bus tells one that stands with every packet.
const CLAIM_LASTS: Duration = Duration::from_secs(20);

/// A claim of another shard on slots of this one.
#[derive(Debug)]
struct Claimed {
    by: NodeId,
    epoch: u64,
    slots: SlotSet,
    /// When the bus told it last.
    at: Mono,
}

#[derive(Debug, Default)]
pub(super) struct RecordWriter {
    /// S3: slots that another shard has, to be lost in the log.
    claims: Vec<Claimed>,
    /// Another master has this one's epoch.
    collision: bool,
}

impl RecordWriter {
    /// Another shard takes the place of this one: what was said of the old one is void.
    pub fn begin_anew(&mut self) {
        *self = RecordWriter::default();
    }

    /// S3: the bus tells of a claim; the newest of a node counts.
    pub fn claimed(&mut self, now: Mono, by: NodeId, epoch: u64, slots: SlotSet) {
        self.claims.retain(|claim| claim.by != by);
        self.claims.push(Claimed {
            by,
            epoch,
            slots,
            at: now,
        });
    }

    pub fn collided(&mut self) {
        self.collision = true;
    }

    /// S3: a claim that stands is told again and again. One that has not been for long was given up,
    /// and a member that leads much later must not lose slots to it.
    pub fn forget_old_claims(&mut self, now: Mono, node_timeout: Duration) {
        let limit = 2 * node_timeout + CLAIM_LASTS;
        self.claims.retain(|claim| now.since(claim.at) <= limit);
    }

    /// Whether [`RecordWriter::write`] has anything to write.
    pub fn has_news(&self, data: &StateMachine, myself: NodeId) -> bool {
        data.record().master != myself || self.collision || !self.claims.is_empty()
    }

    /// What the shard's log has to say of epoch and slots, as effects of this turn: to be called
    /// when the shard admits writes. What it gives is a warning for the log.
    pub fn write(&mut self, data: &mut StateMachine, bus: &Bus) -> Option<String> {
        // D5: what has no room now is said in a later turn.
        data.begin_command(0, Access::Lead);
        if !data.room_for((1 + self.claims.len()) * room::RECORD) {
            return None;
        }
        let me = bus.myself();
        let record = data.record();
        let before = record.epoch;
        let next = bus.max_epoch().max(before).saturating_add(1);
        if record.master != me || std::mem::take(&mut self.collision) {
            data.begin_command(0, Access::Lead);
            data.set_epoch(next, me); // S2
            data.end_command();
        }
        let mut told = None;
        for Claimed {
            by, epoch, slots, ..
        } in std::mem::take(&mut self.claims)
        {
            let record = data.record();
            // S3: of another shard, and higher: what was said before this node came here is void.
            if bus.shard_of(by) == Some(record.shard) || epoch <= before {
                continue;
            }
            // M21: a slot in motion is lost when its move has ended; the claim is told again.
            let moving = record.moves.slots();
            let ours = slots.iter().filter(|s| record.slots.contains(*s));
            let lost: SlotSet = ours.filter(|s| !moving.contains(*s)).collect();
            if lost.is_empty() || mutation::is(Mutation::ClaimIsIgnored) {
                continue;
            }
            data.begin_command(0, Access::Lead);
            // S3: an operator may have let in a stray: what was acknowledged here is not deleted.
            let keys = lost.iter().map(|s| data.keyspace().count_in_slot(s));
            let keys: u64 = keys.sum();
            data.del_slots(&lost);
            data.end_command();
            told = Some(format!(
                "Lost {} slots to node {by}, which claims them under a higher epoch: {keys} keys of \
                 them stay here as leftovers",
                lost.len()
            ));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_was_given_up_long_ago_takes_nothing() {
        let (mut writer, by) = (RecordWriter::default(), NodeId([2; 20]));
        let (then, timeout) = (Mono(1_000_000_000), Duration::from_secs(15));
        writer.claimed(then, by, 10, [5].into_iter().collect());
        writer.forget_old_claims(then + Duration::from_secs(50), timeout);
        assert_eq!(writer.claims.len(), 1);
        writer.forget_old_claims(then + Duration::from_secs(51), timeout);
        assert!(writer.claims.is_empty());
    }
}
