//! What the value of a key is to commands.
//!
//! Owns: the names of types, the refusal of another type than a command works on, and how an element is shown. Never:
//! looks a key up.

use super::error::Error;
use keyspace::{Element, Entry, HashRef, Kind, ListRef, SetRef, StringRef, ZsetRef};
use resp::encode::Reply;

/// The name of a type, as TYPE says and SCAN's TYPE takes it.
pub fn kind_name(entry: &Entry<'_>) -> &'static str {
    match entry.kind() {
        Kind::String => "string",
        Kind::Hash => "hash",
        Kind::Set => "set",
        Kind::List => "list",
        Kind::SortedSet => "zset",
    }
}

/// The value of a key that has to be a string.
pub fn as_string<'a>(entry: &Entry<'a>) -> Result<StringRef<'a>, Error> {
    entry.string().ok_or(Error::WRONG_TYPE)
}

/// The value of a key that has to be a hash.
pub fn as_hash<'a>(entry: &Entry<'a>) -> Result<HashRef<'a>, Error> {
    entry.value().hash().ok_or(Error::WRONG_TYPE)
}

/// The value of a key that has to be a set.
pub fn as_set<'a>(entry: &Entry<'a>) -> Result<SetRef<'a>, Error> {
    entry.value().set().ok_or(Error::WRONG_TYPE)
}

/// The value of a key that has to be a list.
pub fn as_list<'a>(entry: &Entry<'a>) -> Result<ListRef<'a>, Error> {
    entry.value().list().ok_or(Error::WRONG_TYPE)
}

/// The value of a key that has to be a sorted set.
pub fn as_sorted_set<'a>(entry: &Entry<'a>) -> Result<ZsetRef<'a>, Error> {
    entry.value().sorted_set().ok_or(Error::WRONG_TYPE)
}

/// An element of a container as a bulk string.
pub fn bulk(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(n) => reply.bulk_int(n),
    }
}
