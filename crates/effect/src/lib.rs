//! Effects: what a write becomes before it is logged.
//!
//! Owns the codec of log entries' bodies: units of effects, batches of units, parts of large units.
//! Never executes anything and knows no keyspace.
//!
//! Invariants:
//! - An effect is a deterministic Redis command: no relative time, no random choice, no decision
//!   is left in it. Its opcode has a stable number; a reader that meets a number it does not know
//!   gets an error and must stop, never skip (design.md, section 3).
//! - A unit is applied whole or not at all (T8). A unit above [`PART_BYTES`] travels as consecutive
//!   parts, of which nothing is applied before the last one is there.
//! - Every entry body opens with a kind byte, so later versions can be told apart.
//!
//! The bytes are described in `docs/DATA_FORMATS.md`.

mod batch;
mod decode;
mod opcode;
mod stage;

pub use batch::{begins_batch, Batch, Runs, PART_BYTES};
pub use decode::{parse_entry, Body, CodecError, Effect, Part, Unit, Units};
pub use opcode::Op;
pub use stage::{Staged, Stager};

/// Kind byte of an entry that holds whole units.
pub(crate) const KIND_BATCH: u8 = 1;
/// Kind byte of an entry that holds one part of a large unit.
pub(crate) const KIND_PART: u8 = 2;
