//! Removing members: ZREM, ZREMRANGEBYRANK and its relatives.

use super::bounds::Bounds;
use crate::env::{Done, Env, DONE};
use crate::members::open;
use crate::pace::Pace;
use base::events::Classes;
use resp::args::Args;
use state::RangeBy;
use std::collections::HashSet;

pub fn zrem(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let found = open(env.data, &key, |zset| {
        let Some(zset) = zset else {
            return Vec::new();
        };
        let mut found: Vec<&[u8]> = args.skip(2).iter().collect();
        if found.len() > 1 {
            let mut seen = HashSet::new();
            found.retain(|member| seen.insert(*member));
        }
        found.retain(|member| zset.score(member).is_some());
        found
    })?;
    if !found.is_empty() {
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        data.zset_remove(&key, &found, breathe);
        env.data.event(Classes::ZSET, "zrem", &key);
    }
    env.reply().int(found.len() as i64);
    DONE
}

pub fn zremrangebyrank(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let bounds = Bounds::ranks(args.at(2), args.at(3))?;
    remove(env, args, RangeBy::Rank, &bounds)
}

pub fn zremrangebyscore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let bounds = Bounds::scores(args.at(2), args.at(3))?;
    remove(env, args, RangeBy::Score, &bounds)
}

pub fn zremrangebylex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let bounds = Bounds::members(args.at(2), args.at(3))?;
    remove(env, args, RangeBy::Lex, &bounds)
}

fn remove(env: &mut Env<'_>, args: Args<'_>, by: RangeBy, bounds: &Bounds<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let positions = open(env.data, &key, |zset| {
        zset.map_or(0..0, |zset| bounds.within(zset))
    })?;
    let count = positions.len();
    if count > 0 {
        let mut pace = Pace::default();
        let server = &mut *env.server;
        env.data
            .zset_remove_range(&key, by, positions, &mut |bytes| pace.step(server, bytes));
        let name = match by {
            RangeBy::Rank => "zremrangebyrank",
            RangeBy::Score => "zremrangebyscore",
            RangeBy::Lex => "zremrangebylex",
        };
        env.data.event(Classes::ZSET, name, &key);
    }
    env.reply().int(count as i64);
    DONE
}
