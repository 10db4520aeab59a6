//! Virtual time: one true time that nobody in the cluster can read, and each member's own clocks.
//!
//! Owns: the translation between true time and a member's monotonic and wall clocks. Never does:
//! pass time (the scheduler does).
//!
//! The allowance (E3): over T two members' monotonic clocks drift apart by less than 0.1 T. A lease
//! lasts 0.9 T of its leader's clock and a promise T of its maker's, so rates between 0.95 and 1.05
//! are as bad as the rules allow: 0.9 / 0.95 < 1 / 1.05.

use base::clock::{Mono, Now};

use crate::rng::Rng;

/// True time in nanoseconds since the run began.
pub type True = u64;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const SEC: u64 = 1_000_000_000;

/// Wall clocks differ from true time by at most this.
pub const WALL_SKEW_MS: i64 = 40;

/// Wall time at the beginning of a run.
const EPOCH_MS: i64 = 1_700_000_000_000;

const PPM: i128 = 1_000_000;

/// The clocks of one machine.
#[derive(Clone, Debug)]
pub struct MemberClock {
    anchor_true: True,
    anchor_mono: u64,
    /// Monotonic nanoseconds per million true ones.
    rate: i128,
    wall_offset_ms: i64,
    asleep_ms: u64,
}

impl MemberClock {
    pub fn new(rng: &mut Rng, drifting: bool) -> MemberClock {
        let mut clock = MemberClock {
            anchor_true: 0,
            anchor_mono: rng.range(1, 1000) * SEC,
            rate: PPM,
            wall_offset_ms: 0,
            asleep_ms: 0,
        };
        if drifting {
            clock.change(0, rng);
        }
        clock
    }

    /// From now on the clocks run at another rate (within the allowance), and the wall clock may
    /// have been set.
    pub fn change(&mut self, now: True, rng: &mut Rng) {
        self.anchor_mono = self.mono(now).0;
        self.anchor_true = now;
        self.rate = match rng.below(4) {
            0 => 950_000,
            1 => 1_050_000,
            _ => i128::from(rng.range(950_000, 1_050_000)),
        };
        let skew = WALL_SKEW_MS.unsigned_abs();
        self.wall_offset_ms = rng.range(0, 2 * skew) as i64 - WALL_SKEW_MS;
    }

    /// The machine starts anew: its monotonic clock too.
    pub fn reboot(&mut self, now: True, rng: &mut Rng) {
        self.anchor_true = now;
        self.anchor_mono = rng.range(1, 1000) * SEC;
    }

    pub fn mono(&self, now: True) -> Mono {
        let passed = i128::from(now.saturating_sub(self.anchor_true)) * self.rate / PPM;
        Mono(self.anchor_mono + passed as u64)
    }

    /// The first true time at which the monotonic clock shows `at` or later.
    pub fn when(&self, at: Mono) -> True {
        let ahead = i128::from(at.0.saturating_sub(self.anchor_mono));
        let passed = (ahead * PPM + self.rate - 1) / self.rate;
        self.anchor_true
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    pub fn read(&self, now: True) -> Now {
        let unix_ms = EPOCH_MS + (now / MS) as i64 + self.wall_offset_ms;
        Now {
            mono: self.mono(now),
            unix_ms,
            asleep_ms: self.asleep_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_inverse_of_mono() {
        let mut rng = Rng::new(3);
        for _ in 0..1000 {
            let mut clock = MemberClock::new(&mut rng, true);
            clock.change(rng.below(SEC), &mut rng);
            let at = clock.anchor_true + rng.below(10 * SEC);
            let mono = clock.mono(at);
            assert!(clock.when(mono) <= at);
            assert!(clock.mono(clock.when(mono)) >= mono);
        }
    }

    #[test]
    fn drift_stays_within_the_allowance() {
        // The slowest leader's lease against the fastest follower's promise.
        let lease = 900_000u64 * 1_000_000 / 950_000;
        let promise = 1_000_000u64 * 1_000_000 / 1_050_000;
        assert!(lease < promise);
    }
}
