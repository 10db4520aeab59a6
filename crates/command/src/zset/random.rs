//! ZRANDMEMBER.

use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::members::{head, see, show};
use crate::pace::Pace;
use crate::values::bulk;
use keyspace::{Scored, ZsetRef};
use rand::seq::SliceRandom;
use rand::{rngs::StdRng, SeedableRng};
use resp::args::Args;
use resp::encode::Reply;
use std::collections::HashSet;

pub fn zrandmember(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    if args.len() == 2 {
        let mut rng = StdRng::seed_from_u64(env.data.draw());
        let (data, mut reply) = env.parts();
        see(data, &key, |zset| match zset {
            None => reply.null(),
            Some(zset) => bulk(&mut reply, zset.random(&mut rng).member),
        })?;
        return DONE;
    }
    let count = integer(args.at(2))?;
    if count == i64::MIN {
        return Err(Error::out_of_range(-i64::MAX, i64::MAX));
    }
    let with_scores = match args.len() {
        3 => false,
        4 if args.at(3).eq_ignore_ascii_case(b"withscores") => true,
        _ => return Err(Error::SYNTAX),
    };
    if with_scores && count.unsigned_abs() > (i64::MAX / 2) as u64 {
        return Err(Error::OUT_OF_RANGE);
    }
    let mut rng = StdRng::seed_from_u64(env.data.draw());
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
        let Some(zset) = zset else {
            return reply.array(0);
        };
        let wanted = usize::try_from(count.unsigned_abs()).expect("64 bits");
        let mut put = |reply: &mut Reply<'_>, found: Scored<'_>| {
            show(reply, found, with_scores);
            pace.step(&mut **server, found.member.text_len());
        };
        if count < 0 {
            head(&mut reply, wanted, with_scores);
            for _ in 0..wanted {
                put(&mut reply, zset.random(&mut rng));
            }
            return;
        }
        let drawn = distinct(zset, wanted, &mut rng);
        head(&mut reply, drawn.len(), with_scores);
        for found in drawn {
            put(&mut reply, found);
        }
    })?;
    DONE
}

/// Up to `count` members, none twice.
fn distinct<'a>(zset: ZsetRef<'a>, count: usize, rng: &mut StdRng) -> Vec<Scored<'a>> {
    let len = zset.len();
    if count >= len {
        // Redis shows all of them from the last one on.
        return zset.iter_back(0..len).collect();
    }
    // Where most are wanted all are taken and some left; else drawing again what has been drawn is rare.
    if count.saturating_mul(3) > len || zset.encoding() == "listpack" {
        let mut all: Vec<Scored<'a>> = zset.iter(0..len).collect();
        let (drawn, _) = all.partial_shuffle(rng, count);
        return drawn.to_vec();
    }
    let mut seen = HashSet::new();
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let found = zset.random(rng);
        if seen.insert(found.member.to_vec()) {
            drawn.push(found);
        }
    }
    drawn
}
