//! Reading values.
//!
//! Owns: [`Decoder`], which reads what values are made of, [`Value`] and [`ValueError`]. Never: knows a
//! payload's footer. Invariant: total; a length is believed only as far as the bytes behind it go.

use super::{length, lzf, special, Type};
use std::borrow::Cow;

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    String(Cow<'a, [u8]>),
}

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("it ends too early")]
    Short,
    #[error("there is no type {0}, or it is not known here")]
    Type(u8),
    #[error("no length begins with the byte {0}")]
    Length(u8),
    #[error("there is no special form {0} of strings")]
    Form(u8),
    #[error("the compressed bytes are not a string of that length")]
    Compression,
    #[error("the string has {0} bytes, more than are allowed")]
    TooLong(u64),
}

/// Takes parts of values off the front of bytes.
pub struct Decoder<'a, 'p> {
    rest: &'a [u8],
    /// No string may be longer.
    limit: usize,
    pace: &'p mut dyn FnMut(),
}

/// What stands where a string begins.
#[derive(Clone, Copy)]
enum Head {
    Length(u64),
    Special(u8),
}

impl<'a, 'p> Decoder<'a, 'p> {
    pub fn new(bytes: &'a [u8], limit: usize, pace: &'p mut dyn FnMut()) -> Decoder<'a, 'p> {
        Decoder {
            rest: bytes,
            limit,
            pace,
        }
    }

    pub fn kind(&mut self) -> Result<Type, ValueError> {
        let number = self.byte()?;
        Type::numbered(number).ok_or(ValueError::Type(number))
    }

    pub fn value(&mut self, kind: Type) -> Result<Value<'a>, ValueError> {
        match kind {
            Type::String => self.string().map(Value::String),
        }
    }

    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, ValueError> {
        match self.head()? {
            Head::Length(n) => {
                let n = self.checked(n)?;
                Ok(Cow::Borrowed(self.bytes(n)?))
            }
            Head::Special(special::INT_8) => {
                let n = i8::from_le_bytes(self.array()?);
                self.text(n.into())
            }
            Head::Special(special::INT_16) => {
                let n = i16::from_le_bytes(self.array()?);
                self.text(n.into())
            }
            Head::Special(special::INT_32) => {
                let n = i32::from_le_bytes(self.array()?);
                self.text(n.into())
            }
            Head::Special(special::LZF) => {
                let (compressed, n) = self.compressed()?;
                let n = self.checked(n)?;
                lzf::decompress(compressed, n, self.pace)
                    .map(Cow::Owned)
                    .ok_or(ValueError::Compression)
            }
            Head::Special(form) => Err(ValueError::Form(form)),
        }
    }

    fn text(&self, n: i64) -> Result<Cow<'a, [u8]>, ValueError> {
        let text = n.to_string().into_bytes();
        let length = u64::try_from(text.len()).expect("a usize fits");
        self.checked(length)?;
        Ok(Cow::Owned(text))
    }

    /// The most bytes that the string can have which begins here.
    pub fn longest_string(&mut self) -> usize {
        match self.head() {
            Ok(Head::Special(special::LZF)) => match self.compressed() {
                Ok((compressed, n)) => {
                    let most = lzf::longest(compressed.len());
                    usize::try_from(n).map_or(most, |n| n.min(most))
                }
                Err(_) => 0,
            },
            Ok(Head::Special(_)) => LONGEST_INT,
            Ok(Head::Length(_)) => self.rest.len(),
            Err(_) => 0,
        }
    }

    /// A compressed string's bytes, and how many they are when they are not.
    fn compressed(&mut self) -> Result<(&'a [u8], u64), ValueError> {
        let (compressed, n) = (self.length()?, self.length()?);
        let compressed = usize::try_from(compressed).map_err(|_| ValueError::Short)?;
        Ok((self.bytes(compressed)?, n))
    }

    fn checked(&self, n: u64) -> Result<usize, ValueError> {
        let allowed = usize::try_from(n).ok().filter(|n| *n <= self.limit);
        allowed.ok_or(ValueError::TooLong(n))
    }

    /// A length. The number of a special form in its place is one, as in Redis.
    pub fn length(&mut self) -> Result<u64, ValueError> {
        match self.head()? {
            Head::Length(n) => Ok(n),
            Head::Special(form) => Ok(form.into()),
        }
    }

    fn head(&mut self) -> Result<Head, ValueError> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match first >> 6 {
            length::SPECIAL => Head::Special(low),
            length::BITS_6 => Head::Length(low.into()),
            length::BITS_14 => Head::Length(u16::from_be_bytes([low, self.byte()?]).into()),
            _ if first == length::LONG_32 => Head::Length(u32::from_be_bytes(self.array()?).into()),
            _ if first == length::LONG_64 => Head::Length(u64::from_be_bytes(self.array()?)),
            _ => return Err(ValueError::Length(first)),
        })
    }

    fn byte(&mut self) -> Result<u8, ValueError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(ValueError::Short)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, n: usize) -> Result<&'a [u8], ValueError> {
        let (bytes, rest) = self.rest.split_at_checked(n).ok_or(ValueError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// The text of the longest integer that has a special form.
const LONGEST_INT: usize = "-2147483648".len();
