//! How long a command's calls took: a histogram for each row of the table.
//!
//! Owns the classes of durations and what is read from them: percentiles, and the cumulative
//! distribution of LATENCY HISTOGRAM. Never: reads a clock, nor is told of a call that was not timed
//! anyway. Invariants: memory has a limit ([`CLASSES`]); the classes are Redis's (those of an HDR
//! histogram of two digits from a nanosecond to a second), so that the same durations give the same
//! numbers.

/// The longest duration that is told apart, in nanoseconds.
const LONGEST: u64 = 1_000_000_000;

/// Up to 2^EXACT_BITS nanoseconds have a class each; every doubling above has half as many.
const EXACT_BITS: u32 = 8;
const HALF: usize = 1 << (EXACT_BITS - 1);

/// As many as reach beyond [`LONGEST`].
const CLASSES: usize = 24 * HALF;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Calls by class, up to the highest class that has any.
    counts: Vec<u64>,
    total: u64,
}

/// The class of a duration.
fn class(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.leading_zeros();
    let shift = bits.saturating_sub(EXACT_BITS);
    let class = shift as usize * HALF + (nanos >> shift) as usize;
    class.min(CLASSES - 1)
}

/// The shortest and the longest duration of a class.
fn bounds(class: usize) -> (u64, u64) {
    let shift = (class / HALF).saturating_sub(1);
    let first = ((class - shift * HALF) as u64) << shift;
    (first, first + (1 << shift) - 1)
}

impl Histogram {
    /// One timed call that stands for `weight` calls.
    pub fn record(&mut self, nanos: u64, weight: u64) {
        let class = class(nanos.clamp(1, LONGEST));
        if class >= self.counts.len() {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] = self.counts[class].saturating_add(weight);
        self.total = self.total.saturating_add(weight);
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Calls in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The nanoseconds that so many percent of the calls do not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = (percent.min(100.0) / 100.0 * self.total as f64 + 0.5) as u64;
        let mut seen = 0u64;
        let at = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= wanted.max(1)
        });
        let (first, last) = bounds(at.unwrap_or(0));
        if percent == 0.0 {
            first
        } else {
            last
        }
    }

    /// Microseconds, doubling from one to the next, and how many calls took no longer; steps that add
    /// no call are left out.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let (mut seen, mut next) = (0u64, 0);
        for power in 10.. {
            let last = class(1 << power);
            let before = seen;
            let upto = self.counts.len().min(last + 1);
            for count in &self.counts[next.min(upto)..upto] {
                seen = seen.saturating_add(*count);
            }
            next = upto;
            if seen > before {
                steps.push((bounds(last).1 / 1000, seen));
            }
            if upto == self.counts.len() {
                break;
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        nanos.iter().for_each(|n| histogram.record(*n, 1));
        histogram
    }

    #[test]
    fn classes_follow_each_other_without_gap() {
        let mut next = 0;
        for at in 0..CLASSES {
            let (first, last) = bounds(at);
            assert_eq!(first, next, "class {at}");
            assert_eq!((class(first), class(last)), (at, at));
            next = last + 1;
        }
        assert!(next > LONGEST, "the classes end at {next}");
        assert_eq!(class(u64::MAX), CLASSES - 1);
    }

    #[test]
    fn a_duration_is_off_by_a_hundredth_at_most() {
        for nanos in [1, 255, 256, 999, 12_345, 1_000_000, 999_999_999] {
            let got = of(&[nanos]).percentile(100.0);
            assert!(
                got >= nanos && (got - nanos) * 100 <= nanos,
                "{nanos}: {got}"
            );
        }
    }

    #[test]
    fn percentiles_count_calls() {
        let all: Vec<u64> = (1..=100).collect();
        let histogram = of(&all);
        for (percent, want) in [
            (0.0, 1),
            (0.1, 1),
            (50.0, 50),
            (99.0, 99),
            (99.9, 100),
            (100.0, 100),
        ] {
            assert_eq!(histogram.percentile(percent), want, "p{percent}");
        }
    }

    #[test]
    fn a_weight_stands_for_so_many_calls() {
        let mut histogram = of(&[10, 10]);
        histogram.record(200, 64);
        assert_eq!(histogram.total(), 66);
        assert_eq!(histogram.percentile(50.0), 200);
        assert_eq!(histogram.percentile(1.0), 10);
    }

    /// The numbers are those of Redis's LATENCY HISTOGRAM for these durations.
    #[test]
    fn the_distribution_doubles_its_steps() {
        let histogram = of(&[500, 1_024, 1_032, 33_000, 33_100, 100_000]);
        assert_eq!(
            histogram.cumulative(),
            [(1, 2), (2, 3), (33, 4), (66, 5), (132, 6)]
        );
        assert_eq!(of(&[LONGEST]).cumulative(), [(1_073_741, 1)]);
        assert_eq!(Histogram::default().cumulative(), []);
    }

    #[test]
    fn memory_has_a_limit() {
        let histogram = of(&[0, 1, u64::MAX]);
        assert_eq!(histogram.total(), 3);
        assert!(histogram.counts.len() <= CLASSES);
    }
}
