//! Owns what the layers above see of an entry, and how a string's value changes its encoding.
//! Never touches memory itself. Invariant: a string shorter than or as long as the embedding limit
//! that has never been longer is an integer or embedded; canonical text of an `i64` that is written
//! as a whole is an integer.

use super::digest::Digest;
use super::object::Object;
use super::raw::{EntryPtr, Payload, PayloadRef, EMBED_MAX};

/// A key with its value and expiry, borrowed from the keyspace.
#[derive(Clone, Copy)]
pub struct Entry<'a>(pub(super) &'a EntryPtr);

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    String,
}

/// A value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A string that is the canonical text of this number.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The length of the string.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Value::Int(n) => itoa::Buffer::new().format(*n).len(),
            Value::Bytes(bytes) => bytes.len(),
        }
    }
}

impl<'a> Entry<'a> {
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.0.key()
    }

    /// When the key expires, in Unix milliseconds.
    #[inline]
    pub fn expiry(&self) -> Option<i64> {
        self.0.expiry()
    }

    #[inline]
    pub fn value(&self) -> Value<'a> {
        match self.0.payload() {
            PayloadRef::Int(n) => Value::Int(n),
            PayloadRef::Bytes(bytes) => Value::Bytes(bytes),
            PayloadRef::Object(Object::String(bytes)) => Value::Bytes(bytes),
        }
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    pub(super) fn digest(&self) -> Digest {
        let expiry = match self.expiry() {
            None => [0; 9],
            Some(at) => {
                let mut field = [1; 9];
                field[1..].copy_from_slice(&at.to_le_bytes());
                field
            }
        };
        let mut text = itoa::Buffer::new();
        let (kind, value) = match self.value() {
            Value::Int(n) => (KIND_STRING, text.format(n).as_bytes()),
            Value::Bytes(bytes) => (KIND_STRING, bytes),
        };
        Digest::of(&[self.key(), &[kind], value, &expiry])
    }
}

/// The kinds' numbers in digests; they never change.
const KIND_STRING: u8 = 0;

/// The integer whose canonical text this is: no sign but `-`, no leading zero, no `-0`.
#[inline]
pub fn parse_int(text: &[u8]) -> Option<i64> {
    const LONGEST: usize = "-9223372036854775808".len();
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut n: u64 = 0;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(value))?;
    }
    if negative {
        0i64.checked_sub_unsigned(n)
    } else {
        i64::try_from(n).ok()
    }
}

/// Turns an integer into its text. What is an object stays one.
pub(super) fn make_embedded(entry: &mut EntryPtr) {
    if let PayloadRef::Int(n) = entry.payload() {
        let expiry = entry.expiry();
        let replaced = entry.store(
            Payload::Bytes(itoa::Buffer::new().format(n).as_bytes()),
            expiry,
        );
        assert!(replaced.is_none(), "it was an integer");
    }
}

/// Makes an object of an entry's string, with room for `len` bytes, unless it is one.
pub(super) fn make_object(entry: &mut EntryPtr, len: usize) -> &mut Object {
    make_embedded(entry);
    if let PayloadRef::Bytes(bytes) = entry.payload() {
        assert!(bytes.len() <= EMBED_MAX);
        let mut string = Vec::with_capacity(len);
        string.extend_from_slice(bytes);
        let expiry = entry.expiry();
        let replaced = entry.store(Payload::Object(Box::new(Object::String(string))), expiry);
        assert!(replaced.is_none(), "it was embedded");
    }
    entry.object_mut().expect("it is an object now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_integers_only() {
        for text in [
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "10",
        ] {
            assert_eq!(parse_int(text.as_bytes()), Some(text.parse().unwrap()));
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551616",
            "1.0",
        ] {
            assert_eq!(parse_int(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_what_prints_back(text in "[-+ 0-9]{0,21}", n: i64) {
            let expected = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
            prop_assert_eq!(parse_int(text.as_bytes()), expected);
            prop_assert_eq!(parse_int(n.to_string().as_bytes()), Some(n));
        }
    }
}
