//! BITOP.

use crate::env::{Done, Env, Flow, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::as_string;
use base::events::Classes;
use resp::args::Args;
use state::BitOperation;
use std::collections::BTreeMap;

pub fn bitop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let of = BitOperation::named(args.at(1)).ok_or(Error::SYNTAX)?;
    if of == BitOperation::Not && args.len() != 4 {
        return Err(Error::BITOP_NOT);
    }
    let (mut longest, mut pace) = (0, Pace::default());
    for bytes in args.skip(3).iter() {
        let key = env.data.key(bytes);
        let len = env.data.with_counted(&key, |entry| match entry {
            None => Ok(0),
            Some(entry) => as_string(&entry).map(|value| value.len()),
        })?;
        longest = longest.max(len);
        pace.step(env.server, bytes.len());
    }
    if env.data.footprint().hold {
        return Ok(Flow::Hold); // D5: one has expired, and its deletion has no room
    }
    let to = env.data.key(args.at(2));
    if longest > 0 {
        let sources = distinct(of, args.skip(3));
        let server = &mut *env.server;
        env.data
            .bit_operation(of, &to, &sources, &mut || pace.step(server, BREATH));
        env.data.event(Classes::STRING, "set", &to);
    } else if env.data.exists(&to) {
        env.data.delete(&to);
        env.data.event(Classes::GENERIC, "del", &to);
    }
    env.reply()
        .int(i64::try_from(longest).expect("a length fits an i64"));
    DONE
}

/// What a piece of a string that is combined counts for.
const BREATH: usize = 32 << 10;

/// The keys in the order in which they were given, each as often as it makes a difference: a command of a few
/// bytes must not ask each member for more than its strings are worth.
fn distinct<'a>(of: BitOperation, keys: Args<'a>) -> Vec<&'a [u8]> {
    let mut left: BTreeMap<&[u8], usize> = BTreeMap::new();
    for key in keys.iter() {
        *left.entry(key).or_default() += 1;
    }
    for times in left.values_mut() {
        // Twice is as good as never, but for the length of the result.
        let twice = of == BitOperation::Xor && *times % 2 == 0;
        *times = if twice { 2 } else { 1 };
    }
    let mut distinct = Vec::with_capacity(left.len());
    for key in keys.iter() {
        let left = left.get_mut(key).expect("all are in it");
        if *left > 0 {
            *left -= 1;
            distinct.push(key);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_often_as_they_matter() {
        let words: [&[u8]; 6] = [b"a", b"b", b"a", b"b", b"a", b"c"];
        let args = Args::from(&words[..]);
        let abc: [&[u8]; 3] = [b"a", b"b", b"c"];
        assert_eq!(distinct(BitOperation::And, args), abc);
        assert_eq!(distinct(BitOperation::Or, args), abc);
        let abbc: [&[u8]; 4] = [b"a", b"b", b"b", b"c"];
        assert_eq!(distinct(BitOperation::Xor, args), abbc);
    }
}
