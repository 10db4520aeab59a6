//! What union, intersection and difference of sorted sets have for members and scores: the same on every member, whatever the
//! forms of the sources.
//!
//! Hazard (F8): sums of doubles depend on their order. Scores are added in the order of the sources' cardinalities and, where these
//! are equal, of the arguments, as in Redis.

use keyspace::{Digits, Element, Entry, SetRef, Value, ZsetRef};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// What may be combined: in a set each member has the score 1.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    Missing,
    Set(SetRef<'a>),
    SortedSet(ZsetRef<'a>),
}

impl<'a> Source<'a> {
    /// `None` for a type that can't be combined.
    pub fn of(entry: Option<Entry<'a>>) -> Option<Source<'a>> {
        match entry.map(|entry| entry.value()) {
            None => Some(Source::Missing),
            Some(Value::Set(set)) => Some(Source::Set(set)),
            Some(Value::SortedSet(zset)) => Some(Source::SortedSet(zset)),
            Some(_) => None,
        }
    }

    fn len(self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::SortedSet(zset) => zset.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::SortedSet(zset) => zset.score(member),
        }
    }

    fn try_for_each(self, mut visit: impl FnMut(Element<'a>, f64) -> ControlFlow<()>) {
        match self {
            Source::Missing => {}
            Source::Set(set) => {
                let _ = set.iter().try_for_each(|member| visit(member, 1.0));
            }
            Source::SortedSet(zset) => {
                let _ = zset.try_for_each(|found| visit(found.member, found.score));
            }
        }
    }

    fn for_each(self, mut visit: impl FnMut(Element<'a>, f64)) {
        self.try_for_each(|member, score| {
            visit(member, score);
            ControlFlow::Continue(())
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the scores that a member has in several sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn add(self, to: &mut f64, score: f64) {
        match self {
            Aggregate::Sum => *to = or_zero(*to + score),
            Aggregate::Min if score < *to => *to = score,
            Aggregate::Max if score > *to => *to = score,
            Aggregate::Min | Aggregate::Max => {}
        }
    }
}

/// Redis's convention for what is not a number, as the sum of both infinities.
fn or_zero(score: f64) -> f64 {
    if score.is_nan() {
        0.0
    } else {
        score
    }
}

pub struct Combination<'a> {
    pub operation: Operation,
    pub aggregate: Aggregate,
    /// Of each source; none: 1 each.
    pub weights: &'a [f64],
}

/// A member and its score.
pub type Combined<'a> = (Cow<'a, [u8]>, f64);

/// The members that come out, in order. `breathe` is told the bytes that were looked at.
pub fn combine<'a>(
    sources: &[Source<'a>],
    how: &Combination<'_>,
    breathe: &mut dyn FnMut(usize),
) -> Vec<Combined<'a>> {
    let weight = |at: usize| how.weights.get(at).copied().unwrap_or(1.0);
    let mut ordered: Vec<(Source<'a>, f64)> = sources
        .iter()
        .enumerate()
        .map(|(at, source)| (*source, weight(at)))
        .collect();
    if how.operation != Operation::Diff {
        ordered.sort_by_key(|(source, _)| source.len());
    }
    let mut members = match how.operation {
        Operation::Union => union(&ordered, how.aggregate, breathe),
        Operation::Inter => inter(&ordered, how.aggregate, breathe),
        Operation::Diff => diff(&ordered, breathe),
    };
    members.sort_unstable_by(|a, b| {
        breathe(0);
        let scores = a.1.partial_cmp(&b.1).expect("no score is a NaN");
        scores.then_with(|| a.0.cmp(&b.0))
    });
    members
}

fn own<'a>(member: Element<'a>) -> Cow<'a, [u8]> {
    match member {
        Element::Bytes(bytes) => Cow::Borrowed(bytes),
        Element::Int(_) => Cow::Owned(member.to_vec()),
    }
}

fn union<'a>(
    sources: &[(Source<'a>, f64)],
    aggregate: Aggregate,
    breathe: &mut dyn FnMut(usize),
) -> Vec<Combined<'a>> {
    let most: usize = sources.iter().map(|(source, _)| source.len()).sum();
    let mut all: Vec<HashMap<Cow<'a, [u8]>, f64>> = vec![HashMap::new(); maps_for(most)];
    for (source, weight) in sources {
        source.for_each(|member, score| {
            breathe(member.text_len());
            let score = or_zero(weight * score);
            let mut digits = Digits::default();
            let text = member.text(&mut digits);
            let at = map_of(text, all.len());
            match all[at].get_mut(text) {
                Some(sum) => aggregate.add(sum, score),
                None => {
                    all[at].insert(own(member), score);
                }
            }
        });
    }
    let mut members = Vec::with_capacity(all.iter().map(HashMap::len).sum());
    for map in all {
        breathe(16 * map.len());
        members.extend(map);
    }
    members
}

/// T9: a map that grows moves all that it has in one step: what has many members is spread over as many maps as this.
fn maps_for(members: usize) -> usize {
    (members / MAP_MEMBERS).clamp(1, 1024)
}

const MAP_MEMBERS: usize = 16 << 10;

/// Which of so many maps a member belongs to.
fn map_of(member: &[u8], maps: usize) -> usize {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    let last = &member[member.len().saturating_sub(16)..];
    let sum = last.iter().fold(0xCBF2_9CE4_8422_2325, step);
    match maps {
        1 => 0,
        maps => (sum >> 32) as usize % maps,
    }
}

fn inter<'a>(
    sources: &[(Source<'a>, f64)],
    aggregate: Aggregate,
    breathe: &mut dyn FnMut(usize),
) -> Vec<Combined<'a>> {
    let Some(((first, weight), others)) = sources.split_first() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    first.for_each(|member, score| {
        breathe(member.text_len());
        let mut digits = Digits::default();
        let text = member.text(&mut digits);
        let mut sum = or_zero(weight * score);
        for (other, weight) in others {
            let Some(score) = other.score(text) else {
                return;
            };
            aggregate.add(&mut sum, score * weight);
        }
        all.push((own(member), sum));
    });
    all
}

fn diff<'a>(sources: &[(Source<'a>, f64)], breathe: &mut dyn FnMut(usize)) -> Vec<Combined<'a>> {
    let Some(((first, _), others)) = sources.split_first() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    first.for_each(|member, score| {
        breathe(member.text_len());
        let mut digits = Digits::default();
        let text = member.text(&mut digits);
        if others.iter().all(|(other, _)| other.score(text).is_none()) {
            all.push((own(member), score));
        }
    });
    all
}

/// How many members all sources have, or `limit` if there are more; 0 is no limit.
pub fn intersection_size(
    sources: &[Source<'_>],
    limit: usize,
    breathe: &mut dyn FnMut(usize),
) -> usize {
    let mut ordered = sources.to_vec();
    ordered.sort_by_key(|source| source.len());
    let Some((first, others)) = ordered.split_first() else {
        return 0;
    };
    let mut count = 0;
    first.try_for_each(|member, _| {
        breathe(member.text_len());
        let mut digits = Digits::default();
        let text = member.text(&mut digits);
        count += usize::from(others.iter().all(|other| other.score(text).is_some()));
        match count == limit && limit > 0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    count
}
