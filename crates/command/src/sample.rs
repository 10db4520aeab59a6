//! Elements of a container, drawn at random.
//!
//! Owns: how several are drawn of which none is there twice. Never: knows a command or a reply.

use keyspace::{Element, FieldRef, HashRef, SetRef};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::HashSet;

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
