//! Owns the map from a key to its hash slot: CRC16 (XMODEM) of the key, or of its hash tag, modulo
//! 16384. Never knows which shard serves a slot. Invariant: every client and every node of a cluster
//! computes the same slot, so nothing here may ever change.

/// How many hash slots a cluster has.
pub const SLOT_COUNT: u16 = 16384;

/// The hash slot of a key.
pub fn key_slot(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(hash_tag(key)) & (SLOT_COUNT - 1)
}

/// The part of a key that is hashed: what stands between the first `{` and the first `}` after it,
/// unless that is nothing or one of the two is missing; then the whole key.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&b| b == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slots() {
        // As `CLUSTER KEYSLOT` of a Redis server says.
        assert_eq!(key_slot(b""), 0);
        assert_eq!(key_slot(b"123456789"), 0x31C3);
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"bar"), 5061);
        assert_eq!(key_slot(b"somekey"), 11058);
        assert_eq!(key_slot(b"foo{hash_tag}"), 2515);
        assert_eq!(key_slot(b"bar{hash_tag}"), 2515);
    }

    #[test]
    fn hash_tag_rule() {
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("{}", "{}"),
            ("{", "{"),
            ("}{", "}{"),
            ("a}b{c}d", "c"),
            ("{a", "{a"),
            ("", ""),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }
}
