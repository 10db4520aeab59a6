//! A value as bytes that any Redis reads: DUMP, RESTORE, RESTORE-ASKING.
//!
//! Owns: the options of RESTORE and the order of its refusals. Never: knows the form of a payload (that
//! is `rdb`). What is restored is logged as the SET that it comes to, with an absolute expiry.

use super::args::integer;
use super::dispatch::types_are_read;
use super::env::{Done, Env, DONE};
use super::error::Error;
use super::pace::Pace;
use super::rows::rows;
use super::words::Words;
use base::events::Classes;
use keyspace::Ttl;
use rdb::PayloadError;
use resp::args::Args;
use state::BadValue;

const VARIES: &[&str] = &["nondeterministic_output"];

rows! { pub static ROWS:
    Generic [KEYSPACE] {
        "dump" 2 [READONLY] "2.6.0" key(1 RO ACCESS) => dump: "A value in the form that `RESTORE` takes." .tips(VARIES);
        "restore" -4 [WRITE DENYOOM] @DANGEROUS "2.6.0" key(1 OW UPDATE) => restore: "Makes a key of what `DUMP` returned." .amplifies(longest);
    }
    Server [KEYSPACE] {
        "restore-asking" -4 [WRITE DENYOOM ASKING] @DANGEROUS "3.0.0" key(1 OW UPDATE) => restore: "What `RESTORE` does, in a slot that is being imported." .amplifies(longest);
    }
}

fn dump(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let compress = env.server.config().rdbcompression;
    let server = &mut *env.server;
    let payload = env.data.with_counted(&key, |entry| {
        let breathe = &mut || server.breathe(); // T9
        let value = entry?.value();
        Some(state::payload_of(
            value,
            state::Reader::Newest,
            compress,
            breathe,
        ))
    });
    match payload {
        Some(payload) => env.reply().bulk(&payload),
        None => env.reply().null(),
    }
    DONE
}

/// D5: what is compressed is longer in the log.
fn longest(args: Args<'_>) -> usize {
    args.get(3).map_or(0, rdb::longest_string)
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    /// How long ago and how often a key was used is checked and not kept: use is not tracked here.
    fn parse(mut words: Words<'_>) -> Result<Options, Error> {
        let mut o = Options::default();
        let (mut idle, mut often) = (false, false);
        while !words.is_empty() {
            let with_value = words.len() > 1;
            if words.word("replace") {
                o.replace = true;
            } else if words.word("absttl") {
                o.absolute = true;
            } else if with_value && !often && words.word("idletime") {
                idle = true;
                if words.int()? < 0 {
                    return Err(Error::NEGATIVE_IDLETIME);
                }
            } else if with_value && !idle && words.word("freq") {
                often = true;
                if !(0..=255).contains(&words.int()?) {
                    return Err(Error::FREQ_OUT_OF_RANGE);
                }
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(o)
    }

    /// When the key will expire. A time beyond the last one is the last one: Redis wraps around, and
    /// its OK is of a key that has expired before it was there.
    fn ttl(self, ms: i64, now_ms: i64) -> Ttl {
        match (ms, self.absolute) {
            (0, _) => Ttl::Clear,
            (ms, true) => Ttl::At(ms),
            (ms, false) => Ttl::At(now_ms.saturating_add(ms)),
        }
    }
}

fn restore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(Words::new(args, 4))?;
    let key = env.data.key(args.at(1));
    let found = env.data.exists(&key);
    if found && !options.replace {
        return Err(Error::BUSY_KEY);
    }
    let ms = integer(args.at(2))?;
    if ms < 0 {
        return Err(Error::NEGATIVE_TTL);
    }
    let limit = env.server.config().proto_max_bulk_len;
    let breathe = &mut || env.server.breathe(); // T9
    let value = rdb::load(args.at(3), limit, breathe).map_err(|why| match why {
        PayloadError::Footer(_) => Error::DUMP_FOOTER,
        PayloadError::Value(_) => Error::DUMP_VALUE,
    })?;
    match options.ttl(ms, env.data.now_ms()) {
        // It has expired: the old value is gone all the same.
        Ttl::At(at) if at <= env.data.now_ms() => {
            if found {
                env.data.delete(&key);
                env.data.event(Classes::GENERIC, "del", &key);
            }
        }
        _ if matches!(value, rdb::Value::Container(_)) && !types_are_read(env) => {
            return Err(Error::TYPES_NOT_UPGRADED);
        }
        ttl => {
            let mut pace = Pace::default();
            let Env { data, server, .. } = env;
            let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
            let restored = data.restore(&key, &value, ttl, breathe);
            restored.map_err(|_: BadValue| Error::DUMP_VALUE)?;
            env.data.event(Classes::GENERIC, "restore", &key);
        }
    }
    env.reply().ok();
    DONE
}
