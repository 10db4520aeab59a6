//! How much a command may put into the log, worked out before it runs (D5).
//!
//! Owns: the bounds. A command of one effect needs none: [`StateMachine`](state::StateMachine) refuses the effect
//! before the change, and the command is held. One of several asks for all of them beforehand,
//! since what it has changed can't be taken back. Never: knows how much room there is.
//!
//! Invariant: what a command really puts there is never more than [`of`] says.

use super::spec::Spec;
use resp::args::Args;
pub use state::room::{headers, COMMAND, DELETION, EFFECT, GAIN, RECORD};

/// No command, and no transaction, may put more than this into the log at once.
pub(super) const MOST: usize = 4 << 30;

/// Within a transaction no SPOP puts more than this into the log.
pub(super) const POPPED: usize = 4 << 10;

/// The most digits of a `long double`, with its sign and a fraction.
const LONGEST_FLOAT: usize = 4_960;

/// What the command may put into the log: the deletion of every expired key that it names, its
/// arguments as effects, and what it adds to them.
pub(super) fn of(spec: &Spec, args: Args<'_>) -> usize {
    let len = |index: usize| args.get(index).map_or(0, |arg| arg.len() + DELETION);
    let all = (1..args.len()).map(len).sum::<usize>();
    let mut named = 0;
    let mut add = |index| named += len(index);
    // What names no keys may meet any that is among its arguments, or is refused.
    let expired = match spec.keys(args, &mut add) {
        Ok(()) if spec.has_keys() => named,
        _ => all,
    };
    let effects = if spec.writes() { all } else { 0 };
    let more = spec.effects.map_or(0, |more| more(args));
    let bytes = expired.saturating_add(effects).saturating_add(more);
    bytes.saturating_add(headers(bytes)).saturating_add(COMMAND)
}

/// ADDSLOTS and its like: see [`RECORD`].
pub(super) fn record(_args: Args<'_>) -> usize {
    RECORD
}

/// SETSLOT: a mark that ends, slots, titles and an epoch.
pub(super) fn set_slot(_args: Args<'_>) -> usize {
    4 * RECORD
}

/// ADDSLOTS: see [`GAIN`].
pub(super) fn gain(args: Args<'_>) -> usize {
    RECORD + GAIN * args.len()
}

/// ADDSLOTSRANGE: any number of slots.
pub(super) fn gain_ranges(_args: Args<'_>) -> usize {
    RECORD + GAIN * usize::from(base::slot::SLOT_COUNT)
}

/// INCRBYFLOAT: its effect is the sum, and a short argument may stand for a long one.
pub(super) fn float(_args: Args<'_>) -> usize {
    LONGEST_FLOAT
}

/// Fields that are due are deleted first, by their names or all with one effect.
pub(super) fn fields(args: Args<'_>) -> usize {
    let names = args.iter().map(|arg| arg.len() + DELETION).sum::<usize>();
    names + COMMAND
}

/// HINCRBYFLOAT: as INCRBYFLOAT.
pub(super) fn float_field(args: Args<'_>) -> usize {
    LONGEST_FLOAT + fields(args)
}

/// SPOP: what it has drawn, unless that is more. Then a number stands for it.
pub(super) fn popped(_args: Args<'_>) -> usize {
    POPPED + COMMAND
}

/// Scores and weights: eight bytes each, however short their texts are.
/// GEOADD, which turns three arguments into two, needs no more.
pub(super) fn scores(args: Args<'_>) -> usize {
    9 * args.len()
}

/// What a search that stores may put into a transaction: more of it is refused there.
pub(super) const FOUND: usize = 1 << 20;

/// GEOSEARCHSTORE and its like: what they find is known only when they run.
pub(super) fn found(_args: Args<'_>) -> usize {
    FOUND
}

/// Keys that are deleted together.
pub(super) fn deletions(keys: Args<'_>) -> usize {
    let bytes = keys.iter().map(|key| key.len() + DELETION).sum::<usize>();
    bytes + headers(bytes) + COMMAND
}
