//! Running a handler, and counting that it ran.
//!
//! Owns: [`call`], which the dispatcher and EXEC use. Never: asks whether the command may run (that is
//! `dispatch`). Invariant: a command that is held, or waits for keys, is not counted: it runs again.

use super::env::{Command, Done, Env, Flow};
use resp::args::Args;

pub(super) fn call(env: &mut Env<'_>, command: &'static Command, args: Args<'_>) -> Done {
    let weight = env.server.stats_mut().of(command.id).weight();
    let begun = weight.map(|_| env.server.now());
    let result = (command.run)(env, args);
    let goes_on = |flow: &Flow| flow.is_held() || flow.waits_for_keys();
    if result.as_ref().is_ok_and(goes_on) || env.data.footprint().hold {
        return result;
    }
    let ended = begun.map(|_| env.server.now());
    let stats = env.server.stats_mut();
    stats.commands_processed += 1;
    let of = stats.of(command.id);
    of.calls += 1;
    of.failed += u64::from(result.is_err());
    if let (Some(weight), Some(begun), Some(ended)) = (weight, begun, ended) {
        // A client that waits is not what a command costs.
        let track = env.server.config().latency_tracking && !matches!(result, Ok(Flow::Block(_)));
        let took = ended.mono.since(begun.mono);
        env.server
            .stats_mut()
            .timed(command.id, took, weight, track);
    }
    result
}
