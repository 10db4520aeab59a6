//! What entries of a log do, in words.
//!
//! Owns the lines. The entries are read by the decoders of the log (`effect`), and named by the table of effects
//! (`state::effects`). Total: what can't be read is said.

use super::words::{bytes, moment, quoted, slots, KEY_SHOWN, VALUE_SHOWN};
use effect::{parse_entry, Body, CodecError, Effect, Op, Staged, Stager, Unit};
use raft::eraftpb::{Entry, EntryType};
use state::{effects, op};
use std::io::{self, Write};
use topology::record::decode_ranges;

/// So many arguments of one effect are shown.
const ARGUMENTS: usize = 20;

/// Puts the parts of large units together as it goes on.
#[derive(Default)]
pub struct Speaker {
    stager: Stager,
}

impl Speaker {
    /// Entries have to come in order.
    pub fn entry(&mut self, entry: &Entry, committed: bool, out: &mut dyn Write) -> io::Result<()> {
        let open = if committed {
            ""
        } else {
            ", not known to be committed"
        };
        write!(
            out,
            "  entry {} of term {}{open}: ",
            entry.index, entry.term
        )?;
        if entry.entry_type != EntryType::EntryNormal {
            return writeln!(out, "a change of members");
        }
        let body = match parse_entry(&entry.data) {
            Ok(body) => body,
            Err(why) => return writeln!(out, "can't be read: {why}"),
        };
        let said = match &body {
            Body::Empty => "empty: a new leader's first".to_owned(),
            Body::Units(_) => bytes(entry.data.len() as u64),
            Body::Part(part) => {
                let size = bytes(part.bytes.len() as u64);
                let number = u64::from(part.k) + 1;
                format!("part {number} of {} of a large unit, {size}", part.n)
            }
        };
        writeln!(out, "{said}")?;
        match self.stager.take(entry.term, body) {
            Err(CodecError::PartOutOfOrder { .. }) => writeln!(out, "    void: no part before it"),
            Err(why) => writeln!(out, "    can't be read: {why}"),
            Ok(Staged::Nothing) => Ok(()),
            Ok(Staged::Units(units)) => {
                for unit in units {
                    match unit {
                        Ok(unit) => say_unit(unit, out)?,
                        Err(why) => writeln!(out, "    can't be read: {why}")?,
                    }
                }
                Ok(())
            }
            Ok(Staged::Whole(body)) => say_unit(Unit::new(&body), out),
        }
    }
}

fn say_unit(mut unit: Unit<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut effect = Effect::default();
    let mut is_first = true;
    loop {
        match unit.next_into(&mut effect) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let mark = if is_first { '-' } else { ' ' };
                writeln!(out, "    {mark} {}", in_words(&effect))?;
                is_first = false;
            }
            Err(why) => return writeln!(out, "      can't be read: {why}"),
        }
    }
}

/// One effect.
pub fn in_words(effect: &Effect<'_>) -> String {
    let args = &effect.args[..];
    let name = match effects::find(effect.op) {
        None if effect.op != Op::SELECT => {
            let number = effect.op.number();
            return format!(
                "effect {number}, which this build does not know: {}",
                plain(args)
            );
        }
        _ => effects::name(effect.op),
    };
    let rest = match (effect.op, args) {
        (op::SET, [key, value]) => format!("{} {}", a_key(key), a_value(value)),
        (op::SET, [key, value, b"PXAT", ms]) => {
            format!("{} {}, expires at {}", a_key(key), a_value(value), at(ms))
        }
        (op::SET, [key, value, b"KEEPTTL"]) => {
            format!("{} {}, its expiry stays", a_key(key), a_value(value))
        }
        (op::APPEND, [key, value]) => format!("{} {}", a_key(key), a_value(value)),
        (op::SETRANGE, [key, offset, value]) => {
            let offset = String::from_utf8_lossy(offset);
            format!("{} at {offset} {}", a_key(key), a_value(value))
        }
        (op::PEXPIREAT, [key, ms]) => format!("{} {}", a_key(key), at(ms)),
        (op::MSET, pairs) => pairs_of(pairs),
        (op::ADD_SLOTS | op::DEL_SLOTS | op::LOSE_SLOTS, [ranges]) => {
            decode_ranges(ranges).map_or_else(|| plain(args), |set| slots(&set.ranges()))
        }
        (op::EPOCH, [epoch, node]) => match <[u8; 8]>::try_from(*epoch) {
            Ok(epoch) => format!("{}, master {}", u64::from_le_bytes(epoch), hex(node)),
            Err(_) => plain(args),
        },
        _ if (18..=35).contains(&effect.op.number()) => of_slots(args),
        _ => plain(args),
    };
    match rest.is_empty() {
        true => name.to_owned(),
        false => format!("{name} {rest}"),
    }
}

fn a_key(key: &[u8]) -> String {
    quoted(key, KEY_SHOWN)
}

fn a_value(value: &[u8]) -> String {
    format!(
        "{} ({})",
        quoted(value, VALUE_SHOWN),
        bytes(value.len() as u64)
    )
}

/// Milliseconds since 1970, as they stand there and as a moment.
fn at(ms: &[u8]) -> String {
    let text = String::from_utf8_lossy(&ms[..ms.len().min(VALUE_SHOWN)]);
    let known = text.parse::<i64>().ok();
    known.map_or(quoted(ms, VALUE_SHOWN), |ms| {
        format!("{text} ({})", moment(ms.div_euclid(1000)))
    })
}

fn pairs_of(pairs: &[&[u8]]) -> String {
    let pair = |pair: &[&[u8]]| match pair {
        [key, value] => format!("{} {}", a_key(key), a_value(value)),
        _ => plain(pair),
    };
    let shown: Vec<String> = pairs.chunks(2).take(ARGUMENTS).map(pair).collect();
    shown.join(", ") + &more(pairs.len().div_ceil(2), ARGUMENTS)
}

fn plain(args: &[&[u8]]) -> String {
    let shown = args
        .iter()
        .take(ARGUMENTS)
        .map(|arg| quoted(arg, VALUE_SHOWN));
    shown.collect::<Vec<String>>().join(" ") + &more(args.len(), ARGUMENTS)
}

/// Arguments that are numbers and ids; two bytes are a slot.
fn of_slots(args: &[&[u8]]) -> String {
    let one = |arg: &&[u8]| match **arg {
        [low, high] => format!("slot {}", u16::from_le_bytes([low, high])),
        [] => "none".to_owned(),
        _ => hex(arg),
    };
    let shown: Vec<String> = args.iter().take(ARGUMENTS).map(one).collect();
    shown.join(" ") + &more(args.len(), ARGUMENTS)
}

fn hex(arg: &[u8]) -> String {
    let shown = state::save::hex(&arg[..arg.len().min(KEY_SHOWN)]);
    match arg.len() > KEY_SHOWN {
        true => format!("{shown}... ({})", bytes(arg.len() as u64)),
        false => shown,
    }
}

fn more(all: usize, shown: usize) -> String {
    match all.checked_sub(shown) {
        Some(more) if more > 0 => format!(" and {more} more"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_have_words_and_values_are_cut() {
        let long = [b'v'; 100];
        let table: [(Op, &[&[u8]], &str); 8] = [
            (op::SET, &[b"k", b"v"], r#"SET "k" "v" (1 byte)"#),
            (
                op::SET,
                &[b"k\0", b"v", b"PXAT", b"1735689599000"],
                r#"SET "k\x00" "v" (1 byte), expires at 1735689599000 (2024-12-31 23:59:59 UTC)"#,
            ),
            (
                op::APPEND,
                &[b"k", &long],
                r#"APPEND "k" "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"... (100 bytes)"#,
            ),
            (
                op::MSET,
                &[b"a", b"1", b"b", b"22"],
                r#"MSET "a" "1" (1 byte), "b" "22" (2 bytes)"#,
            ),
            (op::FLUSHALL, &[], "FLUSHALL"),
            (
                op::ADD_SLOTS,
                &[&[1, 0, 3, 0]],
                "CLUSTER ADDSLOTS 3 slots (1-3)",
            ),
            (
                op::MARK_END,
                &[&[7, 0]],
                "the end of a migrating mark slot 7",
            ),
            (
                Op::numbered(99),
                &[b"x"],
                r#"effect 99, which this build does not know: "x""#,
            ),
        ];
        for (op, args, text) in table {
            let args = args.to_vec();
            assert_eq!(in_words(&Effect { op, args }), text);
        }
    }
}
