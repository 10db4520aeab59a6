//! Expiry times: EXPIRE and its relatives, TTL and its relatives, PERSIST.
//!
//! Relative times become absolute here; a time that has passed deletes the key at once, as a DEL in
//! the log.

use super::args::integer;
use super::condition::Condition;
use super::env::{Done, Env, DONE};
use super::error::Error;
use super::rows::rows;
use super::words::Words;
use base::events::Classes;
use resp::args::Args;

const VARIES: &[&str] = &["nondeterministic_output"];

rows! { pub static ROWS: Generic [KEYSPACE] {
    "expire" -3 [WRITE FAST] "1.0.0" key(1 RW UPDATE) => expire: "Lets a key expire after so many seconds.";
    "expireat" -3 [WRITE FAST] "1.2.0" key(1 RW UPDATE) => expireat: "Lets a key expire at a time in seconds.";
    "expiretime" 2 [READONLY FAST] "7.0.0" key(1 RO ACCESS) => expiretime: "When a key expires, in seconds.";
    "persist" 2 [WRITE FAST] "2.2.0" key(1 RW UPDATE) => persist: "Lets a key stay for ever.";
    "pexpire" -3 [WRITE FAST] "2.6.0" key(1 RW UPDATE) => pexpire: "Lets a key expire after so many milliseconds.";
    "pexpireat" -3 [WRITE FAST] "2.6.0" key(1 RW UPDATE) => pexpireat: "Lets a key expire at a time in milliseconds.";
    "pexpiretime" 2 [READONLY FAST] "7.0.0" key(1 RO ACCESS) => pexpiretime: "When a key expires, in milliseconds.";
    "pttl" 2 [READONLY FAST] "2.6.0" key(1 RO ACCESS) => pttl: "How many milliseconds a key has left." .tips(VARIES);
    "ttl" 2 [READONLY FAST] "1.0.0" key(1 RO ACCESS) => ttl: "How many seconds a key has left." .tips(VARIES);
}}

fn expire(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set_expiry(env, args, env.data.now_ms(), 1000, "expire")
}

fn pexpire(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set_expiry(env, args, env.data.now_ms(), 1, "pexpire")
}

fn expireat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set_expiry(env, args, 0, 1000, "expireat")
}

fn pexpireat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set_expiry(env, args, 0, 1, "pexpireat")
}

fn set_expiry(env: &mut Env<'_>, args: Args<'_>, base_ms: i64, unit: i64, name: &str) -> Done {
    let condition = Condition::parse(Words::new(args, 3))?;
    let at = integer(args.at(2))?
        .checked_mul(unit)
        .and_then(|ms| ms.checked_add(base_ms))
        .ok_or_else(|| Error::invalid_expire(name))?;
    let data = &mut *env.data;
    let key = data.key(args.at(1));
    let set = data
        .expiry(&key)
        .is_some_and(|old| condition.allows(old, at));
    if set && at <= data.now_ms() {
        data.delete(&key);
        data.event(Classes::GENERIC, "del", &key);
    } else if set {
        data.expire_at(&key, at);
        data.event(Classes::GENERIC, "expire", &key);
    }
    env.reply().int(i64::from(set));
    DONE
}

fn ttl(env: &mut Env<'_>, args: Args<'_>) -> Done {
    get_expiry(env, args, env.data.now_ms(), seconds)
}

fn pttl(env: &mut Env<'_>, args: Args<'_>) -> Done {
    get_expiry(env, args, env.data.now_ms(), |ms| ms)
}

fn expiretime(env: &mut Env<'_>, args: Args<'_>) -> Done {
    get_expiry(env, args, 0, seconds)
}

fn pexpiretime(env: &mut Env<'_>, args: Args<'_>) -> Done {
    get_expiry(env, args, 0, |ms| ms)
}

/// To the nearest second.
fn seconds(ms: i64) -> i64 {
    ms / 1000 + i64::from(ms % 1000 >= 500)
}

fn get_expiry(env: &mut Env<'_>, args: Args<'_>, base_ms: i64, unit: fn(i64) -> i64) -> Done {
    let key = env.data.key(args.at(1));
    let expiry = env
        .data
        .with_counted(&key, |entry| entry.map(|e| e.expiry()));
    let answer = match expiry {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => unit(at.saturating_sub(base_ms).max(0)),
    };
    env.reply().int(answer);
    DONE
}

fn persist(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let had = env.data.expiry(&key).flatten().is_some();
    if had {
        env.data.persist(&key);
        env.data.event(Classes::GENERIC, "persist", &key);
    }
    env.reply().int(i64::from(had));
    DONE
}
