//! Arguments that are numbers.
//!
//! Owns: the strict rules by which commands read them, and the refusal. Never: knows an option (see
//! `words`).

use super::error::Error;
use resp::number::parse_i64;

/// An integer argument.
pub fn integer(text: &[u8]) -> Result<i64, Error> {
    parse_i64(text).ok_or(Error::NOT_AN_INTEGER)
}
