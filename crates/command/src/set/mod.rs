//! Sets: the rows of their commands.
//!
//! Owns: the table. Never: changes a set (that is the state machine's).

use super::room;
use super::rows::rows;

mod change;
mod combine;
mod random;
mod read;

const VARIES: &[&str] = &["nondeterministic_output"];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

rows! { pub static ROWS: Set [SET] {
    "sadd" -3 [WRITE DENYOOM FAST] "1.0.0" key(1 RW INSERT) => change::sadd: "Adds members.";
    "scard" 2 [READONLY FAST] "1.0.0" key(1 RO) => read::scard: "How many members there are.";
    "sdiff" -2 [READONLY] "1.0.0" keys(1 -1 1 RO ACCESS) => combine::sdiff: "What the first set has and no other one." .tips(UNORDERED);
    "sdiffstore" -3 [WRITE DENYOOM] "1.0.0" key(1 OW UPDATE) keys(2 -1 1 RO ACCESS) => combine::sdiffstore: "Stores what the first set has and no other one.";
    "sinter" -2 [READONLY] "1.0.0" keys(1 -1 1 RO ACCESS) => combine::sinter: "What all of the sets have." .tips(UNORDERED);
    "sintercard" -3 [READONLY] "7.0.0" keynum(1 0 1 1 RO ACCESS) => combine::sintercard: "How many members all of the sets have.";
    "sinterstore" -3 [WRITE DENYOOM] "1.0.0" key(1 OW UPDATE) keys(2 -1 1 RO ACCESS) => combine::sinterstore: "Stores what all of the sets have.";
    "sismember" 3 [READONLY FAST] "1.0.0" key(1 RO) => read::sismember: "Whether there is a member.";
    "smembers" 2 [READONLY] "1.0.0" key(1 RO ACCESS) => read::smembers: "All members." .tips(UNORDERED);
    "smismember" -3 [READONLY FAST] "6.2.0" key(1 RO ACCESS) => read::smismember: "Whether there are members.";
    "smove" 4 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) key(2 RW INSERT) => change::smove: "Moves a member to another set.";
    "spop" -2 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) => random::spop: "Takes out members drawn at random." .tips(VARIES).amplifies(room::popped);
    "srandmember" -2 [READONLY] "1.0.0" key(1 RO ACCESS) => random::srandmember: "Members drawn at random." .tips(VARIES);
    "srem" -3 [WRITE FAST] "1.0.0" key(1 RW DELETE) => change::srem: "Removes members.";
    "sscan" -3 [READONLY] "2.8.0" key(1 RO ACCESS) => read::sscan: "Walks through members, some at a time." .tips(VARIES);
    "sunion" -2 [READONLY] "1.0.0" keys(1 -1 1 RO ACCESS) => combine::sunion: "What any of the sets has." .tips(UNORDERED);
    "sunionstore" -3 [WRITE DENYOOM] "1.0.0" key(1 OW UPDATE) keys(2 -1 1 RO ACCESS) => combine::sunionstore: "Stores what any of the sets has.";
}}
