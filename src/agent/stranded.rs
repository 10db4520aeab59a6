//! G2: a member that nobody leads for long asks every node whether it still is one: those that it
//! knows may all have left meanwhile, and nobody else knows it.

use crate::clock::Mono;
use std::time::Duration;

/// Nobody has led for so many T.
const PATIENCE: u32 = 20;
/// How often it asks, in T.
const ASK_EVERY: u32 = 2;

/// Since when a member has been without a leader.
#[derive(Debug)]
pub(super) struct Stranded {
    ask_at: Mono,
    /// It has asked, and nobody has led since.
    lost: bool,
}

impl Stranded {
    pub fn new(now: Mono, t: Duration) -> Stranded {
        Stranded {
            ask_at: now + t * PATIENCE,
            lost: false,
        }
    }

    /// Whether nobody has led for so long that it asks.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether to ask now. `led`: somebody leads. `t`: the election timeout.
    pub fn asks(&mut self, now: Mono, led: bool, t: Duration) -> bool {
        if led {
            *self = Stranded::new(now, t);
        }
        let asks = now >= self.ask_at;
        if asks {
            self.ask_at = now + t * ASK_EVERY;
            self.lost = true;
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_led_never_asks_and_who_is_not_asks_after_a_while_and_again() {
        let t = Duration::from_secs(1);
        let at = |s: u64| Mono(s * 1_000_000_000);
        let mut stranded = Stranded::new(at(0), t);
        assert!(!stranded.asks(at(15), true, t));
        assert!(!stranded.asks(at(30), false, t));
        assert!(stranded.asks(at(35), false, t));
        assert!(!stranded.asks(at(36), false, t));
        assert!(stranded.asks(at(37), false, t));
        assert!(!stranded.asks(at(38), true, t));
        assert!(!stranded.asks(at(57), false, t));
    }
}
