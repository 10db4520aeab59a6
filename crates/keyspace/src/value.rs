//! Owns what the layers above see of an entry: key, expiry, kind, value, and its share of a digest.
//! Never touches memory itself, and never changes an entry.

use super::digest::Digest;
use super::object::Object;
use super::raw::{EntryPtr, PayloadRef};

/// A key with its value and expiry, borrowed from the keyspace.
#[derive(Clone, Copy)]
pub struct Entry<'a>(pub(super) &'a EntryPtr);

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
}

/// A value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        value_of(self.0.payload())
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    pub(super) fn digest(&self) -> Digest {
        let mut text = itoa::Buffer::new();
        let value = match self.value() {
            Value::Int(n) => text.format(n).as_bytes(),
            Value::Bytes(bytes) => bytes,
        };
        digest_of_string(self.key(), value, self.expiry())
    }
}

pub(super) fn value_of(payload: PayloadRef<'_>) -> Value<'_> {
    match payload {
        PayloadRef::Int(n) => Value::Int(n),
        PayloadRef::Bytes(bytes) => Value::Bytes(bytes),
        PayloadRef::Object(Object::String(bytes)) => Value::Bytes(bytes),
    }
}

/// The digest of a key with a string.
pub(super) fn digest_of_string(key: &[u8], value: &[u8], expiry: Option<i64>) -> Digest {
    let expiry = match expiry {
        None => [0; 9],
        Some(at) => {
            let mut field = [1; 9];
            field[1..].copy_from_slice(&at.to_le_bytes());
            field
        }
    };
    Digest::of(&[key, &[KIND_STRING], value, &expiry])
}

/// The kinds' numbers in digests; they never change.
const KIND_STRING: u8 = 0;
