//! HyperLogLogs: how many different elements there were, about.
//!
//! Owns: the rows of this family and its commands, and what a change is as an effect. `value` is the form of the string,
//! `dense` and `sparse` are its encodings, `hash` says where an element counts, `estimate` how many there
//! were; `change` looks at keys and logs what has changed, as `patch` says it; `debug` is PFDEBUG and PFSELFTEST. Invariant: the strings are Redis's, to the byte.

mod change;
mod debug;
mod dense;
mod estimate;
mod hash;
mod layout;
mod patch;
mod sparse;
mod value;

use super::dispatch::types_are_read;
use super::env::{Done, Env, Flow, DONE};
use super::error::Error;
use super::pace::Pace;
use super::room;
use super::rows::rows;
use base::events::Classes;
use change::{as_sketch, change};
use keyspace::Scratch;
use layout::{Corrupt, HEADER, REGISTERS};
use resp::args::Args;
use sparse::Mark;
use value::Encoding;

rows! { pub static ROWS: HyperLogLog [HYPERLOGLOG] {
    "pfadd" -2 [WRITE DENYOOM FAST] "2.8.9" key(1 RW INSERT) => pfadd: "Adds elements to a HyperLogLog." .amplifies(raised);
    "pfcount" -2 [READONLY] "2.8.9" keys(1 -1 1 RW ACCESS "RW because it may change the internal representation of the key, and propagate to replicas") => pfcount: "About how many different elements were added to HyperLogLogs." .amplifies(noted);
    "pfdebug" 3 [WRITE DENYOOM ADMIN] "2.8.9" key(2 RW ACCESS) => debug::pfdebug: "For tests: the registers of a HyperLogLog." .amplifies(replaced);
    "pfmerge" -2 [WRITE DENYOOM] "2.8.9" key(1 RW ACCESS INSERT) keys(2 -1 1 RO ACCESS) => pfmerge: "Merges HyperLogLogs into one." .amplifies(replaced);
    "pfselftest" 1 [ADMIN] "2.8.9" => debug::pfselftest: "Tests HyperLogLogs.";
}}

/// A string that is no longer than it has to be has two bytes for a register at most.
const LONGEST: usize = HEADER + 2 * REGISTERS;

/// D5: at the worst all of a string is made anew.
fn replaced(_args: Args<'_>) -> usize {
    LONGEST + room::EFFECT
}

/// D5: and each element adds a piece.
fn raised(args: Args<'_>) -> usize {
    replaced(args) + args.len() * patch::PIECE_BYTES
}

/// D5: what was counted is written as well, so a transaction that counts is one that writes.
fn noted(args: Args<'_>) -> usize {
    args.at(1).len() + 2 * room::EFFECT
}

fn pfadd(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let added = change(env, &key, |sketch, is_new, server| {
        let (mut added, mut pace) = (is_new, Pace::default());
        for element in args.skip(2).iter() {
            let (index, run) = hash::place(element);
            let mut mark = Mark::START;
            added |= sketch
                .raise(index, run, &mut mark)
                .map_err(Corrupt::error)?;
            pace.step(server, element.len() + mark.bytes());
        }
        if added {
            value::set_stale(sketch.value.to_mut());
        }
        Ok(added)
    })?;
    if added {
        env.data.event(Classes::STRING, "pfadd", &key);
    }
    env.reply().int(i64::from(added));
    DONE
}

fn pfcount(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => count_one(env, args.at(1))?,
        _ => {
            let mut registers = [0; REGISTERS];
            merged(env, args, &mut registers)?;
            estimate::of_registers(&registers)
        }
    };
    env.reply().int(count as i64);
    DONE
}

fn count_one(env: &mut Env<'_>, bytes: &[u8]) -> Result<u64, Error> {
    let key = env.data.key(bytes);
    let mut scratch = Scratch::default();
    let (count, is_news) = env.data.with_counted(&key, |entry| {
        let Some(entry) = entry else {
            return Ok((0, false));
        };
        let (value, encoding) = as_sketch(&entry, &mut scratch)?;
        match value::counted(value) {
            Some(count) => Ok((count, false)),
            None => {
                let count = estimate::of_value(value, encoding).map_err(Corrupt::error)?;
                Ok((count, true))
            }
        }
    })?;
    // M9: a member of an older build would stop at the note.
    if is_news && types_are_read(env) {
        env.data.note_count(&key, count);
    }
    Ok(count)
}

/// The greatest value of each register in all the HyperLogLogs; whether one of them is dense.
fn merged(
    env: &mut Env<'_>,
    args: Args<'_>,
    registers: &mut [u8; REGISTERS],
) -> Result<bool, Error> {
    let (mut dense, mut pace) = (false, Pace::default());
    for bytes in args.skip(1).iter() {
        let key = env.data.key(bytes);
        let mut scratch = Scratch::default();
        env.data.with_counted(&key, |entry| {
            let Some(entry) = entry else {
                return Ok(());
            };
            let (value, encoding) = as_sketch(&entry, &mut scratch)?;
            dense |= encoding == Encoding::Dense;
            value::merge(value, encoding, registers).map_err(Corrupt::error)
        })?;
        pace.step(env.server, REGISTERS);
    }
    Ok(dense)
}

fn pfmerge(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut registers = [0; REGISTERS];
    let dense = merged(env, args, &mut registers)?;
    if env.data.footprint().hold {
        return Ok(Flow::Hold); // D5: one has expired, and its deletion has no room
    }
    let key = env.data.key(args.at(1));
    change(env, &key, |sketch, _, server| {
        if dense {
            sketch.make_dense().map_err(Corrupt::error)?;
        }
        let (mut mark, mut pace) = (Mark::START, Pace::default());
        for (index, register) in registers.iter().enumerate() {
            if *register > 0 {
                sketch
                    .raise(index, *register, &mut mark)
                    .map_err(Corrupt::error)?;
                pace.step(server, 0);
            }
        }
        value::set_stale(sketch.value.to_mut());
        Ok(true)
    })?;
    env.data.event(Classes::STRING, "pfadd", &key);
    env.reply().ok();
    DONE
}
