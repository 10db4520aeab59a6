//! A HyperLogLog as a string: its header, and its registers in one of two encodings.
//!
//! Owns: the form of Redis, byte for byte: `HYLL`, the encoding, three bytes of no meaning, the
//! cardinality as of when it was counted last (its highest bit set: not since it has changed), the registers.
//! Never: knows keys. What a client has written over may be anything: every function is total.

use super::dense;
use super::layout::{Corrupt, HEADER, REGISTERS};
use super::sparse::{self, Mark, Raised};
use std::borrow::Cow;

/// Where the cardinality stands.
const CARDINALITY: usize = 8;
const LAST_OF_CARDINALITY: usize = HEADER - 1;
const STALE: u8 = 0x80;
const MAGIC: &[u8] = b"HYLL";
const ENCODING: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// The encoding that the string says it has; none: it is no HyperLogLog.
pub fn encoding(value: &[u8]) -> Option<Encoding> {
    if value.len() < HEADER || !value.starts_with(MAGIC) {
        return None;
    }
    match value[ENCODING] {
        0 if value.len() == dense::LEN => Some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// One in which nothing was counted yet.
pub fn empty() -> Vec<u8> {
    let mut value = header(1);
    value.extend(sparse::NOTHING);
    value
}

fn header(encoding: u8) -> Vec<u8> {
    let mut value = MAGIC.to_vec();
    value.push(encoding);
    value.resize(HEADER, 0);
    value
}

/// The cardinality, if it was counted since the last change.
pub fn counted(value: &[u8]) -> Option<u64> {
    let bytes = value[CARDINALITY..HEADER].try_into().expect("8 bytes");
    (value[LAST_OF_CARDINALITY] & STALE == 0).then_some(u64::from_le_bytes(bytes))
}

/// It has changed: the cardinality is that of before.
pub fn set_stale(value: &mut [u8]) {
    value[LAST_OF_CARDINALITY] |= STALE;
}

/// The same registers in the dense encoding.
pub fn to_dense(value: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut all = value[..HEADER].to_vec();
    all[ENCODING] = 0;
    all.resize(dense::LEN, 0);
    let registers = &mut all[HEADER..];
    let set = |index, register| dense::set(registers, index, register);
    sparse::for_each_set(&value[HEADER..], set)?;
    Ok(all)
}

/// Raises each of `registers` to what this HyperLogLog has.
pub fn merge(value: &[u8], of: Encoding, registers: &mut [u8; REGISTERS]) -> Result<(), Corrupt> {
    let body = &value[HEADER..];
    let mut raise = |index: usize, register: u8| {
        let to: &mut u8 = &mut registers[index];
        *to = register.max(*to);
    };
    match of {
        Encoding::Dense => {
            (0..REGISTERS).for_each(|index| raise(index, dense::get(body, index)));
            Ok(())
        }
        Encoding::Sparse => sparse::for_each_set(body, raise),
    }
}

/// A HyperLogLog that is being changed; it is copied at the first change.
pub struct Changing<'a> {
    pub value: Cow<'a, [u8]>,
    pub encoding: Encoding,
    /// `hll-sparse-max-bytes`.
    pub limit: usize,
}

impl<'a> Changing<'a> {
    /// `old`: the string that there is.
    pub fn of(old: Option<(&'a [u8], Encoding)>, limit: usize) -> Changing<'a> {
        let (value, encoding) = match old {
            Some((value, encoding)) => (Cow::Borrowed(value), encoding),
            None => (Cow::Owned(empty()), Encoding::Sparse),
        };
        Changing {
            value,
            encoding,
            limit,
        }
    }

    /// Raises a register; whether it was lower. `mark`: where the search begins, and the next one may.
    pub fn raise(&mut self, index: usize, to: u8, mark: &mut Mark) -> Result<bool, Corrupt> {
        if self.encoding == Encoding::Sparse {
            match sparse::raise(&mut self.value, index, to, self.limit, mark)? {
                Raised::Was => return Ok(false),
                Raised::Is => {
                    set_stale(self.value.to_mut());
                    return Ok(true);
                }
                Raised::NoRoom => self.make_dense()?,
            }
        }
        if dense::get(&self.value[HEADER..], index) >= to {
            return Ok(false);
        }
        dense::set(&mut self.value.to_mut()[HEADER..], index, to);
        Ok(true)
    }

    pub fn make_dense(&mut self) -> Result<(), Corrupt> {
        if self.encoding == Encoding::Sparse {
            self.value = Cow::Owned(to_dense(&self.value)?);
            self.encoding = Encoding::Dense;
        }
        Ok(())
    }
}
