//! What DEBUG may look at.
//!
//! Owns: the right by which its subcommands look at data, and whether they look now. Never: looks.

use super::super::env::{Done, Env, Flow, Serving};
use super::super::error::Error;
use state::{Access, Ownership};

/// Nothing happens now; the command runs again later, with the whole EXEC if it is in one.
pub(super) fn held(env: &mut Env<'_>) -> Done {
    env.data.hold();
    Ok(Flow::Hold)
}

/// Gives DEBUG the right to look at data; false: nobody knows at the moment what the data is.
pub(super) fn may_look(env: &mut Env<'_>) -> Result<bool, Error> {
    match env.serving {
        Serving::Lead { .. } => Ok(true),
        Serving::Hold => Ok(false),
        Serving::Redirect { .. } | Serving::Down => {
            env.data.set_access(Access::Replica);
            Ok(true)
        }
        // Half a keyspace has no digest.
        Serving::Loading { .. } => Err(Error::LOADING),
    }
}

/// S1: whether the own shard serves the slot; all of them outside a cluster.
pub(super) fn serves(env: &Env<'_>, slot: u16) -> bool {
    !env.data.is_cluster() || env.data.ownership(slot) == Ownership::Owned
}
