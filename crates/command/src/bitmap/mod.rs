//! Commands on the bits of strings.
//!
//! Owns: the rows of this family. Never: keeps anything between two commands. `bits` is the arithmetic on
//! bytes, `single` and `count` are SETBIT, GETBIT, BITCOUNT and BITPOS, `combine` is BITOP, `field` BITFIELD.

mod bits;
mod combine;
mod count;
mod field;
mod offset;
mod single;

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
