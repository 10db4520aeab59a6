//! Carrying out effects: followers, recovery, rebuild.
//!
//! Owns: the reading of an effect's arguments. Never: decides anything; what an effect does is done
//! by the same functions of [`Data`] that made it on the leader. Invariant: an effect that can't be
//! read, or that the keyspace contradicts, is an error, and the caller must stop: skipping it would
//! let members drift apart.

use super::data::{Access, Data};
use super::string::number;
use crate::cluster::record::decode_ranges;
use crate::effect::{parse_entry, Body, CodecError, Effect, Op, Part, Unit};
use crate::keyspace::{Ttl, Value};
use crate::mutation::{self, Mutation};
use cluster_bus::{NodeId, SlotSet};

/// Why a unit can't be applied. The process must not go on with this keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the arguments of the effect {} are not what it takes", .0.command())]
    Arguments(Op),
    #[error("there is no database {0}")]
    Database(i64),
    #[error("the keyspace is not what the effect {} expects", .0.command())]
    Mismatch(Op),
}

/// T9: bytes of effects applied between two breaths; a small effect takes as long as so many bytes.
const BREATH: usize = 256 << 10;
const EFFECT: usize = 256;

/// Applies a unit of the log, whole.
///
/// T9: `breathe` is called after every [`BREATH`] bytes of effects.
pub fn apply_unit(
    data: &mut Data,
    mut unit: Unit<'_>,
    breathe: &mut dyn FnMut(),
) -> Result<(), ApplyError> {
    data.begin_command(0, Access::Apply);
    let mut effect = Effect::default();
    let mut result = Ok(());
    let mut bytes = 0;
    while result.is_ok() && unit.next_into(&mut effect)? {
        bytes += EFFECT + effect.args.iter().map(|arg| arg.len()).sum::<usize>();
        if bytes >= BREATH {
            bytes = 0;
            breathe();
        }
        result = apply_effect(data, &effect);
        if mutation::is(Mutation::ApplyPartOfUnit) {
            break;
        }
    }
    let footprint = data.end_command();
    assert!(!footprint.wrote, "apply emits nothing");
    data.set_access(Access::Lead);
    result
}

/// An effect whose arguments have been read.
enum Change<'e, 'a> {
    Select(u32),
    Set(&'a [u8], &'a [u8], Ttl),
    Del(&'e [&'a [u8]]),
    Append(&'a [u8], &'a [u8]),
    SetRange(&'a [u8], usize, &'a [u8]),
    IncrBy(&'a [u8], i64),
    PExpireAt(&'a [u8], i64),
    Persist(&'a [u8]),
    Rename(&'a [u8], &'a [u8]),
    MSet(&'e [&'a [u8]]),
    FlushDb,
    FlushAll,
    AddSlots(SlotSet),
    DelSlots(SlotSet),
    LoseSlots(SlotSet),
    Epoch(u64, NodeId),
}

/// Reads an effect's arguments, for a keyspace of so many databases.
fn read<'e, 'a>(effect: &'e Effect<'a>, databases: u32) -> Result<Change<'e, 'a>, ApplyError> {
    let op = effect.op;
    let bad = ApplyError::Arguments(op);
    let ranges = |bytes: &[u8]| decode_ranges(bytes).ok_or(bad);
    Ok(match (op, effect.args.as_slice()) {
        (Op::Select, [db]) => {
            let n = parse(db).ok_or(bad)?;
            let db = u32::try_from(n).ok().filter(|db| *db < databases);
            Change::Select(db.ok_or(ApplyError::Database(n))?)
        }
        (Op::Set, [key, value, how @ ..]) => {
            let ttl = match how {
                [] => Ttl::Clear,
                [b"KEEPTTL"] => Ttl::Keep,
                [b"PXAT", ms] => Ttl::At(parse(ms).ok_or(bad)?),
                _ => return Err(bad),
            };
            Change::Set(key, value, ttl)
        }
        (Op::Del, keys @ [_, ..]) => Change::Del(keys),
        (Op::Append, [key, tail]) => Change::Append(key, tail),
        (Op::SetRange, [key, offset, bytes]) => {
            let offset = parse(offset).and_then(|n| u32::try_from(n).ok());
            Change::SetRange(key, offset.ok_or(bad)? as usize, bytes)
        }
        (Op::IncrBy, [key, delta]) => Change::IncrBy(key, parse(delta).ok_or(bad)?),
        (Op::PExpireAt, [key, ms]) => Change::PExpireAt(key, parse(ms).ok_or(bad)?),
        (Op::Persist, [key]) => Change::Persist(key),
        (Op::Rename, [from, to]) => Change::Rename(from, to),
        (Op::MSet, pairs) if !pairs.is_empty() && pairs.len() % 2 == 0 => Change::MSet(pairs),
        (Op::FlushDb, []) => Change::FlushDb,
        (Op::FlushAll, []) => Change::FlushAll,
        (Op::AddSlots, [bytes]) => Change::AddSlots(ranges(bytes)?),
        (Op::DelSlots, [bytes]) => Change::DelSlots(ranges(bytes)?),
        (Op::LoseSlots, [bytes]) => Change::LoseSlots(ranges(bytes)?),
        (Op::Epoch, [epoch, master]) => {
            let epoch: [u8; 8] = (*epoch).try_into().map_err(|_| bad)?;
            let master: [u8; 20] = (*master).try_into().map_err(|_| bad)?;
            Change::Epoch(u64::from_le_bytes(epoch), NodeId(master))
        }
        _ => return Err(bad),
    })
}

/// D6: whether an entry's body can be carried out, as far as its form says; nothing is copied. Of a
/// part of a large unit only the part's own header is looked at.
pub fn check_entry(body: &[u8], databases: u32) -> Result<(), ApplyError> {
    match parse_entry(body)? {
        Body::Empty => Ok(()),
        Body::Units(mut units) => units.try_for_each(|unit| check_unit(unit?, databases)),
        Body::Part(Part { k, n, .. }) if k >= n => Err(CodecError::PartOutOfOrder { k, n }.into()),
        Body::Part(_) => Ok(()),
    }
}

/// The same for one unit.
pub fn check_unit(mut unit: Unit<'_>, databases: u32) -> Result<(), ApplyError> {
    let mut effect = Effect::default();
    while unit.next_into(&mut effect)? {
        read(&effect, databases)?;
    }
    Ok(())
}

fn apply_effect(data: &mut Data, effect: &Effect<'_>) -> Result<(), ApplyError> {
    match read(effect, data.keyspace.databases())? {
        Change::Select(db) => data.select(db),
        Change::Set(key, value, ttl) => data.set(&data.key(key), value, ttl),
        Change::Del(keys) => {
            for key in keys {
                data.delete(&data.key(key));
            }
        }
        Change::Append(key, tail) => {
            data.append(&data.key(key), tail);
        }
        Change::SetRange(key, offset, bytes) => {
            data.set_range(&data.key(key), offset, bytes);
        }
        Change::IncrBy(key, delta) => apply_increment(data, key, delta)?,
        Change::PExpireAt(key, ms) => {
            data.expire_at(&data.key(key), ms);
        }
        Change::Persist(key) => data.persist(&data.key(key)),
        Change::Rename(from, to) => {
            if !data.rename(&data.key(from), &data.key(to)) {
                return Err(ApplyError::Mismatch(Op::Rename));
            }
        }
        Change::MSet(pairs) => data.set_many(pairs),
        Change::FlushDb => data.flush(Some(data.db)),
        Change::FlushAll => data.flush(None),
        Change::AddSlots(slots) => data.add_slots(&slots),
        Change::DelSlots(slots) => data.del_slots(&slots),
        Change::LoseSlots(slots) => {
            data.lose_slots(&slots);
        }
        Change::Epoch(epoch, master) => data.set_epoch(epoch, master),
    }
    Ok(())
}

/// An increment is logged as such (it is the shortest); its outcome is worked out once more.
fn apply_increment(data: &mut Data, key: &[u8], delta: i64) -> Result<(), ApplyError> {
    let key = data.key(key);
    let old = data.with(&key, |entry| match entry.map(|e| number(&e.value())) {
        None => Some(0),
        Some(number) => number,
    });
    let new = old
        .and_then(|old| old.checked_add(delta))
        .ok_or(ApplyError::Mismatch(Op::IncrBy))?;
    data.set_incremented(&key, delta, new);
    Ok(())
}

fn parse(text: &[u8]) -> Option<i64> {
    number(&Value::Bytes(text))
}
