//! Which members' logs have room for writes, as they say (D5).
//!
//! Owns what follows from that for a group: whether a write could commit, and how a leader makes way if no majority can
//! take its log. Never: decides when it does.

use super::group::Group;
use base::clock::{Mono, Now};
use base::ids::RaftId;

impl Group {
    /// D5: whether this member's log has room for writes; every message says so.
    pub fn set_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// D5: whether the voters that have room for writes, as those say that answer, and this member are a majority.
    pub fn has_room_to_commit(&self, now: Mono) -> bool {
        if self.told.iter().all(|told| !told.lacks_room) {
            return true; // those that do not answer are counted elsewhere
        }
        self.is_quorum(|id| {
            let has_room = || !self.told_by(RaftId(id)).lacks_room;
            id == self.config.id.0 || self.is_heard(now, id) && has_room()
        })
    }

    fn is_heard(&self, now: Mono, id: u64) -> bool {
        let t = self.election_timeout();
        self.lease.heard(id).is_some_and(|at| now.since(at) < t)
    }

    fn is_quorum(&self, is_in: impl Fn(u64) -> bool) -> bool {
        let is_most = |half: &[u64]| {
            let are_in = half.iter().filter(|voter| is_in(**voter)).count();
            half.is_empty() || are_in > half.len() / 2
        };
        let conf = &self.membership.conf;
        is_most(&conf.voters) && is_most(&conf.voters_outgoing)
    }

    /// D5: whether the voters that answer could elect one of them without this member.
    pub fn can_be_replaced(&self, now: Mono) -> bool {
        self.is_quorum(|id| id != self.config.id.0 && self.is_heard(now, id))
    }

    /// D5: this leader's log has what no majority will ever take. It leads no more, so that a member is elected that does not
    /// have it.
    pub fn abdicate(&mut self, now: Now) {
        let term = self.term();
        self.node.raft.become_follower(term, raft::INVALID_ID);
        self.note_role(now);
        self.timer.abdicated(now.mono);
    }
}
