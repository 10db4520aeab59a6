//! Commands on the bits of strings.
//!
//! Owns: the rows of this family. Never: keeps anything between two commands. `bits` is the arithmetic on
//! bytes, `single` and `count` are SETBIT, GETBIT, BITCOUNT and BITPOS, `combine` is BITOP, `field` BITFIELD.

mod bits;
mod combine;
mod count;
mod field;
mod single;

use super::args::integer;
use super::env::Env;
use super::error::Error;
use super::rows::rows;

rows! { pub static ROWS: Bitmap [BITMAP] {
    "bitcount" -2 [READONLY] "2.6.0" key(1 RO ACCESS) => count::bitcount: "Counts the bits of a string that are set.";
    "bitfield" -2 [WRITE DENYOOM] "3.2.0" key(1 RW ACCESS UPDATE VARIABLE_FLAGS "This command allows both access and modification of the key") => field::bitfield: "Reads and changes integers of any width within a string." .keys_by(field::keys);
    "bitfield_ro" -2 [READONLY FAST] "6.0.0" key(1 RO ACCESS) => field::bitfield_ro: "Reads integers of any width within a string.";
    "bitop" -4 [WRITE DENYOOM] "2.6.0" key(2 OW UPDATE) keys(3 -1 1 RO ACCESS) => combine::bitop: "Combines strings bit by bit into another one.";
    "bitpos" -3 [READONLY] "2.8.7" key(1 RO ACCESS) => count::bitpos: "Finds the first bit that is set, or is not.";
    "getbit" 3 [READONLY FAST] "2.2.0" key(1 RO ACCESS) => single::getbit: "A bit of a string.";
    "setbit" 4 [WRITE DENYOOM] "2.2.0" key(1 RW ACCESS UPDATE) => single::setbit: "Sets or clears a bit of a string.";
}}

/// The offset of a bit; no string is long enough for one beyond the limit of strings.
fn bit_offset(env: &Env<'_>, text: &[u8]) -> Result<usize, Error> {
    let offset = integer(text).map_err(|_| Error::BIT_OFFSET)?;
    checked_offset(env, offset)
}

fn checked_offset(env: &Env<'_>, offset: i64) -> Result<usize, Error> {
    let limit = env.server.config().proto_max_bulk_len;
    let offset = usize::try_from(offset).ok();
    let offset = offset.filter(|offset| offset / 8 < limit);
    offset.ok_or(Error::BIT_OFFSET)
}
