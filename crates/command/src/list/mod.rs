//! Lists: the rows of their commands.
//!
//! Owns: the table. Never: changes a list (that is the state machine's).

use super::rows::rows;

mod change;
mod ends;
mod place;
mod read;

rows! { pub static ROWS: List [LIST] {
    "blmove" 6 [WRITE DENYOOM BLOCKING] "6.2.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => ends::blmove: "Moves an element from one end of a list to an end of another, as soon as there is one.";
    "blmpop" -5 [WRITE BLOCKING] "7.0.0" keynum(2 0 1 1 RW ACCESS DELETE) => ends::blmpop: "Takes elements off an end of the first list that has any, as soon as one has.";
    "blpop" -3 [WRITE BLOCKING] "2.0.0" keys(1 -2 1 RW ACCESS DELETE) => ends::blpop: "Takes the first element of the first list that has any, as soon as one has.";
    "brpop" -3 [WRITE BLOCKING] "2.0.0" keys(1 -2 1 RW ACCESS DELETE) => ends::brpop: "Takes the last element of the first list that has any, as soon as one has.";
    "brpoplpush" 4 [WRITE DENYOOM BLOCKING] "2.2.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => ends::brpoplpush: "Moves the last element of a list to the front of another, as soon as there is one." .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments");
    "lindex" 3 [READONLY] "1.0.0" key(1 RO ACCESS) => read::lindex: "The element at an index.";
    "linsert" 5 [WRITE DENYOOM] "2.2.0" key(1 RW INSERT) => change::linsert: "Inserts an element before or behind another one.";
    "llen" 2 [READONLY FAST] "1.0.0" key(1 RO) => read::llen: "How many elements there are.";
    "lmove" 5 [WRITE DENYOOM] "6.2.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => ends::lmove: "Moves an element from one end of a list to an end of another.";
    "lmpop" -4 [WRITE] "7.0.0" keynum(1 0 1 1 RW ACCESS DELETE) => ends::lmpop: "Takes elements off an end of the first list that has any.";
    "lpop" -2 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) => ends::lpop: "Takes the first elements.";
    "lpos" -3 [READONLY] "6.0.6" key(1 RO ACCESS) => read::lpos: "Where elements like this one are.";
    "lpush" -3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW INSERT) => ends::lpush: "Puts elements before all others.";
    "lpushx" -3 [WRITE DENYOOM FAST] "2.2.0" key(1 RW INSERT) => ends::lpushx: "Puts elements before all others of a list that is there.";
    "lrange" 4 [READONLY] "1.0.0" key(1 RO ACCESS) => read::lrange: "The elements from one index to another.";
    "lrem" 4 [WRITE] "1.0.0" key(1 RW DELETE) => change::lrem: "Removes elements like this one.";
    "lset" 4 [WRITE DENYOOM] "1.0.0" key(1 RW UPDATE) => change::lset: "Puts another element at an index.";
    "ltrim" 4 [WRITE] "1.0.0" key(1 RW DELETE) => change::ltrim: "Leaves the elements from one index to another.";
    "rpop" -2 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) => ends::rpop: "Takes the last elements.";
    "rpoplpush" 3 [WRITE DENYOOM] "1.2.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => ends::rpoplpush: "Moves the last element to the beginning of another list." .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments");
    "rpush" -3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW INSERT) => ends::rpush: "Puts elements behind all others.";
    "rpushx" -3 [WRITE DENYOOM FAST] "2.2.0" key(1 RW INSERT) => ends::rpushx: "Puts elements behind all others of a list that is there.";
}}
