//! Reading one set: SCARD, SISMEMBER, SMISMEMBER, SMEMBERS, SSCAN; and how a handler finds the sets that it is to combine.

use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::scan::{parse_cursor, reply_scan, ScanOf, ScanOptions};
use crate::values::{as_set, bulk};
use crate::words::Words;
use keyspace::{Digits, Key, SetRef};
use resp::args::Args;
use resp::encode::Reply;
use state::StateMachine;

/// Shows the set to `see`, counted as a hit or a miss.
pub(super) fn look<R>(
    data: &mut StateMachine,
    name: &[u8],
    see: impl FnOnce(Option<SetRef<'_>>) -> R,
) -> Result<R, Error> {
    let key = data.key(name);
    data.with_counted(&key, |entry| {
        entry.map(|entry| as_set(&entry)).transpose().map(see)
    })
}

/// The sets of these names, in order; none: there is no such key. Those that have expired are deleted in the log first
/// (T2); a replica's own copy may still have them.
pub(super) fn sources<'a>(
    data: &mut StateMachine,
    names: Args<'a>,
) -> Result<Vec<Option<Key<'a>>>, Error> {
    let mut keys = Vec::with_capacity(names.len());
    for name in names.iter() {
        let key = data.key(name);
        let is_there = data.with_counted(&key, |entry| match entry {
            None => Ok(false),
            Some(entry) => as_set(&entry).map(|_| true),
        })?;
        keys.push(is_there.then_some(key));
    }
    Ok(keys)
}

pub fn scard(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let len = look(env.data, args.at(1), |set| set.map_or(0, SetRef::len))?;
    env.reply().int(len as i64);
    DONE
}

pub fn sismember(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let is_there = look(env.data, args.at(1), |set| {
        set.is_some_and(|set| set.contains(args.at(2)))
    })?;
    env.reply().int(is_there.into());
    DONE
}

pub fn smismember(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    let members = args.skip(2);
    look(data, args.at(1), |set| {
        reply.array(members.len());
        for member in members.iter() {
            reply.int(set.is_some_and(|set| set.contains(member)).into());
        }
    })?;
    DONE
}

pub fn smembers(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    look(data, args.at(1), |set| {
        let mut reply = Reply::new(out, session.proto);
        reply.set(set.map_or(0, SetRef::len));
        for member in set.into_iter().flat_map(SetRef::iter) {
            bulk(&mut reply, member);
            pace.step(&mut **server, member.text_len());
        }
    })?;
    DONE
}

pub fn sscan(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let cursor = parse_cursor(args.at(2))?;
    let (mut found, mut count, mut next) = (Vec::new(), 0, 0);
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        ..
    } = env;
    look(data, args.at(1), |set| {
        // What is wrong with the options shows only where there is a set.
        let Some(set) = set else {
            return Ok(());
        };
        let options = ScanOptions::parse(Words::new(args, 3), ScanOf::Members)?;
        let mut reply = Reply::new(&mut found, session.proto);
        next = set.scan(cursor, options.count, &mut |member| {
            pace.step(&mut **server, member.text_len());
            if options.matches(member.text(&mut Digits::default())) {
                bulk(&mut reply, member);
                count += 1;
            }
        });
        Ok(())
    })??;
    reply_scan(env, next, count, &found);
    DONE
}
