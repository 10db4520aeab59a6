//! Reading members: ZSCORE and its relatives.

use super::bounds::Bounds;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::members::see;
use crate::pace::Pace;
use resp::args::Args;
use resp::encode::Reply;

pub fn zcard(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let len = see(env.data, &key, |zset| zset.map_or(0, |zset| zset.len()))?;
    env.reply().int(len as i64);
    DONE
}

pub fn zscore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let score = see(env.data, &key, |zset| zset?.score(args.at(2)))?;
    match score {
        Some(score) => env.reply().double(score),
        None => env.reply().null(),
    }
    DONE
}

pub fn zmscore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (key, members) = (env.data.key(args.at(1)), args.skip(2));
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, |zset| {
        let mut reply = Reply::new(out, session.proto);
        reply.array(members.len());
        for member in members.iter() {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => reply.double(score),
                None => reply.null(),
            }
            pace.step(&mut **server, 0);
        }
    })?;
    DONE
}

pub fn zrank(env: &mut Env<'_>, args: Args<'_>) -> Done {
    rank(env, args, "zrank", false)
}

pub fn zrevrank(env: &mut Env<'_>, args: Args<'_>) -> Done {
    rank(env, args, "zrevrank", true)
}

fn rank(env: &mut Env<'_>, args: Args<'_>, name: &str, reverse: bool) -> Done {
    let with_score = match args.len() {
        3 => false,
        4 if args.at(3).eq_ignore_ascii_case(b"withscore") => true,
        4 => return Err(Error::SYNTAX),
        _ => return Err(Error::wrong_arity(name)),
    };
    let key = env.data.key(args.at(1));
    let found = see(env.data, &key, |zset| {
        let zset = zset?;
        let (rank, score) = zset.rank(args.at(2))?;
        let rank = match reverse {
            false => rank,
            true => zset.len() - 1 - rank,
        };
        Some((rank, score))
    })?;
    let mut reply = env.reply();
    match found {
        None if with_score => reply.null_array(),
        None => reply.null(),
        Some((rank, score)) => {
            if with_score {
                reply.array(2);
            }
            reply.int(rank as i64);
            if with_score {
                reply.double(score);
            }
        }
    }
    DONE
}

pub fn zcount(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let bounds = Bounds::scores(args.at(2), args.at(3))?;
    count(env, args, &bounds)
}

pub fn zlexcount(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let bounds = Bounds::members(args.at(2), args.at(3))?;
    count(env, args, &bounds)
}

fn count(env: &mut Env<'_>, args: Args<'_>, bounds: &Bounds<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let count = see(env.data, &key, |zset| {
        zset.map_or(0, |zset| bounds.within(zset).len())
    })?;
    env.reply().int(count as i64);
    DONE
}
