//! Sorted sets: what changes them, on the leader and as effects of the log.
//!
//! Owns: ZADD and its relatives, ZREM, ZPOP, removal by ranges, and what is stored of other sorted sets, each as one function that
//! makes the effect and carries it out. Never: parses a command, replies, reads a score's text.
//!
//! Invariants: an effect has scores and weights as the bytes of doubles, and none is a NaN; of a range it has the positions that the
//! leader found, which mean the same in every form; a sorted set that is left without members is gone, which needs no effect of its
//! own.

use base::events::Classes;
use std::ops::Range;

use super::apply::ApplyError;
use super::core::StateMachine;
use super::effects::effects;
use super::zset_combine::{combine, Aggregate, Combination, Operation, Source};
use base::number::parse_i64;
use effect::Op;
use keyspace::{Key, ZsetMut, ZsetRef};

effects! {
    /// `ZADD key member score [member score ...]`
    70 ZADD "ZADD": read_scores, breathing |state: &mut StateMachine, scores: Scores<'_>, pace| apply_scores(state, ZADD, scores, pace);
    /// `ZINCRBY key member score`: the score that comes out
    71 ZINCRBY "ZINCRBY": read_scores, breathing |state: &mut StateMachine, scores: Scores<'_>, pace| apply_scores(state, ZINCRBY, scores, pace);
    /// `ZREM key member [member ...]`
    72 ZREM "ZREM": read_members, breathing |state: &mut StateMachine, (key, members), pace| { state.of_zset(ZREM, key)?; let key = state.key(key); state.zset_remove(&key, members, pace); Ok(()) };
    /// `ZPOP key MIN|MAX count`
    73 ZPOP "ZPOP": read_pop, breathing |state: &mut StateMachine, (key, end, count), pace| { let key = state.key(key); state.holds(ZPOP, &key, 0..count)?; state.zset_pop(&key, end, count, pace); Ok(()) };
    /// `ZREMRANGE key RANK|SCORE|LEX from count`
    74 ZREMRANGE "ZREMRANGE": read_range, breathing |state: &mut StateMachine, (key, by, range): (&[u8], RangeBy, Range<usize>), pace| { let key = state.key(key); state.holds(ZREMRANGE, &key, range.clone())?; state.zset_remove_range(&key, by, range, pace); Ok(()) };
    /// `ZSTORE dst UNION|INTER|DIFF SUM|MIN|MAX numkeys key [key ...] [weight ...]`
    75 ZSTORE "ZSTORE": read_store, breathing apply_store;
    /// `ZRANGESTORE dst src from count`
    76 ZRANGESTORE "ZRANGESTORE": read_range_store, breathing |state: &mut StateMachine, (dst, src, range): (&[u8], &[u8], Range<usize>), pace| { let (dst, src) = (state.key(dst), state.key(src)); state.holds(ZRANGESTORE, &src, range.clone())?; state.zset_store_range(&dst, &src, range, pace); Ok(()) };
    /// `ZREPLACE GEOSEARCH|GEORADIUS key member score [member score ...]`: any value becomes these members
    77 ZREPLACE "ZREPLACE": read_replace, breathing |state: &mut StateMachine, (found, (key, items)): (FoundBy, Scores<'_>), pace| { let key = state.key(key); let members = items.into_iter().map(|(m, score)| (m.to_vec(), score)); state.zset_replace(&key, found, members.collect(), pace); Ok(()) };
}

/// Which end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Min,
    Max,
}

/// How a client has named a range: events are told by it, and nothing else depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeBy {
    Rank,
    Score,
    Lex,
}

/// Which commands have found what is stored: as [`RangeBy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    GeoSearch,
    GeoRadius,
}

/// What comes of a command that stores.
type Members = Vec<(Vec<u8>, f64)>;

impl StateMachine {
    fn zset(&self, key: &Key<'_>) -> Option<ZsetRef<'_>> {
        self.keyspace.get(self.db, key)?.value().sorted_set()
    }

    /// What the log changes as a sorted set is one, or nothing that could be another type.
    fn of_zset(&self, op: Op, key: &[u8]) -> Result<(), ApplyError> {
        let entry = self.keyspace.get(self.db, &self.keyspace.key(key));
        match entry.is_none_or(|entry| entry.value().sorted_set().is_some()) {
            true => Ok(()),
            false => Err(ApplyError::Mismatch(op)),
        }
    }

    /// The log names positions that are there.
    fn holds(&self, op: Op, key: &Key<'_>, range: Range<usize>) -> Result<(), ApplyError> {
        let len = self.zset(key).map_or(0, ZsetRef::len);
        match range.end <= len {
            true => Ok(()),
            false => Err(ApplyError::Mismatch(op)),
        }
    }

    /// ZADD: members get scores, of which none is a NaN. `breathe` is told the bytes of each (T9).
    pub fn zset_add(
        &mut self,
        key: &Key<'_>,
        items: &[(&[u8], f64)],
        breathe: &mut dyn FnMut(usize),
    ) {
        self.zset_set(ZADD, key, items, breathe);
    }

    /// ZINCRBY, whose outcome the caller has worked out.
    pub fn zset_increment(&mut self, key: &Key<'_>, member: &[u8], score: f64) {
        self.zset_set(ZINCRBY, key, &[(member, score)], &mut |_| {});
    }

    fn zset_set(
        &mut self,
        op: Op,
        key: &Key<'_>,
        items: &[(&[u8], f64)],
        breathe: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(op, key);
        let bytes: Vec<[u8; 8]> = items.iter().map(|(_, score)| bytes_of(*score)).collect();
        let pairs: Vec<&[u8]> = items
            .iter()
            .zip(&bytes)
            .flat_map(|((member, _), score)| [*member, &score[..]])
            .collect();
        if !self.emit_parts(self.db, op, &[key.bytes], &pairs) {
            return;
        }
        self.keyspace.edit_zset(self.db, key, |zset| {
            zset.expect(items.len());
            for (member, score) in items {
                zset.set(member, *score);
                breathe(member.len());
            }
        });
        self.changed(self.db, key);
        self.recount(1, items.len());
    }

    /// ZREM of members that are there. `breathe`: as above.
    pub fn zset_remove(
        &mut self,
        key: &Key<'_>,
        members: &[&[u8]],
        breathe: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(ZREM, key);
        if self.emit_parts(self.db, ZREM, &[key.bytes], members) {
            self.edit_members(key, members.len(), |zset| {
                for member in members {
                    zset.remove(member);
                    breathe(member.len());
                }
            });
        }
    }

    /// ZPOPMIN, ZPOPMAX of so many members, which are there.
    pub fn zset_pop(
        &mut self,
        key: &Key<'_>,
        end: End,
        count: usize,
        breathe: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(ZPOP, key);
        let name: &[u8] = match end {
            End::Min => b"MIN",
            End::Max => b"MAX",
        };
        let number = (count as u64).to_le_bytes();
        if self.emit(self.db, ZPOP, &[key.bytes, name, &number]) {
            let len = self.zset(key).map_or(0, ZsetRef::len);
            let range = match end {
                End::Min => 0..count,
                End::Max => len - count..len,
            };
            self.remove_positions(key, range, breathe);
        }
    }

    /// Removes the members at these positions, which are there.
    pub fn zset_remove_range(
        &mut self,
        key: &Key<'_>,
        by: RangeBy,
        range: Range<usize>,
        breathe: &mut dyn FnMut(usize),
    ) {
        self.assert_owned(ZREMRANGE, key);
        let [from, count] = numbers(&range);
        if self.emit(self.db, ZREMRANGE, &[key.bytes, by.name(), &from, &count]) {
            self.remove_positions(key, range, breathe);
        }
    }

    /// What is left without members goes as a whole, and is freed elsewhere.
    fn remove_positions(
        &mut self,
        key: &Key<'_>,
        range: Range<usize>,
        breathe: &mut dyn FnMut(usize),
    ) {
        let len = self.zset(key).map_or(0, ZsetRef::len);
        let count = range.len();
        if count < len {
            self.edit_members(key, count, |zset| {
                zset.remove_range(range, &mut || breathe(0))
            });
            return;
        }
        self.note_emptied(self.db, key);
        self.keyspace.remove(self.db, key);
        self.changed(self.db, key);
        self.recount(1, count);
    }

    /// Changes so many members of a sorted set that is there.
    fn edit_members(&mut self, key: &Key<'_>, count: usize, edit: impl FnOnce(&mut ZsetMut<'_>)) {
        if self.keyspace.get(self.db, key).is_none() {
            return; // the effects of a unit before have emptied it
        }
        self.keyspace.edit_zset(self.db, key, edit);
        if self.keyspace.get(self.db, key).is_none() {
            self.note_emptied(self.db, key);
        }
        self.changed(self.db, key);
        self.recount(1, count);
    }

    // ---- what is stored of others --------------------------------------------------------------

    /// What a key is to commands that combine sorted sets. `None`: it is of another type.
    pub fn zset_source(&self, key: &Key<'_>) -> Option<Source<'_>> {
        let entry = self.keyspace.get(self.db, key);
        Source::of(entry.filter(|entry| !self.is_due(entry)))
    }

    /// ZUNIONSTORE and its like, of sources of the right types. How many members there are then.
    pub fn zset_store(
        &mut self,
        dst: &Key<'_>,
        sources: &[&[u8]],
        how: &Combination<'_>,
        breathe: &mut dyn FnMut(usize),
    ) -> usize {
        let Some(members) = self.combined(sources, how, breathe) else {
            unreachable!("the caller has looked at the types");
        };
        if members.is_empty() && !self.is_applying() {
            self.store_nothing(dst);
            return 0;
        }
        self.assert_owned(ZSTORE, dst);
        let mut number = itoa::Buffer::new();
        let mut args = vec![dst.bytes, how.operation.name(), how.aggregate.name()];
        args.push(number.format(sources.len()).as_bytes());
        args.extend_from_slice(sources);
        let weights: Vec<[u8; 8]> = how.weights.iter().map(|w| bytes_of(*w)).collect();
        let weights: Vec<&[u8]> = weights.iter().map(|weight| &weight[..]).collect();
        if self.emit_parts(self.db, ZSTORE, &args, &weights) {
            return self.put_members(dst, members, breathe);
        }
        0
    }

    fn combined(
        &self,
        sources: &[&[u8]],
        how: &Combination<'_>,
        breathe: &mut dyn FnMut(usize),
    ) -> Option<Members> {
        let sources = sources
            .iter()
            .map(|key| self.zset_source(&self.key(key)))
            .collect::<Option<Vec<_>>>()?;
        let members = combine(&sources, how, breathe).into_iter();
        Some(members.map(|(m, score)| (m.into_owned(), score)).collect())
    }

    /// ZRANGESTORE of the members at these positions, which are there. How many there are.
    pub fn zset_store_range(
        &mut self,
        dst: &Key<'_>,
        src: &Key<'_>,
        range: Range<usize>,
        breathe: &mut dyn FnMut(usize),
    ) -> usize {
        let mut members = Members::new();
        if let Some(zset) = self.zset(src) {
            members.extend(zset.iter(range.clone()).map(|found| {
                breathe(found.member.text_len());
                (found.member.to_vec(), found.score)
            }));
        }
        if members.is_empty() && !self.is_applying() {
            self.store_nothing(dst);
            return 0;
        }
        self.assert_owned(ZRANGESTORE, dst);
        let [from, count] = numbers(&range);
        let args = [dst.bytes, src.bytes, &from, &count];
        if self.emit(self.db, ZRANGESTORE, &args) {
            return self.put_members(dst, members, breathe);
        }
        0
    }

    /// What a search has found is stored. How many members there are.
    pub fn zset_replace(
        &mut self,
        dst: &Key<'_>,
        found: FoundBy,
        members: Vec<(Vec<u8>, f64)>,
        breathe: &mut dyn FnMut(usize),
    ) -> usize {
        if members.is_empty() {
            self.store_nothing(dst);
            return 0;
        }
        self.assert_owned(ZREPLACE, dst);
        let bytes: Vec<[u8; 8]> = members.iter().map(|(_, score)| bytes_of(*score)).collect();
        let pairs: Vec<&[u8]> = members
            .iter()
            .zip(&bytes)
            .flat_map(|((member, _), score)| [&member[..], &score[..]])
            .collect();
        if self.emit_parts(self.db, ZREPLACE, &[found.name(), dst.bytes], &pairs) {
            let count = self.put_members(dst, members, breathe);
            self.recount(1, count);
            return count;
        }
        0
    }

    /// No members: what was there is deleted.
    fn store_nothing(&mut self, dst: &Key<'_>) {
        if self.exists(dst) {
            self.delete(dst);
            self.event(Classes::GENERIC, "del", dst);
        }
    }

    /// Any value becomes these members.
    fn put_members(
        &mut self,
        key: &Key<'_>,
        members: Members,
        breathe: &mut dyn FnMut(usize),
    ) -> usize {
        self.keyspace.remove(self.db, key);
        let count = members.len();
        if count > 0 {
            self.keyspace.edit_zset(self.db, key, |zset| {
                zset.expect(count);
                for (member, score) in members {
                    zset.set(&member, score);
                    breathe(member.len());
                }
            });
        }
        self.changed(self.db, key);
        count
    }
}

impl RangeBy {
    fn name(self) -> &'static [u8] {
        match self {
            RangeBy::Rank => b"RANK",
            RangeBy::Score => b"SCORE",
            RangeBy::Lex => b"LEX",
        }
    }
}

impl FoundBy {
    fn name(self) -> &'static [u8] {
        match self {
            FoundBy::GeoSearch => b"GEOSEARCH",
            FoundBy::GeoRadius => b"GEORADIUS",
        }
    }
}

impl Operation {
    fn name(self) -> &'static [u8] {
        match self {
            Operation::Union => b"UNION",
            Operation::Inter => b"INTER",
            Operation::Diff => b"DIFF",
        }
    }
}

impl Aggregate {
    fn name(self) -> &'static [u8] {
        match self {
            Aggregate::Sum => b"SUM",
            Aggregate::Min => b"MIN",
            Aggregate::Max => b"MAX",
        }
    }
}

fn bytes_of(score: f64) -> [u8; 8] {
    assert!(!score.is_nan(), "no score is a NaN");
    score.to_bits().to_le_bytes()
}

fn numbers(range: &Range<usize>) -> [[u8; 8]; 2] {
    [range.start, range.len()].map(|n| (n as u64).to_le_bytes())
}

fn read_double(bytes: &[u8]) -> Option<f64> {
    let bits = u64::from_le_bytes(bytes.try_into().ok()?);
    Some(f64::from_bits(bits)).filter(|value| !value.is_nan())
}

fn read_count(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn read_positions(from: &[u8], count: &[u8]) -> Option<Range<usize>> {
    let from = read_count(from)?;
    let end = from.checked_add(read_count(count)?)?;
    (from < end).then_some(from..end)
}

/// A key, and members with their scores.
type Scores<'a> = (&'a [u8], Vec<(&'a [u8], f64)>);

fn read_scores<'a>(args: &[&'a [u8]]) -> Option<Scores<'a>> {
    let [key, pairs @ ..] = args else {
        return None;
    };
    if pairs.is_empty() || pairs.len() % 2 != 0 {
        return None;
    }
    let pairs = pairs.chunks_exact(2);
    let items = pairs.map(|pair| Some((pair[0], read_double(pair[1])?)));
    Some((key, items.collect::<Option<Vec<_>>>()?))
}

fn read_replace<'a>(args: &[&'a [u8]]) -> Option<(FoundBy, Scores<'a>)> {
    let [found, rest @ ..] = args else {
        return None;
    };
    let all = [FoundBy::GeoSearch, FoundBy::GeoRadius];
    let found = all.into_iter().find(|by| by.name() == *found)?;
    Some((found, read_scores(rest)?))
}

fn read_members<'e, 'a>(args: &'e [&'a [u8]]) -> Option<(&'a [u8], &'e [&'a [u8]])> {
    match args {
        [key, members @ ..] if !members.is_empty() => Some((key, members)),
        _ => None,
    }
}

fn read_pop<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], End, usize)> {
    let (key, end, count) = match args {
        [key, b"MIN", count] => (key, End::Min, count),
        [key, b"MAX", count] => (key, End::Max, count),
        _ => return None,
    };
    let count = read_count(count).filter(|count| *count > 0)?;
    Some((key, end, count))
}

fn read_range<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], RangeBy, Range<usize>)> {
    let [key, by, from, count] = args else {
        return None;
    };
    let all = [RangeBy::Rank, RangeBy::Score, RangeBy::Lex];
    let by = all.into_iter().find(|kind| kind.name() == *by)?;
    Some((key, by, read_positions(from, count)?))
}

fn read_range_store<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8], Range<usize>)> {
    let [dst, src, from, count] = args else {
        return None;
    };
    Some((dst, src, read_positions(from, count)?))
}

/// The arguments of ZSTORE.
struct Store<'e, 'a> {
    dst: &'a [u8],
    operation: Operation,
    aggregate: Aggregate,
    sources: &'e [&'a [u8]],
    weights: Vec<f64>,
}

fn read_store<'e, 'a>(args: &'e [&'a [u8]]) -> Option<Store<'e, 'a>> {
    let [dst, operation, aggregate, count, rest @ ..] = args else {
        return None;
    };
    let operations = [Operation::Union, Operation::Inter, Operation::Diff];
    let aggregates = [Aggregate::Sum, Aggregate::Min, Aggregate::Max];
    let operation = operations.into_iter().find(|o| o.name() == *operation)?;
    let aggregate = aggregates.into_iter().find(|a| a.name() == *aggregate)?;
    let count = usize::try_from(parse_i64(count)?).ok()?;
    let (sources, weights) = rest.split_at_checked(count)?;
    if sources.is_empty() || (!weights.is_empty() && weights.len() != count) {
        return None;
    }
    let weights = weights.iter().map(|weight| read_double(weight));
    Some(Store {
        dst,
        operation,
        aggregate,
        sources,
        weights: weights.collect::<Option<Vec<_>>>()?,
    })
}

fn apply_scores(
    state: &mut StateMachine,
    op: Op,
    (key, items): Scores<'_>,
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    state.of_zset(op, key)?;
    let key = state.key(key);
    state.zset_set(op, &key, &items, pace);
    Ok(())
}

fn apply_store(
    state: &mut StateMachine,
    store: Store<'_, '_>,
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    for source in store.sources {
        let source = state.zset_source(&state.key(source));
        source.ok_or(ApplyError::Mismatch(ZSTORE))?;
    }
    let how = Combination {
        operation: store.operation,
        aggregate: store.aggregate,
        weights: &store.weights,
    };
    let dst = state.key(store.dst);
    state.zset_store(&dst, store.sources, &how, pace);
    Ok(())
}
