//! When a member campaigns (E2).
//!
//! All jitter comes from a seeded generator, so a seed reproduces a run (raft-rs draws from the
//! thread's generator, which is why its own timer is disabled).

use base::clock::Mono;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use storage::base::MemberKind;

/// Which member campaigns before which (E2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// The only voter of its group.
    Alone,
    /// The master before the restart.
    Master,
    Data,
    /// A last resort: it keeps no keyspace, and hands over at once.
    Witness,
}

impl Rank {
    pub fn of(config: &super::GroupConfig, alone: bool) -> Rank {
        match config.kind {
            _ if alone => Rank::Alone,
            MemberKind::Witness => Rank::Witness,
            MemberKind::Data if config.first => Rank::Master,
            MemberKind::Data => Rank::Data,
        }
    }

    /// Parts of T that it waits after the end of a promise: shortest and longest.
    fn patience(self) -> (f64, f64) {
        match self {
            Rank::Witness => (0.3, 0.45),
            _ => (0.0, 0.15),
        }
    }
}

pub(super) struct CampaignTimer {
    election_timeout: Duration,
    rank: Rank,
    rng: StdRng,
    at: Mono,
    loaded: bool,
}

impl CampaignTimer {
    /// After a start: the former master first, others behind it, the only voter at once.
    pub fn at_start(now: Mono, election_timeout: Duration, seed: u64, rank: Rank) -> Self {
        let mut timer = CampaignTimer {
            election_timeout,
            rank,
            rng: StdRng::seed_from_u64(seed),
            at: now,
            loaded: true,
        };
        if rank != Rank::Alone {
            timer.at = now + election_timeout + timer.turn();
        }
        timer
    }

    /// How long a member waits after a start for those before it.
    fn turn(&mut self) -> Duration {
        match self.rank {
            Rank::Alone | Rank::Master => Duration::ZERO,
            Rank::Data => self.between(0.3, 0.45),
            Rank::Witness => self.between(0.6, 0.75),
        }
    }

    /// It has waited for its keyspace: others may have waited as long.
    pub fn woken(&mut self, now: Mono) {
        self.at = self.at.max(now + self.turn());
    }

    pub fn set_loaded(&mut self, loaded: bool) {
        self.loaded = loaded;
    }

    /// After the end of a promise, or of a lease epoch.
    fn patience(&mut self) -> Duration {
        let (low, high) = match self.loaded {
            true => self.rank.patience(),
            // P20: it could not serve yet, and a witness would hand over at once.
            false => (0.6, 0.75),
        };
        self.between(low, high)
    }

    fn between(&mut self, low: f64, high: f64) -> Duration {
        self.election_timeout.mul_f64(self.rng.gen_range(low..high))
    }

    pub fn at(&self) -> Mono {
        self.at
    }

    pub fn due(&self, now: Mono) -> bool {
        now >= self.at
    }

    /// A leader was heard: not before the promise ends.
    pub fn promised(&mut self, until: Mono) {
        self.at = until + self.patience();
    }

    /// This member stepped down, or gave up being led.
    pub fn leaderless(&mut self, now: Mono) {
        self.at = now + self.patience();
    }

    /// This member stepped down for one with a shorter log, which would vote for this one again: it stands for no election
    /// until that one has had the time.
    pub fn abdicated(&mut self, now: Mono) {
        self.at = now + 3 * self.election_timeout + self.patience();
    }

    /// A pre-vote was asked for: it changes nothing, so it is asked again soon.
    pub fn asked(&mut self, now: Mono) {
        self.at = now + self.election_timeout.mul_f64(0.1);
    }

    /// It may not campaign at all and has asked whether it is still a member.
    pub fn probed(&mut self, now: Mono) {
        self.at = now + self.election_timeout;
    }

    /// A real candidacy: it used up a term, so the next one waits.
    pub fn stood(&mut self, now: Mono) {
        self.at = now + self.election_timeout + self.patience();
    }

    /// Another candidate got this member's vote.
    pub fn granted(&mut self, now: Mono) {
        self.at = self.at.max(now + self.election_timeout / 2);
    }

    /// It can't campaign yet: something is not persisted or not applied.
    pub fn not_ready(&mut self, now: Mono) {
        self.at = now + self.election_timeout.mul_f64(0.02);
    }
}
