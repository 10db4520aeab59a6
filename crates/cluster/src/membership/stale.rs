//! G2: a member that no node leads for long asks every node whether it still is one: those that it
//! knows may all have left meanwhile, and no other node knows it.

use base::clock::Mono;
use std::time::Duration;

/// No node has led for so many T.
const PATIENCE: u32 = 20;
/// How often it asks, in T.
const ASK_EVERY: u32 = 2;

/// Since when a member has been without a leader.
#[derive(Debug)]
pub(crate) struct StaleCheck {
    ask_at: Mono,
    /// It has asked, and no node has led since.
    stale: bool,
}

impl StaleCheck {
    pub fn new(now: Mono, t: Duration) -> StaleCheck {
        StaleCheck {
            ask_at: now + t * PATIENCE,
            stale: false,
        }
    }

    /// Whether no node has led for so long that it has asked.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Whether to ask now. `led`: a leader was heard. `t`: the election timeout.
    pub fn asks(&mut self, now: Mono, led: bool, t: Duration) -> bool {
        if led {
            *self = StaleCheck::new(now, t);
        }
        let asks = now >= self.ask_at;
        if asks {
            self.ask_at = now + t * ASK_EVERY;
            self.stale = true;
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_a_leader_asks_again_and_again() {
        let t = Duration::from_secs(1);
        let at = |s: u64| Mono(s * 1_000_000_000);
        let mut check = StaleCheck::new(at(0), t);
        assert!(!check.asks(at(15), true, t));
        assert!(!check.asks(at(30), false, t));
        assert!(check.asks(at(35), false, t));
        assert!(!check.asks(at(36), false, t));
        assert!(check.asks(at(37), false, t));
        assert!(!check.asks(at(38), true, t));
        assert!(!check.asks(at(57), false, t));
    }
}
