//! Where a command's keys are: key specs, as COMMAND INFO tells them, and finding keys by them.
//!
//! Owns: [`KeySpec`] and the search that it describes, the range that older clients are told instead.
//! Never: looks at a key. Invariants: no index that is found lies beyond the arguments, whatever they
//! are; a count of keys that can't be right is [`BadKeys`], never a guess.
//!
//! Hazard: a key that is not found here is touched without its slot having been checked. So a row
//! whose specs don't say all keys (an unknown place, INCOMPLETE) has a [`Finder`]: the registry insists.

use resp::args::Args;
use resp::number::parse_i64;
use std::iter::StepBy;
use std::ops::Range;

/// What a command does to the keys of one key spec (Redis's key-spec flags).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFlags(pub u16);

impl KeyFlags {
    pub const RO: KeyFlags = KeyFlags(1 << 0);
    pub const RW: KeyFlags = KeyFlags(1 << 1);
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 8);
    pub const INCOMPLETE: KeyFlags = KeyFlags(1 << 9);
    pub const VARIABLE_FLAGS: KeyFlags = KeyFlags(1 << 10);

    /// Every flag with its name, in Redis's order.
    pub const NAMES: &'static [(KeyFlags, &'static str)] = &[
        (KeyFlags::RO, "RO"),
        (KeyFlags::RW, "RW"),
        (KeyFlags::OW, "OW"),
        (KeyFlags::RM, "RM"),
        (KeyFlags::ACCESS, "access"),
        (KeyFlags::UPDATE, "update"),
        (KeyFlags::INSERT, "insert"),
        (KeyFlags::DELETE, "delete"),
        (KeyFlags::NOT_KEY, "not_key"),
        (KeyFlags::INCOMPLETE, "incomplete"),
        (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
    ];

    pub const fn has(self, other: KeyFlags) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn and(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 | other.0)
    }
}

/// Where the keys of one spec begin. Indexes count from the command's name, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Index(u16),
    /// Behind the first such word from the index `from` on; a negative one counts from the end, and
    /// the search goes backwards. Only for words that may stand but once.
    Keyword {
        word: &'static str,
        from: i16,
    },
    /// Not to be told in these terms.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// `last` is relative to the first key; a negative one counts from the end of the arguments. A
    /// `limit` above 1 leaves only the first such part of the arguments that are left.
    Range { last: i16, step: u16, limit: u16 },
    /// How many there are is said by the argument `at`, and the first of them is `first`; both are
    /// relative to the beginning.
    KeyNum { at: u16, first: u16, step: u16 },
    /// Not to be told in these terms.
    Unknown,
}

/// Some of a command's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub flags: KeyFlags,
    pub begin: Begin,
    pub find: Find,
    pub notes: &'static str,
}

/// The arguments are no command of this form, so which of them are keys can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKeys;

/// Calls `visit` with the index of every key and what happens to it, where key specs can't say it.
pub type Finder = fn(Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys>;

impl KeySpec {
    pub const fn new(flags: KeyFlags, begin: Begin, find: Find) -> KeySpec {
        KeySpec {
            flags,
            begin,
            find,
            notes: "",
        }
    }

    /// Keys at fixed places.
    pub const fn range(flags: KeyFlags, first: u16, last: i16, step: u16) -> KeySpec {
        let limit = 0;
        let find = Find::Range { last, step, limit };
        KeySpec::new(flags, Begin::Index(first), find)
    }

    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }

    /// Whether the spec says all that is to be known of its keys.
    pub const fn is_complete(&self) -> bool {
        let known = !matches!(self.begin, Begin::Unknown) && !matches!(self.find, Find::Unknown);
        let vague = KeyFlags::INCOMPLETE.and(KeyFlags::VARIABLE_FLAGS);
        known && !self.flags.has(vague)
    }

    /// The indexes of its keys among the arguments.
    pub fn indexes(&self, args: Args<'_>) -> Result<StepBy<Range<usize>>, BadKeys> {
        let argc = args.len();
        let begin = match self.begin {
            Begin::Index(index) => Some(usize::from(index)),
            Begin::Keyword { word, from } => behind(word, from, args),
            Begin::Unknown => return Err(BadKeys),
        };
        let Some(begin) = begin else {
            return Ok((0..0).step_by(1)); // an option that is not there
        };
        let (first, end, step) = match self.find {
            Find::Range { last, step, limit } => {
                let back = usize::from(last.unsigned_abs()).saturating_sub(1);
                let end = match limit {
                    _ if last >= 0 => begin + usize::from(last.unsigned_abs()) + 1,
                    0 | 1 => argc.saturating_sub(back),
                    _ => {
                        let part = argc.saturating_sub(begin) / usize::from(limit);
                        begin + part.saturating_sub(back)
                    }
                };
                (begin, end.min(argc), step)
            }
            Find::KeyNum { at, first, step } => {
                let count = args.get(begin + usize::from(at)).and_then(parse_i64);
                let count = count.and_then(|count| usize::try_from(count).ok());
                let first = begin + usize::from(first);
                let end = last_of(first, count.ok_or(BadKeys)?, step).ok_or(BadKeys)?;
                if end > argc {
                    return Err(BadKeys);
                }
                (first, end, step)
            }
            Find::Unknown => return Err(BadKeys),
        };
        Ok((first.min(end)..end).step_by(usize::from(step.max(1))))
    }
}

/// The index behind the last of `count` keys, of which `first` is the first; for none: no further
/// than that.
fn last_of(first: usize, count: usize, step: u16) -> Option<usize> {
    match count.checked_sub(1) {
        None => Some(0),
        Some(more) => more.checked_mul(usize::from(step))?.checked_add(first + 1),
    }
}

/// The index behind a keyword. The last argument is none: nothing could follow it.
fn behind(word: &str, from: i16, args: Args<'_>) -> Option<usize> {
    let is = |index: &usize| args.at(*index).eq_ignore_ascii_case(word.as_bytes());
    let argc = args.len();
    let distance = usize::from(from.unsigned_abs());
    let found = if from > 0 {
        (distance..argc.saturating_sub(1)).find(is)
    } else {
        (2..(argc + 1).saturating_sub(distance)).rev().find(is)
    };
    Some(found? + 1)
}

/// First, last (negative: from the end) and step of the keys, as `COMMAND INFO` has them. `first`
/// is 0 when there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub first: u16,
    pub last: i16,
    pub step: u16,
}

impl KeyRange {
    /// The one range that covers the keys at fixed places, and whether there are keys that it does not
    /// cover ("movable" keys).
    pub const fn of(specs: &[KeySpec]) -> (KeyRange, bool) {
        let mut range = KeyRange {
            first: 0,
            last: 0,
            step: 0,
        };
        let mut movable = false;
        let mut at = 0;
        while at < specs.len() {
            let spec = &specs[at];
            at += 1;
            movable |= spec.flags.has(KeyFlags::INCOMPLETE);
            let (
                Begin::Index(first),
                Find::Range {
                    last,
                    step,
                    limit: 0,
                },
            ) = (spec.begin, spec.find)
            else {
                movable = true;
                continue;
            };
            // Several ranges are one if each key follows the one before.
            let follows = range.first == 0 || range.last + 1 == first as i16;
            if specs.len() > 1 && (step != 1 || !follows) {
                movable = true;
                continue;
            }
            if range.first == 0 {
                range.first = first;
            }
            range.last = if last < 0 { last } else { first as i16 + last };
            range.step = step;
        }
        (range, movable)
    }

    /// The indexes of the keys among `argc` arguments.
    #[inline]
    pub fn indexes(self, argc: usize) -> impl Iterator<Item = usize> {
        let first = usize::from(self.first);
        let last = if self.last < 0 {
            argc.saturating_sub(usize::from(self.last.unsigned_abs()))
        } else {
            self.last.unsigned_abs().into()
        };
        // No keys: an empty range, written as one that ends before it begins.
        let end = if first == 0 { 0 } else { (last + 1).min(argc) };
        (first.min(end)..end).step_by(usize::from(self.step.max(1)))
    }
}

#[cfg(test)]
#[path = "key_spec_tests.rs"]
mod tests;
