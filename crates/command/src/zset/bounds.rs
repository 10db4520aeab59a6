//! Ends of ranges: how they are written, and which positions lie between them.

use crate::args::integer;
use crate::error::Error;
use base::double;
use keyspace::{LexBound, LexRange, ScoreBound, ScoreRange, ZsetRef};
use std::ops::Range;

/// A range as a client names it.
pub enum Bounds<'a> {
    /// From a position to another one, that with it; negative ones count from the end.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    pub fn ranks(from: &[u8], to: &[u8]) -> Result<Bounds<'a>, Error> {
        Ok(Bounds::Ranks(integer(from)?, integer(to)?))
    }

    pub fn scores(min: &[u8], max: &[u8]) -> Result<Bounds<'a>, Error> {
        let (min, max) = (score_bound(min), score_bound(max));
        let range = min.zip(max).map(|(min, max)| ScoreRange { min, max });
        range.map(Bounds::Scores).ok_or(Error::BOUND_NOT_A_FLOAT)
    }

    pub fn members(min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, Error> {
        let (min, max) = (lex_bound(min), lex_bound(max));
        let range = min.zip(max).map(|(min, max)| LexRange { min, max });
        range.map(Bounds::Members).ok_or(Error::BOUND_NOT_A_STRING)
    }

    /// The positions of the members that lie within.
    pub fn within(&self, zset: ZsetRef<'_>) -> Range<usize> {
        match self {
            Bounds::Ranks(from, to) => between(*from, *to, zset.len()),
            Bounds::Scores(range) => zset.within_scores(range),
            Bounds::Members(range) => zset.within_members(range, false),
        }
    }

    /// The same for positions that count from the end.
    pub fn within_reverse(&self, zset: ZsetRef<'_>) -> Range<usize> {
        match self {
            Bounds::Ranks(from, to) => {
                let range = between(*from, *to, zset.len());
                zset.len() - range.end..zset.len() - range.start
            }
            Bounds::Members(range) => zset.within_members(range, true),
            Bounds::Scores(_) => self.within(zset),
        }
    }
}

fn between(from: i64, to: i64, len: usize) -> Range<usize> {
    let absolute = |n: i64| match n {
        0.. => n,
        _ => n.saturating_add_unsigned(len as u64),
    };
    let (from, to) = (absolute(from).max(0), absolute(to));
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from <= to && from < len => from..to.saturating_add(1).min(len),
        _ => 0..0,
    }
}

fn score_bound(text: &[u8]) -> Option<ScoreBound> {
    let (exclusive, text) = match text {
        [b'(', text @ ..] => (true, text),
        text => (false, text),
    };
    let score = double::parse_bound(text)?;
    Some(ScoreBound { score, exclusive })
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        [b'+'] => Some(LexBound::Highest),
        [b'-'] => Some(LexBound::Lowest),
        [b'(', member @ ..] => Some(LexBound::Excluding(member)),
        [b'[', member @ ..] => Some(LexBound::Including(member)),
        _ => None,
    }
}
