//! GET, MGET, STRLEN, GETRANGE.

use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::pace::Pace;
use crate::values::as_string;
use keyspace::{Blob, Entry, StringRef};
use resp::args::Args;
use resp::encode::Reply;
use std::ops::Range;

/// A string as a bulk string.
#[inline]
pub(super) fn reply_value(reply: &mut Reply<'_>, value: StringRef<'_>) {
    match value {
        StringRef::Bytes(bytes) => reply.bulk(bytes),
        StringRef::Int(n) => reply.bulk_int(n),
        StringRef::Chunks(blob) => reply_range(reply, blob, 0..blob.len(), &mut |_| {}),
    }
}

/// A range of a long string. `pace` is told the bytes of each piece (T9).
#[cold]
fn reply_range(
    reply: &mut Reply<'_>,
    blob: &Blob,
    range: Range<usize>,
    pace: &mut dyn FnMut(usize),
) {
    let pieces = blob.range(range.start, range.end);
    let pieces = pieces.inspect(|piece| pace(piece.len()));
    reply.bulk_of(range.len(), pieces);
}

pub fn get(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    let is_long = data.with_counted(&key, |entry| {
        match entry {
            None => reply.null(),
            Some(entry) => match as_string(&entry)? {
                StringRef::Chunks(_) => return Ok(true),
                value => reply_value(&mut reply, value),
            },
        }
        Ok(false)
    })?;
    match is_long {
        false => DONE,
        true => long(env, args.at(1), (0, -1)),
    }
}

/// A range of a string that is known to be long.
#[cold]
fn long(env: &mut Env<'_>, key: &[u8], (start, end): (i64, i64)) -> Done {
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let key = data.key(key);
    data.with(&key, |entry| {
        if let Some(StringRef::Chunks(blob)) = entry.and_then(|entry| entry.string()) {
            let mut reply = Reply::new(out, session.proto);
            let range = range(blob.len(), start, end);
            let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
            reply_range(&mut reply, blob, range, breathe);
        }
    });
    DONE
}

pub fn mget(env: &mut Env<'_>, args: Args<'_>) -> Done {
    env.reply().array(args.len() - 1);
    let mut pace = Pace::default();
    for bytes in args.skip(1).iter() {
        let start = env.out.len();
        let (data, mut reply) = env.parts();
        let key = data.key(bytes);
        data.with_counted(&key, |entry| {
            // A value of another type is no error here, but a nil.
            match entry.and_then(|e| as_string(&e).ok()) {
                None => reply.null(),
                Some(value) => reply_value(&mut reply, value),
            }
        });
        pace.step(env.server, env.out.len() - start);
    }
    DONE
}

pub fn strlen(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    data.with_counted(&key, |entry| {
        let len = match entry {
            None => 0,
            Some(entry) => as_string(&entry)?.len(),
        };
        reply.int(i64::try_from(len).expect("a length fits an i64"));
        DONE
    })
}

pub fn getrange(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let start = integer(args.at(2))?;
    let end = integer(args.at(3))?;
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    let is_long = data.with_counted(&key, |entry: Option<Entry<'_>>| {
        let mut digits = itoa::Buffer::new();
        let bytes = match entry.map(|e| as_string(&e)).transpose()? {
            None => b"",
            Some(StringRef::Bytes(bytes)) => bytes,
            Some(StringRef::Int(n)) => digits.format(n).as_bytes(),
            Some(StringRef::Chunks(_)) => return Ok(true),
        };
        reply.bulk(&bytes[range(bytes.len(), start, end)]);
        Ok(false)
    })?;
    match is_long {
        false => DONE,
        true => long(env, args.at(1), (start, end)),
    }
}

/// The bytes from `start` to `end`, both included, of a string of so many; negative ones count from the end.
fn range(bytes: usize, start: i64, end: i64) -> Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let len = i64::try_from(bytes).expect("a length fits an i64");
    let from_end = |i: i64| {
        if i < 0 {
            len.saturating_add(i).max(0)
        } else {
            i
        }
    };
    let start = from_end(start);
    let end = from_end(end).min(len - 1);
    if start > end {
        return 0..0;
    }
    let index = |i: i64| usize::try_from(i).expect("it lies within the string");
    index(start)..index(end) + 1
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_count_from_both_ends() {
        let of = |start, end| &b"hello"[range(5, start, end)];
        assert_eq!(of(0, -1), b"hello");
        assert_eq!(of(1, 3), b"ell");
        assert_eq!(of(-3, -2), b"ll");
        assert_eq!(of(-2, -3), b"");
        assert_eq!(of(-100, 100), b"hello");
        assert_eq!(of(-100, -200), b"");
        assert_eq!(of(5, 9), b"");
        assert_eq!(of(3, 1), b"");
        assert_eq!(
            of(0, -100),
            b"h",
            "an end before the first byte is the first byte"
        );
        assert_eq!(of(i64::MIN, i64::MAX), b"hello");
        assert_eq!(of(i64::MIN, i64::MIN), b"h");
        assert_eq!(range(0, 0, -1), 0..0);
    }
}
