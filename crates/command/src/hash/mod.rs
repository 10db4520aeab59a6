//! Hashes: the rows of their commands.
//!
//! Owns: the table. Never: changes a hash (that is the state machine's). `view` is how handlers see one.
//!
//! Fields that are due (T2): a command that names fields has those among them deleted in the log before it looks; one that shows
//! any field, all of them. HLEN, HDEL, HSET and what works on keys look at no field's expiry. A replica's own copy hides what
//! is due.

use super::room;
use super::rows::rows;

mod change;
mod expiry;
mod number;
mod random;
mod read;
mod scan;
mod view;

const VARIES: &[&str] = &["nondeterministic_output"];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

rows! { pub static ROWS: Hash [HASH] {
    "hdel" -3 [WRITE FAST] "2.0.0" key(1 RW DELETE) => change::hdel: "Deletes fields.";
    "hexists" 3 [READONLY FAST] "2.0.0" key(1 RO) => read::hexists: "Whether there is a field." .amplifies(room::fields);
    "hexpire" -6 [WRITE DENYOOM FAST] "7.4.0" key(1 RW UPDATE) => expiry::hexpire: "Lets fields expire after so many seconds.";
    "hexpireat" -6 [WRITE DENYOOM FAST] "7.4.0" key(1 RW UPDATE) => expiry::hexpireat: "Lets fields expire at a time in seconds.";
    "hexpiretime" -5 [READONLY FAST] "7.4.0" key(1 RO ACCESS) => expiry::hexpiretime: "When fields expire, in seconds.";
    "hget" 3 [READONLY FAST] "2.0.0" key(1 RO ACCESS) => read::hget: "A field's value." .amplifies(room::fields);
    "hgetall" 2 [READONLY] "2.0.0" key(1 RO ACCESS) => read::hgetall: "All fields with their values." .tips(UNORDERED).amplifies(room::fields);
    "hincrby" 4 [WRITE DENYOOM FAST] "2.0.0" key(1 RW ACCESS UPDATE) => number::hincrby: "Adds to the integer that a field holds." .amplifies(room::fields);
    "hincrbyfloat" 4 [WRITE DENYOOM FAST] "2.6.0" key(1 RW ACCESS UPDATE) => number::hincrbyfloat: "Adds to the number that a field holds." .amplifies(room::float_field);
    "hkeys" 2 [READONLY] "2.0.0" key(1 RO ACCESS) => read::hkeys: "All fields." .tips(UNORDERED).amplifies(room::fields);
    "hlen" 2 [READONLY FAST] "2.0.0" key(1 RO) => read::hlen: "How many fields there are.";
    "hmget" -3 [READONLY FAST] "2.0.0" key(1 RO ACCESS) => read::hmget: "The values of fields." .amplifies(room::fields);
    "hmset" -4 [WRITE DENYOOM FAST] "2.0.0" key(1 RW UPDATE) => change::hmset: "Sets fields." .deprecated("4.0.0", "`HSET` with multiple field-value pairs");
    "hpersist" -5 [WRITE FAST] "7.4.0" key(1 RW UPDATE) => expiry::hpersist: "Lets fields stay for ever.";
    "hpexpire" -6 [WRITE DENYOOM FAST] "7.4.0" key(1 RW UPDATE) => expiry::hpexpire: "Lets fields expire after so many milliseconds.";
    "hpexpireat" -6 [WRITE DENYOOM FAST] "7.4.0" key(1 RW UPDATE) => expiry::hpexpireat: "Lets fields expire at a time in milliseconds.";
    "hpexpiretime" -5 [READONLY FAST] "7.4.0" key(1 RO ACCESS) => expiry::hpexpiretime: "When fields expire, in milliseconds.";
    "hpttl" -5 [READONLY FAST] "7.4.0" key(1 RO ACCESS) => expiry::hpttl: "How many milliseconds fields have left.";
    "hrandfield" -2 [READONLY] "6.2.0" key(1 RO ACCESS) => random::hrandfield: "Fields drawn at random." .tips(VARIES).amplifies(room::fields);
    "hscan" -3 [READONLY] "2.8.0" key(1 RO ACCESS) => scan::hscan: "Walks through fields and values, some at a time." .tips(VARIES).amplifies(room::fields);
    "hset" -4 [WRITE DENYOOM FAST] "2.0.0" key(1 RW UPDATE) => change::hset: "Sets fields.";
    "hsetnx" 4 [WRITE DENYOOM FAST] "2.0.0" key(1 RW INSERT) => change::hsetnx: "Sets a field if there is none." .amplifies(room::fields);
    "hstrlen" 3 [READONLY FAST] "3.2.0" key(1 RO) => read::hstrlen: "The length of a field's value." .amplifies(room::fields);
    "httl" -5 [READONLY FAST] "7.4.0" key(1 RO ACCESS) => expiry::httl: "How many seconds fields have left.";
    "hvals" 2 [READONLY] "2.0.0" key(1 RO ACCESS) => read::hvals: "All values." .tips(UNORDERED).amplifies(room::fields);
}}
