//! Several sets at once: SINTER, SUNION, SDIFF, what stores them, and SINTERCARD.

use super::read::sources;
use crate::env::{Done, Env, Flow, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::bulk;
use crate::words::Words;
use base::events::Classes;
use keyspace::{intersect, Element, SetOp, SetRef};
use resp::args::Args;
use resp::encode::Reply;
use resp::number::parse_i64;
use state::StateMachine;
use std::ops::ControlFlow;

pub fn sinter(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let keys = sources(env.data, args.skip(1))?;
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let mut reply = Reply::new(out, session.proto);
    let head = reply.deferred();
    let (mut count, mut pace) = (0, Pace::default());
    let mut breathe = |bytes| pace.step(&mut **server, bytes);
    intersect(&sets(data, &keys), &mut breathe, &mut |member| {
        bulk(&mut reply, member);
        count += 1;
        ControlFlow::Continue(())
    });
    reply.set_set(head, count);
    DONE
}

/// The sets of all keys; none if one is not there.
fn sets<'a>(data: &'a StateMachine, keys: &[Option<keyspace::Key<'_>>]) -> Vec<SetRef<'a>> {
    let set = |key: &Option<keyspace::Key<'_>>| {
        let entry = data.keyspace().get(data.db(), key.as_ref()?)?;
        entry.value().set()
    };
    let all: Option<Vec<SetRef<'_>>> = keys.iter().map(set).collect();
    all.unwrap_or_default()
}

/// A number from `least` on; anything else is `otherwise`.
fn number(text: &[u8], least: i64, otherwise: Error) -> Result<usize, Error> {
    let number = parse_i64(text).filter(|number| *number >= least);
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or(otherwise)
}

pub fn sintercard(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let numkeys = number(args.at(1), 1, Error::NUMKEYS_NOT_POSITIVE)?;
    if numkeys > args.len() - 2 {
        return Err(Error::NUMKEYS_TOO_MANY);
    }
    let mut limit = 0;
    let mut words = Words::new(args, 2 + numkeys);
    while !words.is_empty() {
        if words.len() < 2 || !words.word("limit") {
            return Err(Error::SYNTAX);
        }
        limit = number(words.need()?, 0, Error::NEGATIVE_LIMIT)?;
    }
    let names: Vec<&[u8]> = args.iter().skip(2).take(numkeys).collect();
    let keys = sources(env.data, Args::from(names.as_slice()))?;
    let Env { data, server, .. } = env;
    let (mut count, mut pace) = (0, Pace::default());
    let mut breathe = |bytes| pace.step(&mut **server, bytes);
    intersect(&sets(data, &keys), &mut breathe, &mut |_: Element<'_>| {
        count += 1;
        match count == limit {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    env.reply().int(count as i64);
    DONE
}

pub fn sunion(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, args, SetOp::Union)
}

pub fn sdiff(env: &mut Env<'_>, args: Args<'_>) -> Done {
    show(env, args, SetOp::Diff)
}

fn show(env: &mut Env<'_>, args: Args<'_>, op: SetOp) -> Done {
    let keys = sources(env.data, args.skip(1))?;
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let mut pace = Pace::default();
    let mut breathe = |bytes| pace.step(&mut **server, bytes);
    let found = data
        .keyspace()
        .combine_sets(data.db(), op, &keys, &mut breathe);
    let mut reply = Reply::new(out, session.proto);
    reply.set(found.set().len());
    found.set().for_each(|member| {
        bulk(&mut reply, member);
        breathe(member.text_len());
    });
    DONE
}

pub fn sinterstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    store(env, args, SetOp::Inter)
}

pub fn sunionstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    store(env, args, SetOp::Union)
}

pub fn sdiffstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    store(env, args, SetOp::Diff)
}

fn store(env: &mut Env<'_>, args: Args<'_>, op: SetOp) -> Done {
    let names = args.skip(2);
    sources(env.data, names)?;
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    let Env { data, server, .. } = env;
    let to = data.key(args.at(1));
    let from: Vec<&[u8]> = names.iter().collect();
    let mut pace = Pace::default();
    let mut breathe = |bytes| pace.step(&mut **server, bytes);
    let len = data.set_store(op, &to, &from, &mut breathe);
    if len > 0 {
        let name = match op {
            SetOp::Inter => "sinterstore",
            SetOp::Union => "sunionstore",
            SetOp::Diff => "sdiffstore",
        };
        data.event(Classes::SET, name, &to);
    }
    env.reply().int(len as i64);
    DONE
}
