//! What happens at the ends of lists: pushes, pops, LMOVE, LMPOP, and those of them that wait for an element.

use super::place::{side, with_list};
use crate::blocking::{seconds, wait_for};
use crate::env::{Done, Env, Flow, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::bulk;
use crate::words::Words;
use base::events::Classes;
use keyspace::{Key, Kind, Side};
use resp::args::Args;
use resp::encode::Reply;
use resp::number::parse_i64;

pub fn lpush(env: &mut Env<'_>, args: Args<'_>) -> Done {
    push(env, args, Side::Left, true)
}

pub fn rpush(env: &mut Env<'_>, args: Args<'_>) -> Done {
    push(env, args, Side::Right, true)
}

pub fn lpushx(env: &mut Env<'_>, args: Args<'_>) -> Done {
    push(env, args, Side::Left, false)
}

pub fn rpushx(env: &mut Env<'_>, args: Args<'_>) -> Done {
    push(env, args, Side::Right, false)
}

/// `makes`: a list that is not there is made.
fn push(env: &mut Env<'_>, args: Args<'_>, side: Side, makes: bool) -> Done {
    let key = env.data.key(args.at(1));
    let is_there = with_list(env.data, &key, |list| list.is_some())?;
    let mut len = 0;
    if is_there || makes {
        let texts: Vec<&[u8]> = args.skip(2).iter().collect();
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        len = data.list_push(&key, side, &texts, breathe);
        env.data.event(Classes::LIST, pushed(side), &key);
    }
    env.reply().int(len as i64);
    DONE
}

pub fn lpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop(env, args, Side::Left)
}

pub fn rpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop(env, args, Side::Right)
}

fn pop(env: &mut Env<'_>, args: Args<'_>, side: Side) -> Done {
    let count = match args.len() {
        2 => None,
        3 => {
            let count = parse_i64(args.at(2)).and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(Error::NOT_POSITIVE)?)
        }
        _ => {
            let name = String::from_utf8_lossy(args.at(0)).to_ascii_lowercase();
            return Err(Error::wrong_arity(&name));
        }
    };
    let key = env.data.key(args.at(1));
    let taken = match count {
        Some(count) => show(env, &key, (side, count), None)?,
        None => {
            let (data, mut reply) = env.parts();
            let end = |list: Option<keyspace::ListRef<'_>>| {
                let element = list.and_then(|list| list.end(side))?;
                bulk(&mut reply, element);
                Some(1)
            };
            with_list(data, &key, end)?
        }
    };
    match (taken, count) {
        (None, None) => env.reply().null(),
        (None, Some(_)) => env.reply().null_array(),
        (Some(0), _) => {}
        (Some(taken), _) => take(env, &key, side, taken),
    }
    DONE
}

/// So many elements leave a list.
fn take(env: &mut Env<'_>, key: &Key<'_>, side: Side, count: u64) {
    env.data.list_pop(key, side, count);
    env.data.event(Classes::LIST, popped(side), key);
}

/// What events call it.
fn pushed(side: Side) -> &'static str {
    match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    }
}

fn popped(side: Side) -> &'static str {
    match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    }
}

/// Replies with so many elements from an end, below the key if one is given; how many these are. Nothing where there is no
/// list.
fn show(
    env: &mut Env<'_>,
    key: &Key<'_>,
    (side, count): (Side, u64),
    head: Option<&[u8]>,
) -> Result<Option<u64>, Error> {
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    with_list(data, key, |list| {
        let list = list?;
        let count = count.min(list.len());
        let mut reply = Reply::new(out, session.proto);
        if let Some(name) = head {
            reply.array(2);
            reply.bulk(name);
        }
        let count_of_reply = usize::try_from(count).expect("elements are in memory");
        reply.array(count_of_reply);
        for element in list.iter_from_end(side).take(count_of_reply) {
            bulk(&mut reply, element);
            pace.step(&mut **server, element.text_len());
        }
        Some(count)
    })
}

/// The first list of these that has any element gives up so many from an end. False: there is none.
fn pop_first(env: &mut Env<'_>, keys: &[&[u8]], (side, count): (Side, u64)) -> Result<bool, Error> {
    let mut pace = Pace::default();
    for name in keys {
        pace.step(env.server, name.len());
        let key = env.data.key(name);
        let taken = show(env, &key, (side, count), Some(name))?;
        if env.data.footprint().hold {
            return Ok(false);
        }
        if let Some(taken) = taken {
            take(env, &key, side, taken);
            return Ok(true);
        }
    }
    Ok(false)
}

/// What LMPOP names: keys, an end, and how many elements.
type Mpop<'a> = (Vec<&'a [u8]>, (Side, u64));

fn read_mpop(args: Args<'_>, at: usize) -> Result<Mpop<'_>, Error> {
    let above_zero = |text: &[u8]| {
        let number = parse_i64(text).and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number > 0)
    };
    let numkeys = above_zero(args.at(at)).ok_or(Error::NUMKEYS_NOT_POSITIVE)?;
    let mut words = Words::new(args, numkeys.saturating_add(at + 1));
    let side = side(words.need()?)?;
    let mut count = None;
    while !words.is_empty() {
        if count.is_some() || words.len() < 2 || !words.word("count") {
            return Err(Error::SYNTAX);
        }
        count = Some(above_zero(words.need()?).ok_or(Error::COUNT_NOT_POSITIVE)?);
    }
    let keys = args.skip(at + 1).iter().take(numkeys).collect();
    Ok((keys, (side, count.unwrap_or(1) as u64)))
}

pub fn lmpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (keys, what) = read_mpop(args, 1)?;
    if !pop_first(env, &keys, what)? {
        env.reply().null_array();
    }
    DONE
}

pub fn blmpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (keys, what) = read_mpop(args, 2)?;
    let timeout = seconds(env, args.at(1))?;
    match pop_first(env, &keys, what)? {
        true => DONE,
        false => wait_for(env, &keys, Kind::List, timeout),
    }
}

pub fn blpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop_or_wait(env, args, Side::Left)
}

pub fn brpop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    pop_or_wait(env, args, Side::Right)
}

fn pop_or_wait(env: &mut Env<'_>, args: Args<'_>, side: Side) -> Done {
    let last = args.len() - 1;
    let timeout = seconds(env, args.at(last))?;
    let keys: Vec<&[u8]> = args.iter().take(last).skip(1).collect();
    let mut pace = Pace::default();
    for name in &keys {
        pace.step(env.server, name.len());
        let key = env.data.key(name);
        let (data, mut reply) = env.parts();
        let is_there = with_list(data, &key, |list| {
            let element = list.and_then(|list| list.end(side))?;
            reply.array(2);
            reply.bulk(name);
            bulk(&mut reply, element);
            Some(())
        })?;
        if env.data.footprint().hold {
            return Ok(Flow::Hold);
        }
        if is_there.is_some() {
            take(env, &key, side, 1);
            return DONE;
        }
    }
    wait_for(env, &keys, Kind::List, timeout)
}

pub fn lmove(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let sides = (side(args.at(3))?, side(args.at(4))?);
    turn_or_nothing(env, args, sides)
}

pub fn rpoplpush(env: &mut Env<'_>, args: Args<'_>) -> Done {
    turn_or_nothing(env, args, (Side::Right, Side::Left))
}

fn turn_or_nothing(env: &mut Env<'_>, args: Args<'_>, sides: (Side, Side)) -> Done {
    if !turn(env, args, sides)? {
        env.reply().null();
    }
    DONE
}

pub fn blmove(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let sides = (side(args.at(3))?, side(args.at(4))?);
    turn_or_wait(env, args, sides, args.at(5))
}

pub fn brpoplpush(env: &mut Env<'_>, args: Args<'_>) -> Done {
    turn_or_wait(env, args, (Side::Right, Side::Left), args.at(3))
}

fn turn_or_wait(env: &mut Env<'_>, args: Args<'_>, sides: (Side, Side), time: &[u8]) -> Done {
    let timeout = seconds(env, time)?;
    match turn(env, args, sides)? {
        true => DONE,
        false if env.session.deny_blocking => {
            env.reply().null();
            DONE
        }
        false => wait_for(env, &[args.at(1)], Kind::List, timeout),
    }
}

/// The element at one end of a list goes to an end of another. False: there is none.
fn turn(env: &mut Env<'_>, args: Args<'_>, (take, put): (Side, Side)) -> Result<bool, Error> {
    let (from, to) = (env.data.key(args.at(1)), env.data.key(args.at(2)));
    let (data, mut reply) = env.parts();
    let is_there = with_list(data, &from, |list| {
        let element = list.and_then(|list| list.end(take));
        if let Some(element) = element {
            bulk(&mut reply, element);
        }
        element.is_some()
    })?;
    // Without a source the destination's type does not matter.
    if is_there {
        with_list(env.data, &to, |_| ())?;
        if !env.data.footprint().hold {
            env.data.list_move(&from, &to, (take, put));
            env.data.event(Classes::LIST, pushed(put), &to);
            env.data.event(Classes::LIST, popped(take), &from);
        }
    }
    Ok(is_there)
}
