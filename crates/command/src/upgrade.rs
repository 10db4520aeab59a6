//! Whether the log may say what a build before slots could move can't read (M9).
//!
//! Owns the moment at which a shard begins to say it: with the first mark, lend or title, when the nodes of
//! all its members have said that they can. Never: asks a node.

use super::env::Env;
use super::error::Error;
use base::ShardId;
use topology::features::SLOTS_MOVE;

/// Room for what is said beside it: a mark or a hand-over.
const BESIDE: usize = 4 * state::room::COMMAND;

/// To be asked before a command logs such a thing, of which `bytes` are its own. `with`: the shard that has to be able to, too.
/// False: the command is held, since a node that has just started has not said what it can do.
pub fn are_upgraded(env: &mut Env<'_>, with: Option<ShardId>, bytes: usize) -> Result<bool, Error> {
    let may = may_be_said(env, with, bytes)?;
    if may {
        note(env);
    }
    Ok(may)
}

/// The same, with nothing logged yet: for a command that may be held afterwards.
pub fn may_be_said(env: &mut Env<'_>, with: Option<ShardId>, bytes: usize) -> Result<bool, Error> {
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    if !cluster.can_move(with) {
        return match env.overdue {
            true => Err(Error::NOT_UPGRADED),
            false => Ok(false),
        };
    }
    Ok(env.data.room_for(bytes + BESIDE))
}

/// The same for what can be left out, when there is room. False: it has to be.
pub fn can_say(env: &mut Env<'_>) -> bool {
    let mut cluster = env.server.cluster();
    let can = cluster.as_mut().is_some_and(|c| c.can_move(None));
    if can {
        note(env);
    }
    can
}

/// From here on no older build becomes a member.
fn note(env: &mut Env<'_>) {
    if env.data.record().moves.features & SLOTS_MOVE == 0 {
        env.data.set_features(SLOTS_MOVE);
    }
}
