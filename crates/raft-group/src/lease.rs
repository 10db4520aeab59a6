//! Promise and lease: which member may be elected when, and until when a leader may answer reads alone.
//!
//! Both are measured on monotonic clocks, never in ticks (a burst of ticks after a stall would use
//! up a promise in microseconds). Why the lease is safe: a member that acknowledges a send time `s` of a
//! lease epoch has promised, at a moment not before `s` in true time, to help no other candidate for T.
//! A majority of such promises keeps every other candidate from a majority until the oldest of
//! them, s + T, on clocks that drift by less than 0.1 T over T; the lease ends at s + 0.9 T.

use super::envelope::LeaseEpoch;
use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use std::time::Duration;

/// E1: what a member has promised to its leader.
#[derive(Debug)]
pub struct Promise {
    election_timeout: Duration,
    until: Mono,
    /// The newest lease epoch heard from a leader since this member's start (E4).
    heard: Option<LeaseEpoch>,
    /// The newest send time of `heard` whose promise was taken, to be acknowledged (E3).
    ack_of_send_ns: u64,
}

impl Promise {
    /// After any start a member has promised, for it may have forgotten (E1).
    pub fn at_start(now: Mono, election_timeout: Duration) -> Promise {
        Promise {
            election_timeout,
            until: now + election_timeout,
            heard: None,
            ack_of_send_ns: 0,
        }
    }

    /// Takes the promise to the leader of `lease_epoch`, whose message was sent at `sent_ns` of its clock.
    pub fn take(&mut self, now: Mono, lease_epoch: LeaseEpoch, sent_ns: u64) {
        self.until = self.until.max(now + self.election_timeout);
        match self.heard {
            // A late message of an older lease epoch renews nothing that could be acknowledged.
            Some(heard) if lease_epoch < heard => {}
            Some(heard) if lease_epoch == heard => {
                self.ack_of_send_ns = self.ack_of_send_ns.max(sent_ns)
            }
            _ => {
                self.heard = Some(lease_epoch);
                self.ack_of_send_ns = sent_ns;
            }
        }
    }

    /// Until when no other candidate is helped.
    pub fn until(&self) -> Mono {
        self.until
    }

    /// When its leader was heard last, since this member's start.
    pub fn heard_at(&self) -> Option<Mono> {
        self.heard.map(|_| self.until - self.election_timeout)
    }

    /// Whether the promise still binds.
    pub fn binds(&self, now: Mono) -> bool {
        now < self.until
    }

    /// The newest lease epoch heard since the start.
    pub fn heard(&self) -> Option<LeaseEpoch> {
        self.heard
    }

    /// What answers to the leader of `term` carry: its lease epoch and the newest send time, or nothing
    /// when that leader is not the one last heard.
    pub fn ack_of_send_time(&self, term: u64) -> (LeaseEpoch, u64) {
        match self.heard {
            Some(heard) if heard.term == term => (heard, self.ack_of_send_ns),
            _ => (LeaseEpoch::default(), 0),
        }
    }
}

/// E3: the leader's side, the acknowledgements of its own lease epoch.
#[derive(Debug)]
pub struct Lease {
    election_timeout: Duration,
    lease_epoch: LeaseEpoch,
    /// What was sent before this does not count: the lease epoch's beginning, or the end of a sleep.
    since: Mono,
    acks: Vec<(u64, Mono)>,
    asleep_ms: u64,
}

impl Lease {
    pub fn new(election_timeout: Duration) -> Lease {
        Lease {
            election_timeout,
            lease_epoch: LeaseEpoch::default(),
            since: Mono(0),
            acks: Vec::new(),
            asleep_ms: 0,
        }
    }

    /// The lease epoch whose acknowledgements count.
    pub fn lease_epoch(&self) -> LeaseEpoch {
        self.lease_epoch
    }

    /// Starts counting anew for `lease_epoch`: all acknowledgements are dropped.
    pub fn begin(&mut self, now: Mono, lease_epoch: LeaseEpoch) {
        self.lease_epoch = lease_epoch;
        self.since = now;
        self.acks.clear();
    }

    /// Counts an acknowledgement from `member`, if it is of exactly the lease epoch that counts and of a time in it
    /// that has come; says whether it does.
    pub fn ack_of_send_time(
        &mut self,
        now: Now,
        member: u64,
        lease_epoch: LeaseEpoch,
        sent_ns: u64,
    ) -> bool {
        self.observe_clock(&now);
        let at = Mono(sent_ns);
        let in_epoch = at >= self.since && at <= now.mono;
        let counts =
            lease_epoch == self.lease_epoch && (in_epoch || mutation::is(Mutation::AckOfAnyTime));
        if sent_ns == 0 || !(counts || mutation::is(Mutation::ForeignAck)) {
            return false;
        }
        match self.acks.iter_mut().find(|(id, _)| *id == member) {
            Some((_, newest)) => *newest = (*newest).max(at),
            None => self.acks.push((member, at)),
        }
        true
    }

    /// A clock that slept has hidden time from the promises of others: what was sent before counts
    /// no more, also when its acknowledgement comes later (E3).
    pub fn observe_clock(&mut self, now: &Now) {
        if self.has_slept(now) {
            self.acks.clear();
            self.since = self.since.max(now.mono);
        }
        self.asleep_ms = self.asleep_ms.max(now.asleep_ms);
    }

    /// Whether the boot clock has gone on without the monotonic one since it was last looked at.
    pub fn has_slept(&self, now: &Now) -> bool {
        now.asleep_ms > self.asleep_ms + 1
    }

    /// The send time that a majority of `voters` has acknowledged, `me` counting as `now`; none before
    /// a majority has acknowledged.
    pub fn quorum_ack_time(&self, now: Mono, me: u64, voters: &[u64]) -> Option<Mono> {
        let time = |id: u64| match id == me {
            true => Some(now),
            false => self.heard(id),
        };
        // The greatest time that a majority has reached. Asked several times a turn: no sorting.
        let times = voters.iter().map(|&id| time(id));
        let reached = times.filter(|&at| {
            let others = voters.iter().filter(|&&id| time(id) >= at);
            others.count() > voters.len() / 2
        });
        reached.max().flatten()
    }

    /// When an acknowledgement of `member` last came, for status and G3's conditions.
    pub fn heard(&self, member: u64) -> Option<Mono> {
        self.acks
            .iter()
            .find(|(id, _)| *id == member)
            .map(|&(_, at)| at)
    }

    /// How long the lease lasts beyond the send time that a majority has acknowledged.
    pub fn length(&self) -> Duration {
        self.election_timeout * 9 / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_millis(1000);

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn ns(ms: u64) -> u64 {
        at(ms).0
    }

    fn clock(ms: u64) -> Now {
        Now {
            mono: at(ms),
            ..Now::default()
        }
    }

    #[test]
    fn a_promise_binds_after_every_start() {
        let promise = Promise::at_start(at(5), T);
        assert!(promise.binds(at(1004)));
        assert!(!promise.binds(at(1005)));
    }

    #[test]
    fn only_the_newest_epoch_is_answered() {
        let mut promise = Promise::at_start(at(0), T);
        let (old, new) = (
            LeaseEpoch {
                term: 2,
                transfers: 0,
            },
            LeaseEpoch {
                term: 2,
                transfers: 1,
            },
        );
        promise.take(at(10), old, ns(7));
        assert_eq!(promise.ack_of_send_time(2), (old, ns(7)));
        promise.take(at(20), new, ns(8));
        promise.take(at(30), old, ns(9));
        assert_eq!(promise.ack_of_send_time(2), (new, ns(8)));
        assert_eq!(promise.ack_of_send_time(3), (LeaseEpoch::default(), 0));
    }

    #[test]
    fn the_lease_counts_from_the_oldest_ack_of_the_best_majority() {
        let mut lease = Lease::new(T);
        let lease_epoch = LeaseEpoch {
            term: 2,
            transfers: 0,
        };
        lease.begin(at(0), lease_epoch);
        assert_eq!(lease.quorum_ack_time(at(100), 1, &[1, 2, 3]), None);
        lease.ack_of_send_time(clock(100), 2, lease_epoch, ns(40));
        lease.ack_of_send_time(
            clock(100),
            3,
            LeaseEpoch {
                term: 1,
                transfers: 0,
            },
            ns(90),
        );
        assert_eq!(lease.quorum_ack_time(at(100), 1, &[1, 2, 3]), Some(at(40)));
        lease.ack_of_send_time(clock(100), 3, lease_epoch, ns(60));
        assert_eq!(lease.quorum_ack_time(at(100), 1, &[1, 2, 3]), Some(at(60)));
        assert_eq!(
            lease.quorum_ack_time(at(100), 4, &[1, 2, 3]),
            Some(at(40)),
            "not a voter itself, so both others are needed"
        );
        assert_eq!(lease.quorum_ack_time(at(100), 1, &[1]), Some(at(100)));
    }

    #[test]
    fn a_clock_that_slept_loses_the_lease() {
        let mut lease = Lease::new(T);
        let lease_epoch = LeaseEpoch {
            term: 2,
            transfers: 0,
        };
        lease.begin(at(0), lease_epoch);
        lease.ack_of_send_time(clock(45), 2, lease_epoch, ns(40));
        lease.observe_clock(&Now {
            mono: at(50),
            unix_ms: 0,
            asleep_ms: 500,
        });
        assert_eq!(lease.quorum_ack_time(at(50), 1, &[1, 2, 3]), None);
    }

    /// (sent, acknowledged at, slept by then): whether it counts in a lease epoch that begins at 100.
    #[test]
    fn only_echoes_of_this_reign_until_now_count() {
        let lease_epoch = LeaseEpoch {
            term: 2,
            transfers: 0,
        };
        let table = [
            (99, 200, 0, false),
            (100, 200, 0, true),
            (200, 200, 0, true),
            (201, 200, 0, false),
            (u64::MAX / 1_000_000 - 1, 200, 0, false),
            (150, 200, 500, false),
            (200, 200, 500, true),
        ];
        for (sent, now, asleep_ms, counts) in table {
            let mut lease = Lease::new(T);
            lease.begin(at(100), lease_epoch);
            let now = Now {
                asleep_ms,
                ..clock(now)
            };
            assert_eq!(
                lease.ack_of_send_time(now, 2, lease_epoch, ns(sent)),
                counts,
                "{sent}"
            );
            assert_eq!(lease.heard(2), counts.then_some(at(sent)), "{sent}");
        }
    }
}
