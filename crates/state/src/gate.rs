//! What a command did to the data, and what its reply waits for.
//!
//! Owns: [`Footprint`] and the [`Gate`] that follows from it. Never: holds a reply.

use base::ids::{BatchSeq, ReadId};

/// A point in the node's history: the batch whose commit, and the read whose confirmation, a reply
/// needs (`NONE`: none). They grow; compared each on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gate {
    pub batch: BatchSeq,
    pub read: ReadId,
}

impl Gate {
    /// Waits for nothing.
    pub const OPEN: Gate = Gate {
        batch: BatchSeq::NONE,
        read: ReadId::NONE,
    };

    /// Waits for no read.
    pub const fn of_batch(batch: BatchSeq) -> Gate {
        Gate {
            batch,
            read: ReadId::NONE,
        }
    }

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
    pub fn beyond(self, released: Gate) -> Gate {
        Gate {
            batch: if self.batch <= released.batch {
                BatchSeq::NONE
            } else {
                self.batch
            },
            read: if self.read <= released.read {
                ReadId::NONE
            } else {
                self.read
            },
        }
    }
}

/// What a reply waits for before it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// PING, INFO, CONFIG, errors that no data led to: nothing, but it leaves in order (T4).
    Free,
    /// The lease (or a ReadIndex) and the batch it depends on (T3).
    Read,
    /// The batch that it has written to.
    Write,
}

/// What a command did to the data and what its reply depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Something entered the turn's batches beside [`Footprint::expired`].
    pub wrote: bool,
    /// Deletions of expired keys entered the turn's batches: they stand whatever becomes of the
    /// command.
    pub expired: bool,
    /// The reply shows data (or its absence).
    pub read: bool,
    /// The newest batch that the reply may show, its own one included; `NONE`: none that is not yet
    /// committed for all we know.
    pub depends: BatchSeq,
    /// Something had to enter the batch that may not, or that the log has no room for now (T2, D5).
    pub hold: bool,
    /// The slot of the first key that was looked at.
    pub slot: Option<u16>,
}

impl Footprint {
    /// Whether anything entered the turn's batches.
    pub fn logged(&self) -> bool {
        self.wrote || self.expired
    }
}
