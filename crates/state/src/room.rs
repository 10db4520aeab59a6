//! What effects take in the log beyond their arguments (D5).
//!
//! Owns: the sizes that the state machine counts with when it grants room, and that commands of several
//! effects ask with beforehand. Never: knows how much room there is.

/// What an effect may take beyond its arguments and their lengths: opcode, number of arguments, a
/// SELECT, the unit's header, the opening of an entry and of a part.
pub const EFFECT: usize = 64;

/// What a deletion takes beyond its key when it is not the first effect of its command.
pub const DELETION: usize = 7;

/// The same for a command, with the arguments that an effect has and the command has not.
pub const COMMAND: usize = 128;

/// T1, T9: above this expired keys are deleted in the next turn: what a turn is sure to have room
/// for, and its followers apply in milliseconds.
pub const SLICE: usize = 128 << 10;

/// A change of the record: 4 bytes for every range of slots, of which there may be one for every
/// second slot, whatever the arguments are.
pub const RECORD: usize = 4 * 8192 + COMMAND;

/// A slot that is gained: the end of a mark, and a title of its own.
pub const GAIN: usize = 24;

/// The headers of the parts that so many bytes are cut into, if they are a large unit (T8).
#[inline]
pub fn headers(bytes: usize) -> usize {
    bytes >> 16
}
