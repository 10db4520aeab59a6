//! When a member campaigns (E2).
//!
//! All jitter comes from a seeded generator, so a seed reproduces a run (raft-rs draws from the
//! thread's generator, which is why its own timer is disabled).

use crate::clock::Mono;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

pub(super) struct CampaignTimer {
    election_timeout: Duration,
    rng: StdRng,
    at: Mono,
}

impl CampaignTimer {
    /// After a start: the former master first, others behind it, the only voter at once.
    pub fn at_start(
        now: Mono,
        election_timeout: Duration,
        seed: u64,
        first: bool,
        alone: bool,
    ) -> Self {
        let mut timer = CampaignTimer {
            election_timeout,
            rng: StdRng::seed_from_u64(seed),
            at: now,
        };
        if !alone {
            let wait = if first {
                Duration::ZERO
            } else {
                timer.between(0.3, 0.45)
            };
            timer.at = now + election_timeout + wait;
        }
        timer
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
        self.at = until + self.between(0.0, 0.15);
    }

    /// This member stepped down, or gave up being led.
    pub fn leaderless(&mut self, now: Mono) {
        self.at = now + self.between(0.0, 0.15);
    }

    /// A pre-vote was asked for: it changes nothing, so it is asked again soon.
    pub fn asked(&mut self, now: Mono) {
        self.at = now + self.election_timeout.mul_f64(0.1);
    }

    /// A real candidacy: it used up a term, so the next one waits.
    pub fn stood(&mut self, now: Mono) {
        self.at = now + self.election_timeout + self.between(0.0, 0.15);
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
