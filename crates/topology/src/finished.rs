//! How what a command has waited for has ended (M1, M18, M24).
//!
//! Owns the type only.

use super::MoveId;

/// What a command has waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// MIGRATE: the lend has ended; an error as a client is told, or nothing.
    Lend {
        id: MoveId,
        error: Option<Vec<u8>>,
    },
    /// MIGRATE to a server outside: its answer was lost, or nothing could leave.
    LendLost {
        id: MoveId,
    },
    CopyLost {
        number: u64,
    },
    /// MIGRATE COPY: an error as a client is told, or nothing.
    Copy {
        number: u64,
        error: Option<Vec<u8>>,
    },
    /// SETSLOT NODE: the slot's owner has refused; why, as a client is told. That the slot has come, the
    /// committed record says.
    HandOver {
        slot: u16,
        error: Vec<u8>,
    },
}
