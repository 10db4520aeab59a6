//! Hashes: the rows of their commands.
//!
//! Owns: the table, and how a handler sees a hash. Never: changes one (that is the state machine's).
//!
//! Fields that are due (T2): a command that names fields has those among them deleted in the log before it looks; one that shows
//! any field, all of them. HLEN, HDEL, HSET and what works on keys look at no field's expiry. A replica's own copy hides what
//! is due.

use super::error::Error;
use super::room;
use super::rows::rows;
use super::values::as_hash;
use keyspace::{HashRef, Key};
use resp::args::Args;
use state::StateMachine;

mod change;
mod expiry;
mod number;
mod random;
mod read;
mod scan;

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

/// The fields that a command looks at.
#[derive(Clone, Copy)]
enum Fields<'a> {
    One(&'a [u8]),
    Named(Args<'a>),
    All,
}

/// Shows the hash to `see`, without fields that are due and that it looks at; what of them a replica's copy still has is told by
/// [`StateMachine::is_field_due`].
fn see<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    fields: Fields<'_>,
    mut see: impl FnMut(Option<HashRef<'_>>) -> R,
) -> Result<R, Error> {
    let seen = data.with_counted(key, |entry| {
        let hash = entry.map(|entry| as_hash(&entry)).transpose()?;
        Ok(match hash.and_then(HashRef::first_expiry) {
            None => Ok(see(hash)),
            Some(first) => Err(first),
        })
    })?;
    let first = match seen {
        Ok(result) => return Ok(result),
        Err(first) => first,
    };
    if data.is_field_due(Some(first)) {
        match fields {
            Fields::One(name) => data.expire_fields(key, &mut [name].into_iter()),
            Fields::Named(names) => data.expire_fields(key, &mut names.iter()),
            Fields::All => data.expire_all_fields(key),
        }
    }
    data.with(key, |entry| {
        entry.map(|entry| as_hash(&entry)).transpose().map(&mut see)
    })
}
