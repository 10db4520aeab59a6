//! What all encodings of a HyperLogLog have in common.

use crate::error::Error;

/// Registers, each for a part of the elements.
pub const REGISTERS: usize = 1 << 14;
/// Bytes before them.
pub const HEADER: usize = 16;

/// The registers do not come to as many as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl Corrupt {
    pub fn error(self) -> Error {
        Error::HLL_CORRUPT
    }
}
