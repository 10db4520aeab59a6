//! RDB files: snapshots, and the dumps of Redis.
//!
//! Owns: what a file is made of ([`Item`], [`Entry`]), its [`Writer`] and [`Reader`], and
//! what can be wrong with it ([`FileError`]). Never: opens a file, looks at a clock, knows the keyspace. A key
//! that has expired is an item like any other: the caller decides, and a load of ours keeps it.
//!
//! A file is `REDIS` and four digits of its version; then items, each behind the byte of its opcode, or of its
//! type if it is a key with a value; then the opcode of the end and the CRC64 of all that stands before.

mod error;
mod names;
mod parse;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use error::{Fault, FileError, Place};
pub use read::Reader;
pub use write::{EntryWriter, Writer, COMPRESSED_MAX};

use super::{Piece, Type, VERSION};
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// The versions of files that are read: what Redis 7.4 reads.
pub const READ: RangeInclusive<u16> = 1..=VERSION;
/// The versions of files that are written: 10 is that of Redis 7.0, 11 of 7.2, 12 of 7.4. Each refuses a
/// version above its own.
pub const WRITTEN: RangeInclusive<u16> = 10..=VERSION;
/// A piece of a file that is written is never longer.
pub const PIECE_BYTES: usize = super::PACE_BYTES;

/// Stands at a file's beginning, before four digits.
const MAGIC: &[u8] = b"REDIS";
const VERSION_DIGITS: usize = 4;
/// From this version on a file ends with its checksum.
const CHECKSUM_SINCE: u16 = 5;
/// From this version on a file may tell the sizes of slots.
const SLOT_SINCE: u16 = 12;

/// The expiry that says that there is none.
const NEVER: i64 = -1;

/// The byte before an item that is no key.
mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION2: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRETIME_MS: u8 = 252;
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// What a file is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// Stands first.
    Version(u16),
    /// A field beside the keys. A reader that doesn't know its name passes over it.
    Aux {
        name: Cow<'a, [u8]>,
        value: Cow<'a, [u8]>,
    },
    /// The keys that follow are of this database.
    Db(u64),
    /// How many keys the database has, and how many of them expire: a hint, which nothing proves.
    Sizes {
        keys: u64,
        expires: u64,
    },
    /// The same for one slot of the database.
    Slot {
        slot: u16,
        keys: u64,
        expires: u64,
    },
    /// The source of a library of functions.
    Function(Cow<'a, [u8]>),
    /// A key whose value is a string.
    Entry(Entry<'a>),
    /// A key whose value has elements: its pieces follow, then [`Item::Finish`]. One without elements is as good as none.
    Begin(Begin<'a>),
    Piece(Piece<'a>),
    Finish,
    /// Stands last.
    End(End),
}

/// A key whose value is a string, and what a file says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: Cow<'a, [u8]>,
    pub value: Cow<'a, [u8]>,
    /// In milliseconds since 1970; it may be long ago.
    pub expires_at_ms: Option<i64>,
    /// For how long it was not used (LRU).
    pub idle_seconds: Option<u64>,
    /// How often it is used (LFU).
    pub frequency: Option<u8>,
}

/// What stands before a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub key: Cow<'a, [u8]>,
    pub encoding: Type,
    pub expires_at_ms: Option<i64>,
    pub idle_seconds: Option<u64>,
    pub frequency: Option<u8>,
}

/// A value with elements begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin<'a> {
    pub head: Head<'a>,
    /// How many elements the file says that there are; nothing proves it.
    pub elements: Option<u64>,
    /// Where in the file it begins.
    pub offset: u64,
}

impl Begin<'_> {
    /// For an error that is found in its elements.
    pub fn place(&self) -> Place {
        Place::of_entry(self.offset, self.head.encoding).with_key(&self.head.key)
    }
}

/// A file's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The whole file's length.
    pub length: u64,
    /// Compared, if the file has one.
    pub checksum: Option<u64>,
}

impl Item<'_> {
    /// The same, apart from the bytes that it was read from.
    pub fn into_owned(self) -> Item<'static> {
        let owned = |text: Cow<'_, [u8]>| Cow::Owned(text.into_owned());
        match self {
            Item::Version(version) => Item::Version(version),
            Item::Aux { name, value } => Item::Aux {
                name: owned(name),
                value: owned(value),
            },
            Item::Db(db) => Item::Db(db),
            Item::Sizes { keys, expires } => Item::Sizes { keys, expires },
            Item::Slot {
                slot,
                keys,
                expires,
            } => Item::Slot {
                slot,
                keys,
                expires,
            },
            Item::Function(source) => Item::Function(owned(source)),
            Item::Entry(entry) => Item::Entry(Entry {
                key: owned(entry.key),
                value: owned(entry.value),
                ..entry
            }),
            Item::Begin(begin) => Item::Begin(Begin {
                head: Head {
                    key: owned(begin.head.key),
                    ..begin.head
                },
                ..begin
            }),
            Item::Piece(piece) => Item::Piece(piece.into_owned()),
            Item::Finish => Item::Finish,
            Item::End(end) => Item::End(end),
        }
    }
}
