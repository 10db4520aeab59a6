//! The string family: rows here, handlers in the files below.
//!
//! `set` writes whole values, `read` looks at them, `edit` changes them in place, `lcs` compares
//! two.

mod edit;
mod lcs;
mod read;
mod set;

use super::room;
use super::rows::rows;

rows! { pub static ROWS: String [STRING] {
    "append" 3 [WRITE DENYOOM FAST] "2.0.0" key(1 RW INSERT) => edit::append: "Adds bytes to the end of a string.";
    "decr" 2 [WRITE DENYOOM FAST] "1.0.0" key(1 RW ACCESS UPDATE) => edit::decr: "Takes one from an integer.";
    "decrby" 3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW ACCESS UPDATE) => edit::decrby: "Takes a number from an integer.";
    "get" 2 [READONLY FAST] "1.0.0" key(1 RO ACCESS) => read::get: "A string's value.";
    "getdel" 2 [WRITE FAST] "6.2.0" key(1 RW ACCESS DELETE) => set::getdel: "A string's value; deletes the key.";
    "getex" -2 [WRITE FAST] "6.2.0" key(1 RW ACCESS UPDATE "RW and UPDATE because it changes the TTL") => set::getex: "A string's value; sets or removes the key's expiry.";
    "getrange" 4 [READONLY] "2.4.0" key(1 RO ACCESS) => read::getrange: "A part of a string.";
    "getset" 3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW ACCESS UPDATE) => set::getset: "Sets a string and returns the value it had." .deprecated("6.2.0", "`SET` with the `!GET` argument");
    "incr" 2 [WRITE DENYOOM FAST] "1.0.0" key(1 RW ACCESS UPDATE) => edit::incr: "Adds one to an integer.";
    "incrby" 3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW ACCESS UPDATE) => edit::incrby: "Adds a number to an integer.";
    "incrbyfloat" 3 [WRITE DENYOOM FAST] "2.6.0" key(1 RW ACCESS UPDATE) => edit::incrbyfloat: "Adds a number to a floating-point value." .amplifies(room::float);
    "lcs" -3 [READONLY] "7.0.0" keys(1 1 1 RO ACCESS) => lcs::lcs: "The longest common subsequence of two strings.";
    "mget" -2 [READONLY FAST] "1.0.0" keys(1 -1 1 RO ACCESS) => read::mget: "The values of several strings." .tips(&["request_policy:multi_shard"]);
    "mset" -3 [WRITE DENYOOM] "1.0.1" keys(1 -1 2 OW UPDATE) => set::mset: "Sets several strings at once." .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]);
    "msetnx" -3 [WRITE DENYOOM] "1.0.1" keys(1 -1 2 OW INSERT) => set::msetnx: "Sets several strings at once if none of the keys exists.";
    "psetex" 4 [WRITE DENYOOM] "2.6.0" key(1 OW UPDATE) => set::psetex: "Sets a string that expires, in milliseconds." .deprecated("2.6.12", "`SET` with the `PX` argument");
    "set" -3 [WRITE DENYOOM] "1.0.0" key(1 RW ACCESS UPDATE VARIABLE_FLAGS "RW and ACCESS due to the optional `GET` argument") => set::set: "Sets a string." .keys_by(set::keys);
    "setex" 4 [WRITE DENYOOM] "2.0.0" key(1 OW UPDATE) => set::setex: "Sets a string that expires, in seconds." .deprecated("2.6.12", "`SET` with the `EX` argument");
    "setnx" 3 [WRITE DENYOOM FAST] "1.0.0" key(1 OW INSERT) => set::setnx: "Sets a string if the key does not exist." .deprecated("2.6.12", "`SET` with the `NX` argument");
    "setrange" 4 [WRITE DENYOOM] "2.2.0" key(1 RW UPDATE) => edit::setrange: "Overwrites a part of a string.";
    "strlen" 2 [READONLY FAST] "2.2.0" key(1 RO) => read::strlen: "The length of a string.";
    "substr" 4 [READONLY] "1.0.0" key(1 RO ACCESS) => read::getrange: "A part of a string." .deprecated("2.0.0", "`GETRANGE`");
}}
