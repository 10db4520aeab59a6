//! Ranges: ZRANGE, its older relatives, ZRANGESTORE.

use super::bounds::Bounds;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::members::{head, open, see, show, waits};
use crate::pace::Pace;
use crate::words::Words;
use base::events::Classes;
use keyspace::ZsetRef;
use resp::args::Args;
use resp::encode::Reply;
use std::ops::Range;

/// What the ends of a range are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What the command's name says, and its options need not.
#[derive(Clone, Copy, Default)]
struct Named {
    by: Option<By>,
    reverse: Option<bool>,
    /// ZRANGESTORE.
    stores: bool,
}

/// `min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
struct Asked<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// A negative one: all.
    limit: i64,
}

impl<'a> Asked<'a> {
    /// `first`: the index of the range's first end.
    fn parse(args: Args<'a>, first: usize, named: Named) -> Result<Asked<'a>, Error> {
        let (mut by, mut reverse, mut with_scores) = (named.by, named.reverse, false);
        let (mut offset, mut limit) = (0, -1);
        let mut words = Words::new(args, first + 2);
        while !words.is_empty() {
            if !named.stores && words.word("withscores") {
                with_scores = true;
            } else if words.len() >= 3 && words.word("limit") {
                (offset, limit) = (words.int()?, words.int()?);
            } else if reverse.is_none() && words.word("rev") {
                reverse = Some(true);
            } else if by.is_none() && words.word("bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && words.word("byscore") {
                by = Some(By::Score);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Error::LIMIT_OF_RANKS);
        }
        if with_scores && by == By::Lex {
            return Err(Error::WITHSCORES_BYLEX);
        }
        let (mut min, mut max) = (args.at(first), args.at(first + 1));
        if reverse && by != By::Rank {
            (min, max) = (max, min);
        }
        Ok(Asked {
            bounds: match by {
                By::Rank => Bounds::ranks(min, max)?,
                By::Score => Bounds::scores(min, max)?,
                By::Lex => Bounds::members(min, max)?,
            },
            reverse,
            with_scores,
            offset,
            limit,
        })
    }

    /// The positions of what was asked for.
    fn positions(&self, zset: ZsetRef<'_>) -> Range<usize> {
        let within = match self.reverse {
            false => self.bounds.within(zset),
            true => self.bounds.within_reverse(zset),
        };
        if let Bounds::Ranks(..) = self.bounds {
            return within;
        }
        let Ok(skip) = usize::try_from(self.offset) else {
            return 0..0;
        };
        let skip = skip.min(within.len());
        let left = within.len() - skip;
        let count = usize::try_from(self.limit).map_or(left, |limit| limit.min(left));
        match self.reverse {
            false => within.start + skip..within.start + skip + count,
            true => within.end - skip - count..within.end - skip,
        }
    }
}

pub fn zrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    reply_range(env, args, Named::default())
}

pub fn zrevrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    older(env, args, By::Rank, true)
}

pub fn zrangebyscore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    older(env, args, By::Score, false)
}

pub fn zrevrangebyscore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    older(env, args, By::Score, true)
}

pub fn zrangebylex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    older(env, args, By::Lex, false)
}

pub fn zrevrangebylex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    older(env, args, By::Lex, true)
}

fn older(env: &mut Env<'_>, args: Args<'_>, by: By, reverse: bool) -> Done {
    let named = Named {
        by: Some(by),
        reverse: Some(reverse),
        stores: false,
    };
    reply_range(env, args, named)
}

fn reply_range(env: &mut Env<'_>, args: Args<'_>, named: Named) -> Done {
    let asked = Asked::parse(args, 2, named)?;
    let key = env.data.key(args.at(1));
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
        let positions = asked.positions(zset);
        head(&mut reply, positions.len(), asked.with_scores);
        let members = match asked.reverse {
            false => zset.iter(positions),
            true => zset.iter_back(positions),
        };
        for found in members {
            show(&mut reply, found, asked.with_scores);
            pace.step(&mut **server, found.member.text_len());
        }
    })?;
    DONE
}

pub fn zrangestore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let named = Named {
        stores: true,
        ..Named::default()
    };
    let asked = Asked::parse(args, 3, named)?;
    let (dst, src) = (env.data.key(args.at(1)), env.data.key(args.at(2)));
    let positions = open(env.data, &src, |zset| {
        zset.map_or(0..0, |zset| asked.positions(zset))
    })?;
    if waits(env) {
        return DONE;
    }
    let mut pace = Pace::default();
    let server = &mut *env.server;
    let count = env
        .data
        .zset_store_range(&dst, &src, positions, &mut |bytes| {
            pace.step(server, bytes);
        });
    if count > 0 {
        env.data.event(Classes::ZSET, "zrangestore", &dst);
    }
    env.reply().int(count as i64);
    DONE
}
