//! Owns sorted sets: members with scores, in the order of scores and, where these are equal, of the members' bytes.
//!
//! Forms, each reported by Redis's name: a listpack of pairs (member, score) in order; a table of members beside a tree of the
//! same in order, reported as a skiplist. A score in a listpack is an integer where it is one, else the shortest text that
//! reads back as it.
//!
//! Invariants: a member is there once; no score is a NaN; a score keeps the sign of its zero, which its place does not depend
//! on; a sorted set goes from packed to a table and never back.

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use ahash::RandomState;
use base::double;
use containers::listpack::{Digits, Element, Listpack, Place};
use containers::tree::Cursor;
use containers::{SharedBytes, Table, Tree};
use rand::RngCore;

use super::zset_range::{LexRange, ScoreRange};
use super::{below, hash_of};
use crate::digest::Digest;
use crate::table::tag_of;

/// A sorted set that is not in its entry.
#[derive(Clone)]
pub(crate) enum ZsetObject {
    Packed(Vec<u8>),
    Table(ZsetTable),
}

impl ZsetObject {
    pub fn as_ref(&self) -> ZsetRef<'_> {
        ZsetRef(match self {
            ZsetObject::Packed(bytes) => Form::Packed(Listpack::trusted(bytes)),
            ZsetObject::Table(table) => Form::Table(table),
        })
    }

    pub fn bytes(&self) -> usize {
        match self {
            ZsetObject::Packed(bytes) => bytes.capacity(),
            ZsetObject::Table(table) => table.index.bytes() as usize + table.order.bytes(),
        }
    }
}

/// A member at its place in the order.
#[derive(Clone)]
pub(super) struct Ranked {
    score: f64,
    member: SharedBytes,
}

impl containers::Item for Ranked {
    type Key = Ranked;

    fn key(&self) -> &Ranked {
        self
    }
}

impl Ranked {
    fn as_scored(&self) -> Scored<'_> {
        Scored {
            member: Element::Bytes(&self.member),
            score: self.score,
        }
    }
}

/// Members beyond what is packed.
#[derive(Clone)]
pub(crate) struct ZsetTable {
    index: Table<(SharedBytes, f64)>,
    order: Tree<Ranked>,
    hasher: RandomState,
}

/// So many members are taken out of the order one by one: to cut it takes longer.
const FEW: usize = 8;

impl ZsetTable {
    pub(super) fn new(hasher: &RandomState) -> ZsetTable {
        ZsetTable {
            index: Table::new(),
            order: Tree::new(),
            hasher: hasher.clone(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        let found = self.index.get(hash_of(&self.hasher, member), member);
        found.map(|(_, score)| *score)
    }

    /// Where a member of this score is in the order, or would be.
    fn place(&self, score: f64, member: &[u8]) -> Result<u64, u64> {
        let this = (score, member);
        let order = |other: &Ranked| in_order((other.score, &other.member), this);
        self.order.position(order)
    }

    /// Puts a member that is not there at its place.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) {
        let (Ok(place) | Err(place)) = self.place(score, member);
        self.insert_at(place, member, score);
    }

    /// The same where the place is known.
    fn insert_at(&mut self, place: u64, member: &[u8], score: f64) {
        let hash = hash_of(&self.hasher, member);
        let shared = SharedBytes::new(tag_of(hash), member);
        let hasher = &self.hasher;
        let element = (shared.clone(), score);
        self.index.insert(hash, element, |key| hash_of(hasher, key));
        let member = shared;
        self.order.insert(place, Ranked { score, member });
    }

    /// Puts a member that is not there behind all others.
    pub(super) fn push(&mut self, member: &[u8], score: f64) {
        self.insert_at(self.order.weight(), member, score);
    }

    /// Gives a member that is there another score.
    pub(super) fn rescore(&mut self, member: &[u8], old: f64, score: f64) {
        let place = self.place(old, member).expect("a member has its place");
        let removed = self.order.remove(place);
        let (Ok(place) | Err(place)) = self.place(score, member);
        let member = removed.member;
        let hash = hash_of(&self.hasher, &member);
        let found = self.index.get_mut(hash, &member);
        found.expect("it has its score there").1 = score;
        self.order.insert(place, Ranked { score, member });
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (_, score) = self.index.remove(hash_of(&self.hasher, member), member)?;
        let place = self.place(score, member).expect("a member has its place");
        self.order.remove(place);
        Some(score)
    }

    pub(super) fn remove_range(&mut self, range: Range<usize>, each: &mut dyn FnMut()) {
        let (from, to) = (range.start as u64, range.end as u64);
        if range.len() <= FEW {
            for _ in range {
                let ranked = self.order.remove(from);
                self.forget(&ranked);
                each();
            }
            return;
        }
        for ranked in self.order.remove_range(from, to).iter() {
            self.forget(ranked);
            each();
        }
    }

    /// What is in order no more is not in the table either.
    fn forget(&mut self, ranked: &Ranked) {
        let hash = hash_of(&self.hasher, &ranked.member);
        let removed = self.index.remove(hash, &ranked.member);
        assert!(removed.is_some(), "all that is in order is in the table");
    }
}

/// The order of sorted sets.
pub(super) fn in_order(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    let scores = a.0.partial_cmp(&b.0).expect("no score is a NaN");
    scores.then_with(|| a.1.cmp(b.1))
}

/// A member and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    pub member: Element<'a>,
    pub score: f64,
}

/// How a sorted set is kept.
#[derive(Clone, Copy)]
pub enum ZsetLayout<'a> {
    /// A listpack of members and scores, in order.
    Packed(&'a [u8]),
    Table,
}

/// A sorted set, borrowed.
#[derive(Clone, Copy)]
pub struct ZsetRef<'a>(pub(super) Form<'a>);

#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    Packed(Listpack<'a>),
    Table(&'a ZsetTable),
}

/// The number that a listpack has for a score.
fn number(element: Element<'_>) -> f64 {
    match element {
        Element::Int(n) => n as f64,
        Element::Bytes(text) => double::parse_bound(text).expect("scores are numbers"),
    }
}

/// What a listpack has for a score; `text` has room for it.
pub(super) fn score_element(score: f64, text: &mut Vec<u8>) -> Element<'_> {
    double::push(text, score);
    Element::of(text)
}

/// The member that stands at a place of a listpack, with its score, and the score's place.
pub(super) fn pair(list: Listpack<'_>, at: Place) -> (Scored<'_>, Place) {
    let last = list.behind(at);
    let score = number(list.get(last));
    let member = list.get(at);
    (Scored { member, score }, last)
}

impl<'a> ZsetRef<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> ZsetRef<'a> {
        ZsetRef(Form::Packed(Listpack::trusted(bytes)))
    }

    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(self) -> usize {
        match self.0 {
            Form::Packed(pairs) => pairs.len() / 2,
            Form::Table(table) => table.index.len(),
        }
    }

    /// OBJECT ENCODING.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            Form::Packed(_) => "listpack",
            Form::Table(_) => "skiplist",
        }
    }

    pub fn layout(self) -> ZsetLayout<'a> {
        match self.0 {
            Form::Packed(list) => ZsetLayout::Packed(list.bytes()),
            Form::Table(_) => ZsetLayout::Table,
        }
    }

    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self.0 {
            Form::Packed(pairs) => pairs.value_of(member).map(number),
            Form::Table(table) => table.score(member),
        }
    }

    /// How many members are before this one, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0 {
            Form::Packed(_) => {
                let mut before = 0;
                let found = self.try_for_each(|found| match found.member.is(member) {
                    true => ControlFlow::Break(found.score),
                    false => {
                        before += 1;
                        ControlFlow::Continue(())
                    }
                });
                found.break_value().map(|score| (before, score))
            }
            Form::Table(table) => {
                let score = table.score(member)?;
                let place = table.place(score, member).expect("a member has its place");
                Some((place as usize, score))
            }
        }
    }

    /// The positions of the members whose scores lie within a range.
    pub fn within_scores(self, range: &ScoreRange) -> Range<usize> {
        let start = self.partition(&mut |found| range.is_behind(found.score));
        let end = self.partition(&mut |found| range.reaches(found.score));
        start..end.max(start)
    }

    /// The members with scores within a range, up to the first one behind it.
    pub fn iter_scores(self, range: ScoreRange) -> impl Iterator<Item = Scored<'a>> {
        let start = self.partition(&mut |found| range.is_behind(found.score));
        let rest = self.iter(start..self.len());
        rest.take_while(move |found| range.reaches(found.score))
    }

    /// The positions of the members that lie within a range, where all scores are the same; else of members that depend on the
    /// form. Of a packed one they are Redis's: none if the last member lies before the range or the first one behind it, else
    /// from the first one on that does not lie before it, for as long as they reach it. `back`: the same from the end.
    pub fn within_members(self, range: &LexRange<'_>, back: bool) -> Range<usize> {
        let mut digits = Digits::default();
        if let Form::Packed(_) = self.0 {
            return self.within_packed(range, back);
        }
        let start = self.partition(&mut |found| range.is_behind(found.member.text(&mut digits)));
        let end = self.partition(&mut |found| range.reaches(found.member.text(&mut digits)));
        start..end.max(start)
    }

    fn within_packed(self, range: &LexRange<'_>, back: bool) -> Range<usize> {
        let len = self.len();
        let mut digits = Digits::default();
        let mut lies_before = |found: Scored<'_>| range.is_behind(found.member.text(&mut digits));
        let mut digits = Digits::default();
        let mut reaches = |found: Scored<'_>| range.reaches(found.member.text(&mut digits));
        let last = self.iter_back(0..len).next();
        let first = self.iter(0..len).next();
        if last.is_none_or(&mut lies_before) || first.is_some_and(|found| !reaches(found)) {
            return 0..0;
        }
        match back {
            false => {
                let start = self.iter(0..len).take_while(|s| lies_before(*s)).count();
                let count = self.iter(start..len).take_while(|s| reaches(*s)).count();
                start..start + count
            }
            true => {
                let behind = self.iter_back(0..len).take_while(|s| !reaches(*s)).count();
                let end = len - behind;
                let count = self
                    .iter_back(0..end)
                    .take_while(|s| !lies_before(*s))
                    .count();
                end - count..end
            }
        }
    }

    /// The first position at which `before` no longer holds.
    fn partition(self, before: &mut dyn FnMut(Scored<'_>) -> bool) -> usize {
        match self.0 {
            Form::Packed(_) => self.iter(0..self.len()).take_while(|s| before(*s)).count(),
            Form::Table(table) => {
                let first = table.order.partition_point(|r| before(r.as_scored()));
                first as usize
            }
        }
    }

    /// The members at these positions, in order.
    pub fn iter(self, range: Range<usize>) -> ZsetIter<'a> {
        self.walk(range.start, range.len(), false)
    }

    /// The members at these positions, the last one first.
    pub fn iter_back(self, range: Range<usize>) -> ZsetIter<'a> {
        self.walk(range.end, range.len(), true)
    }

    fn walk(self, from: usize, left: usize, back: bool) -> ZsetIter<'a> {
        let walk = match self.0 {
            Form::Packed(list) => {
                let index = match back {
                    false => 2 * from,
                    true => (2 * from).saturating_sub(2),
                };
                let at = list.seek(i64::try_from(index).expect("a listpack's length fits"));
                Walk::Packed(list, at)
            }
            Form::Table(table) => Walk::Table(table.order.cursor(from as u64).0),
        };
        ZsetIter { walk, left, back }
    }

    /// All members until `visit` breaks, in order.
    pub fn try_for_each<B>(
        self,
        visit: impl FnMut(Scored<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.iter(0..self.len()).try_for_each(visit)
    }

    pub fn for_each(self, visit: impl FnMut(Scored<'a>)) {
        self.iter(0..self.len()).for_each(visit);
    }

    /// ZSCAN: visits about `count` members from the cursor on, all of a packed sorted set at once; the next cursor is 0 at the
    /// end.
    pub fn scan(self, cursor: u64, count: usize, visit: &mut dyn FnMut(Scored<'_>)) -> u64 {
        let Form::Table(table) = self.0 else {
            self.for_each(visit);
            return 0;
        };
        super::scan_table(&table.index, cursor, count, &mut |(member, score)| {
            visit(Scored {
                member: Element::Bytes(member),
                score: *score,
            });
        })
    }

    /// Whether the members are in the order that they have to be in.
    pub(super) fn is_ordered(self) -> bool {
        let next = self.iter(0..self.len()).skip(1);
        self.iter(0..self.len()).zip(next).all(|(a, b)| {
            let mut digits = (Digits::default(), Digits::default());
            let (x, y) = (a.member.text(&mut digits.0), b.member.text(&mut digits.1));
            in_order((a.score, x), (b.score, y)).is_lt()
        })
    }

    /// A member drawn evenly.
    pub fn random(self, rng: &mut dyn RngCore) -> Scored<'a> {
        match self.0 {
            Form::Packed(list) => {
                let drawn = below(rng, list.len() / 2);
                let drawn = self.iter(drawn..drawn + 1).next();
                drawn.expect("an index below the length")
            }
            Form::Table(table) => {
                let drawn = table.index.random(rng);
                let (member, score) = drawn.expect("no sorted set is empty");
                Scored {
                    member: Element::Bytes(member),
                    score: *score,
                }
            }
        }
    }

    /// About how many bytes its members and scores have.
    pub(crate) fn weight(self) -> usize {
        match self.0 {
            Form::Packed(list) => list.bytes().len(),
            Form::Table(table) => table.index.bytes() as usize,
        }
    }

    /// Of all members with the bits of their scores.
    pub(crate) fn digest(self) -> Digest {
        let mut sum = Digest::default();
        self.for_each(|found| {
            let mut digits = Digits::default();
            let score = found.score.to_bits().to_le_bytes();
            sum.add(Digest::of(&[found.member.text(&mut digits), &score]));
        });
        sum
    }
}

/// Members of a sorted set, one by one.
pub struct ZsetIter<'a> {
    walk: Walk<'a>,
    left: usize,
    back: bool,
}

#[allow(
    clippy::large_enum_variant,
    reason = "it lives on the stack, and allocates nothing"
)]
enum Walk<'a> {
    /// Where the next member stands.
    Packed(Listpack<'a>, Option<Place>),
    Table(Cursor<'a, Ranked>),
}

impl<'a> Iterator for ZsetIter<'a> {
    type Item = Scored<'a>;

    fn next(&mut self) -> Option<Scored<'a>> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.walk {
            Walk::Packed(list, at) => {
                let place = (*at)?;
                let (found, last) = pair(*list, place);
                *at = match self.back {
                    false => list.after(last),
                    true => list.before(place).and_then(|score| list.before(score)),
                };
                Some(found)
            }
            Walk::Table(cursor) => {
                let ranked = match self.back {
                    false => cursor.next(),
                    true => cursor.prev(),
                };
                ranked.map(Ranked::as_scored)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
