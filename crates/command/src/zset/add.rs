//! ZADD and ZINCRBY: what of the members changes is worked out here, and only that is written.

use super::open;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::words::Words;
use base::double;
use keyspace::ZsetRef;
use resp::args::Args;
use std::collections::HashMap;

#[derive(Clone, Copy, Default)]
pub struct Options {
    pub nx: bool,
    pub xx: bool,
    pub gt: bool,
    pub lt: bool,
    pub ch: bool,
    pub incr: bool,
}

/// What adding comes to.
#[derive(Default)]
struct Added<'a> {
    added: usize,
    updated: usize,
    /// The score of the last member that no option has left out.
    score: Option<f64>,
    changes: Vec<(&'a [u8], f64)>,
}

pub fn zadd(env: &mut Env<'_>, args: Args<'_>) -> Done {
    run(env, args, Options::default())
}

/// It takes ZADD's options as well.
pub fn zincrby(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let incr = true;
    run(
        env,
        args,
        Options {
            incr,
            ..Options::default()
        },
    )
}

fn run(env: &mut Env<'_>, args: Args<'_>, mut options: Options) -> Done {
    let mut words = Words::new(args, 2);
    loop {
        let o = &mut options;
        let known = [
            ("nx", &mut o.nx),
            ("xx", &mut o.xx),
            ("ch", &mut o.ch),
            ("incr", &mut o.incr),
            ("gt", &mut o.gt),
            ("lt", &mut o.lt),
        ];
        let Some((_, option)) = known.into_iter().find(|(word, _)| words.word(word)) else {
            break;
        };
        *option = true;
    }
    let rest = words.rest();
    if rest.is_empty() || rest.len() % 2 != 0 {
        return Err(Error::SYNTAX);
    }
    options.check()?;
    if options.incr && rest.len() > 2 {
        return Err(Error::INCR_OF_ONE_PAIR);
    }
    let items = (0..rest.len()).step_by(2).map(|at| {
        let score = double::parse(rest.at(at)).ok_or(Error::NOT_A_FLOAT)?;
        Ok((rest.at(at + 1), score))
    });
    let items = items.collect::<Result<Vec<_>, Error>>()?;
    add(env, args.at(1), &items, options)
}

impl Options {
    pub fn check(self) -> Result<(), Error> {
        let Options { nx, xx, gt, lt, .. } = self;
        if nx && xx {
            return Err(Error::XX_AND_NX);
        }
        if (gt && nx) || (lt && nx) || (gt && lt) {
            return Err(Error::GT_LT_AND_NX);
        }
        Ok(())
    }
}

/// Gives members their scores, and replies.
pub fn add(env: &mut Env<'_>, key: &[u8], items: &[(&[u8], f64)], options: Options) -> Done {
    let key = env.data.key(key);
    let outcome = open(env.data, &key, |zset| work_out(zset, items, options))??;
    match outcome.changes.as_slice() {
        [] => {}
        [(member, score)] if options.incr => env.data.zset_increment(&key, member, *score),
        changes => env.data.zset_add(&key, changes),
    }
    let mut reply = env.reply();
    match (options.incr, outcome.score) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) => {
            let updated = if options.ch { outcome.updated } else { 0 };
            reply.int((outcome.added + updated) as i64);
        }
    }
    DONE
}

fn work_out<'a>(
    zset: Option<ZsetRef<'_>>,
    items: &[(&'a [u8], f64)],
    options: Options,
) -> Result<Added<'a>, Error> {
    let mut outcome = Added::default();
    // What the command itself has given a member before; looked at only where it names several.
    let mut given: HashMap<&[u8], f64> = HashMap::new();
    for (member, score) in items {
        let old = match given.get(member) {
            Some(score) => Some(*score),
            None => zset.and_then(|zset| zset.score(member)),
        };
        let new = match old {
            None if options.xx => continue,
            Some(_) if options.nx => continue,
            Some(old) if options.incr => old + score,
            _ => *score,
        };
        if new.is_nan() {
            return Err(Error::SCORE_NAN);
        }
        if old.is_some_and(|old| (options.lt && new >= old) || (options.gt && new <= old)) {
            continue;
        }
        outcome.score = Some(new);
        if old == Some(new) {
            continue;
        }
        outcome.added += usize::from(old.is_none());
        outcome.updated += usize::from(old.is_some());
        outcome.changes.push((member, new));
        if items.len() > 1 {
            given.insert(member, new);
        }
    }
    Ok(outcome)
}
