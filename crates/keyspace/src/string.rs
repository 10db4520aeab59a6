//! Owns how a string is kept (an integer, bytes within its entry, an object) and how it is edited in
//! place. Never touches memory itself. Invariant: a string shorter than or as long as the embedding
//! limit that has never been longer is an integer or embedded; canonical text of an `i64` that is
//! written as a whole is an integer, but for a result of bits, which stays bytes.

use std::sync::Arc;

use base::number::parse_i64;

use super::object::Object;
use super::raw::{EntryPtr, Payload, PayloadRef, EMBED_MAX};
use super::{Key, Keyspace, Ttl};

/// Up to here a growing string doubles; beyond, it grows by an eighth (at least by this much), so
/// that a huge string never wastes half of its memory.
const DOUBLE_UP_TO: usize = 1 << 20;

impl Keyspace {
    /// Writes a string; an integer's canonical text is kept as the integer.
    pub fn set_string(&mut self, db: u32, key: &Key, value: &[u8], ttl: Ttl) {
        if let Some(n) = parse_i64(value) {
            return self.set_int(db, key, n, ttl);
        }
        if value.len() <= EMBED_MAX {
            return self.put(db, key, Payload::Bytes(value), ttl);
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

/// Grows `bytes` to at least `len` bytes of capacity, with room for further growth.
fn reserve_growing(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.capacity() {
        let slack = len.min((len / 8).max(DOUBLE_UP_TO));
        bytes.reserve_exact(len - bytes.len() + slack);
    }
}

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
