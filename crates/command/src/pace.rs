//! When a command that does many small things breathes.
//!
//! Owns the count of what was done since the last look at the clock. Hazard: a small EXEC or MGET can
//! have replies of gigabytes, KEYS goes through all keys; a leader that is silent meanwhile loses its
//! shard (T9). Never: reads the clock for a command that does little.

use super::api::ServerApi;
use base::clock::Mono;
use std::time::Duration;

/// Bytes between two looks at the clock.
const LOOK: usize = 128 << 10;
/// What one step counts for beside its bytes.
const STEP: usize = 256;
const BREATHE_EVERY: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Pace {
    bytes: usize,
    last: Option<Mono>,
}

impl Pace {
    /// One step is done; so many bytes were read, written or replied.
    #[inline]
    pub fn step(&mut self, server: &mut dyn ServerApi, bytes: usize) {
        self.bytes += STEP + bytes;
        if self.bytes >= LOOK {
            self.look(server);
        }
    }

    #[cold]
    fn look(&mut self, server: &mut dyn ServerApi) {
        self.bytes = 0;
        let now = server.now().mono;
        if self
            .last
            .is_none_or(|last| now.since(last) >= BREATHE_EVERY)
        {
            server.breathe();
            self.last = Some(server.now().mono);
        }
    }
}
