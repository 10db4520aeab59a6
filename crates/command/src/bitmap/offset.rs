//! Offsets of bits, and how long they let a string become.

use crate::args::integer;
use crate::env::Env;
use crate::error::Error;

/// The offset of a bit; no string is long enough for one beyond the limit of strings.
pub fn bit_offset(env: &Env<'_>, text: &[u8]) -> Result<usize, Error> {
    let offset = integer(text).map_err(|_| Error::BIT_OFFSET)?;
    checked_offset(env, offset)
}

pub fn checked_offset(env: &Env<'_>, offset: i64) -> Result<usize, Error> {
    let limit = env.server.config().proto_max_bulk_len;
    let offset = usize::try_from(offset).ok();
    let offset = offset.filter(|offset| offset / 8 < limit);
    offset.ok_or(Error::BIT_OFFSET)
}
