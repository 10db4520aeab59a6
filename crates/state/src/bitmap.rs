//! Bits of strings: what changes them, on the leader and as effects of the log.
//!
//! Owns: SETBIT, what BITFIELD has written, BITOP, each as one function that makes the effect and carries
//! it out. Never: parses a command, reads a field.

use super::apply::ApplyError;
use super::core::StateMachine;
use super::effects::effects;
use base::number::parse_i64;
use keyspace::{Key, StringDraft, StringRef, Ttl, BLOB_CHUNK};

effects! {
    /// `SETBIT key offset bit`
    40 SETBIT "SETBIT": read_bit => |state: &mut StateMachine, (key, at, on)| { state.set_bit(&state.key(key), at, on); Ok(()) };
    /// `BITFIELD key offset bytes [offset bytes ...]`: what its fields have come to, as bytes; offsets are of bytes
    41 BITFIELD "BITFIELD": read_patches => |state: &mut StateMachine, (key, patches): (&[u8], Patches<'_>)| { state.patch_bits(&state.key(key), &patches); Ok(()) };
    /// `BITOP AND|OR|XOR|NOT destkey key [key ...]`; one of the keys at least is a string that is not empty
    42 BITOP "BITOP": read_operation, breathing apply_operation;
}

/// Bytes that are written, each behind the offset where they begin.
pub type Patches<'a> = Vec<(usize, &'a [u8])>;

/// What BITOP does to the strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOperation {
    And,
    Or,
    Xor,
    /// Of one string.
    Not,
}

impl BitOperation {
    const NAMES: [(&'static str, BitOperation); 4] = [
        ("AND", BitOperation::And),
        ("OR", BitOperation::Or),
        ("XOR", BitOperation::Xor),
        ("NOT", BitOperation::Not),
    ];

    /// The operation of this name, in any case.
    pub fn named(name: &[u8]) -> Option<BitOperation> {
        let is = |of: &&(&str, BitOperation)| of.0.as_bytes().eq_ignore_ascii_case(name);
        BitOperation::NAMES.iter().find(is).map(|of| of.1)
    }

    fn name(self) -> &'static str {
        let is = |of: &&(&str, BitOperation)| of.1 == self;
        let of = BitOperation::NAMES.iter().find(is);
        of.expect("each has a name").0
    }

    /// Both strings' bytes, of which the first takes the result; the shorter one goes on with zeros.
    fn combine(self, into: &mut [u8], with: &[u8]) {
        let (both, rest) = into.split_at_mut(with.len().min(into.len()));
        let pairs = both.iter_mut().zip(with);
        match self {
            BitOperation::And => {
                pairs.for_each(|(a, b)| *a &= b);
                rest.fill(0);
            }
            BitOperation::Or => pairs.for_each(|(a, b)| *a |= b),
            BitOperation::Xor => pairs.for_each(|(a, b)| *a ^= b),
            BitOperation::Not => unreachable!("it has one string"),
        }
    }
}

/// Bytes of the result that are worked out at a time: what stays in the cache while every string adds to it.
const PIECE: usize = 2 * BLOB_CHUNK;

/// Has `piece`, which begins at `at`, combined with the part of a string that is there; behind its end there are zeros.
fn add(string: StringRef<'_>, at: usize, piece: &mut [u8], mut add: impl FnMut(&mut [u8], &[u8])) {
    let (mut rest, mut digits) = (piece, itoa::Buffer::new());
    for part in string.pieces(at..at + rest.len(), &mut digits) {
        let (here, behind) = rest.split_at_mut(part.len());
        add(here, part);
        rest = behind;
    }
    if !rest.is_empty() {
        add(rest, &[]);
    }
}

/// The result of an operation on strings of which the longest has `len` bytes.
fn combined(
    of: BitOperation,
    strings: &[StringRef<'_>],
    len: usize,
    breathe: &mut dyn FnMut(),
) -> StringDraft {
    let mut all = StringDraft::with_len(len);
    let mut room = vec![0; PIECE.min(len)];
    for at in (0..len).step_by(PIECE) {
        let piece = &mut room[..PIECE.min(len - at)];
        let (first, others) = strings.split_first().expect("there is one string at least");
        add(*first, at, piece, |here, part| {
            here[..part.len()].copy_from_slice(part);
            here[part.len()..].fill(0);
        });
        if of == BitOperation::Not {
            piece.iter_mut().for_each(|byte| *byte = !*byte);
        }
        for other in others {
            add(*other, at, piece, |here, part| of.combine(here, part));
            breathe();
        }
        all.push(piece);
        breathe();
    }
    all
}

impl StateMachine {
    /// SETBIT, which makes the string as long as it has to be.
    pub fn set_bit(&mut self, key: &Key<'_>, at: usize, on: bool) {
        self.assert_owned(SETBIT, key);
        let mut digits = itoa::Buffer::new();
        let bit: &[u8] = if on { b"1" } else { b"0" };
        if !self.emit(
            self.db,
            SETBIT,
            &[key.bytes, digits.format(at).as_bytes(), bit],
        ) {
            return;
        }
        let entry = self.keyspace.get(self.db, key);
        let string = entry.and_then(|entry| entry.string());
        let old = string.and_then(|string| string.byte(at / 8)).unwrap_or(0);
        let mask = 0x80 >> (at % 8);
        let new = if on { old | mask } else { old & !mask };
        self.keyspace.write_string(self.db, key, at / 8, &[new]);
        self.changed(self.db, key);
    }

    /// BITFIELD, whose outcome the caller has worked out.
    pub fn patch_bits(&mut self, key: &Key<'_>, patches: &[(usize, &[u8])]) {
        self.assert_owned(BITFIELD, key);
        let mut digits: Vec<_> = patches.iter().map(|_| itoa::Buffer::new()).collect();
        let mut args = Vec::with_capacity(1 + 2 * patches.len());
        args.push(key.bytes);
        for ((at, bytes), digits) in patches.iter().zip(&mut digits) {
            args.extend([digits.format(*at).as_bytes(), bytes]);
        }
        if !self.emit(self.db, BITFIELD, &args) {
            return;
        }
        for (at, bytes) in patches {
            self.keyspace.write_string(self.db, key, *at, bytes);
        }
        self.changed(self.db, key);
    }

    /// BITOP, where one string at least is not empty. `breathe` is called now and then (T9).
    pub fn bit_operation(
        &mut self,
        of: BitOperation,
        to: &Key<'_>,
        sources: &[&[u8]],
        breathe: &mut dyn FnMut(),
    ) {
        self.assert_owned(BITOP, to);
        let args: Vec<&[u8]> = [of.name().as_bytes(), to.bytes]
            .into_iter()
            .chain(sources.iter().copied())
            .collect();
        if !self.emit(self.db, BITOP, &args) {
            return;
        }
        let found = sources.iter().map(|bytes| {
            let entry = self.keyspace.get(self.db, &self.key(bytes));
            let string = entry.and_then(|entry| entry.string());
            string.unwrap_or(StringRef::Bytes(b""))
        });
        let strings: Vec<StringRef<'_>> = found.collect();
        let len = strings.iter().map(|string| string.len()).max();
        let result = combined(of, &strings, len.unwrap_or(0), breathe);
        self.keyspace.put_bits(self.db, to, result, Ttl::Clear);
        self.changed(self.db, to);
    }
}

fn read_bit<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], usize, bool)> {
    let [key, at, bit] = args else {
        return None;
    };
    let at = usize::try_from(parse_i64(at)?).ok()?;
    match *bit {
        b"0" => Some((key, at, false)),
        b"1" => Some((key, at, true)),
        _ => None,
    }
}

fn read_patches<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], Patches<'a>)> {
    let (key, pairs) = args.split_first()?;
    if pairs.is_empty() || pairs.len() % 2 != 0 {
        return None;
    }
    let patches = pairs.chunks_exact(2).map(|pair| {
        let at = usize::try_from(parse_i64(pair[0])?).ok()?;
        (!pair[1].is_empty()).then_some((at, pair[1]))
    });
    Some((key, patches.collect::<Option<_>>()?))
}

type Operation<'e, 'a> = (BitOperation, &'a [u8], &'e [&'a [u8]]);

fn read_operation<'e, 'a>(args: &'e [&'a [u8]]) -> Option<Operation<'e, 'a>> {
    let [name, to, sources @ ..] = args else {
        return None;
    };
    let of = BitOperation::named(name)?;
    let fits = match of {
        BitOperation::Not => sources.len() == 1,
        BitOperation::And | BitOperation::Or | BitOperation::Xor => !sources.is_empty(),
    };
    fits.then_some((of, *to, sources))
}

fn apply_operation(
    state: &mut StateMachine,
    (of, to, sources): Operation<'_, '_>,
    pace: &mut dyn FnMut(usize),
) -> Result<(), ApplyError> {
    let some = sources.iter().any(|bytes| {
        let entry = state.keyspace.get(state.db(), &state.key(bytes));
        entry.is_some_and(|entry| !matches!(entry.string(), Some(StringRef::Bytes(b""))))
    });
    if !some {
        return Err(ApplyError::Mismatch(BITOP));
    }
    let key = state.key(to);
    state.bit_operation(of, &key, sources, &mut || pace(PIECE));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_strings_go_on_with_zeros() {
        let long = vec![0xAAu8; PIECE + 9];
        let short = vec![0xFFu8; 3];
        let mut breaths = 0;
        let mut of = |of, strings: &[&[u8]]| {
            let all: Vec<_> = strings.iter().map(|s| StringRef::Bytes(s)).collect();
            let len = long.len();
            combined(of, &all, len, &mut || breaths += 1).to_vec()
        };
        let and = of(BitOperation::And, &[&long, &short]);
        assert_eq!((&and[..4], and[PIECE]), (&[0xAA, 0xAA, 0xAA, 0][..], 0));
        assert_eq!(and, of(BitOperation::And, &[&short, &long]));
        let or = of(BitOperation::Or, &[&short, &long]);
        assert_eq!((&or[..4], or[PIECE]), (&[0xFF, 0xFF, 0xFF, 0xAA][..], 0xAA));
        let xor = of(BitOperation::Xor, &[&long, &short, &[]]);
        assert_eq!(
            (&xor[..4], xor[PIECE]),
            (&[0x55, 0x55, 0x55, 0xAA][..], 0xAA)
        );
        assert_eq!(of(BitOperation::Not, &[&long]), vec![0x55; PIECE + 9]);
        assert!(breaths > 8);
    }

    #[test]
    fn effects_of_another_form_are_refused() {
        for args in [
            &[&b"k"[..], b"1", b"2"][..],
            &[b"k", b"-1", b"1"],
            &[b"k", b"1"],
        ] {
            assert!(read_bit(args).is_none());
        }
        for args in [&[&b"k"[..], b"1"][..], &[b"k"], &[b"k", b"1", b""], &[]] {
            assert!(read_patches(args).is_none());
        }
        for args in [
            &[&b"NOT"[..], b"d", b"a", b"b"][..],
            &[b"NAND", b"d", b"a"],
            &[b"AND", b"d"],
        ] {
            assert!(read_operation(args).is_none());
        }
    }
}
