//! SETBIT, GETBIT.

use super::offset::bit_offset;
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::values::as_string;
use base::events::Classes;
use keyspace::StringRef;
use resp::args::Args;

/// The bit at `offset`; none beyond the string.
fn bit_of(string: StringRef<'_>, offset: usize) -> Option<bool> {
    let byte = string.byte(offset / 8)?;
    Some(byte & (0x80 >> (offset % 8)) != 0)
}

pub fn setbit(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let offset = bit_offset(env, args.at(2))?;
    let on = match integer(args.at(3)) {
        Ok(0) => false,
        Ok(1) => true,
        Ok(_) | Err(_) => return Err(Error::BIT_VALUE),
    };
    let key = env.data.key(args.at(1));
    let old = env.data.with(&key, |entry| match entry {
        None => Ok(None),
        Some(entry) => Ok(bit_of(as_string(&entry)?, offset)),
    })?;
    // The bit is what it was, and the string as long: nothing is written (T3).
    if old != Some(on) {
        env.data.set_bit(&key, offset, on);
        env.data.event(Classes::STRING, "setbit", &key);
    }
    env.reply().int(i64::from(old == Some(true)));
    DONE
}

pub fn getbit(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let offset = bit_offset(env, args.at(2))?;
    let key = env.data.key(args.at(1));
    let bit = env.data.with_counted(&key, |entry| match entry {
        None => Ok(None),
        Some(entry) => Ok(bit_of(as_string(&entry)?, offset)),
    })?;
    env.reply().int(i64::from(bit == Some(true)));
    DONE
}
