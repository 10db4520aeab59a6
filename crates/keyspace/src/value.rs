//! Owns what the layers above see of an entry: key, expiry, kind, value, and its share of a digest.
//! Never touches memory itself, and never changes an entry.

use super::digest::Digest;
use super::form::Packing;
use super::object::Object;
use super::raw::{EntryPtr, PayloadRef};
use super::types::hash::{HashLayout, HashRef};
use super::types::list::{ListLayout, ListRef};
use super::types::set::{SetLayout, SetRef};
use super::types::zset::{ZsetLayout, ZsetRef};
use containers::blob::Blob;
use containers::listpack::Listpack;
use std::ops::Range;

/// A key with its value and expiry, borrowed from the keyspace.
#[derive(Clone, Copy)]
pub struct Entry<'a>(pub(super) &'a EntryPtr);

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Hash,
    Set,
    List,
    SortedSet,
}

/// A value, borrowed.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    String(StringRef<'a>),
    Hash(HashRef<'a>),
    Set(SetRef<'a>),
    List(ListRef<'a>),
    SortedSet(ZsetRef<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn of(payload: PayloadRef<'a>) -> Value<'a> {
        match payload {
            PayloadRef::Int(n) => Value::String(StringRef::Int(n)),
            PayloadRef::Bytes(bytes) => Value::String(StringRef::Bytes(bytes)),
            PayloadRef::Packed(Packing::Hash, bytes) => Value::Hash(HashRef::packed(bytes)),
            PayloadRef::Packed(Packing::HashEx, bytes) => Value::Hash(HashRef::packed_ex(bytes)),
            PayloadRef::Packed(Packing::SetInts, bytes) => Value::Set(SetRef::ints(bytes)),
            PayloadRef::Packed(Packing::Set, bytes) => Value::Set(SetRef::packed(bytes)),
            PayloadRef::Packed(Packing::List, bytes) => Value::List(ListRef::packed(bytes)),
            PayloadRef::Object(Object::String(bytes)) => Value::String(StringRef::Bytes(bytes)),
            PayloadRef::Object(Object::Blob(blob)) => Value::String(StringRef::Chunks(blob)),
            PayloadRef::Object(Object::Hash(hash)) => Value::Hash(hash.as_ref()),
            PayloadRef::Packed(Packing::SortedSet, bytes) => {
                Value::SortedSet(ZsetRef::packed(bytes))
            }
            PayloadRef::Object(Object::Set(set)) => Value::Set(set.as_ref()),
            PayloadRef::Object(Object::List(list)) => Value::List(list.as_ref()),
            PayloadRef::Object(Object::SortedSet(zset)) => Value::SortedSet(zset.as_ref()),
        }
    }

    pub fn string(self) -> Option<StringRef<'a>> {
        match self {
            Value::String(string) => Some(string),
            _ => None,
        }
    }

    pub fn hash(self) -> Option<HashRef<'a>> {
        match self {
            Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    pub fn set(self) -> Option<SetRef<'a>> {
        match self {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }

    pub fn list(self) -> Option<ListRef<'a>> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn sorted_set(self) -> Option<ZsetRef<'a>> {
        match self {
            Value::SortedSet(zset) => Some(zset),
            _ => None,
        }
    }

    /// The listpack that its elements are kept in, if they are.
    pub fn listpack(self) -> Option<Listpack<'a>> {
        let bytes = match self {
            Value::Hash(hash) => match hash.layout() {
                HashLayout::Pairs(bytes) | HashLayout::Triples(bytes) => bytes,
                HashLayout::Table => return None,
            },
            Value::Set(set) => match set.layout() {
                SetLayout::Packed(bytes) => bytes,
                SetLayout::Ints(_) | SetLayout::Table => return None,
            },
            Value::List(list) => match list.layout() {
                ListLayout::Packed(bytes) => bytes,
                ListLayout::Chunks(_) => return None,
            },
            Value::SortedSet(zset) => match zset.layout() {
                ZsetLayout::Packed(bytes) => bytes,
                ZsetLayout::Table => return None,
            },
            Value::String(_) => return None,
        };
        Some(Listpack::trusted(bytes))
    }

    /// About how many bytes its elements have.
    pub fn weight(self) -> usize {
        match self {
            Value::String(string) => string.weight(),
            Value::Hash(hash) => hash.weight(),
            Value::Set(set) => set.weight(),
            Value::List(list) => list.weight(),
            Value::SortedSet(zset) => zset.weight(),
        }
    }

    /// Whether both are the same kind and have the same elements, but for a negligible chance.
    pub fn is_same(self, other: Value<'_>) -> bool {
        self.digest(b"", None) == other.digest(b"", None)
    }

    /// The digest of a key with this value.
    pub(super) fn digest(self, key: &[u8], expiry: Option<i64>) -> Digest {
        let mut text = itoa::Buffer::new();
        let sum;
        let (kind, value): (u8, &[u8]) = match self {
            Value::String(StringRef::Int(n)) => (KIND_STRING, text.format(n).as_bytes()),
            Value::String(StringRef::Bytes(bytes)) => (KIND_STRING, bytes),
            Value::String(StringRef::Chunks(blob)) => {
                let value = (blob.len(), blob.chunks());
                return Digest::of_pieces(&[key, &[KIND_STRING]], value, &digest_field(expiry));
            }
            Value::Hash(hash) => {
                sum = hash.digest().bytes();
                (KIND_HASH, &sum)
            }
            Value::Set(set) => {
                sum = set.digest().bytes();
                (KIND_SET, &sum)
            }
            Value::List(list) => {
                sum = list.digest().bytes();
                (KIND_LIST, &sum)
            }
            Value::SortedSet(zset) => {
                sum = zset.digest().bytes();
                (KIND_SORTED_SET, &sum)
            }
        };
        Digest::of(&[key, &[kind], value, &digest_field(expiry)])
    }
}

/// A string, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringRef<'a> {
    /// A string that is the canonical text of this number.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
    /// A string of more than a mebibyte: its bytes lie in chunks.
    Chunks(&'a Blob),
}

/// Room for the bytes of a string that do not lie together anywhere.
#[derive(Default)]
pub struct Scratch {
    digits: itoa::Buffer,
    joined: Vec<u8>,
}

impl<'a> StringRef<'a> {
    /// The length of the string.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            StringRef::Int(n) => itoa::Buffer::new().format(*n).len(),
            StringRef::Bytes(bytes) => bytes.len(),
            StringRef::Chunks(blob) => blob.len(),
        }
    }

    /// The byte at an index, if the string is as long.
    pub fn byte(self, at: usize) -> Option<u8> {
        match self {
            StringRef::Int(n) => itoa::Buffer::new().format(n).as_bytes().get(at).copied(),
            StringRef::Bytes(bytes) => bytes.get(at).copied(),
            StringRef::Chunks(blob) => blob.byte(at),
        }
    }

    /// The bytes of a range, as far as the string has them, piece by piece. What one piece has can be copied at once.
    pub fn pieces(
        self,
        range: Range<usize>,
        digits: &'a mut itoa::Buffer,
    ) -> impl Iterator<Item = &'a [u8]> {
        let (whole, blob): (&'a [u8], _) = match self {
            StringRef::Int(n) => (digits.format(n).as_bytes(), None),
            StringRef::Bytes(bytes) => (bytes, None),
            StringRef::Chunks(blob) => (&[], Some(blob)),
        };
        let part = &whole[range.start.min(whole.len())..range.end.min(whole.len())];
        let part = Some(part).filter(|part| !part.is_empty());
        let chunks = blob.into_iter();
        let chunks = chunks.flat_map(move |blob| blob.range(range.start, range.end));
        part.into_iter().chain(chunks)
    }

    /// All bytes together: what lies in chunks is joined, which takes time and memory for each of them.
    pub fn text<'s>(self, scratch: &'s mut Scratch) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            StringRef::Int(n) => scratch.digits.format(n).as_bytes(),
            StringRef::Bytes(bytes) => bytes,
            StringRef::Chunks(blob) => {
                scratch.joined = blob.to_vec();
                &scratch.joined
            }
        }
    }

    fn weight(self) -> usize {
        match self {
            StringRef::Int(_) => 8,
            StringRef::Bytes(bytes) => bytes.len(),
            StringRef::Chunks(blob) => blob.len(),
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
        Value::of(self.0.payload())
    }

    /// The string that the value is, if it is one.
    #[inline]
    pub fn string(&self) -> Option<StringRef<'a>> {
        self.value().string()
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// Whether it is a short string that a command has written into, or has made to be: Redis reports those in another way.
    /// A snapshot does not have it, as Redis's has not.
    pub fn is_written(&self) -> bool {
        self.0.is_written()
    }

    /// Bytes of memory that the entry takes with its value, but for the table that it is in.
    pub fn memory(&self) -> usize {
        self.0.memory()
    }

    pub(super) fn digest(&self) -> Digest {
        self.value().digest(self.key(), self.expiry())
    }
}

/// A time as digests have it.
pub(super) fn digest_field(expiry: Option<i64>) -> [u8; 9] {
    let mut field = [0; 9];
    if let Some(at) = expiry {
        field[0] = 1;
        field[1..].copy_from_slice(&at.to_le_bytes());
    }
    field
}

/// The kinds' numbers in digests; they never change.
const KIND_STRING: u8 = 0;
const KIND_HASH: u8 = 1;
const KIND_LIST: u8 = 2;
const KIND_SET: u8 = 3;
const KIND_SORTED_SET: u8 = 4;
