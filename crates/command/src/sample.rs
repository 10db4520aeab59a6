//! Elements of a container, drawn at random.
//!
//! Owns: how many are asked for, and how several are drawn of which none is there twice. Never: knows a command or a reply.

use crate::args::integer;
use crate::error::Error;
use keyspace::{Element, FieldRef, HashRef, Scored, SetRef, ZsetRef};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use resp::args::Args;
use std::collections::HashSet;
use std::vec::IntoIter;

/// How many are asked for; below zero an element may come more than once.
pub fn count(text: &[u8]) -> Result<i64, Error> {
    match integer(text)? {
        i64::MIN => Err(Error::out_of_range(-i64::MAX, i64::MAX)),
        count => Ok(count),
    }
}

/// `command key count [word]`: the count, and whether the word is there, which makes a reply twice as long.
pub fn count_and_word(args: Args<'_>, word: &[u8]) -> Result<(i64, bool), Error> {
    let count = count(args.at(2))?;
    let has_word = match args.len() {
        3 => false,
        4 if args.at(3).eq_ignore_ascii_case(word) => true,
        _ => return Err(Error::SYNTAX),
    };
    if has_word && count.unsigned_abs() > (i64::MAX / 2) as u64 {
        return Err(Error::OUT_OF_RANGE);
    }
    Ok((count, has_word))
}

/// What elements can be drawn from.
pub trait Sampled<'a>: Copy {
    type Item: Copy;

    fn count(self) -> usize;

    /// Whether a draw takes no time that grows with the container.
    fn draws_at_once(self) -> bool;

    fn draw(self, rng: &mut StdRng) -> Self::Item;

    fn all(self, visit: &mut dyn FnMut(Self::Item));

    /// What tells an element from all others.
    fn name(item: Self::Item) -> Element<'a>;
}

/// Elements as a count asks for them.
pub enum Several<'r, S: Sampled<'r>> {
    /// So many draws are left, each from all.
    Draws(S, usize, &'r mut StdRng),
    Distinct(IntoIter<S::Item>),
}

/// As many elements as `count` says, or all: below zero so many draws, else none twice. `pace` as [`distinct`] has it.
pub fn several<'r, S: Sampled<'r>>(
    from: S,
    count: i64,
    rng: &'r mut StdRng,
    pace: &mut dyn FnMut(usize),
) -> Several<'r, S> {
    let wanted = usize::try_from(count.unsigned_abs()).expect("64 bits");
    match count < 0 {
        true => Several::Draws(from, wanted, rng),
        false => Several::Distinct(distinct(from, wanted, rng, pace).into_iter()),
    }
}

impl<'r, S: Sampled<'r>> Several<'r, S> {
    pub fn left(&self) -> usize {
        match self {
            Several::Draws(_, left, _) => *left,
            Several::Distinct(items) => items.len(),
        }
    }
}

impl<'r, S: Sampled<'r>> Iterator for Several<'r, S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        match self {
            Several::Draws(from, left, rng) => {
                *left = left.checked_sub(1)?;
                Some(from.draw(rng))
            }
            Several::Distinct(items) => items.next(),
        }
    }
}

/// Up to `count` elements, none twice; all of them in their order where so many are wanted. `pace` is told the bytes of each
/// that is looked at (T9).
pub fn distinct<'a, S: Sampled<'a>>(
    from: S,
    count: usize,
    rng: &mut StdRng,
    pace: &mut dyn FnMut(usize),
) -> Vec<S::Item> {
    let len = from.count();
    if count == 1 {
        return vec![from.draw(rng)];
    }
    // Where most are wanted all are taken and some left; else drawing again what has been drawn is rare.
    if count.saturating_mul(3) > len || !from.draws_at_once() {
        let mut all = Vec::with_capacity(len);
        from.all(&mut |item| {
            pace(S::name(item).text_len());
            all.push(item);
        });
        if count < len {
            let (drawn, _) = all.partial_shuffle(rng, count);
            return drawn.to_vec();
        }
        return all;
    }
    let mut seen = HashSet::new();
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let found = from.draw(rng);
        pace(S::name(found).text_len());
        if seen.insert(S::name(found).to_vec()) {
            drawn.push(found);
        }
    }
    drawn
}

impl<'a> Sampled<'a> for HashRef<'a> {
    type Item = FieldRef<'a>;

    fn count(self) -> usize {
        self.len()
    }

    fn draws_at_once(self) -> bool {
        self.encoding() == "hashtable"
    }

    fn draw(self, rng: &mut StdRng) -> FieldRef<'a> {
        self.random(rng)
    }

    fn all(self, visit: &mut dyn FnMut(FieldRef<'a>)) {
        self.for_each(visit);
    }

    fn name(field: FieldRef<'a>) -> Element<'a> {
        field.field
    }
}

impl<'a> Sampled<'a> for SetRef<'a> {
    type Item = Element<'a>;

    fn count(self) -> usize {
        self.len()
    }

    fn draws_at_once(self) -> bool {
        SetRef::draws_at_once(self)
    }

    fn draw(self, rng: &mut StdRng) -> Element<'a> {
        self.random(rng)
    }

    fn all(self, visit: &mut dyn FnMut(Element<'a>)) {
        self.for_each(visit);
    }

    fn name(member: Element<'a>) -> Element<'a> {
        member
    }
}

impl<'a> Sampled<'a> for ZsetRef<'a> {
    type Item = Scored<'a>;

    fn count(self) -> usize {
        self.len()
    }

    fn draws_at_once(self) -> bool {
        self.encoding() != "listpack"
    }

    fn draw(self, rng: &mut StdRng) -> Scored<'a> {
        self.random(rng)
    }

    /// Redis shows all of them from the last one on.
    fn all(self, visit: &mut dyn FnMut(Scored<'a>)) {
        self.iter_back(0..self.len()).for_each(visit);
    }

    fn name(scored: Scored<'a>) -> Element<'a> {
        scored.member
    }
}
