//! Where an element counts: its register, and the run of zeros that it has.
//!
//! Owns: the hash function of HyperLogLogs (MurmurHash64A with Redis's seed), whose values are in every
//! string that a client has kept: it never changes.

use super::layout::REGISTERS;

const SEED: u64 = 0xadc8_3b19;
const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();
/// Bits of the hash in which zeros are counted.
pub const RUN_BITS: u32 = 64 - INDEX_BITS;

/// MurmurHash64A, the same on every machine.
fn hash(bytes: &[u8]) -> u64 {
    let mut sum = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        let word = u64::from_le_bytes(word.try_into().expect("a chunk of 8")).wrapping_mul(FACTOR);
        let word = (word ^ (word >> SHIFT)).wrapping_mul(FACTOR);
        sum = (sum ^ word).wrapping_mul(FACTOR);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    sum = (sum ^ (sum >> SHIFT)).wrapping_mul(FACTOR);
    sum ^ (sum >> SHIFT)
}

/// The register of an element, and the place of the first bit that is set in the rest of its hash.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = hash(element);
    let index = hash as usize & (REGISTERS - 1);
    // A bit that ends the run at the latest.
    let rest = (hash >> INDEX_BITS) | 1 << RUN_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Redis 7.4.1 (`PFADD`, then `PFDEBUG DECODE`).
    #[test]
    fn elements_count_where_redis_counts_them() {
        for (element, index, run) in [
            (&b""[..], 5938, 2),
            (b"a", 12_711, 2),
            (b"12345678", 10_579, 3),
            (b"a longer one, of more than two words", 11_775, 1),
        ] {
            assert_eq!(place(element), (index, run), "{element:?}");
        }
    }
}
