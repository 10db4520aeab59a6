//! Carrying out effects: followers, recovery, rebuild.
//!
//! Owns: the way through an entry's units and effects. Never: decides anything; what an effect does is
//! done by the same functions of [`StateMachine`] that made it on the leader. Invariant: an effect that
//! can't be read, or that the keyspace contradicts, is an error, and the caller must stop: skipping it
//! would let members drift apart.

use super::breath::Pacer;
use super::core::{Access, StateMachine};
use super::effects::{self, name};
use base::mutation::{self, Mutation};
use base::number::parse_i64;
use effect::{parse_entry, Body, CodecError, Effect, Op, Part, Unit};

/// Why a unit can't be applied. The process must not go on with this keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the effect's opcode {} is not known to this version", .0.number())]
    Unknown(Op),
    #[error("the arguments of the effect {} are not what it takes", name(*.0))]
    Arguments(Op),
    #[error("there is no database {0}")]
    Database(i64),
    #[error("the keyspace is not what the effect {} expects", name(*.0))]
    Mismatch(Op),
}

/// What a unit makes of the record; its keys are left. For a state machine whose keyspace is empty.
pub fn apply_record(state: &mut StateMachine, mut unit: Unit<'_>) -> Result<(), ApplyError> {
    let mut effect = Effect::default();
    while unit.next_into(&mut effect)? {
        if !effects::is_of_record(effect.op) {
            continue;
        }
        state.begin_command(0, Access::Record);
        let result = apply_effect(state, &effect, &mut |_| {});
        state.end_command();
        state.set_access(Access::Lead);
        result?;
    }
    Ok(())
}

/// Applies a unit of the log, whole.
///
/// T9: one effect of a few bytes can take seconds. `breathe` is called between effects and within one, as `pacer` has it.
pub fn apply_unit(
    state: &mut StateMachine,
    mut unit: Unit<'_>,
    pacer: &mut Pacer,
    breathe: &mut dyn FnMut(),
) -> Result<(), ApplyError> {
    state.begin_command(0, Access::Apply);
    let mut effect = Effect::default();
    let mut result = Ok(());
    let mut pace = |bytes: usize| pacer.step(bytes, breathe);
    while result.is_ok() && unit.next_into(&mut effect)? {
        pace(effect.args.iter().map(|arg| arg.len()).sum());
        result = match mutation::is(Mutation::ApplyDoesNotBreathe) {
            true => apply_effect(state, &effect, &mut |_| {}),
            false => apply_effect(state, &effect, &mut pace),
        };
        if mutation::is(Mutation::ApplyPartOfUnit) {
            break;
        }
    }
    let footprint = state.end_command();
    assert!(!footprint.wrote, "apply emits nothing");
    state.set_access(Access::Lead);
    result
}

fn apply_effect(
    state: &mut StateMachine,
    effect: &Effect<'_>,
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    match effects::find(effect.op) {
        Some(spec) => (spec.apply)(state, &effect.args, pace),
        None => {
            let db = database(effect, state.keyspace().databases())?;
            state.select(db);
            Ok(())
        }
    }
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

/// P22: whether an entry's body says anything of keys; a part of a large unit always does. What changes the record
/// and no key is no such effect.
pub fn has_key_effects(body: &[u8]) -> Result<bool, CodecError> {
    let mut effect = Effect::default();
    match parse_entry(body)? {
        Body::Empty => Ok(false),
        Body::Part(_) => Ok(true),
        Body::Units(units) => {
            for unit in units {
                let mut unit = unit?;
                while unit.next_into(&mut effect)? {
                    if effect.op != Op::SELECT && !effects::leaves_keys(effect.op) {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        }
    }
}

/// D5: whether the entry's effects only free memory. A part of a large unit does not say so of itself.
pub fn only_frees(body: &[u8]) -> bool {
    let Ok(Body::Units(mut units)) = parse_entry(body) else {
        return false;
    };
    units.all(|unit| unit.is_ok_and(unit_only_frees))
}

fn unit_only_frees(mut unit: Unit<'_>) -> bool {
    let mut effect = Effect::default();
    loop {
        match unit.next_into(&mut effect) {
            Ok(true) if effect.op == Op::SELECT || effects::frees(effect.op) => {}
            Ok(false) => return true,
            Ok(true) | Err(_) => return false,
        }
    }
}

/// Whether one unit can be carried out, as [`check_entry`] says.
pub fn check_unit(mut unit: Unit<'_>, databases: u32) -> Result<(), ApplyError> {
    let mut effect = Effect::default();
    while unit.next_into(&mut effect)? {
        match effects::find(effect.op) {
            Some(spec) if (spec.check)(&effect.args) => {}
            Some(spec) => return Err(ApplyError::Arguments(spec.op)),
            None => {
                database(&effect, databases)?;
            }
        }
    }
    Ok(())
}

/// The database that a SELECT names; any other effect without a row is unknown.
fn database(effect: &Effect<'_>, databases: u32) -> Result<u32, ApplyError> {
    let (Op::SELECT, args) = (effect.op, effect.args.as_slice()) else {
        return Err(ApplyError::Unknown(effect.op));
    };
    let [text] = args else {
        return Err(ApplyError::Arguments(Op::SELECT));
    };
    let n = parse_i64(text).ok_or(ApplyError::Arguments(Op::SELECT))?;
    let db = u32::try_from(n).ok().filter(|db| *db < databases);
    db.ok_or(ApplyError::Database(n))
}
