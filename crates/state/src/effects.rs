//! The table of effects: what each number in the log is and does.
//!
//! Owns: the form of a row, and the table that all types' rows make. Never: reads an effect's bytes
//! (the type's file does). Invariant: a number stands for one effect; two rows that share one do not
//! compile.

use super::apply::ApplyError;
use super::{
    bitmap, expire, hash, hyperloglog, key, lend, list, marks, payload, record, set, sort, string,
    titles, zset, StateMachine,
};
use effect::Op;

/// One effect: an element of the `EFFECTS` of the type that it changes.
pub struct EffectSpec {
    pub op: Op,
    /// The Redis command whose arguments it has, in the one form that its row gives; those of the
    /// record have no such command.
    pub name: &'static str,
    /// D6: whether the arguments are what it takes; nothing is looked at but them.
    pub check: fn(&[&[u8]]) -> bool,
    /// T9: told the bytes of each step of what may take long.
    pub apply: Apply,
}

pub type Apply = fn(&mut StateMachine, &[&[u8]], &mut dyn FnMut(usize)) -> Result<(), ApplyError>;

/// The effects of a type, one line each: number, name in code, the command, then the function that
/// reads the arguments (`None`: they are not what it takes) and the one that carries them out, which is
/// the one that the leader ran. One that may take long stands behind `breathing`, and is given the pace that it tells of
/// its steps (T9); one of which already the reading takes long behind `reading`, and is given the arguments themselves.
macro_rules! effects {
    ($($(#[$form:meta])* $number:literal $op:ident $name:literal: $read:expr $(=> $apply:expr)? $(, breathing $long:expr)? $(, reading $reads:expr)?;)+) => {
        $($(#[$form])* pub const $op: ::effect::Op = ::effect::Op::numbered($number);)+

        pub(super) const EFFECTS: &[$crate::effects::EffectSpec] = &[
            $($crate::effects::EffectSpec {
                op: $op,
                name: $name,
                check: |args| $read(args).is_some(),
                apply: |state, args, pace| {
                    let unread = Err($crate::apply::ApplyError::Arguments($op));
                    $(let _ = pace; $read(args).map_or(unread, |read| $apply(state, read)))?
                    $($read(args).map_or(unread, |read| $long(state, read, pace)))?
                    $($reads(state, args, pace).unwrap_or(unread))?
                },
            },)+
        ];
    };
}
pub(super) use effects;

/// The types of keys; a new one adds its line.
const TYPES: &[&[EffectSpec]] = &[
    payload::EFFECTS,
    key::EFFECTS,
    expire::EFFECTS,
    string::EFFECTS,
    hash::EFFECTS,
    set::EFFECTS,
    list::EFFECTS,
    sort::EFFECTS,
    zset::EFFECTS,
    bitmap::EFFECTS,
    hyperloglog::EFFECTS,
];

/// What changes the record.
const RECORD: &[&[EffectSpec]] = &[
    record::EFFECTS,
    marks::EFFECTS,
    lend::EFFECTS,
    titles::EFFECTS,
];

static BY_NUMBER: [Option<&EffectSpec>; 256] = by_number(by_number([None; 256], TYPES), RECORD);
static OF_RECORD: [Option<&EffectSpec>; 256] = by_number([None; 256], RECORD);

const fn by_number(
    mut table: [Option<&'static EffectSpec>; 256],
    types: &[&'static [EffectSpec]],
) -> [Option<&'static EffectSpec>; 256] {
    let mut of = 0;
    while of < types.len() {
        let rows = types[of];
        let mut row = 0;
        while row < rows.len() {
            let number = rows[row].op.number();
            assert!(number > Op::SELECT.number(), "0 is none, 1 is SELECT");
            assert!(
                table[number as usize].is_none(),
                "a number stands for one effect"
            );
            table[number as usize] = Some(&rows[row]);
            row += 1;
        }
        of += 1;
    }
    table
}

/// The effect with this number, if this version knows it. SELECT has no row: it is the unit's own.
pub fn find(op: Op) -> Option<&'static EffectSpec> {
    BY_NUMBER[usize::from(op.number())]
}

/// Whether the effect changes the record.
pub(super) fn is_of_record(op: Op) -> bool {
    OF_RECORD[usize::from(op.number())].is_some()
}

/// P22: whether the effect changes the record and never a key.
pub(super) fn leaves_keys(op: Op) -> bool {
    record::EFFECTS.iter().any(|row| row.op == op)
}

/// D5: whether the effect only frees memory.
pub(super) fn frees(op: Op) -> bool {
    [
        key::DEL,
        key::FLUSHDB,
        key::FLUSHALL,
        hash::HDEL,
        hash::HDELDUE,
        set::SREM,
        set::SPOP,
        list::LISTPOP,
        list::LREM,
        list::LTRIM,
    ]
    .contains(&op)
}

/// What logs and errors call the effect.
pub fn name(op: Op) -> &'static str {
    match find(op) {
        Some(spec) => spec.name,
        None if op == Op::SELECT => "SELECT",
        None => "of an unknown number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released numbers: a log that has them must be read by every later version.
    #[test]
    fn released_numbers_keep_their_meaning() {
        let rows: Vec<(u8, &str)> = BY_NUMBER
            .iter()
            .flatten()
            .map(|row| (row.op.number(), row.name))
            .collect();
        let released = [
            (2, "SET"),
            (3, "DEL"),
            (4, "APPEND"),
            (5, "SETRANGE"),
            (6, "INCRBY"),
            (7, "PEXPIREAT"),
            (8, "PERSIST"),
            (9, "RENAME"),
            (10, "MSET"),
            (11, "FLUSHDB"),
            (12, "FLUSHALL"),
            (13, "CLUSTER ADDSLOTS"),
            (14, "CLUSTER DELSLOTS"),
            (15, "the loss of slots"),
            (16, "the epoch"),
            (18, "the mark of an importing slot"),
            (19, "the mark of a migrating slot"),
            (20, "the binding of a mark"),
            (21, "the lending of keys"),
            (22, "the end of a lend"),
            (23, "the return of a lend"),
            (24, "the refusal of a lend"),
            (26, "the hand-over of a slot"),
            (27, "the taking over of a slot"),
            (28, "the end of a hand-over"),
            (29, "the turning back of a slot"),
            (30, "the sending back of a slot"),
            (31, "the end of an importing mark"),
            (32, "the end of a migrating mark"),
            (33, "the receipt of a lend"),
            (34, "the titles of slots"),
            (35, "the taking back of a slot"),
            (36, "what all members can do"),
            (37, "RESTORE"),
            (40, "SETBIT"),
            (41, "BITFIELD"),
            (42, "BITOP"),
            (43, "PFADD"),
            (44, "PFCOUNT"),
            (45, "COPY"),
            (46, "MOVE"),
            (47, "SWAPDB"),
            (50, "HSET"),
            (51, "HDEL"),
            (52, "HPEXPIREAT"),
            (53, "HPERSIST"),
            (54, "the deletion of due fields"),
            (55, "the pushing of elements"),
            (56, "the popping of elements"),
            (57, "LMOVE"),
            (58, "LSET"),
            (59, "LINSERT"),
            (60, "LREM"),
            (61, "LTRIM"),
            (62, "the storing of sorted elements"),
            (65, "SADD"),
            (66, "SREM"),
            (67, "SMOVE"),
            (68, "the storing of combined sets"),
            (69, "the removal of drawn members"),
            (70, "ZADD"),
            (71, "ZINCRBY"),
            (72, "ZREM"),
            (73, "ZPOP"),
            (74, "ZREMRANGE"),
            (75, "ZSTORE"),
            (76, "ZRANGESTORE"),
            (77, "ZREPLACE"),
        ];
        assert_eq!(rows, released);
        assert_eq!((Op::SELECT.number(), name(Op::SELECT)), (1, "SELECT"));
        assert!(find(Op::numbered(0)).is_none() && find(Op::SELECT).is_none());
    }
}
