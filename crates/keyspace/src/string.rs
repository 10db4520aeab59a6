//! Owns how a string is kept (an integer, bytes within its entry, an object) and how it is edited in
//! place. Never touches memory itself. Invariants: a string is in chunks if it is longer than a mebibyte, and only then, so that
//! no change of it copies all of it; a string shorter than or as long as the embedding
//! limit that has never been longer is an integer or embedded; canonical text of an `i64` that is
//! written as a whole is an integer, but for a result of bits, which stays bytes.

use std::sync::Arc;

use base::number::parse_i64;
use containers::blob::Blob;

use super::object::Object;
use super::raw::{EntryPtr, Payload, PayloadRef, EMBED_MAX};
use super::{Key, Keyspace, Ttl};

/// Up to here a growing string doubles; beyond, it grows by an eighth (at least by this much), so
/// that a huge string never wastes half of its memory.
const DOUBLE_UP_TO: usize = 1 << 20;

/// A longer string is kept in chunks, whatever made it.
const WHOLE_MAX: usize = 1 << 20;

/// A string that no key has yet, of a length that is known.
pub struct StringDraft {
    made: Draft,
    len: usize,
}

enum Draft {
    Whole(Vec<u8>),
    Chunks(Blob),
}

impl StringDraft {
    pub fn with_len(len: usize) -> StringDraft {
        let made = match len > WHOLE_MAX {
            false => Draft::Whole(Vec::with_capacity(len)),
            true => Draft::Chunks(Blob::new()),
        };
        StringDraft { made, len }
    }

    /// The bytes so far.
    pub fn to_vec(&self) -> Vec<u8> {
        match &self.made {
            Draft::Whole(whole) => whole.clone(),
            Draft::Chunks(blob) => blob.to_vec(),
        }
    }

    /// The bytes that come next.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.made {
            Draft::Whole(whole) => whole.extend_from_slice(bytes),
            Draft::Chunks(blob) => blob.append(bytes),
        }
    }
}

impl Keyspace {
    /// Writes a string; an integer's canonical text is kept as the integer.
    pub fn set_string(&mut self, db: u32, key: &Key, value: &[u8], ttl: Ttl) {
        if let Some(n) = parse_i64(value) {
            return self.set_int(db, key, n, ttl);
        }
        if value.len() <= EMBED_MAX {
            return self.put(db, key, Payload::Bytes(value), ttl);
        }
        if value.len() > WHOLE_MAX {
            let object = Arc::new(Object::Blob(Blob::from(value)));
            return self.put(db, key, Payload::Object(object), ttl);
        }
        let entry = self.dbs[db as usize].touch(key, &mut self.upkeep.saver);
        let old_expiry = entry.as_ref().and_then(|e| e.expiry());
        if let Some(Object::String(old)) = entry.and_then(EntryPtr::object_mut) {
            if value.len() <= old.capacity() && old.capacity() / 2 <= value.len() {
                old.clear();
                old.extend_from_slice(value);
                let at = ttl.applied_to(old_expiry);
                self.set_expiry(db, key, at);
                return;
            }
        }
        self.put(db, key, Payload::Object(Object::string(value)), ttl);
    }

    pub fn set_int(&mut self, db: u32, key: &Key, value: i64, ttl: Ttl) {
        self.put(db, key, Payload::Int(value), ttl);
    }

    /// Writes a string of bits, which is never an integer, as if it had been written into.
    pub fn set_bits(&mut self, db: u32, key: &Key, value: &[u8], ttl: Ttl) {
        match value.len() <= EMBED_MAX {
            true => self.put(db, key, Payload::Written(value), ttl),
            false => self.set_string(db, key, value, ttl),
        }
    }

    /// The same of bytes that have come one after another.
    pub fn put_bits(&mut self, db: u32, key: &Key, draft: StringDraft, ttl: Ttl) {
        match draft.made {
            Draft::Whole(bytes) => {
                assert_eq!(bytes.len(), draft.len, "all of it has come");
                self.set_bits(db, key, &bytes, ttl);
            }
            Draft::Chunks(blob) => {
                assert_eq!(blob.len(), draft.len, "all of it has come");
                let object = Arc::new(Object::Blob(blob));
                self.put(db, key, Payload::Object(object), ttl);
            }
        }
    }

    /// How long the string is; `None` without one.
    pub fn string_len(&self, db: u32, key: &Key) -> Option<usize> {
        Some(self.get(db, key)?.string()?.len())
    }

    /// Writes into a string, padding with zeros up to `offset`, making it if need be; keeps its
    /// expiry. Returns its length. Writing nothing changes nothing.
    pub fn write_string(&mut self, db: u32, key: &Key, offset: usize, bytes: &[u8]) -> usize {
        let len = self.string_len(db, key);
        if bytes.is_empty() {
            return len.unwrap_or(0);
        }
        if len.is_none() {
            self.put(db, key, Payload::Written(b""), Ttl::Clear);
        }
        let new_len = len.unwrap_or(0).max(offset + bytes.len());
        self.write_at(db, key, offset, new_len, bytes)
    }

    /// Makes the existing string at `key` `new_len` bytes long (it never shrinks) and writes
    /// `bytes` at `offset`.
    fn write_at(
        &mut self,
        db: u32,
        key: &Key,
        offset: usize,
        new_len: usize,
        bytes: &[u8],
    ) -> usize {
        let entry = self.dbs[db as usize]
            .touch(key, &mut self.upkeep.saver)
            .expect("the caller has seen or made it");
        let end = offset + bytes.len();
        if new_len <= EMBED_MAX {
            make_embedded(entry);
            if let Some(string) = entry.resize_embedded(new_len) {
                string[offset..end].copy_from_slice(bytes);
                return new_len;
            }
        }
        if new_len > WHOLE_MAX {
            make_blob(entry).write(offset, bytes);
            return new_len;
        }
        let string = make_object(entry, new_len);
        reserve_growing(string, new_len);
        string.resize(new_len, 0);
        string[offset..end].copy_from_slice(bytes);
        new_len
    }
}

/// Turns an integer into its text. What is an object stays one.
fn make_embedded(entry: &mut EntryPtr) {
    if let PayloadRef::Int(n) = entry.payload() {
        let expiry = entry.expiry();
        let replaced = entry.store(
            Payload::Bytes(itoa::Buffer::new().format(n).as_bytes()),
            expiry,
        );
        assert!(replaced.is_none(), "it was an integer");
    }
}

/// Makes an object of an entry's string, with room for `len` bytes, unless it is one that is this entry's
/// alone: what a snapshot has as well is copied.
fn make_object(entry: &mut EntryPtr, len: usize) -> &mut Vec<u8> {
    make_embedded(entry);
    if entry.object_mut().is_none() {
        let bytes = match entry.payload() {
            PayloadRef::Int(_) => unreachable!("it is text now"),
            PayloadRef::Bytes(bytes) => bytes,
            PayloadRef::Object(Object::String(bytes)) => bytes,
            PayloadRef::Packed(..) | PayloadRef::Object(_) => unreachable!("it is a string"),
        };
        let mut string = Vec::with_capacity(len.max(bytes.len()));
        string.extend_from_slice(bytes);
        let expiry = entry.expiry();
        // The snapshot frees it, if there was one.
        drop(entry.store(Payload::Object(Arc::new(Object::String(string))), expiry));
    }
    match entry.object_mut() {
        Some(Object::String(string)) => string,
        _ => unreachable!("it is an object now, and new"),
    }
}

/// Makes chunks of an entry's string, unless it has them. Those that a snapshot or a copy has as well stay shared until
/// they are written to.
fn make_blob(entry: &mut EntryPtr) -> &mut Blob {
    if !matches!(entry.payload(), PayloadRef::Object(Object::Blob(_))) {
        make_embedded(entry);
        let blob = match entry.payload() {
            PayloadRef::Bytes(bytes) => Blob::from(bytes),
            PayloadRef::Object(Object::String(bytes)) => Blob::from(&bytes[..]),
            PayloadRef::Int(_) => unreachable!("it is text now"),
            PayloadRef::Packed(..) | PayloadRef::Object(_) => unreachable!("it is a string"),
        };
        let expiry = entry.expiry();
        let object = Arc::new(Object::Blob(blob));
        // Up to a mebibyte, which is freed at once.
        drop(entry.store(Payload::Object(object), expiry));
    }
    match entry.object_to_change() {
        Some(Object::Blob(blob)) => blob,
        _ => unreachable!("it is in chunks now"),
    }
}

/// Grows `bytes` to at least `len` bytes of capacity, with room for further growth.
fn reserve_growing(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.capacity() {
        let slack = len.min((len / 8).max(DOUBLE_UP_TO));
        bytes.reserve_exact(len - bytes.len() + slack);
    }
}

#[cfg(test)]
#[path = "string_tests.rs"]
mod long_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_amortised_and_bounded() {
        let mut bytes = Vec::new();
        let mut moves = 0;
        while bytes.len() < 64 << 20 {
            let before = bytes.capacity();
            let len = bytes.len() + 4096;
            reserve_growing(&mut bytes, len);
            bytes.resize(len, 1);
            moves += usize::from(bytes.capacity() != before);
            assert!(
                bytes.capacity() - len <= len.max(DOUBLE_UP_TO).min((len / 8).max(DOUBLE_UP_TO))
            );
        }
        assert!(moves < 64, "{moves}");
    }
}
