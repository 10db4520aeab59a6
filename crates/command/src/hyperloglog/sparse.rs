//! Registers as runs: `00zzzzzz` is 1 to 64 zeros, `01zzzzzz zzzzzzzz` 1 to 16,384 zeros, `1vvvvvll` 1 to 4
//! registers of the value 1 to 32.
//!
//! Owns: reading runs, and raising a register as Redis does it, to the byte: which runs are split, and which
//! are joined again.

use super::layout::{Corrupt, HEADER, REGISTERS};
use std::borrow::Cow;

/// All registers at zero.
pub const NOTHING: [u8; 2] = [0x7F, 0xFF];

const VALUE: u8 = 0x80;
const MANY_ZEROS: u8 = 0x40;
const MOST_FEW_ZEROS: usize = 64;
const MOST_OF_VALUE: usize = 4;
const GREATEST: u8 = 32;

/// Registers that have the same value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    /// In one byte.
    Few(usize),
    /// In two.
    Many(usize),
    Value(u8, usize),
}

impl Run {
    /// The run that begins there. Behind the last byte there is a zero, as in C.
    fn at(bytes: &[u8], at: usize) -> Run {
        let byte = bytes[at];
        if byte & VALUE != 0 {
            return Run::Value((byte >> 2 & 0x1F) + 1, usize::from(byte & 3) + 1);
        }
        let low = usize::from(byte & 0x3F);
        match byte & MANY_ZEROS {
            0 => Run::Few(low + 1),
            _ => {
                let next = bytes.get(at + 1).copied().unwrap_or(0);
                Run::Many((low << 8 | usize::from(next)) + 1)
            }
        }
    }

    /// Registers.
    fn len(self) -> usize {
        match self {
            Run::Few(len) | Run::Many(len) | Run::Value(_, len) => len,
        }
    }

    /// Bytes.
    fn width(self) -> usize {
        match self {
            Run::Many(_) => 2,
            Run::Few(_) | Run::Value(..) => 1,
        }
    }
}

/// Adds so many zeros, if any.
fn push_zeros(bytes: &mut Vec<u8>, len: usize) {
    match len {
        0 => {}
        1..=MOST_FEW_ZEROS => bytes.push((len - 1) as u8),
        _ => {
            let [high, low] = ((len - 1) as u16).to_be_bytes();
            bytes.extend([high | MANY_ZEROS, low]);
        }
    }
}

/// Adds so many registers of a value, if any.
fn push_value(bytes: &mut Vec<u8>, value: u8, len: usize) {
    if len > 0 {
        bytes.push(VALUE | (value - 1) << 2 | (len - 1) as u8);
    }
}

/// Calls `see` with each register above zero; `body` is what follows the header.
pub fn for_each_set(body: &[u8], mut see: impl FnMut(usize, u8)) -> Result<(), Corrupt> {
    let (mut at, mut index) = (0, 0);
    while at < body.len() {
        let run = Run::at(body, at);
        if let Run::Value(value, len) = run {
            if index + len > REGISTERS {
                // As in Redis: what stands behind all registers is not looked at, if it begins with a value.
                break;
            }
            (index..index + len).for_each(|index| see(index, value));
        }
        index += run.len();
        at += run.width();
    }
    match index {
        REGISTERS => Ok(()),
        _ => Err(Corrupt),
    }
}

/// How many registers have each value.
pub fn histogram(body: &[u8], counts: &mut [u32; 64]) -> Result<(), Corrupt> {
    let (mut at, mut index) = (0, 0usize);
    while at < body.len() {
        let run = Run::at(body, at);
        let value = match run {
            Run::Value(value, _) => value,
            Run::Few(_) | Run::Many(_) => 0,
        };
        index += run.len();
        // What is too many is refused below.
        let count = &mut counts[usize::from(value)];
        *count = count.saturating_add(run.len() as u32);
        at += run.width();
    }
    match index {
        REGISTERS => Ok(()),
        _ => Err(Corrupt),
    }
}

/// The runs in the words of PFDEBUG DECODE.
pub fn describe(body: &[u8]) -> String {
    let mut words = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let run = Run::at(body, at);
        words.push(match run {
            Run::Few(len) => format!("z:{len}"),
            Run::Many(len) => format!("Z:{len}"),
            Run::Value(value, len) => format!("v:{value},{len}"),
        });
        at += run.width();
    }
    words.join(" ")
}

/// A place between two runs of a string, and the first register behind it.
#[derive(Clone, Copy)]
pub struct Mark {
    at: usize,
    index: usize,
}

impl Mark {
    pub const START: Mark = Mark {
        at: HEADER,
        index: 0,
    };

    /// How far into the string it is: what a search has read.
    pub fn bytes(self) -> usize {
        self.at - HEADER
    }
}

/// What became of a register that was to be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It is as high.
    Was,
    Is,
    /// The string would become too long, or the value is too large for it.
    NoRoom,
}

/// The run of the register `index`, where it begins, and where the run before it does.
fn find(
    string: &[u8],
    index: usize,
    mark: &mut Mark,
) -> Result<(Run, Mark, Option<Mark>), Corrupt> {
    let (mut here, mut before) = (*mark, None::<Mark>);
    loop {
        if here.at >= string.len() {
            return Err(Corrupt);
        }
        let run = Run::at(string, here.at);
        if index < here.index + run.len() {
            if before.is_some() || here.at == HEADER {
                return Ok((run, here, before));
            }
            // It was joined with what stands at the mark: nobody knows what is before that.
            *mark = Mark::START;
            return find(string, index, mark);
        }
        if let Some(before) = before.replace(here) {
            *mark = before;
        }
        here = Mark {
            at: here.at + run.width(),
            index: here.index + run.len(),
        };
    }
}

/// Raises the register `index` of a whole string that may get `limit` bytes.
///
/// The search begins at `mark`. Afterwards that stands two runs before the one that was found, if there are
/// so many: where the search for a higher register may begin, whatever has been split or joined.
pub fn raise(
    string: &mut Cow<'_, [u8]>,
    index: usize,
    to: u8,
    limit: usize,
    mark: &mut Mark,
) -> Result<Raised, Corrupt> {
    if to > GREATEST {
        return Ok(Raised::NoRoom);
    }
    let (run, here, before) = find(string, index, mark)?;
    if here.at + run.width() > string.len() {
        return Err(Corrupt);
    }
    let (left, right) = (index - here.index, here.index + run.len() - 1 - index);
    let mut runs = Vec::with_capacity(5);
    match run {
        Run::Value(value, _) if value >= to => return Ok(Raised::Was),
        Run::Value(value, _) => {
            push_value(&mut runs, value, left);
            push_value(&mut runs, to, 1);
            push_value(&mut runs, value, right);
        }
        Run::Few(_) | Run::Many(_) => {
            push_zeros(&mut runs, left);
            push_value(&mut runs, to, 1);
            push_zeros(&mut runs, right);
        }
    }
    let grows = runs.len() > run.width();
    if grows && string.len() + runs.len() - run.width() > limit {
        return Ok(Raised::NoRoom);
    }
    let string = string.to_mut();
    string.splice(here.at..here.at + run.width(), runs);
    join(string, before.map_or(HEADER, |before| before.at));
    Ok(Raised::Is)
}

/// Runs that are looked at for others of the same value beside them.
const LOOKED_AT: usize = 5;

/// Joins runs of one value from `at` on, as far as Redis does.
fn join(string: &mut Vec<u8>, mut at: usize) {
    for _ in 0..LOOKED_AT {
        if at >= string.len() {
            break;
        }
        let run = Run::at(string, at);
        let Run::Value(value, len) = run else {
            at += run.width();
            continue;
        };
        let next = (at + 1 < string.len()).then(|| Run::at(string, at + 1));
        match next {
            Some(Run::Value(other, more)) if other == value && len + more <= MOST_OF_VALUE => {
                string[at + 1] = VALUE | (value - 1) << 2 | (len + more - 1) as u8;
                string.remove(at);
            }
            _ => at += 1,
        }
    }
}
