//! Whether this member's shard has a leader with a quorum, as this member sees it.
//!
//! Owns: since when there has been none, and when each other member was heard last. Never: decides
//! anything for the group (elections and leases do, E1-E3); it only tells. Invariant: an election that
//! goes as it should is no lost quorum.

use super::Shard;
use base::clock::{Mono, Now};
use base::ids::RaftId;
use std::time::Duration;
use storage::base::Member;
use storage::Disk;

/// A shard is without quorum when it has had no leader for so many halves of T: for as long commands
/// are held before they are answered CLUSTERDOWN (S2).
const PATIENCE_HALVES: u32 = 3;

#[derive(Default)]
pub(super) struct Quorum {
    unled_since: Option<Mono>,
    pub lost: bool,
    /// Raft ids, and when each was heard last.
    heard: Vec<(RaftId, Mono)>,
    /// It tells people: it need not be looked at in every turn.
    next_look: Mono,
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Quorum {
    /// After any start nobody is elected before the promise ends (E1): until then none can be missed.
    pub fn at_start(now: Mono, t: Duration) -> Quorum {
        Quorum {
            unled_since: Some(now + t),
            ..Quorum::default()
        }
    }

    /// A message of a member has come.
    pub fn hear(&mut self, now: Mono, from: RaftId) {
        match self.heard.iter_mut().find(|(id, _)| *id == from) {
            Some((_, at)) => *at = now,
            None => self.heard.push((from, now)),
        }
    }

    /// `led`: a leader is known that has the word of a quorum.
    pub fn look(&mut self, now: Mono, led: bool, t: Duration) {
        if led {
            (self.unled_since, self.lost) = (None, false);
            return;
        }
        let since = *self.unled_since.get_or_insert(now);
        self.lost |= now.since(since) >= t * PATIENCE_HALVES / 2;
    }

    /// Whether a member was not heard within T.
    fn is_silent(&self, now: Mono, id: RaftId, t: Duration) -> bool {
        let heard = self.heard.iter().find(|(other, _)| *other == id);
        heard.is_none_or(|(_, at)| now.since(*at) >= t)
    }

    /// Forgets those that are no members any more.
    fn retain(&mut self, is_member: impl Fn(RaftId) -> bool) {
        self.heard.retain(|(id, _)| is_member(*id));
    }
}

impl<D: Disk> Shard<D> {
    pub(super) fn look_at_quorum(&mut self, now: Now) {
        if self.is_starting() {
            // D2: Raft waits, so nobody can be missed.
            self.quorum = Quorum::at_start(now.mono, self.group.election_timeout());
            return;
        }
        if now.mono < self.quorum.next_look {
            return;
        }
        self.quorum.next_look = now.mono + LOOK_EVERY;
        let (group, membership) = (&self.group, self.group.membership());
        let led = match group.is_leader() {
            true => group.is_transferring() || group.holds_lease(now),
            false => group.is_led(now),
        };
        // A member that has not been added yet, or was removed, waits for no leader.
        let led = led || !membership.contains(group.id());
        self.quorum
            .look(now.mono, led, self.group.election_timeout());
        let membership = self.group.membership();
        if self.quorum.heard.len() >= membership.list.len() {
            self.quorum.retain(|id| membership.contains(id));
        }
    }

    /// Whether the shard has a leader with a quorum, or had one a moment ago.
    pub fn has_quorum(&self) -> bool {
        !self.quorum.lost
    }

    /// The voters other than this member that were not heard within T.
    pub fn silent_voters(&self) -> Vec<Member> {
        let (now, t) = (self.turn_now.mono, self.group.election_timeout());
        let (me, membership) = (self.group.id(), self.group.membership());
        let others = membership.list.iter();
        let others = others.filter(|m| m.raft_id != me && membership.is_voter(m.raft_id));
        let silent = others.filter(|m| self.quorum.is_silent(now, m.raft_id, t));
        silent.copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, Played, OTHERS, T_MS};

    const T: Duration = Duration::from_millis(T_MS);

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    #[test]
    fn an_election_is_no_lost_quorum() {
        let mut quorum = Quorum::default();
        for (ms, led, lost) in [
            (0, true, false),
            (1000, false, false),
            (2499, false, false),
            (2500, true, false),
            (2600, false, false),
            (4099, false, false),
            (4100, false, true),
            (9000, false, true),
            (9001, true, false),
        ] {
            quorum.look(at(ms), led, T);
            assert_eq!(quorum.lost, lost, "{ms}");
        }
    }

    #[test]
    fn a_start_has_the_promise_to_wait_for() {
        let mut quorum = Quorum::at_start(at(500), T);
        for (ms, lost) in [(500, false), (2000, false), (2999, false), (3000, true)] {
            quorum.look(at(ms), false, T);
            assert_eq!(quorum.lost, lost, "{ms}");
        }
    }

    #[test]
    fn members_not_heard_within_t_are_silent() {
        let mut quorum = Quorum::default();
        quorum.hear(at(100), RaftId(6));
        quorum.hear(at(500), RaftId(6));
        assert!(!quorum.is_silent(at(1499), RaftId(6), T));
        assert!(quorum.is_silent(at(1500), RaftId(6), T));
        assert!(
            quorum.is_silent(at(100), RaftId(1), T),
            "it was never heard"
        );
        quorum.retain(|_| false);
        assert!(
            quorum.is_silent(at(501), RaftId(6), T),
            "it is no member any more"
        );
    }

    #[test]
    fn a_leader_that_hears_nobody_says_so() {
        let mut played = Played::leading(config());
        played.beats(&OTHERS, 4 * T_MS);
        assert!(played.shard.has_quorum());
        assert_eq!(played.shard.silent_voters(), []);
        // One of them is enough.
        played.beats(&OTHERS[..1], 4 * T_MS);
        assert!(played.shard.has_quorum());
        let silent = |played: &Played| -> Vec<u64> {
            let silent = played.shard.silent_voters();
            silent.iter().map(|m| m.raft_id.0).collect()
        };
        assert_eq!(silent(&played), OTHERS[1..]);
        played.beats(&[], T_MS);
        assert!(played.shard.has_quorum(), "it may be an election");
        played.beats(&[], 2 * T_MS);
        assert!(!played.shard.has_quorum());
        assert_eq!(silent(&played), OTHERS);
        played.beats(&OTHERS, 3 * T_MS);
        assert!(played.shard.has_quorum());
    }
}
