//! Redis's digests of data: what DEBUG DIGEST and DIGEST-VALUE say.
//!
//! Owns: their formula, so that the data of a Redis and of Holdfast can be compared. Never: proves that members
//! of a shard have the same: of a key's expiry it only sees that there is one (`Keyspace::digest_all` sees all).

use base::double;
use keyspace::{Digits, Entry, Value};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;

/// Bytes that are hashed between two calls of `pace` (T9).
const PIECE: usize = 256 << 10;

/// A digest under construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds what has no place in an order.
    fn add(&mut self, bytes: &[u8], pace: &mut dyn FnMut(usize)) {
        self.add_pieces(bytes.chunks(PIECE), pace);
    }

    fn add_pieces<'p>(
        &mut self,
        pieces: impl Iterator<Item = &'p [u8]>,
        pace: &mut dyn FnMut(usize),
    ) {
        let mut sum = Sha1::new();
        for piece in pieces {
            sum.update(piece);
            pace(piece.len());
        }
        for (to, byte) in self.0.iter_mut().zip(sum.finalize()) {
            *to ^= byte;
        }
    }

    /// Adds what comes next.
    fn mix(&mut self, bytes: &[u8], pace: &mut dyn FnMut(usize)) {
        self.add(bytes, pace);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds a value, and whether it expires.
    fn mix_value(&mut self, value: Value<'_>, expires: bool, pace: &mut dyn FnMut(usize)) {
        match value {
            Value::String(string) => {
                self.mix(&KIND_STRING.to_be_bytes(), pace);
                let (len, mut digits) = (string.len(), itoa::Buffer::new());
                let pieces = string.pieces(0..len, &mut digits);
                self.add_pieces(pieces.flat_map(|piece| piece.chunks(PIECE)), pace);
                self.0 = Sha1::digest(self.0).into();
            }
            Value::Hash(hash) => {
                self.mix(&KIND_HASH.to_be_bytes(), pace);
                hash.for_each(|found| {
                    let (mut one, mut digits) = (Digest::default(), Digits::default());
                    one.mix(found.field.text(&mut digits), pace);
                    one.mix(found.value.text(&mut digits), pace);
                    if found.expiry.is_some() {
                        one.add(b"!!hexpire!!", pace);
                    }
                    self.add(&one.0, pace);
                });
            }
            Value::List(list) => {
                self.mix(&KIND_LIST.to_be_bytes(), pace);
                for element in list.iter() {
                    self.mix(element.text(&mut Digits::default()), pace);
                }
            }
            Value::Set(set) => {
                self.mix(&KIND_SET.to_be_bytes(), pace);
                set.for_each(|member| self.add(member.text(&mut Digits::default()), pace));
            }
            Value::SortedSet(zset) => {
                self.mix(&KIND_SORTED_SET.to_be_bytes(), pace);
                let mut score = Vec::new();
                zset.for_each(|found| {
                    let mut one = Digest::default();
                    one.mix(found.member.text(&mut Digits::default()), pace);
                    score.clear();
                    double::push_digits(&mut score, found.score);
                    one.mix(&score, pace);
                    self.add(&one.0, pace);
                });
            }
        }
        if expires {
            self.add(b"!!expire!!", pace);
        }
    }

    /// Of a value, whatever its key is. `pace` is told of the bytes that were gone through.
    pub fn of_value(entry: &Entry<'_>, pace: &mut dyn FnMut(usize)) -> Digest {
        let mut digest = Digest::default();
        digest.mix_value(entry.value(), entry.expiry().is_some(), pace);
        digest
    }
}

/// The numbers of types.
const KIND_STRING: u32 = 0;
const KIND_LIST: u32 = 1;
const KIND_SET: u32 = 2;
const KIND_SORTED_SET: u32 = 3;
const KIND_HASH: u32 = 4;

/// The digest of keys that come in any order, each of them once.
#[derive(Debug, Default)]
pub struct KeysDigest(BTreeMap<u32, Digest>);

impl KeysDigest {
    pub fn add(
        &mut self,
        db: u32,
        key: &[u8],
        (value, expires): (Value<'_>, bool),
        pace: &mut dyn FnMut(usize),
    ) {
        let mut one = Digest::default();
        one.mix(key, pace);
        one.mix_value(value, expires, pace);
        self.0.entry(db).or_default().add(&one.0, pace);
    }

    pub fn all(&self) -> Digest {
        let mut all = Digest::default();
        for (db, keys) in &self.0 {
            all.mix(&db.to_be_bytes(), &mut |_| {});
            for (to, byte) in all.0.iter_mut().zip(keys.0) {
                *to ^= byte;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyspace::StringRef;

    /// What Redis 7.4.1 said: `SET a 12`, `SET b "some text" EX 1000`, then `SET x y` in database 3.
    #[test]
    fn digests_are_those_of_redis() {
        let mut keys = KeysDigest::default();
        let string = |text: &'static [u8]| Value::String(StringRef::Bytes(text));
        assert_eq!(keys.all().hex(), "0".repeat(40));
        keys.add(0, b"b", (string(b"some text"), true), &mut |_| {});
        keys.add(
            0,
            b"a",
            (Value::String(StringRef::Int(12)), false),
            &mut |_| {},
        );
        assert_eq!(keys.all().hex(), "79f9f7aad3b8b9fc047509af367dc167cfb049f1");
        keys.add(3, b"x", (string(b"y"), false), &mut |_| {});
        assert_eq!(keys.all().hex(), "57153cd011cb0020892f25a3fb4f491679c8f08d");
        let mut value = Digest::default();
        value.mix_value(string(b"some text"), true, &mut |_| {});
        assert_eq!(value.hex(), "6c4bf37fd2938ff682e12396ce967c2c7eabfdbe");
    }
}
