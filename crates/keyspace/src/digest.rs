//! Owns the digest of a keyspace: a number that members of a group compare to prove that they hold
//! the same data. Never depends on the seed, on the order of entries or on how a value is encoded.
//! Invariant: one entry's hash covers key, kind, value and expiry; a database's digest is the sum
//! of its entries' hashes; no keys, all zeros. The formula is our own and no secret protects it:
//! it finds mistakes, not forgeries.

use super::value::Value;
use std::collections::BTreeMap;

/// Three sums, of which 160 bits are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest([u64; LANES]);

const LANES: usize = 3;

/// Odd constants with no pattern (from the fractional part of square roots of primes).
const START: [u64; LANES] = [
    0x6A09_E667_F3BC_C909,
    0xBB67_AE85_84CA_A73B,
    0x3C6E_F372_FE94_F82B,
];
const FACTOR: [u64; LANES] = [
    0xA54F_F53A_5F1D_36F1,
    0x510E_527F_ADE6_82D1,
    0x9B05_688C_2B3E_6C1F,
];

impl Digest {
    /// The digest of one thing made of parts.
    pub fn of(parts: &[&[u8]]) -> Digest {
        let mut hash = Digest(START);
        for part in parts {
            hash.word(part.len() as u64);
            hash.words(part);
        }
        hash.ended()
    }

    /// The same, where one part between two others lies in pieces, each of which but the last is whole words.
    pub fn of_pieces<'p>(
        before: &[&[u8]],
        (len, pieces): (usize, impl Iterator<Item = &'p [u8]>),
        behind: &[u8],
    ) -> Digest {
        let mut hash = Digest(START);
        for part in before {
            hash.word(part.len() as u64);
            hash.words(part);
        }
        hash.word(len as u64);
        let mut left = len;
        for piece in pieces {
            left -= piece.len();
            assert!(piece.len() % 8 == 0 || left == 0, "pieces are whole words");
            hash.words(piece);
        }
        hash.word(behind.len() as u64);
        hash.words(behind);
        hash.ended()
    }

    /// What the last word did must reach all bits.
    fn ended(mut self) -> Digest {
        self.word(0);
        self.word(0);
        self
    }

    fn words(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(u64::from_le_bytes(word.try_into().expect("a chunk of 8")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    fn word(&mut self, word: u64) {
        for (i, lane) in self.0.iter_mut().enumerate() {
            let mixed = u128::from(lane.wrapping_add(word) ^ START[i]) * u128::from(FACTOR[i]);
            *lane = (mixed as u64 ^ (mixed >> 64) as u64) ^ lane.rotate_left(29);
        }
    }

    pub fn add(&mut self, other: Digest) {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_add(other);
        }
    }

    pub fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        for (to, lane) in bytes.chunks_mut(8).zip(self.0) {
            to.copy_from_slice(&lane.to_le_bytes()[..to.len()]);
        }
        bytes
    }
}

/// The digest of all databases, from those of each that has keys.
pub(super) fn digest_of_all(databases: impl Iterator<Item = (u32, [u8; 20])>) -> [u8; 20] {
    let mut sum = Digest::default();
    for (db, digest) in databases {
        sum.add(Digest::of(&[&db.to_le_bytes(), &digest]));
    }
    sum.bytes()
}

/// The digest of a keyspace that nobody has: of keys that come one by one, each of them once.
#[derive(Debug, Default)]
pub struct KeysDigest(BTreeMap<u32, Digest>);

impl KeysDigest {
    /// A key with its value, and when it expires.
    pub fn add(&mut self, db: u32, key: &[u8], value: Value<'_>, expiry: Option<i64>) {
        let sum = self.0.entry(db).or_default();
        sum.add(value.digest(key, expiry));
    }

    /// What [`Keyspace::digest_all`](super::Keyspace::digest_all) would say of them.
    pub fn all(&self) -> [u8; 20] {
        digest_of_all(self.0.iter().map(|(db, digest)| (*db, digest.bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn similar_things_differ_in_every_lane() {
        let mut seen = [HashSet::new(), HashSet::new(), HashSet::new()];
        let mut things = 0;
        for len in 0..40usize {
            for bit in 0..len * 8 {
                let mut part = vec![0u8; len];
                part[bit / 8] ^= 1 << (bit % 8);
                for cut in 0..=len.min(3) {
                    let (a, b) = part.split_at(cut);
                    let digest = Digest::of(&[a, b]);
                    things += 1;
                    for (lane, seen) in digest.0.iter().zip(&mut seen) {
                        seen.insert(*lane);
                    }
                }
            }
        }
        assert!(seen.iter().all(|s| s.len() == things));
    }

    #[test]
    fn the_formula_does_not_change() {
        // Members of different versions compare digests.
        let hex: String = Digest::of(&[b"key", b"value", b"0123456789"])
            .bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "39a9629dee42a90bab96dcf42cd3c51e0c2a3c9f");
    }
}
