//! Changing a value in place: APPEND, SETRANGE, INCR and DECR, INCRBYFLOAT.

use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::long_double::LongDouble;
use crate::values::as_string;
use base::events::Classes;
use keyspace::{StringRef, Ttl};
use resp::args::Args;
use state::number;

/// The length of a string of `size` bytes that grows by `more`, if it may be that long.
fn checked_len(env: &Env<'_>, size: usize, more: usize) -> Result<usize, Error> {
    let limit = env.server.config().proto_max_bulk_len;
    size.checked_add(more)
        .filter(|len| *len <= limit)
        .ok_or(Error::STRING_TOO_LONG)
}

fn reply_len(env: &mut Env<'_>, len: usize) -> Done {
    env.reply()
        .int(i64::try_from(len).expect("a length fits an i64"));
    DONE
}

pub fn append(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (key, tail) = (env.data.key(args.at(1)), args.at(2));
    let old = env.data.with(&key, |entry| match entry {
        None => Ok(None),
        Some(entry) => as_string(&entry).map(|value| Some(value.len())),
    })?;
    let len = match old {
        Some(old) => {
            checked_len(env, old, tail.len())?;
            // Nothing is added: nothing is written (T3).
            if tail.is_empty() {
                old
            } else {
                env.data.append(&key, tail)
            }
        }
        None => env.data.append(&key, tail),
    };
    env.data.event(Classes::STRING, "append", &key);
    reply_len(env, len)
}

pub fn setrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let offset = integer(args.at(2))?;
    let offset = usize::try_from(offset).map_err(|_| Error::OFFSET_OUT_OF_RANGE)?;
    let (key, bytes) = (env.data.key(args.at(1)), args.at(3));
    let old = env.data.with(&key, |entry| match entry {
        None => Ok(0),
        Some(entry) => as_string(&entry).map(|value| value.len()),
    })?;
    if bytes.is_empty() {
        return reply_len(env, old);
    }
    checked_len(env, offset, bytes.len())?;
    let len = env.data.set_range(&key, offset, bytes);
    env.data.event(Classes::STRING, "setrange", &key);
    reply_len(env, len)
}

pub fn incr(env: &mut Env<'_>, args: Args<'_>) -> Done {
    increment(env, args, 1)
}

pub fn decr(env: &mut Env<'_>, args: Args<'_>) -> Done {
    increment(env, args, -1)
}

pub fn incrby(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let delta = integer(args.at(2))?;
    increment(env, args, delta)
}

pub fn decrby(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let delta = integer(args.at(2))?
        .checked_neg()
        .ok_or(Error::DECR_OVERFLOW)?;
    increment(env, args, delta)
}

fn increment(env: &mut Env<'_>, args: Args<'_>, delta: i64) -> Done {
    let key = env.data.key(args.at(1));
    let old = env.data.with(&key, |entry| match entry {
        None => Ok(0),
        Some(entry) => number(&as_string(&entry)?).ok_or(Error::NOT_AN_INTEGER),
    })?;
    let new = old.checked_add(delta).ok_or(Error::OVERFLOW)?;
    env.data.set_incremented(&key, delta, new);
    env.data.event(Classes::STRING, "incrby", &key);
    env.reply().int(new);
    DONE
}

pub fn incrbyfloat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let old = env.data.with(&key, |entry| match entry {
        None => Ok(LongDouble::ZERO),
        Some(entry) => match as_string(&entry)? {
            StringRef::Int(n) => Ok(LongDouble::from_i64(n)),
            StringRef::Bytes(text) => LongDouble::parse(text).ok_or(Error::NOT_A_FLOAT),
            StringRef::Chunks(_) => Err(Error::NOT_A_FLOAT),
        },
    })?;
    let delta = LongDouble::parse(args.at(2)).ok_or(Error::NOT_A_FLOAT)?;
    let sum = old.add(delta);
    if !sum.is_finite() {
        return Err(Error::FLOAT_NAN_OR_INF);
    }
    let text = sum.to_text();
    // The sum itself is the effect: no member has to do this arithmetic again.
    env.data.set(&key, text.as_bytes(), Ttl::Keep);
    env.data.event(Classes::STRING, "incrbyfloat", &key);
    env.reply().bulk(text.as_bytes());
    DONE
}
