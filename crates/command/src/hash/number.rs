//! Fields that hold numbers: HINCRBY, HINCRBYFLOAT.

use super::view::{open, Fields};
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::long_double::LongDouble;
use base::events::Classes;
use keyspace::{Element, FieldTtl};
use resp::args::Args;

pub fn hincrby(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let (key, field) = (env.data.key(args.at(1)), args.at(2));
    let delta = integer(args.at(3))?;
    let named = Fields::One(field);
    let old = open(env.data, &key, named, |hash| {
        match hash.and_then(|hash| hash.get_alive(field, now)) {
            None => Ok(0),
            Some((value, _)) => value.int().ok_or(Error::HASH_NOT_AN_INTEGER),
        }
    })??;
    let new = old.checked_add(delta).ok_or(Error::OVERFLOW)?;
    let mut text = itoa::Buffer::new();
    let pair = [field, text.format(new).as_bytes()];
    env.data.hash_set(&key, &pair, FieldTtl::Keep, &mut |_| {});
    env.data.event(Classes::HASH, "hincrby", &key);
    env.reply().int(new);
    DONE
}

pub fn hincrbyfloat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let (key, field) = (env.data.key(args.at(1)), args.at(2));
    let delta = LongDouble::parse(args.at(3)).ok_or(Error::NOT_A_FLOAT)?;
    if !delta.is_finite() {
        return Err(Error::NAN_OR_INF);
    }
    let named = Fields::One(field);
    let old = open(env.data, &key, named, |hash| {
        match hash.and_then(|hash| hash.get_alive(field, now)) {
            None => Ok(LongDouble::ZERO),
            Some((Element::Int(n), _)) => Ok(LongDouble::from_i64(n)),
            Some((Element::Bytes(text), _)) => {
                LongDouble::parse(text).ok_or(Error::HASH_NOT_A_FLOAT)
            }
        }
    })??;
    let sum = old.add(delta);
    if !sum.is_finite() {
        return Err(Error::FLOAT_NAN_OR_INF);
    }
    let text = sum.to_text();
    // The sum itself is the effect: no member has to do this arithmetic again.
    let pair = [field, text.as_bytes()];
    env.data.hash_set(&key, &pair, FieldTtl::Keep, &mut |_| {});
    env.data.event(Classes::HASH, "hincrbyfloat", &key);
    env.reply().bulk(text.as_bytes());
    DONE
}
