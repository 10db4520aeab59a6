//! What commands share that wait for a value: for how long, and what they come to where there is none.
//!
//! Owns: the time as clients write it, the keys that a client waits for. Never: wakes a client (that is the server's):
//! a command that waited runs again as if it had just come. Invariant: such a command has changed nothing before it
//! waits.

use super::env::{Block, BlockKind, Done, Env, Flow, DONE};
use super::error::Error;
use super::long_double::LongDouble;
use keyspace::Kind;
use std::time::Duration;

/// How long a client waits, in seconds with a fraction; none: for ever.
pub(super) fn seconds(env: &Env<'_>, text: &[u8]) -> Result<Option<Duration>, Error> {
    let seconds = LongDouble::parse(text).ok_or(Error::NOT_A_FLOAT_TIMEOUT)?;
    let negative = text.first() == Some(&b'-');
    match seconds.ceil_of_thousandths() {
        // Redis makes it the least integer.
        None if negative => Err(Error::NEGATIVE_TIMEOUT),
        None => Err(Error::TIMEOUT_OUT_OF_RANGE),
        Some(ms) => patience(env, ms),
    }
}

/// The same in milliseconds.
pub(super) fn patience(env: &Env<'_>, ms: i64) -> Result<Option<Duration>, Error> {
    if ms < 0 {
        return Err(Error::NEGATIVE_TIMEOUT);
    }
    if ms > 0 && ms.checked_add(env.now.unix_ms).is_none() {
        return Err(Error::TIMEOUT_OUT_OF_RANGE);
    }
    Ok((ms > 0).then(|| Duration::from_millis(ms.unsigned_abs())))
}

/// No key has a value of this kind: the client waits. Where nothing may wait, and for all that wait in vain, the reply is
/// a null array.
pub(super) fn wait_for(
    env: &mut Env<'_>,
    keys: &[&[u8]],
    kind: Kind,
    timeout: Option<Duration>,
) -> Done {
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    if env.session.time_is_over || env.session.deny_blocking {
        env.reply().null_array();
        return DONE;
    }
    let keys = keys.iter().map(|key| (*key).into()).collect();
    Ok(Flow::Block(Block {
        kind: BlockKind::Keys { keys, kind },
        timeout,
    }))
}
