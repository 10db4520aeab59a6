//! Changes within lists: LINSERT, LSET, LREM, LTRIM.

use super::place::{index_of, range_of, with_list};
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use base::events::Classes;
use resp::args::Args;

pub fn linsert(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let before = match args.at(2) {
        word if word.eq_ignore_ascii_case(b"after") => false,
        word if word.eq_ignore_ascii_case(b"before") => true,
        _ => return Err(Error::SYNTAX),
    };
    let key = env.data.key(args.at(1));
    let (pivot, text) = (args.at(3), args.at(4));
    let mut pace = Pace::default();
    let Env { data, server, .. } = env;
    let mut breathe = |bytes| pace.step(&mut **server, bytes); // T9
    let found = with_list(data, &key, |list| {
        list.map(|list| list.find(pivot, &mut breathe).map(|_| list.len()))
    })?;
    let reply = match found {
        None => 0,
        Some(None) => -1,
        Some(Some(len)) => {
            data.list_insert(&key, (before, pivot), text, &mut breathe);
            env.data.event(Classes::LIST, "linsert", &key);
            len as i64 + 1
        }
    };
    env.reply().int(reply);
    DONE
}

pub fn lset(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let len = with_list(env.data, &key, |list| list.map(|list| list.len()))?;
    let len = len.ok_or(Error::NO_SUCH_KEY)?;
    let index = index_of(integer(args.at(2))?, len).filter(|index| *index < len);
    let index = index.ok_or(Error::INDEX_OUT_OF_RANGE)?;
    env.data.list_set(&key, index, args.at(3));
    env.data.event(Classes::LIST, "lset", &key);
    env.reply().ok();
    DONE
}

pub fn lrem(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let count = integer(args.at(2))?;
    if count == i64::MIN {
        return Err(Error::out_of_range(-i64::MAX, i64::MAX));
    }
    let (key, text) = (env.data.key(args.at(1)), args.at(3));
    let mut pace = Pace::default();
    let Env { data, server, .. } = env;
    let mut breathe = |bytes| pace.step(&mut **server, bytes); // T9
    let is_there = with_list(data, &key, |list| {
        list.is_some_and(|list| list.find(text, &mut breathe).is_some())
    })?;
    let removed = match is_there {
        true => data.list_remove(&key, count, text, &mut breathe),
        false => 0,
    };
    if is_there {
        env.data.event(Classes::LIST, "lrem", &key);
    }
    env.reply().int(removed as i64);
    DONE
}

pub fn ltrim(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let key = env.data.key(args.at(1));
    let len = with_list(env.data, &key, |list| list.map(|list| list.len()))?;
    if let Some(len) = len {
        match range_of(start, stop, len) {
            // All stay: nothing for the log.
            Some((0, last)) if last + 1 == len => {}
            Some((from, last)) => env.data.list_trim(&key, from, last),
            None => env.data.list_trim(&key, 1, 0),
        }
        env.data.event(Classes::LIST, "ltrim", &key);
    }
    env.reply().ok();
    DONE
}
