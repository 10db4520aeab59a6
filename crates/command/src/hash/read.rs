//! Reading fields: HGET and its relatives.

use super::view::{see, Fields};
use crate::env::{Done, Env, DONE};
use crate::pace::Pace;
use crate::values::{as_hash, bulk};
use keyspace::FieldRef;
use resp::args::Args;
use resp::encode::Reply;

pub fn hget(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    see(data, &key, Fields::Named(args.skip(2)), |hash| {
        let found = hash.and_then(|hash| hash.get_alive(args.at(2), now));
        match found {
            Some((value, _)) => bulk(&mut reply, value),
            None => reply.null(),
        }
    })?;
    DONE
}

pub fn hmget(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let (key, fields) = (env.data.key(args.at(1)), args.skip(2));
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, Fields::Named(fields), |hash| {
        let mut reply = Reply::new(out, session.proto);
        reply.array(fields.len());
        for field in fields.iter() {
            match hash.and_then(|hash| hash.get_alive(field, now)) {
                Some((value, _)) => {
                    pace.step(&mut **server, value.text_len());
                    bulk(&mut reply, value);
                }
                None => reply.null(),
            }
        }
    })?;
    DONE
}

pub fn hexists(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let key = env.data.key(args.at(1));
    let is_there = see(env.data, &key, Fields::Named(args.skip(2)), |hash| {
        hash.is_some_and(|hash| hash.get_alive(args.at(2), now).is_some())
    })?;
    env.reply().int(is_there.into());
    DONE
}

pub fn hstrlen(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let key = env.data.key(args.at(1));
    let len = see(env.data, &key, Fields::Named(args.skip(2)), |hash| {
        let found = hash.and_then(|hash| hash.get_alive(args.at(2), now));
        found.map_or(0, |(value, _)| value.text_len())
    })?;
    env.reply().int(len as i64);
    DONE
}

/// Counts fields that are due with the others.
pub fn hlen(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let len = env.data.with_counted(&key, |entry| match entry {
        None => Ok(0),
        Some(entry) => as_hash(&entry).map(|hash| hash.len()),
    })?;
    env.reply().int(len as i64);
    DONE
}

/// What of each field is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Fields,
    Values,
    Both,
}

pub fn hgetall(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, args, Shown::Both)
}

pub fn hkeys(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, args, Shown::Fields)
}

pub fn hvals(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, args, Shown::Values)
}

fn show(env: &mut Env<'_>, args: Args<'_>, shown: Shown) -> Done {
    let now = env.data.now_ms();
    let key = env.data.key(args.at(1));
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, Fields::All, |hash| {
        let mut reply = Reply::new(out, session.proto);
        let head = reply.deferred();
        let mut count = 0;
        let mut add = |found: FieldRef<'_>| {
            if found.is_due(now) {
                return;
            }
            count += 1;
            if shown != Shown::Values {
                bulk(&mut reply, found.field);
            }
            if shown != Shown::Fields {
                bulk(&mut reply, found.value);
            }
            pace.step(
                &mut **server,
                found.field.text_len() + found.value.text_len(),
            );
        };
        if let Some(hash) = hash {
            hash.for_each(&mut add);
        }
        match shown {
            Shown::Both => reply.set_map(head, count),
            Shown::Fields | Shown::Values => reply.set_array(head, count),
        }
    })?;
    DONE
}
