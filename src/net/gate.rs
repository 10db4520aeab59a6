//! What a reply waits for.

/// A point in the node's history: the batch whose commit, and the read whose confirmation, a reply
/// needs (0: none). Counters of the caller's, growing; compared each on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gate {
    pub batch: u64,
    pub read: u64,
}

impl Gate {
    /// Waits for nothing.
    pub const OPEN: Gate = Gate { batch: 0, read: 0 };

    /// Both must be reached.
    #[must_use]
    pub fn join(self, other: Gate) -> Gate {
        Gate {
            batch: self.batch.max(other.batch),
            read: self.read.max(other.read),
        }
    }

    pub fn is_released_by(self, released: Gate) -> bool {
        self.batch <= released.batch && self.read <= released.read
    }

    /// What is still to be waited for.
    #[must_use]
    pub(super) fn beyond(self, released: Gate) -> Gate {
        Gate {
            batch: if self.batch <= released.batch {
                0
            } else {
                self.batch
            },
            read: if self.read <= released.read {
                0
            } else {
                self.read
            },
        }
    }
}
