//! Admission while the keyspace is being loaded ([`Serving::Loading`]).
//!
//! Owns: the last check of admission, in Redis's order: what a member that follows refuses, then what needs a
//! loaded keyspace. Never: loads anything, knows how far that is (INFO does). Invariants: what needs the
//! keyspace is refused at once, not held: a load may take minutes; what runs all the same waits for no lease.

use super::env::{Env, Serving};
use super::error::Error;
use super::session::Queued;
use super::spec::{flags, Role, Spec};
use state::Access;

pub fn check(env: &mut Env<'_>, spec: &Spec) -> Result<(), Error> {
    let Serving::Loading { addr } = env.serving else {
        return Ok(());
    };
    env.data.set_access(Access::Replica);
    // C1: a reset that has begun is finished: an error would say that it was not done.
    if env.session.waits_for_reset.is_some() || env.session.has_reset {
        return Ok(());
    }
    if addr.is_some() && any(env, spec, |spec| spec.flags.has(flags![WRITE])) {
        return Err(Error::READ_ONLY_REPLICA);
    }
    match any(env, spec, |spec| !spec.flags.has(flags![LOADING])) {
        true => Err(Error::LOADING),
        false => Ok(()),
    }
}

/// Whether it holds for the command; EXEC stands for its queue as well.
fn any(env: &Env<'_>, spec: &Spec, holds: impl Fn(&Spec) -> bool) -> bool {
    let queue = &env.session.transaction.queue;
    let queued = |queued: &Queued| holds(env.commands.command(queued.command).spec);
    holds(spec) || (spec.role == Role::Exec && queue.iter().any(queued))
}
