//! GET, MGET, STRLEN, GETRANGE.

use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::pace::Pace;
use crate::values::as_string;
use keyspace::{Entry, StringRef};
use resp::args::Args;
use resp::encode::Reply;

/// A string as a bulk string.
#[inline]
pub(super) fn reply_value(reply: &mut Reply<'_>, value: StringRef<'_>) {
    match value {
        StringRef::Bytes(bytes) => reply.bulk(bytes),
        StringRef::Int(n) => reply.bulk_int(n),
    }
}

pub fn get(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (data, mut reply) = env.parts();
    let key = data.key(args.at(1));
    data.with_counted(&key, |entry| {
        match entry {
            None => reply.null(),
            Some(entry) => reply_value(&mut reply, as_string(&entry)?),
        }
        DONE
    })
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
    data.with_counted(&key, |entry: Option<Entry<'_>>| {
        let mut digits = itoa::Buffer::new();
        let bytes = match entry.map(|e| as_string(&e)).transpose()? {
            None => b"",
            Some(StringRef::Bytes(bytes)) => bytes,
            Some(StringRef::Int(n)) => digits.format(n).as_bytes(),
        };
        reply.bulk(range(bytes, start, end));
        DONE
    })
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = i64::try_from(bytes.len()).expect("a length fits an i64");
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
        return b"";
    }
    let index = |i: i64| usize::try_from(i).expect("it lies within the string");
    &bytes[index(start)..=index(end)]
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_count_from_both_ends() {
        let of = |start, end| range(b"hello", start, end);
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
        assert_eq!(range(b"", 0, -1), b"");
    }
}
