//! Reading lists: LINDEX, LLEN, LPOS, LRANGE.

use super::place::{index_of, range_of};
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::{as_list, bulk};
use crate::words::Words;
use keyspace::{ListRef, Side};
use resp::args::Args;
use resp::encode::Reply;
use resp::number::parse_i64;
use state::StateMachine;

/// Shows the list to `see`, counted as a hit or a miss.
fn look<R>(
    data: &mut StateMachine,
    name: &[u8],
    see: impl FnOnce(Option<ListRef<'_>>) -> R,
) -> Result<R, Error> {
    let key = data.key(name);
    data.with_counted(&key, |entry| {
        entry.map(|entry| as_list(&entry)).transpose().map(see)
    })
}

pub fn llen(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let len = look(env.data, args.at(1), |list| list.map_or(0, ListRef::len))?;
    env.reply().int(len as i64);
    DONE
}

pub fn lindex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    look(data, args.at(1), |list| {
        // What is wrong with the index shows only where there is a list.
        let element = match list {
            Some(list) => {
                let index = index_of(integer(args.at(2))?, list.len());
                index.and_then(|index| list.get(index))
            }
            None => None,
        };
        match element {
            Some(element) => bulk(&mut reply, element),
            None => reply.null(),
        }
        Ok(())
    })??;
    DONE
}

pub fn lrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    look(data, args.at(1), |list| {
        let mut reply = Reply::new(out, session.proto);
        let found = list.and_then(|list| Some((list, range_of(start, stop, list.len())?)));
        let Some((list, (from, last))) = found else {
            return reply.array(0);
        };
        let count = usize::try_from(last - from + 1).expect("elements are in memory");
        reply.array(count);
        for element in list.iter_from(from).take(count) {
            bulk(&mut reply, element);
            pace.step(&mut **server, element.text_len());
        }
    })?;
    DONE
}

/// What LPOS looks for.
struct Search<'a> {
    text: &'a [u8],
    /// Where the walk begins.
    from: Side,
    /// Matches that are passed over.
    skip: u64,
    /// How many matches are wanted; `None`: one, that is not shown as an array.
    count: Option<u64>,
    /// At most so many elements are looked at.
    most: u64,
}

impl<'a> Search<'a> {
    fn parse(args: Args<'a>) -> Result<Search<'a>, Error> {
        let mut search = Search {
            text: args.at(2),
            from: Side::Left,
            skip: 0,
            count: None,
            most: u64::MAX,
        };
        let positive = |text: &[u8], otherwise: Error| {
            let number = parse_i64(text).and_then(|number| u64::try_from(number).ok());
            number.ok_or(otherwise)
        };
        let mut words = Words::new(args, 3);
        while !words.is_empty() {
            if words.len() < 2 {
                return Err(Error::SYNTAX);
            }
            if words.word("rank") {
                let rank = words.int()?;
                search.skip = match rank {
                    i64::MIN => return Err(Error::out_of_range(-i64::MAX, i64::MAX)),
                    0 => return Err(Error::RANK_ZERO),
                    rank => rank.unsigned_abs() - 1,
                };
                search.from = if rank < 0 { Side::Right } else { Side::Left };
            } else if words.word("count") {
                let count = positive(words.need()?, Error::COUNT_NEGATIVE)?;
                search.count = Some(count);
            } else if words.word("maxlen") {
                search.most = match positive(words.need()?, Error::MAXLEN_NEGATIVE)? {
                    0 => u64::MAX,
                    most => most,
                };
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(search)
    }

    /// Shows the index of each match to `visit`. `breathe` is told the bytes of each element that is looked at.
    fn run(&self, list: ListRef<'_>, breathe: &mut dyn FnMut(usize), visit: &mut dyn FnMut(u64)) {
        let (len, mut matches) = (list.len(), 0u64);
        let wanted = match self.count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        for (passed, element) in (0..self.most).zip(list.iter_from_end(self.from)) {
            breathe(element.text_len());
            if !element.is(self.text) {
                continue;
            }
            matches += 1;
            if matches <= self.skip {
                continue;
            }
            visit(match self.from {
                Side::Left => passed,
                Side::Right => len - 1 - passed,
            });
            if matches - self.skip == wanted {
                return;
            }
        }
    }
}

pub fn lpos(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let search = Search::parse(args)?;
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    look(data, args.at(1), |list| {
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        let mut found = Vec::new();
        if let Some(list) = list {
            search.run(list, &mut breathe, &mut |index| found.push(index));
        }
        let mut reply = Reply::new(out, session.proto);
        match (search.count, found.first()) {
            (None, None) => reply.null(),
            (None, Some(index)) => reply.int(*index as i64),
            (Some(_), _) => {
                reply.array(found.len());
                found.iter().for_each(|index| reply.int(*index as i64));
            }
        }
    })?;
    DONE
}
