//! Reading values.
//!
//! Owns: [`Decoder`], which reads what values are made of, [`Value`] and [`ValueError`]. Never: knows a
//! payload's footer. Invariant: total; a length is believed only as far as the bytes behind it go.
//!
//! The bytes of a file come in slices: after [`ValueError::Short`] a decoder says how many bytes it lacks at
//! least, and a string is found (`Decoder::raw`) without being made (`Raw::text`), as it may be looked
//! for many times before all of it has come.

use super::{legacy, length, lzf, special, Body, Type};
use containers::{intset, listpack};
use std::borrow::Cow;

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    String(Cow<'a, [u8]>),
    /// A value with elements, which are not made yet.
    Container(Body<'a>),
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
    #[error("it has no elements")]
    Empty,
    #[error("{0}")]
    Listpack(listpack::Bad),
    #[error("{0}")]
    Intset(intset::Bad),
    #[error("the elements of the listpack do not come {0} by {0}")]
    Together(usize),
    #[error("a score is not a number")]
    Score,
    #[error("the time at which a field expires is none, or does not stand in its order")]
    Expiry,
    #[error("there is no node {0} of lists, or it has no element")]
    Node(u64),
    #[error("its ziplist or zipmap is wrong: {0}")]
    Legacy(legacy::Bad),
}

/// Takes parts of values off the front of bytes.
pub struct Decoder<'a, 'p> {
    rest: &'a [u8],
    /// No string may be longer.
    limit: usize,
    /// How many bytes were lacking at least, where it ended too early.
    missing: usize,
    pace: &'p mut dyn FnMut(),
}

/// What stands where a string begins.
#[derive(Clone, Copy)]
enum Head {
    Length(u64),
    Special(u8),
}

/// A string as it stands there: all of its bytes have come, its text is not made yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'a> {
    Plain(&'a [u8]),
    Int(i64),
    /// Compressed bytes, and how many they are when they are not.
    Compressed(&'a [u8], usize),
}

impl<'a> Raw<'a> {
    pub(crate) fn text(self, pace: &mut dyn FnMut()) -> Result<Cow<'a, [u8]>, ValueError> {
        match self {
            Raw::Plain(text) => Ok(Cow::Borrowed(text)),
            Raw::Int(n) => Ok(Cow::Owned(n.to_string().into_bytes())),
            Raw::Compressed(compressed, length) => lzf::decompress(compressed, length, pace)
                .map(Cow::Owned)
                .ok_or(ValueError::Compression),
        }
    }

    /// Whether it has a text.
    pub(crate) fn check(self, pace: &mut dyn FnMut()) -> Result<(), ValueError> {
        match self {
            Raw::Plain(_) | Raw::Int(_) => Ok(()),
            Raw::Compressed(..) => self.text(pace).map(drop),
        }
    }

    /// The most bytes that the text can have.
    pub(crate) fn longest(self) -> usize {
        match self {
            Raw::Plain(text) => text.len(),
            Raw::Int(_) => LONGEST_INT,
            Raw::Compressed(_, length) => length, // they can be as many, or it were an error
        }
    }
}

impl<'a, 'p> Decoder<'a, 'p> {
    pub fn new(bytes: &'a [u8], limit: usize, pace: &'p mut dyn FnMut()) -> Decoder<'a, 'p> {
        Decoder {
            rest: bytes,
            limit,
            missing: 0,
            pace,
        }
    }

    /// What is left to read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// After [`ValueError::Short`]: what would follow begins so many bytes behind the end, or later.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    pub fn kind(&mut self) -> Result<Type, ValueError> {
        let number = self.byte()?;
        Type::numbered(number).ok_or(ValueError::Type(number))
    }

    pub fn value(&mut self, kind: Type) -> Result<Value<'a>, ValueError> {
        match kind {
            Type::String => self.string().map(Value::String),
            _ => {
                let body = Body::read(kind, self.rest, self.limit, self.pace)?;
                self.rest = &self.rest[body.bytes().len()..];
                Ok(Value::Container(body))
            }
        }
    }

    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, ValueError> {
        self.raw()?.text(self.pace)
    }

    /// The string that begins here, as it stands there.
    pub(crate) fn raw(&mut self) -> Result<Raw<'a>, ValueError> {
        match self.head()? {
            Head::Length(n) => {
                let n = self.checked(n)?;
                Ok(Raw::Plain(self.bytes(n)?))
            }
            Head::Special(special::INT_8) => {
                let n = i8::from_le_bytes(self.array()?);
                self.int(n.into())
            }
            Head::Special(special::INT_16) => {
                let n = i16::from_le_bytes(self.array()?);
                self.int(n.into())
            }
            Head::Special(special::INT_32) => {
                let n = i32::from_le_bytes(self.array()?);
                self.int(n.into())
            }
            Head::Special(special::LZF) => {
                let (compressed, length) = (self.length()?, self.length()?);
                let length = self.checked(length)?;
                // A claim that no bytes can fulfil is refused before they come.
                let compressed = usize::try_from(compressed)
                    .ok()
                    .filter(|n| lzf::can_be(*n, length))
                    .ok_or(ValueError::Compression)?;
                Ok(Raw::Compressed(self.bytes(compressed)?, length))
            }
            Head::Special(form) => Err(ValueError::Form(form)),
        }
    }

    fn int(&self, n: i64) -> Result<Raw<'a>, ValueError> {
        let digits = n.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
        self.checked(u64::from(digits) + u64::from(n < 0))?;
        Ok(Raw::Int(n))
    }

    /// The length of the plain string that begins here.
    pub(crate) fn plain_length(&mut self) -> Option<usize> {
        match self.head() {
            Ok(Head::Length(n)) => self.checked(n).ok(),
            _ => None,
        }
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

    pub(crate) fn byte(&mut self) -> Result<u8, ValueError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.short(N));
        };
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], ValueError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(n) else {
            return Err(self.short(n));
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn short(&mut self, wanted: usize) -> ValueError {
        self.missing = wanted - self.rest.len();
        ValueError::Short
    }
}

/// The text of the longest integer that has a special form.
const LONGEST_INT: usize = "-2147483648".len();
