//! Several sorted sets together: ZUNION, ZINTER, ZDIFF, what stores them, ZINTERCARD.
//!
//! Which types may be combined is the state machine's to know (`state::Source`).

use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::members::{head, show, waits};
use crate::pace::Pace;
use crate::words::Words;
use base::double;
use base::events::Classes;
use keyspace::{Element, Scored};
use resp::args::Args;
use resp::encode::Reply;
use state::{combine, intersection_size, Aggregate, Combination, Operation, Source};

/// What becomes of the outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Members,
    Stored,
    Count,
}

/// The arguments behind the count of keys.
struct Asked<'a> {
    keys: Vec<&'a [u8]>,
    aggregate: Aggregate,
    /// None: 1 each.
    weights: Vec<f64>,
    with_scores: bool,
    limit: usize,
}

impl<'a> Asked<'a> {
    /// Reads the arguments from the count of keys on, and looks at the types of the keys where Redis does.
    fn parse(
        env: &mut Env<'_>,
        args: Args<'a>,
        first: usize,
        operation: Operation,
        want: Want,
        name: &str,
    ) -> Result<Asked<'a>, Error> {
        let count = integer(args.at(first))?;
        if count < 1 {
            return Err(Error::no_input_key(name));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > args.len() - first - 1 {
            return Err(Error::SYNTAX);
        }
        let keys: Vec<&[u8]> = args.skip(first + 1).iter().take(count).collect();
        for key in &keys {
            let key = env.data.key(key);
            env.data
                .with_counted(&key, |entry| Source::of(entry).map(|_| ()))
                .ok_or(Error::WRONG_TYPE)?;
        }
        let mut asked = Asked {
            keys,
            aggregate: Aggregate::Sum,
            weights: Vec::new(),
            with_scores: false,
            limit: 0,
        };
        let weighs = operation != Operation::Diff && want != Want::Count;
        asked.options(Words::new(args, first + 1 + count), weighs, want)?;
        Ok(asked)
    }

    fn options(&mut self, mut words: Words<'a>, weighs: bool, want: Want) -> Result<(), Error> {
        let count = self.keys.len();
        while !words.is_empty() {
            if weighs && words.len() > count && words.word("weights") {
                self.weights.clear();
                for _ in 0..count {
                    let weight = double::parse(words.need()?);
                    self.weights.push(weight.ok_or(Error::WEIGHT_NOT_A_FLOAT)?);
                }
            } else if weighs && words.len() >= 2 && words.word("aggregate") {
                self.aggregate = if words.word("sum") {
                    Aggregate::Sum
                } else if words.word("min") {
                    Aggregate::Min
                } else if words.word("max") {
                    Aggregate::Max
                } else {
                    return Err(Error::SYNTAX);
                };
            } else if want == Want::Members && words.word("withscores") {
                self.with_scores = true;
            } else if want == Want::Count && words.len() >= 2 && words.word("limit") {
                let limit = integer(words.need()?).ok();
                let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                self.limit = limit.ok_or(Error::NEGATIVE_LIMIT)?;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(())
    }
}

pub fn zunion(env: &mut Env<'_>, args: Args<'_>) -> Done {
    members(env, args, Operation::Union, "zunion")
}

pub fn zinter(env: &mut Env<'_>, args: Args<'_>) -> Done {
    members(env, args, Operation::Inter, "zinter")
}

pub fn zdiff(env: &mut Env<'_>, args: Args<'_>) -> Done {
    members(env, args, Operation::Diff, "zdiff")
}

fn members(env: &mut Env<'_>, args: Args<'_>, operation: Operation, name: &str) -> Done {
    let asked = Asked::parse(env, args, 1, operation, Want::Members, name)?;
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let sources = asked
        .keys
        .iter()
        .map(|key| data.zset_source(&data.key(key)));
    let sources: Vec<Source<'_>> = sources.flatten().collect();
    let how = Combination {
        operation,
        aggregate: asked.aggregate,
        weights: &asked.weights,
    };
    let members = combine(&sources, &how, &mut |bytes| {
        pace.step(&mut **server, bytes);
    });
    let mut reply = Reply::new(out, session.proto);
    head(&mut reply, members.len(), asked.with_scores);
    for (member, score) in &members {
        let found = Scored {
            member: Element::Bytes(member),
            score: *score,
        };
        show(&mut reply, found, asked.with_scores);
        pace.step(&mut **server, member.len());
    }
    DONE
}

pub fn zunionstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    store(env, args, Operation::Union, "zunionstore")
}

pub fn zinterstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    store(env, args, Operation::Inter, "zinterstore")
}

pub fn zdiffstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    store(env, args, Operation::Diff, "zdiffstore")
}

fn store(env: &mut Env<'_>, args: Args<'_>, operation: Operation, name: &str) -> Done {
    let asked = Asked::parse(env, args, 2, operation, Want::Stored, name)?;
    if waits(env) {
        return DONE;
    }
    let dst = env.data.key(args.at(1));
    let how = Combination {
        operation,
        aggregate: asked.aggregate,
        weights: &asked.weights,
    };
    let mut pace = Pace::default();
    let server = &mut *env.server;
    let count = env.data.zset_store(&dst, &asked.keys, &how, &mut |bytes| {
        pace.step(server, bytes);
    });
    if count > 0 {
        let name = match operation {
            Operation::Union => "zunionstore",
            Operation::Inter => "zinterstore",
            Operation::Diff => "zdiffstore",
        };
        env.data.event(Classes::ZSET, name, &dst);
    }
    env.reply().int(count as i64);
    DONE
}

pub fn zintercard(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (operation, want) = (Operation::Inter, Want::Count);
    let asked = Asked::parse(env, args, 1, operation, want, "zintercard")?;
    let mut pace = Pace::default();
    let (data, server) = (&*env.data, &mut *env.server);
    let sources = asked
        .keys
        .iter()
        .map(|key| data.zset_source(&data.key(key)));
    let sources: Vec<Source<'_>> = sources.flatten().collect();
    let count = intersection_size(&sources, asked.limit, &mut |bytes| {
        pace.step(server, bytes);
    });
    env.reply().int(count as i64);
    DONE
}
