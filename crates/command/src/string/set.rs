//! Writing whole values: SET and its relatives, GETSET, GETDEL, GETEX, MSET, MSETNX.
//!
//! Relative times become absolute here, before anything is written: an effect never contains one.

use super::read::reply_value;
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::key_spec::{BadKeys, KeyFlags};
use crate::pace::Pace;
use crate::values::as_string;
use crate::words::Words;
use base::events::Classes;
use keyspace::{Key, Ttl};
use resp::args::Args;
use resp::encode::Reply;
use state::StateMachine;

/// An expiry as the client gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expire<'a> {
    text: &'a [u8],
    seconds: bool,
    absolute: bool,
}

impl Expire<'_> {
    /// The Unix time in milliseconds that is meant.
    fn at_ms(self, now_ms: i64, command: &str) -> Result<i64, Error> {
        let given = integer(self.text)?;
        let unit = if self.seconds { 1000 } else { 1 };
        let base = if self.absolute { 0 } else { now_ms };
        Some(given)
            .filter(|n| *n > 0)
            .and_then(|n| n.checked_mul(unit))
            .and_then(|n| n.checked_add(base))
            .ok_or_else(|| Error::invalid_expire(command))
    }
}

/// The options of SET and GETEX.
#[derive(Clone, Copy, Debug, Default)]
struct Options<'a> {
    nx: bool,
    xx: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    expire: Option<Expire<'a>>,
}

impl<'a> Options<'a> {
    /// `set`: SET's options, else GETEX's. Options that contradict each other are a syntax error;
    /// the same time option given twice is not, the last one counts.
    fn parse(mut words: Words<'a>, set: bool) -> Result<Options<'a>, Error> {
        let mut o = Options::default();
        while !words.is_empty() {
            let no_ttl = o.expire.is_none() && !o.persist;
            if set && !o.xx && words.word("nx") {
                o.nx = true;
            } else if set && !o.nx && words.word("xx") {
                o.xx = true;
            } else if set && words.word("get") {
                o.get = true;
            } else if set && no_ttl && words.word("keepttl") {
                o.keep_ttl = true;
            } else if !set && o.expire.is_none() && words.word("persist") {
                o.persist = true;
            } else {
                o.expire = Some(o.time_option(&mut words)?);
            }
        }
        Ok(o)
    }

    fn time_option(&self, words: &mut Words<'a>) -> Result<Expire<'a>, Error> {
        let (seconds, absolute) = if words.word("ex") {
            (true, false)
        } else if words.word("px") {
            (false, false)
        } else if words.word("exat") {
            (true, true)
        } else if words.word("pxat") {
            (false, true)
        } else {
            return Err(Error::SYNTAX);
        };
        let same = |e: Expire<'_>| (e.seconds, e.absolute) == (seconds, absolute);
        if self.keep_ttl || self.persist || self.expire.is_some_and(|e| !same(e)) {
            return Err(Error::SYNTAX);
        }
        let text = words.need()?;
        Ok(Expire {
            text,
            seconds,
            absolute,
        })
    }
}

/// SET's key: with GET it is read as well.
pub fn keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    let reads = |word: &[u8]| word.eq_ignore_ascii_case(b"get");
    let flags = if args.iter().skip(3).any(reads) {
        KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.and(KeyFlags::UPDATE)
    };
    visit(1, flags);
    Ok(())
}

pub fn set(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if args.len() == 3 {
        let key = env.data.key(args.at(1));
        env.data.set(&key, args.at(2), Ttl::Clear);
        env.data.event(Classes::STRING, "set", &key);
        env.reply().ok();
        return DONE;
    }
    let options = Options::parse(Words::new(args, 3), true)?;
    let ttl = match options.expire {
        Some(expire) => Ttl::At(expire.at_ms(env.data.now_ms(), "set")?),
        None if options.keep_ttl => Ttl::Keep,
        None => Ttl::Clear,
    };
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    let found = if options.get {
        reply_old(data, &key, &mut reply)?
    } else {
        data.exists(&key)
    };
    let refused = (options.nx && found) || (options.xx && !found);
    if !refused {
        data.set(&key, args.at(2), ttl);
        data.event(Classes::STRING, "set", &key);
        if matches!(ttl, Ttl::At(_)) {
            data.event(Classes::GENERIC, "expire", &key);
        }
    }
    match (options.get, refused) {
        (true, _) => {} // the old value is the reply
        (false, true) => reply.null(),
        (false, false) => reply.ok(),
    }
    DONE
}

/// Replies with what the key holds now; whether there is something.
fn reply_old(data: &mut StateMachine, key: &Key<'_>, reply: &mut Reply<'_>) -> Result<bool, Error> {
    data.with_counted(key, |entry| {
        match &entry {
            None => reply.null(),
            Some(entry) => reply_value(reply, as_string(entry)?),
        }
        Ok(entry.is_some())
    })
}

pub fn setnx(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let free = !env.data.exists(&key);
    if free {
        env.data.set(&key, args.at(2), Ttl::Clear);
        env.data.event(Classes::STRING, "set", &key);
    }
    env.reply().int(i64::from(free));
    DONE
}

pub fn setex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set_expiring(env, args, true, "setex")
}

pub fn psetex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set_expiring(env, args, false, "psetex")
}

fn set_expiring(env: &mut Env<'_>, args: Args<'_>, seconds: bool, command: &str) -> Done {
    let expire = Expire {
        text: args.at(2),
        seconds,
        absolute: false,
    };
    let at = expire.at_ms(env.data.now_ms(), command)?;
    let key = env.data.key(args.at(1));
    env.data.set(&key, args.at(3), Ttl::At(at));
    env.data.event(Classes::STRING, "set", &key);
    env.data.event(Classes::GENERIC, "expire", &key);
    env.reply().ok();
    DONE
}

pub fn getset(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    reply_old(data, &key, &mut reply)?;
    data.set(&key, args.at(2), Ttl::Clear);
    data.event(Classes::STRING, "set", &key);
    DONE
}

pub fn getdel(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    if reply_old(data, &key, &mut reply)? {
        data.delete(&key);
        data.event(Classes::GENERIC, "del", &key);
    }
    DONE
}

pub fn getex(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(Words::new(args, 2), false)?;
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    if !reply_old(data, &key, &mut reply)? {
        return DONE;
    }
    if let Some(expire) = options.expire {
        let at = expire.at_ms(data.now_ms(), "getex")?;
        if at <= data.now_ms() {
            data.delete(&key);
            data.event(Classes::GENERIC, "del", &key);
        } else {
            data.expire_at(&key, at);
            data.event(Classes::GENERIC, "expire", &key);
        }
    } else if options.persist && data.expiry(&key).flatten().is_some() {
        data.persist(&key);
        data.event(Classes::GENERIC, "persist", &key);
    }
    DONE
}

/// Key, value, key, value: anything else is as wrong as a missing argument.
fn pairs<'a>(args: Args<'a>, command: &str) -> Result<Vec<&'a [u8]>, Error> {
    if args.len() % 2 == 0 {
        return Err(Error::wrong_arity(command));
    }
    Ok(args.skip(1).iter().collect())
}

pub fn mset(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let pairs = pairs(args, "mset")?;
    let mut pace = Pace::default();
    let Env { data, server, .. } = env;
    let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
    data.set_many(&pairs, breathe);
    env.reply().ok();
    DONE
}

pub fn msetnx(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let pairs = pairs(args, "msetnx")?;
    let mut free = true;
    for pair in pairs.chunks_exact(2) {
        let key = env.data.key(pair[0]);
        if env.data.exists(&key) {
            free = false;
            break;
        }
    }
    if free {
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        data.set_many(&pairs, breathe);
    }
    env.reply().int(i64::from(free));
    DONE
}
