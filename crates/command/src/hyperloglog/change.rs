//! Looking at the HyperLogLog of a key, and changing it.

use super::patch;
use super::value::{self, Changing, Encoding};
use crate::api::ServerApi;
use crate::env::Env;
use crate::error::Error;
use crate::values::as_string;
use keyspace::{Entry, Key, Scratch};

/// The string of a key that has to be a HyperLogLog.
pub fn as_sketch<'a>(
    entry: &Entry<'a>,
    scratch: &'a mut Scratch,
) -> Result<(&'a [u8], Encoding), Error> {
    let value = as_string(entry)?.text(scratch);
    let encoding = value::encoding(value).ok_or(Error::HLL_INVALID)?;
    Ok((value, encoding))
}

/// Has `change` change the HyperLogLog of a key, or an empty one where there is none, and logs what comes of
/// it. `change` is told whether it is new, and says whether it has changed anything; so does this.
pub fn change(
    env: &mut Env<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Changing<'_>, bool, &mut dyn ServerApi) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let limit = env.server.config().hll_sparse_max_bytes;
    let server = &mut *env.server;
    let mut scratch = Scratch::default();
    let patch = env.data.with(key, |entry| {
        let old = match &entry {
            None => None,
            Some(entry) => Some(as_sketch(entry, &mut scratch)?),
        };
        let mut changing = Changing::of(old, limit);
        let changed = change(&mut changing, old.is_none(), server)?;
        Ok(changed.then(|| patch::between(old.map(|old| old.0), &changing.value)))
    })?;
    if let Some(patch) = &patch {
        env.data.set_sketch(key, &patch.sketch());
    }
    Ok(patch.is_some())
}
