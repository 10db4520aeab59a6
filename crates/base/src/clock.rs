//! Time as values: sans-I/O code is handed a [`Now`], only drivers own a [`Clock`].

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on a monotonic clock since an arbitrary start of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// Nanoseconds from `earlier` to `self`, zero when `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, d: Duration) -> Mono {
        Mono(
            self.0
                .saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// One reading of the clocks: the monotonic one for timers and leases, and the wall clock in Unix
/// milliseconds for expiry times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    pub unix_ms: i64,
    /// How much further the boot clock has come than the monotonic one, in milliseconds: it grows
    /// when the machine was suspended, and then no lease that was held before counts (E3).
    pub asleep_ms: u64,
}

/// What can read the time: the node's loop owns the real one, the simulator a virtual one.
pub trait Clock {
    fn now(&self) -> Now;

    /// The wall clock in Unix microseconds, as precisely as it is known.
    fn unix_micros(&self) -> i64 {
        self.now().unix_ms * 1000
    }
}
