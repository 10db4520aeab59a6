//! What a build can do that an older one can't (M9).
//!
//! Owns the bits. Invariant: a bit keeps its meaning for ever.

/// It reads a record with slots in motion, and their effects (rules M).
pub const SLOTS_MOVE: u32 = 1;

/// It can be given a state in place of entries that no log has any more, and reads what is said about that (D7).
pub const STATES_TRAVEL: u32 = 2;

/// It reads the effects of all types of values: those of numbers 37 and 40 to 79.
pub const TYPES: u32 = 4;

/// All that this build can do.
pub const ALL: u32 = SLOTS_MOVE | STATES_TRAVEL | TYPES;
