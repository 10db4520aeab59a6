//! OBJECT and MEMORY USAGE: how values are kept.
//!
//! Owns: Redis's names for our encodings. Never: counts as use of a key.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::spec::{flags, Acl, Flags, Group, KeyFlags, KeySpec, Spec};
use super::{help, no_subcommand};
use crate::keyspace::{Entry, Value};
use crate::resp::args::Args;
use crate::resp::number::parse_i64;

pub const OBJECT: Spec = Spec::new("object", -2, Flags::NONE, Group::Generic, no_subcommand)
    .since("2.2.3")
    .summary("Groups the commands about how values are kept.")
    .subcommands(OBJECT_SUBCOMMANDS);

const KEY: &[KeySpec] = &[KeySpec::new(KeyFlags::RO, 2, 0, 1)];
const UNSURE: &[&str] = &["nondeterministic_output"];

static OBJECT_SUBCOMMANDS: &[Spec] = &[
    Spec::sub(
        "object|encoding",
        3,
        flags![READONLY],
        Group::Generic,
        encoding,
    )
    .acl(Acl::KEYSPACE)
    .since("2.2.3")
    .summary("Tells how a value is encoded.")
    .keys(2, 2, 1, KEY)
    .tips(UNSURE),
    Spec::sub("object|freq", 3, flags![READONLY], Group::Generic, freq)
        .acl(Acl::KEYSPACE)
        .since("4.0.0")
        .summary("Tells how often a key is used.")
        .keys(2, 2, 1, KEY)
        .tips(UNSURE),
    Spec::sub(
        "object|help",
        2,
        flags![LOADING, STALE],
        Group::Generic,
        object_help,
    )
    .acl(Acl::KEYSPACE)
    .since("6.2.0")
    .summary("Lists the subcommands."),
    Spec::sub(
        "object|idletime",
        3,
        flags![READONLY],
        Group::Generic,
        idletime,
    )
    .acl(Acl::KEYSPACE)
    .since("2.2.3")
    .summary("Tells how long ago a key was used.")
    .keys(2, 2, 1, KEY)
    .tips(UNSURE),
    Spec::sub(
        "object|refcount",
        3,
        flags![READONLY],
        Group::Generic,
        refcount,
    )
    .acl(Acl::KEYSPACE)
    .since("2.2.3")
    .summary("Tells how many references a value has.")
    .keys(2, 2, 1, KEY)
    .tips(UNSURE),
];

pub const MEMORY: Spec = Spec::new("memory", -2, Flags::NONE, Group::Server, no_subcommand)
    .since("4.0.0")
    .summary("Groups the commands about memory.")
    .subcommands(MEMORY_SUBCOMMANDS);

static MEMORY_SUBCOMMANDS: &[Spec] = &[
    Spec::sub(
        "memory|help",
        2,
        flags![LOADING, STALE],
        Group::Server,
        memory_help,
    )
    .since("4.0.0")
    .summary("Lists the subcommands."),
    Spec::sub("memory|usage", -3, flags![READONLY], Group::Server, usage)
        .since("4.0.0")
        .summary("Estimates the memory that a key takes.")
        .keys(2, 2, 1, KEY),
];

fn object_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "OBJECT", help::OBJECT);
    DONE
}

fn memory_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "MEMORY", help::MEMORY);
    DONE
}

/// Up to this length Redis keeps a string within its object.
const EMBEDDED_BYTES: usize = 44;
/// Redis shares one object for each of the integers below this, with a count that says so.
const SHARED_INTEGERS: i64 = 10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;

/// Redis's name for how a string is kept.
pub fn encoding_name(value: Value<'_>) -> &'static str {
    match value {
        Value::Int(_) => "int",
        Value::Bytes(bytes) if bytes.len() <= EMBEDDED_BYTES => "embstr",
        Value::Bytes(_) => "raw",
    }
}

pub fn references(value: Value<'_>) -> i64 {
    match value {
        Value::Int(n) if (0..SHARED_INTEGERS).contains(&n) => SHARED_REFERENCES,
        Value::Int(_) | Value::Bytes(_) => 1,
    }
}

/// What `see` finds in the entry of `args[2]`, if there is one.
fn look<R>(env: &mut Env<'_>, args: Args<'_>, see: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
    let key = env.data.key(&args[2]);
    env.data.with(&key, |entry| entry.map(see))
}

fn encoding(env: &mut Env<'_>, args: Args<'_>) -> Done {
    match look(env, args, |entry| encoding_name(entry.value())) {
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
    env.host
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

/// What an entry takes beside its key and value: header, bucket, allocator's rounding.
const ENTRY_OVERHEAD_BYTES: usize = 32;
/// What a key with an expiry takes in the expiry order.
const EXPIRY_OVERHEAD_BYTES: usize = 32;

fn usage(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut i = 3;
    while i < args.len() {
        let count = args.get(i + 1).ok_or(Error::SYNTAX)?;
        if !args[i].eq_ignore_ascii_case(b"samples") {
            return Err(Error::SYNTAX);
        }
        if parse_i64(count).ok_or(Error::NOT_AN_INTEGER)? < 0 {
            return Err(Error::SYNTAX);
        }
        i += 2;
    }
    let bytes = look(env, args, |entry| {
        let value = match entry.value() {
            Value::Int(_) => std::mem::size_of::<i64>(),
            Value::Bytes(bytes) => bytes.len(),
        };
        let expiry = if entry.expiry().is_some() {
            EXPIRY_OVERHEAD_BYTES
        } else {
            0
        };
        (entry.key().len() + value + ENTRY_OVERHEAD_BYTES + expiry).next_multiple_of(8)
    });
    match bytes {
        Some(bytes) => env.reply().int(bytes as i64),
        None => env.reply().null(),
    }
    DONE
}
