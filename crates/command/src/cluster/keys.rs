//! Keys and slots: KEYSLOT, COUNTKEYSINSLOT, GETKEYSINSLOT.
//!
//! Owns: these three. As in Redis a key that has expired and is not deleted yet counts. T3: the
//! last two show data without naming keys. Never: changes anything.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::shared::host;
use cluster_bus::slot::{key_slot, SLOT_COUNT};
use resp::args::Args;
use resp::number::parse_i64;

pub fn keyslot(env: &mut Env<'_>, args: Args<'_>) -> Done {
    host(env)?;
    env.reply().int(key_slot(&args[2]).into());
    DONE
}

/// A number that is a slot, or none; an error if it is no number.
fn slot(text: &[u8]) -> Result<Option<u16>, Error> {
    let number = parse_i64(text).ok_or(Error::NOT_AN_INTEGER)?;
    let slot = u16::try_from(number).ok();
    Ok(slot.filter(|slot| *slot < SLOT_COUNT))
}

pub fn countkeysinslot(env: &mut Env<'_>, args: Args<'_>) -> Done {
    host(env)?;
    let slot = slot(&args[2])?.ok_or(Error::INVALID_SLOT)?;
    env.data.depends_on_all();
    // M23: what has come of a slot that is still another shard's is that one's to count.
    let count = match env.data.imports_clean(slot) {
        true => 0,
        false => env.data.keyspace().count_in_slot(slot),
    };
    env.reply()
        .int(i64::try_from(count).expect("a count of keys fits an i64"));
    DONE
}

pub fn getkeysinslot(env: &mut Env<'_>, args: Args<'_>) -> Done {
    host(env)?;
    let slot = slot(&args[2])?;
    let limit = parse_i64(&args[3]).ok_or(Error::NOT_AN_INTEGER)?;
    let (Some(slot), Ok(limit)) = (slot, usize::try_from(limit)) else {
        return Err(Error::INVALID_SLOT_OR_COUNT);
    };
    let (data, mut reply) = env.parts();
    data.depend_on(slot);
    let header = reply.deferred();
    let mut count = 0;
    // M23: a key that is lent is not offered twice, nor one that is another shard's to move.
    let limit = if data.imports_clean(slot) { 0 } else { limit };
    let visited = limit.saturating_add(data.lent_in(slot));
    data.keyspace().keys_in_slot(slot, visited, &mut |entry| {
        if count < limit && data.frozen(entry.key()).is_none() {
            reply.bulk(entry.key());
            count += 1;
        }
    });
    reply.set_array(header, count);
    DONE
}
