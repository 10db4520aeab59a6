//! BITFIELD, BITFIELD_RO.
//!
//! Owns: their subcommands, the arithmetic of fields that overflow, and what a command with several of them
//! has changed, as bytes. Invariant: nothing is written before all of it is worked out.

use super::bits::{Place, WINDOW};
use super::offset::checked_offset;
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::key_spec::{BadKeys, KeyFlags};
use crate::pace::Pace;
use crate::values::as_string;
use crate::words::Words;
use base::events::Classes;
use keyspace::StringRef;
use resp::args::Args;
use resp::encode::Reply;
use resp::number::parse_i64;
use std::collections::BTreeMap;

/// What becomes of a number that its field has no room for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// An integer within the string.
#[derive(Clone, Copy)]
struct Field {
    place: Place,
    signed: bool,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// Where the keys are is known; what happens to it depends on the subcommands.
pub fn keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    let mut words = Words::new(args, 2);
    let mut reads = true;
    while reads && !words.is_empty() {
        let more = match words.len() {
            3.. if words.word("get") => 2,
            2.. if words.word("overflow") => 1,
            _ => {
                reads = false;
                0
            }
        };
        for _ in 0..more {
            words.next();
        }
    }
    let flags = match reads {
        true => KeyFlags::RO.and(KeyFlags::ACCESS),
        false => KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
    };
    visit(1, flags);
    Ok(())
}

fn parse(env: &Env<'_>, args: Args<'_>) -> Result<Vec<(Field, Action)>, Error> {
    let mut words = Words::new(args, 2);
    let mut all = Vec::new();
    let mut overflow = Overflow::Wrap;
    while !words.is_empty() {
        let left = words.len();
        if left > 1 && words.word("overflow") {
            overflow = if words.word("wrap") {
                Overflow::Wrap
            } else if words.word("sat") {
                Overflow::Saturate
            } else if words.word("fail") {
                Overflow::Fail
            } else {
                return Err(Error::BITFIELD_OVERFLOW);
            };
            continue;
        }
        let make: Option<fn(i64, Overflow) -> Action> = match left {
            3.. if words.word("get") => None,
            4.. if words.word("set") => Some(Action::Set),
            4.. if words.word("incrby") => Some(Action::Add),
            _ => return Err(Error::SYNTAX),
        };
        let field = field(env, &mut words)?;
        let action = match make {
            None => Action::Get,
            Some(make) => make(words.int()?, overflow),
        };
        all.push((field, action));
    }
    Ok(all)
}

fn field(env: &Env<'_>, words: &mut Words<'_>) -> Result<Field, Error> {
    // As C sees it, a text ends at its first zero.
    let kind = words.need()?.split(|byte| *byte == 0).next();
    let (signed, width) = match kind.and_then(<[u8]>::split_first) {
        Some((b'i', width)) => (true, width),
        Some((b'u', width)) => (false, width),
        _ => return Err(Error::BITFIELD_TYPE),
    };
    let widest = if signed { 64 } else { 63 };
    let bits = parse_i64(width).filter(|bits| (1..=widest).contains(bits));
    let bits = bits.ok_or(Error::BITFIELD_TYPE)?;
    let offset = match words.need()? {
        // That the product may wrap around is Redis's.
        [b'#', nth @ ..] => integer(nth).map(|nth| nth.wrapping_mul(bits)),
        offset => integer(offset),
    };
    let offset = checked_offset(env, offset.map_err(|_| Error::BIT_OFFSET)?)?;
    let bits = bits.unsigned_abs() as u32;
    let place = Place { offset, bits };
    Ok(Field { place, signed })
}

impl Field {
    /// The number that its bits are.
    fn value(self, bits: u64) -> i128 {
        let unused = 64 - self.place.bits;
        match self.signed {
            true => i128::from(((bits << unused) as i64) >> unused),
            false => i128::from(bits),
        }
    }

    /// The least and the greatest number that it has room for.
    fn limits(self) -> (i128, i128) {
        let bits = self.place.bits;
        match self.signed {
            true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            false => (0, (1 << bits) - 1),
        }
    }

    /// Redis's check of SET overflows itself for a number far below: it saturates at the upper end.
    fn as_redis_sees(self, n: i64, overflow: Overflow) -> i128 {
        let (n, (_, most)) = (i128::from(n), self.limits());
        let far_below = most - n > i128::from(i64::MAX) && self.place.bits < 64;
        match overflow {
            Overflow::Saturate if far_below => most,
            _ => n,
        }
    }

    /// What is written for `wanted`; none if it has no room for that and the command does not want another number.
    fn fitted(self, wanted: i128, overflow: Overflow) -> Option<i128> {
        let (least, most) = self.limits();
        match overflow {
            _ if (least..=most).contains(&wanted) => Some(wanted),
            Overflow::Wrap => {
                let bits = wanted as u64 & (u64::MAX >> (64 - self.place.bits));
                Some(self.value(bits))
            }
            Overflow::Saturate => Some(wanted.clamp(least, most)),
            Overflow::Fail => None,
        }
    }
}

/// A string and what a command has changed of it.
struct Patched<'a> {
    string: StringRef<'a>,
    changed: BTreeMap<usize, u8>,
    /// What is to be written, in this order.
    patches: Vec<(usize, Vec<u8>)>,
}

impl Patched<'_> {
    fn window(&self, place: Place) -> [u8; WINDOW] {
        let mut window = [0; WINDOW];
        let range = place.bytes();
        let (mut digits, mut len) = (itoa::Buffer::new(), 0);
        for piece in self.string.pieces(range.clone(), &mut digits) {
            window[len..len + piece.len()].copy_from_slice(piece);
            len += piece.len();
        }
        for (at, byte) in self.changed.range(range.clone()) {
            window[at - range.start] = *byte;
        }
        window
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.changed.extend((at..).zip(bytes.iter().copied()));
        self.patches.push((at, bytes.to_vec()));
    }

    /// The string has this length at least.
    fn reach(&mut self, len: usize) -> bool {
        let grows = len > self.string.len();
        if grows {
            self.patch(len - 1, &[0]);
        }
        grows
    }

    /// Carries out one subcommand. `grown`: the command has made the string longer.
    fn run(&mut self, (field, action): (Field, Action), grown: bool, reply: &mut Reply<'_>) {
        let mut window = self.window(field.place);
        let old = field.value(field.place.read(&window));
        let (wanted, overflow) = match action {
            Action::Get => return reply.int(old as i64),
            // A negative number is a large one where there is no sign.
            Action::Set(n, overflow) if !field.signed => (i128::from(n as u64), overflow),
            Action::Set(n, overflow) => (field.as_redis_sees(n, overflow), overflow),
            Action::Add(n, overflow) => (old + i128::from(n), overflow),
        };
        let Some(new) = field.fitted(wanted, overflow) else {
            return reply.null();
        };
        let shown = if matches!(action, Action::Set(..)) {
            old
        } else {
            new
        };
        reply.int(shown as i64);
        if old != new || grown {
            field.place.write(&mut window, new as u64);
            let range = field.place.bytes();
            self.patch(range.start, &window[..range.len()]);
        }
    }
}

pub fn bitfield(env: &mut Env<'_>, args: Args<'_>) -> Done {
    run(env, args, false)
}

pub fn bitfield_ro(env: &mut Env<'_>, args: Args<'_>) -> Done {
    run(env, args, true)
}

fn run(env: &mut Env<'_>, args: Args<'_>, reads_only: bool) -> Done {
    let fields = parse(env, args)?;
    let writes = |of: &&(Field, Action)| !matches!(of.1, Action::Get);
    let len = fields
        .iter()
        .filter(writes)
        .map(|of| of.0.place.bytes().end);
    let len = len.max().unwrap_or(0);
    if reads_only && len > 0 {
        return Err(Error::BITFIELD_RO);
    }
    let key = env.data.key(args.at(1));
    let mut pace = Pace::default();
    let server = &mut *env.server;
    let mut reply = Reply::new(env.out, env.session.proto);
    let see = |entry: Option<keyspace::Entry<'_>>| {
        let string = match entry {
            None => StringRef::Bytes(&[]),
            Some(entry) => as_string(&entry)?,
        };
        let mut patched = Patched {
            string,
            changed: BTreeMap::new(),
            patches: Vec::new(),
        };
        reply.array(fields.len());
        let grown = patched.reach(len);
        for field in &fields {
            patched.run(*field, grown, &mut reply);
            pace.step(server, 0);
        }
        Ok(patched.patches)
    };
    let patches = match len {
        0 => env.data.with_counted(&key, see)?,
        _ => env.data.with(&key, see)?,
    };
    if !patches.is_empty() {
        let patches: Vec<(usize, &[u8])> = patches.iter().map(|(at, b)| (*at, &b[..])).collect();
        env.data.patch_bits(&key, &patches);
        env.data.event(Classes::STRING, "setbit", &key);
    }
    DONE
}
