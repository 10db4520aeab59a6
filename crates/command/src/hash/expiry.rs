//! The expiry of fields: HEXPIRE and its relatives, HTTL and its relatives, HPERSIST.
//!
//! Relative times become absolute here; a time that has passed deletes the fields at once.

use super::view::{open, see, Fields};
use crate::args::integer;
use crate::condition::Condition;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::as_hash;
use base::events::Classes;
use keyspace::HashRef;
use resp::args::Args;
use state::StateMachine;
use std::collections::HashMap;

/// No expiry of a field is later, in Unix milliseconds: Redis's limit.
const LATEST: i64 = (1 << 46) - 1;

/// The replies for one field.
const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const REFUSED: i64 = 0;
const SET: i64 = 1;
const DELETED: i64 = 2;

pub fn hexpire(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    expire(env, args, now, 1000, "hexpire")
}

pub fn hpexpire(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    expire(env, args, now, 1, "hpexpire")
}

pub fn hexpireat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    expire(env, args, 0, 1000, "hexpireat")
}

pub fn hpexpireat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    expire(env, args, 0, 1, "hpexpireat")
}

/// The fields behind `FIELDS numfields`, which stands at `at`. `no_number`: a number is there that is none, or is not above 0.
fn fields<'a>(args: Args<'a>, at: usize, no_number: Error) -> Result<Args<'a>, Error> {
    let is_there = args
        .get(at)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"fields"));
    if !is_there {
        return Err(Error::FIELDS_MISSING);
    }
    let count = args.get(at + 1).map_or(Ok(0), integer);
    let count = count.ok().filter(|count| *count >= 1);
    let count = count.ok_or(no_number)?;
    let fields = args.skip(at + 2);
    match usize::try_from(count) == Ok(fields.len()) {
        true => Ok(fields),
        false => Err(Error::FIELDS_MISMATCH),
    }
}

/// WRONGTYPE comes before what else is wrong.
fn check_kind(env: &mut Env<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = env.data.key(args.at(1));
    env.data.with(&key, |entry| {
        entry.map(|entry| as_hash(&entry).map(|_| ())).transpose()
    })?;
    Ok(())
}

fn expire(env: &mut Env<'_>, args: Args<'_>, base_ms: i64, unit: i64, name: &str) -> Done {
    check_kind(env, args)?;
    let time = integer(args.at(2))?;
    if time < 0 {
        return Err(Error::FIELD_EXPIRY_NEGATIVE);
    }
    let at_ms = time
        .checked_mul(unit)
        .and_then(|ms| ms.checked_add(base_ms));
    let at_ms = at_ms.filter(|at| *at <= LATEST);
    let at_ms = at_ms.ok_or_else(|| Error::invalid_expire(name))?;
    let (condition, place) = match Condition::one(args.at(3)) {
        Some(condition) => (condition, 4),
        None => (Condition::default(), 3),
    };
    let names = fields(args, place, Error::FIELDS_NOT_ABOVE_ZERO)?;
    let key = env.data.key(args.at(1));
    let gone = at_ms <= env.data.now_ms();
    let mut changed = Vec::new();
    let replies = each(env.data, &key, names, |field, old| {
        let Some(old) = old else {
            return NO_FIELD;
        };
        if !condition.allows(*old, at_ms) {
            return REFUSED;
        }
        changed.push(field);
        *old = Some(at_ms);
        if gone {
            DELETED
        } else {
            SET
        }
    })?;
    if !changed.is_empty() {
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        match gone {
            true => data.hash_remove(&key, &changed, breathe),
            false => data.hash_expire_at(&key, at_ms, &changed, breathe),
        }
        let name = if gone { "hdel" } else { "hexpire" };
        env.data.event(Classes::HASH, name, &key);
    }
    reply(env, &replies)
}

pub fn hpersist(env: &mut Env<'_>, args: Args<'_>) -> Done {
    check_kind(env, args)?;
    let names = fields(args, 2, Error::FIELDS_NOT_POSITIVE)?;
    let key = env.data.key(args.at(1));
    let mut changed = Vec::new();
    let replies = each(env.data, &key, names, |field, old| match old {
        None => NO_FIELD,
        Some(old) => match old.take() {
            None => NO_EXPIRY,
            Some(_) => {
                changed.push(field);
                SET
            }
        },
    })?;
    if !changed.is_empty() {
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        data.hash_persist(&key, &changed, breathe);
        env.data.event(Classes::HASH, "hpersist", &key);
    }
    reply(env, &replies)
}

pub fn httl(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    times(env, args, |at| (at + 999 - now) / 1000)
}

pub fn hpttl(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    times(env, args, |at| at - now)
}

pub fn hexpiretime(env: &mut Env<'_>, args: Args<'_>) -> Done {
    times(env, args, |at| (at + 999) / 1000)
}

pub fn hpexpiretime(env: &mut Env<'_>, args: Args<'_>) -> Done {
    times(env, args, |at| at)
}

fn times(env: &mut Env<'_>, args: Args<'_>, shown: impl Fn(i64) -> i64) -> Done {
    check_kind(env, args)?;
    let names = fields(args, 2, Error::FIELDS_NOT_POSITIVE)?;
    let key = env.data.key(args.at(1));
    let now = env.data.now_ms();
    let replies = see(env.data, &key, Fields::Named(names), |hash| {
        let expiries = names.iter().map(|field| expiry_of(hash, field, now));
        let replies = expiries.map(|found| match found {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(at)) => shown(at),
        });
        replies.collect::<Vec<i64>>()
    })?;
    reply(env, &replies)
}

/// When the field expires, if it does; the outer `None`: there is no such field, or it is due.
fn expiry_of(hash: Option<HashRef<'_>>, field: &[u8], now: i64) -> Option<Option<i64>> {
    let found = hash.and_then(|hash| hash.get_alive(field, now));
    found.map(|(_, expiry)| expiry)
}

/// For commands that write: asks for every named field, in order; `answer` gets its expiry, if there is such a field, and may change it for those that name
/// the field again. A field that `answer` says is deleted is there no more.
fn each<'a>(
    data: &mut StateMachine,
    key: &keyspace::Key<'_>,
    names: Args<'a>,
    mut answer: impl FnMut(&'a [u8], &mut Option<Option<i64>>) -> i64,
) -> Result<Vec<i64>, Error> {
    let now = data.now_ms();
    let mut found: HashMap<&[u8], Option<Option<i64>>> = HashMap::new();
    open(data, key, Fields::Named(names), |hash| {
        for field in names.iter() {
            found.insert(field, expiry_of(hash, field, now));
        }
    })?;
    let mut replies = Vec::with_capacity(names.len());
    for field in names.iter() {
        let expiry = found.get_mut(field).expect("each was looked for");
        let reply = answer(field, expiry);
        if reply == DELETED {
            *expiry = None;
        }
        replies.push(reply);
    }
    Ok(replies)
}

fn reply(env: &mut Env<'_>, replies: &[i64]) -> Done {
    let mut reply = env.reply();
    reply.array(replies.len());
    replies.iter().for_each(|n| reply.int(*n));
    DONE
}
