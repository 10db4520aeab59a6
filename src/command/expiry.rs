//! Expiry times: EXPIRE and its relatives, TTL and its relatives, PERSIST.
//!
//! Relative times become absolute here; a time that has passed deletes the key at once, as a DEL in
//! the log.

use super::env::{Done, Env, DONE};
use super::error::Error;
use super::spec::{flags, Acl, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use super::string::integer;
use crate::resp::args::Args;

const UPDATED: &[KeySpec] = &[KeySpec::new(KeyFlags::RW.and(KeyFlags::UPDATE), 1, 0, 1)];
const READ: &[KeySpec] = &[KeySpec::new(KeyFlags::RO.and(KeyFlags::ACCESS), 1, 0, 1)];

const fn setter(name: &'static str, since: &'static str, run: Run) -> Spec {
    row(name, -3, flags![WRITE, FAST], since, run).keys(1, 1, 1, UPDATED)
}

const fn getter(name: &'static str, since: &'static str, run: Run) -> Spec {
    row(name, 2, flags![READONLY, FAST], since, run).keys(1, 1, 1, READ)
}

const fn row(name: &'static str, arity: i16, flags: Flags, since: &'static str, run: Run) -> Spec {
    Spec::new(name, arity, flags, Group::Generic, run)
        .acl(Acl::KEYSPACE)
        .since(since)
}

pub static SPECS: &[Spec] = &[
    setter("expire", "1.0.0", expire).summary("Lets a key expire after so many seconds."),
    setter("expireat", "1.2.0", expireat).summary("Lets a key expire at a time in seconds."),
    getter("expiretime", "7.0.0", expiretime).summary("When a key expires, in seconds."),
    row("persist", 2, flags![WRITE, FAST], "2.2.0", persist)
        .keys(1, 1, 1, UPDATED)
        .summary("Lets a key stay for ever."),
    setter("pexpire", "2.6.0", pexpire).summary("Lets a key expire after so many milliseconds."),
    setter("pexpireat", "2.6.0", pexpireat).summary("Lets a key expire at a time in milliseconds."),
    getter("pexpiretime", "7.0.0", pexpiretime).summary("When a key expires, in milliseconds."),
    getter("pttl", "2.6.0", pttl)
        .tips(&["nondeterministic_output"])
        .summary("How many milliseconds a key has left."),
    getter("ttl", "1.0.0", ttl)
        .tips(&["nondeterministic_output"])
        .summary("How many seconds a key has left."),
];

#[derive(Clone, Copy, Debug, Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(args: Args<'_>) -> Result<Condition, Error> {
        let mut c = Condition::default();
        for word in args.iter() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => c.nx = true,
                b"xx" => c.xx = true,
                b"gt" => c.gt = true,
                b"lt" => c.lt = true,
                _ => return Err(Error::unsupported_option(word)),
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(Error::NX_AND_XX_GT_LT);
        }
        if c.gt && c.lt {
            return Err(Error::GT_AND_LT);
        }
        Ok(c)
    }

    /// Whether `new` may replace `old`; a key without an expiry counts as one that lasts for ever.
    fn allows(self, old: Option<i64>, new: i64) -> bool {
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

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
    let condition = Condition::parse(args.skip(3))?;
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
    } else if set {
        data.expire_at(&key, at);
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
    }
    env.reply().int(i64::from(had));
    DONE
}
