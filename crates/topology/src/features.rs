//! What a build can do that an older one can't (M9).
//!
//! Owns the bits. Invariant: a bit keeps its meaning for ever.

/// It reads a record with slots in motion, and their effects (rules M).
pub const SLOTS_MOVE: u32 = 1;
