//! OBJECT: how values are kept.
//!
//! Owns: Redis's names for our encodings. Never: counts as use of a key.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::rows::{no_subcommand, rows};
use super::help;
use keyspace::{Entry, StringRef, Value};
use resp::args::Args;

const UNSURE: &[&str] = &["nondeterministic_output"];

rows! { pub static ROWS: Generic [] {
    "object" -2 [] "2.2.3" => no_subcommand [OBJECT_SUBCOMMANDS]: "Groups the commands about how values are kept.";
}}

rows! { static OBJECT_SUBCOMMANDS: Generic [KEYSPACE] {
    "object|encoding" 3 [READONLY] "2.2.3" key(2 RO) => encoding: "Tells how a value is encoded." .tips(UNSURE);
    "object|freq" 3 [READONLY] "4.0.0" key(2 RO) => freq: "Tells how often a key is used." .tips(UNSURE);
    "object|help" 2 [LOADING STALE] "6.2.0" => object_help: "Lists the subcommands.";
    "object|idletime" 3 [READONLY] "2.2.3" key(2 RO) => idletime: "Tells how long ago a key was used." .tips(UNSURE);
    "object|refcount" 3 [READONLY] "2.2.3" key(2 RO) => refcount: "Tells how many references a value has." .tips(UNSURE);
}}

fn object_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write(&mut env.reply(), "OBJECT", help::OBJECT);
    DONE
}

/// Up to this length Redis keeps a string within its object.
const EMBEDDED_BYTES: usize = 44;
/// Redis shares one object for each of the integers below this, with a count that says so.
const SHARED_INTEGERS: i64 = 10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;

/// Redis's name for how a string is kept.
pub fn encoding_name(entry: &Entry<'_>) -> &'static str {
    match entry.value() {
        Value::String(StringRef::Int(_)) => "int",
        Value::String(StringRef::Bytes(bytes))
            if bytes.len() <= EMBEDDED_BYTES && !entry.is_written() =>
        {
            "embstr"
        }
        Value::String(StringRef::Bytes(_) | StringRef::Chunks(_)) => "raw",
        Value::Hash(hash) => hash.encoding(),
        Value::Set(set) => set.encoding(),
        Value::List(list) => list.encoding(),
        Value::SortedSet(zset) => zset.encoding(),
    }
}

pub fn references(value: Value<'_>) -> i64 {
    match value {
        Value::String(StringRef::Int(n)) if (0..SHARED_INTEGERS).contains(&n) => SHARED_REFERENCES,
        _ => 1,
    }
}

/// What `see` finds in the entry of `args[2]`, if there is one.
fn look<R>(env: &mut Env<'_>, args: Args<'_>, see: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
    let key = env.data.key(&args[2]);
    env.data.with(&key, |entry| entry.map(see))
}

fn encoding(env: &mut Env<'_>, args: Args<'_>) -> Done {
    match look(env, args, |entry| encoding_name(&entry)) {
        Some(name) => env.reply().bulk(name.as_bytes()),
        None => env.reply().null(),
    }
    DONE
}

fn refcount(env: &mut Env<'_>, args: Args<'_>) -> Done {
    match look(env, args, |entry| references(entry.value())) {
        Some(count) => env.reply().int(count),
        None => env.reply().null(),
    }
    DONE
}

fn policy_is_lfu(env: &Env<'_>) -> bool {
    env.server
        .config()
        .get_one("maxmemory-policy")
        .is_some_and(|policy| policy.contains("lfu"))
}

/// The use of keys is not tracked: they count as just used.
fn idletime(env: &mut Env<'_>, args: Args<'_>) -> Done {
    match look(env, args, |_| ()) {
        Some(()) if policy_is_lfu(env) => return Err(Error::IDLETIME_NEEDS_LRU),
        Some(()) => env.reply().int(0),
        None => env.reply().null(),
    }
    DONE
}

fn freq(env: &mut Env<'_>, args: Args<'_>) -> Done {
    match look(env, args, |_| ()) {
        Some(()) if !policy_is_lfu(env) => return Err(Error::FREQ_NEEDS_LFU),
        Some(()) => env.reply().int(0),
        None => env.reply().null(),
    }
    DONE
}
