//! Carrying out effects: followers, recovery, rebuild.
//!
//! Owns: the reading of an effect's arguments. Never: decides anything; what an effect does is done
//! by the same functions of [`Data`] that made it on the leader. Invariant: an effect that can't be
//! read, or that the keyspace contradicts, is an error, and the caller must stop: skipping it would
//! let members drift apart.

use super::data::{Access, Data};
use super::string::number;
use crate::cluster::record::decode_ranges;
use crate::effect::{CodecError, Effect, Op, Unit};
use crate::keyspace::{Ttl, Value};
use crate::mutation::{self, Mutation};
use cluster_bus::NodeId;

/// Why a unit can't be applied. The process must not go on with this keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the arguments of the effect {} are not what it takes", .0.command())]
    Arguments(Op),
    #[error("the keyspace is not what the effect {} expects", .0.command())]
    Mismatch(Op),
}

/// Applies a unit of the log, whole.
pub fn apply_unit(data: &mut Data, mut unit: Unit<'_>) -> Result<(), ApplyError> {
    data.begin_command(0, Access::Apply);
    let mut effect = Effect::default();
    let mut result = Ok(());
    while result.is_ok() && unit.next_into(&mut effect)? {
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

fn apply_effect(data: &mut Data, effect: &Effect<'_>) -> Result<(), ApplyError> {
    let op = effect.op;
    let args = effect.args.as_slice();
    let bad = ApplyError::Arguments(op);
    match (op, args) {
        (Op::Select, [db]) => {
            let db = parse(db).and_then(|n| u32::try_from(n).ok()).ok_or(bad)?;
            if db >= data.keyspace.databases() {
                return Err(bad);
            }
            data.select(db);
        }
        (Op::Set, [key, value, how @ ..]) => {
            let ttl = match how {
                [] => Ttl::Clear,
                [b"KEEPTTL"] => Ttl::Keep,
                [b"PXAT", ms] => Ttl::At(parse(ms).ok_or(bad)?),
                _ => return Err(bad),
            };
            data.set(&data.key(key), value, ttl);
        }
        (Op::Del, [_, ..]) => {
            for key in args {
                data.delete(&data.key(key));
            }
        }
        (Op::Append, [key, tail]) => {
            data.append(&data.key(key), tail);
        }
        (Op::SetRange, [key, offset, bytes]) => {
            let offset = parse(offset)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(bad)?;
            data.set_range(&data.key(key), offset, bytes);
        }
        (Op::IncrBy, [key, delta]) => apply_increment(data, key, parse(delta).ok_or(bad)?)?,
        (Op::PExpireAt, [key, ms]) => {
            data.expire_at(&data.key(key), parse(ms).ok_or(bad)?);
        }
        (Op::Persist, [key]) => data.persist(&data.key(key)),
        (Op::Rename, [from, to]) => data.rename(&data.key(from), &data.key(to)),
        (Op::MSet, pairs) if !pairs.is_empty() && pairs.len() % 2 == 0 => data.set_many(pairs),
        (Op::FlushDb, []) => data.flush(Some(data.db)),
        (Op::FlushAll, []) => data.flush(None),
        (Op::AddSlots, [ranges]) => data.add_slots(&decode_ranges(ranges).ok_or(bad)?),
        (Op::DelSlots, [ranges]) => data.del_slots(&decode_ranges(ranges).ok_or(bad)?),
        (Op::LoseSlots, [ranges]) => {
            data.lose_slots(&decode_ranges(ranges).ok_or(bad)?);
        }
        (Op::Epoch, [epoch, master]) => {
            let epoch: [u8; 8] = (*epoch).try_into().map_err(|_| bad)?;
            let master: [u8; 20] = (*master).try_into().map_err(|_| bad)?;
            data.set_epoch(u64::from_le_bytes(epoch), NodeId(master));
        }
        _ => return Err(bad),
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
