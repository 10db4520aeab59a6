//! The longest turn, in CPU time of the loop's thread.
//!
//! Owns when the thread's clock is read. Hazard: it is a system call of half a microsecond, as much as a GET
//! at a full pipeline: it is read once in [`SPACING`] at most, at the end of a turn. Never: counts time in which the
//! thread slept or another process had its core.
//!
//! Invariants: no turn that is longer than [`SPACING`] counts for less than it took. It may count for up to
//! [`SPACING`] more, of turns just before it, but never for more than the time since the last one ended.

use base::clock::Mono;
use std::time::Duration;

/// The least time between two readings: they cost 0.2 % of the core at most.
const SPACING: Duration = Duration::from_micros(250);

#[derive(Debug)]
pub(super) struct LongestTurn {
    /// The last reading, and when it was made.
    cpu: Duration,
    read_at: Mono,
    /// When the last turn had ended.
    ended: Mono,
}

impl LongestTurn {
    pub fn new(now: Mono, cpu: Duration) -> LongestTurn {
        LongestTurn {
            cpu,
            read_at: now,
            ended: now,
        }
    }

    /// A turn has ended. How long it took, if that is known; else too little to matter.
    #[inline]
    pub fn turn_ended(&mut self, now: Mono, read: impl FnOnce() -> Duration) -> Option<Duration> {
        let since_last = now.since(std::mem::replace(&mut self.ended, now));
        if now.since(self.read_at) < SPACING {
            return None;
        }
        let cpu = read();
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        self.read_at = now;
        Some(used.min(since_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// Turns that end at these times, with the thread's clock as it stands then.
    fn longest(turns: &[(u64, u64)]) -> (Duration, usize) {
        let mut longest = LongestTurn::new(Mono(0), us(1_000));
        let (mut most, mut reads) = (Duration::ZERO, 0);
        for (at, cpu) in turns {
            let took = longest.turn_ended(Mono(at * 1000), || us(1_000 + cpu));
            reads += usize::from(took.is_some());
            most = most.max(took.unwrap_or_default());
        }
        (most, reads)
    }

    #[test]
    fn longest_turn_is_that_of_the_thread() {
        for (turns, want, reads, what) in [
            (vec![(900, 900)], 900, 1, "busy from end to end"),
            (
                vec![(9_000, 300)],
                300,
                1,
                "the thread slept, or had no core",
            ),
            (
                vec![(100, 100), (200, 200)],
                0,
                0,
                "too short to be looked at",
            ),
            (
                vec![(100, 100), (200, 200), (300, 300)],
                100,
                1,
                "three short ones",
            ),
            (
                vec![(240, 240), (1_240, 1_240)],
                1_000,
                1,
                "what came before is left out",
            ),
            (
                vec![(240, 240), (9_000, 1_240)],
                1_240,
                1,
                "but not behind a pause",
            ),
            (
                vec![(500, 500), (5_500, 5_500), (6_000, 5_600)],
                5_000,
                3,
                "the one in the middle",
            ),
        ] {
            assert_eq!(longest(&turns), (us(want), reads), "{what}");
        }
    }

    /// Readings are as seldom as that whatever the turns are.
    #[test]
    fn readings_are_spaced() {
        let turns: Vec<_> = (1..=10_000).map(|at| (at, at)).collect();
        assert_eq!(longest(&turns), (us(1), 40));
    }
}
