//! The real clocks. Only drivers own one; everything else is handed readings.

use base::clock::{Clock, Mono, Now};

/// CLOCK_MONOTONIC for timers and leases, CLOCK_BOOTTIME to notice a suspended machine (E3),
/// CLOCK_REALTIME for expiry times.
#[derive(Clone, Copy)]
pub struct SystemClock {
    /// How far the boot clock was ahead at the start.
    ahead_at_start_ns: u64,
}

impl SystemClock {
    pub fn new() -> SystemClock {
        SystemClock {
            ahead_at_start_ns: ahead_ns(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

fn ahead_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME).saturating_sub(read(libc::CLOCK_MONOTONIC))
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec, to which it is given a valid pointer.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(result, 0, "the kernel has these clocks");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        // The order matters: time that passes between the two readings only makes the boot clock
        // look ahead, by far less than a millisecond.
        let mono = read(libc::CLOCK_MONOTONIC);
        let ahead = read(libc::CLOCK_BOOTTIME).saturating_sub(mono);
        Now {
            mono: Mono(mono),
            unix_ms: (read(libc::CLOCK_REALTIME) / 1_000_000) as i64,
            asleep_ms: ahead.saturating_sub(self.ahead_at_start_ns) / 1_000_000,
        }
    }

    fn unix_micros(&self) -> i64 {
        (read(libc::CLOCK_REALTIME) / 1000) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_does_not_sleep_reads_no_sleep() {
        let clock = SystemClock::new();
        let (a, b) = (clock.now(), clock.now());
        assert!(b.mono >= a.mono);
        assert!(b.asleep_ms <= 1);
    }

    /// Both readings are of one clock, and the finer one is not made of whole milliseconds.
    #[test]
    fn microseconds_are_of_the_wall_clock() {
        let clock = SystemClock::new();
        let before = clock.now().unix_ms;
        let mut readings: Vec<i64> = (0..1000).map(|_| clock.unix_micros()).collect();
        let after = clock.now().unix_ms;
        assert!(readings
            .iter()
            .all(|us| (before..=after).contains(&(us / 1000))));
        assert!(readings.iter().any(|us| us % 1000 != 0));
        readings.dedup();
        assert!(readings.len() > 10, "{} different readings", readings.len());
    }
}
