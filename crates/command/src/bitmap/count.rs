//! BITCOUNT, BITPOS.
//!
//! Owns: the ranges of both, which are of bytes or of bits, and count from the end where they are negative.

use super::bits;
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::as_string;
use crate::words::Words;
use keyspace::StringRef;
use resp::args::Args;
use std::ops::Range;

/// Bytes between two looks at the clock (T9).
const PIECE: usize = 1 << 20;

/// The bytes that have bits of a range, piece by piece: where each begins, and the bits of the range within it.
fn pieces<'a>(
    string: StringRef<'a>,
    range: Range<usize>,
    digits: &'a mut itoa::Buffer,
) -> impl Iterator<Item = (usize, &'a [u8], Range<usize>)> {
    let mut at = range.start / 8;
    let pieces = string.pieces(at..range.end.div_ceil(8), digits);
    pieces
        .flat_map(|piece| piece.chunks(PIECE))
        .map(move |piece| {
            let begins = 8 * at;
            at += piece.len();
            let within = range.start.max(begins) - begins..range.end.min(8 * at) - begins;
            (begins, piece, within)
        })
}

/// What a range counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Bits,
}

impl Unit {
    fn take(words: &mut Words<'_>) -> Result<Unit, Error> {
        if words.word("bit") {
            Ok(Unit::Bits)
        } else if words.word("byte") {
            Ok(Unit::Bytes)
        } else {
            Err(Error::SYNTAX)
        }
    }
}

/// A range as the client gave it; both ends belong to it.
struct Asked {
    start: i64,
    end: i64,
    unit: Unit,
}

const ALL: Asked = Asked {
    start: 0,
    end: -1,
    unit: Unit::Bytes,
};

impl Asked {
    /// The bits that it has of a string of so many bytes.
    fn bits(&self, bytes: usize) -> Range<usize> {
        let scale = if self.unit == Unit::Bits { 1 } else { 8 };
        let total = bytes * 8 / scale;
        let whole = i64::try_from(total).expect("a string fits the memory");
        let at = |index: i64| {
            if index < 0 {
                whole.saturating_add(index).max(0)
            } else {
                index
            }
        };
        let (start, end) = (at(self.start), at(self.end).min(whole - 1));
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end => start * scale..(end + 1) * scale,
            _ => 0..0,
        }
    }
}

pub fn bitcount(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let asked = match args.len() {
        2 => ALL,
        4 | 5 => {
            let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
            let unit = match args.len() {
                4 => Unit::Bytes,
                _ => Unit::take(&mut Words::new(args, 4))?,
            };
            Asked { start, end, unit }
        }
        _ => return Err(Error::SYNTAX),
    };
    let key = env.data.key(args.at(1));
    let (mut digits, mut pace) = (itoa::Buffer::new(), Pace::default());
    let server = &mut *env.server;
    let count = env.data.with_counted(&key, |entry| {
        let Some(entry) = entry else {
            return Ok(0);
        };
        let string = as_string(&entry)?;
        // Both ends are negative and the wrong way round: of the first byte there is nothing either.
        if asked.start < 0 && asked.end < 0 && asked.start > asked.end {
            return Ok(0);
        }
        let range = asked.bits(string.len());
        let mut count = 0;
        for (_, piece, within) in pieces(string, range, &mut digits) {
            count += bits::count_in(piece, within);
            pace.step(server, piece.len() / COUNTED_AS);
        }
        Ok(count)
    })?;
    env.reply()
        .int(i64::try_from(count).expect("a string fits the memory"));
    DONE
}

/// Counting goes through memory so many times as fast as what is copied.
const COUNTED_AS: usize = 8;

pub fn bitpos(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let set = match integer(args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err(Error::BITPOS_BIT),
    };
    let asked = match args.len() {
        3 => ALL,
        4..=6 => {
            let start = integer(args.at(3))?;
            let unit = match args.len() {
                6 => Unit::take(&mut Words::new(args, 5))?,
                _ => Unit::Bytes,
            };
            let end = args.get(4).map_or(Ok(ALL.end), integer)?;
            Asked { start, end, unit }
        }
        _ => return Err(Error::SYNTAX),
    };
    let ends = args.len() > 4;
    let key = env.data.key(args.at(1));
    let (mut digits, mut pace) = (itoa::Buffer::new(), Pace::default());
    let server = &mut *env.server;
    let found = env.data.with_counted(&key, |entry| {
        let Some(entry) = entry else {
            // There is no end to its zeros.
            return Ok((!set).then_some(0));
        };
        let string = as_string(&entry)?;
        let range = asked.bits(string.len());
        if range.is_empty() {
            return Ok(None);
        }
        for (begins, piece, within) in pieces(string, range.clone(), &mut digits) {
            if let Some(found) = bits::find_in(piece, within, set) {
                return Ok(Some(begins + found));
            }
            pace.step(server, piece.len() / COUNTED_AS);
        }
        // Behind the string there are zeros, unless the client says where it ends.
        Ok((!set && !ends).then_some(range.end))
    })?;
    let found = found.map(|at| i64::try_from(at).expect("a string fits the memory"));
    env.reply().int(found.unwrap_or(-1));
    DONE
}
