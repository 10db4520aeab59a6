//! Taking members from an end: ZPOPMIN, ZPOPMAX, ZMPOP, and those that wait for a member.

use crate::args::integer;
use crate::blocking::{seconds, wait_for};
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::members::{head, open, show};
use crate::pace::Pace;
use crate::words::Words;
use base::events::Classes;
use keyspace::{Key, Kind};
use resp::args::Args;
use resp::encode::Reply;
use state::End;

pub fn zpopmin(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop(env, args, End::Min)
}

pub fn zpopmax(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop(env, args, End::Max)
}

fn pop(env: &mut Env<'_>, args: Args<'_>, end: End) -> Done {
    let count = match args.len() {
        2 => None,
        3 => {
            let count = integer(args.at(2)).ok();
            let count = count.and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(Error::NOT_POSITIVE)?)
        }
        _ => return Err(Error::SYNTAX),
    };
    let key = env.data.key(args.at(1));
    let len = open(env.data, &key, |zset| zset.map_or(0, |zset| zset.len()))?;
    let taken = count.unwrap_or(1).min(len);
    // In RESP3 one that was asked for without a count is no pair of its own.
    let nested = count.is_some() && env.reply().is_resp3();
    if taken == 0 {
        env.reply().array(0);
        return DONE;
    }
    match nested {
        true => head(&mut env.reply(), taken, true),
        false => env.reply().array(2 * taken),
    }
    take(env, &key, end, taken, nested)
}

/// Replies with members from an end, and removes them.
fn take(env: &mut Env<'_>, key: &Key<'_>, end: End, count: usize, nested: bool) -> Done {
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    open(data, key, |zset| {
        let mut reply = Reply::new(out, session.proto);
        let Some(zset) = zset else {
            return;
        };
        let members = match end {
            End::Min => zset.iter(0..count),
            End::Max => zset.iter_back(zset.len() - count..zset.len()),
        };
        for found in members {
            if nested {
                reply.array(2);
            }
            show(&mut reply, found, false);
            reply.double(found.score);
            pace.step(&mut **server, found.member.text_len());
        }
    })?;
    data.zset_pop(key, end, count, &mut |bytes| {
        pace.step(&mut **server, bytes);
    });
    let name = match end {
        End::Min => "zpopmin",
        End::Max => "zpopmax",
    };
    data.event(Classes::ZSET, name, key);
    DONE
}

/// What ZMPOP names: keys, an end, and how many members.
type Mpop<'a> = (Vec<&'a [u8]>, (End, usize));

fn read_mpop(args: Args<'_>, at: usize) -> Result<Mpop<'_>, Error> {
    let positive = |text: &[u8]| {
        let number = integer(text).ok().filter(|n| *n > 0)?;
        usize::try_from(number).ok()
    };
    let numkeys = positive(args.at(at)).ok_or(Error::NUMKEYS_NOT_POSITIVE)?;
    let mut words = Words::new(args, numkeys.saturating_add(at + 1));
    let end = if words.word("min") {
        End::Min
    } else if words.word("max") {
        End::Max
    } else {
        return Err(Error::SYNTAX);
    };
    let mut count = None;
    while !words.is_empty() {
        if count.is_some() || words.len() < 2 || !words.word("count") {
            return Err(Error::SYNTAX);
        }
        let number = positive(words.need()?);
        count = Some(number.ok_or(Error::COUNT_NOT_POSITIVE)?);
    }
    let keys = args.skip(at + 1).iter().take(numkeys).collect();
    Ok((keys, (end, count.unwrap_or(1))))
}

/// The first of these keys that has members, and how many it has.
fn first_of<'k>(env: &mut Env<'_>, keys: &[&'k [u8]]) -> Result<Option<(Key<'k>, usize)>, Error> {
    let mut pace = Pace::default();
    for name in keys {
        pace.step(env.server, name.len());
        let key = env.data.key(name);
        let len = open(env.data, &key, |zset| zset.map_or(0, |zset| zset.len()))?;
        if len > 0 {
            return Ok(Some((key, len)));
        }
    }
    Ok(None)
}

/// The first sorted set of these that has members gives up some from an end. False: there is none.
fn pop_first(env: &mut Env<'_>, keys: &[&[u8]], (end, count): (End, usize)) -> Result<bool, Error> {
    let Some((key, len)) = first_of(env, keys)? else {
        return Ok(false);
    };
    let count = count.min(len);
    let mut reply = env.reply();
    reply.array(2);
    reply.bulk(key.bytes);
    reply.array(count);
    take(env, &key, end, count, true)?;
    Ok(true)
}

pub fn zmpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (keys, what) = read_mpop(args, 1)?;
    if !pop_first(env, &keys, what)? {
        env.reply().null_array();
    }
    DONE
}

pub fn bzmpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (keys, what) = read_mpop(args, 2)?;
    let timeout = seconds(env, args.at(1))?;
    match pop_first(env, &keys, what)? {
        true => DONE,
        false => wait_for(env, &keys, Kind::SortedSet, timeout),
    }
}

pub fn bzpopmin(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop_or_wait(env, args, End::Min)
}

pub fn bzpopmax(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop_or_wait(env, args, End::Max)
}

fn pop_or_wait(env: &mut Env<'_>, args: Args<'_>, end: End) -> Done {
    let last = args.len() - 1;
    let timeout = seconds(env, args.at(last))?;
    let keys: Vec<&[u8]> = args.iter().take(last).skip(1).collect();
    let Some((key, _)) = first_of(env, &keys)? else {
        return wait_for(env, &keys, Kind::SortedSet, timeout);
    };
    let mut reply = env.reply();
    reply.array(3);
    reply.bulk(key.bytes);
    take(env, &key, end, 1, false)
}
