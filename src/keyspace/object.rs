//! Owns the values that live outside their entry's block, behind one pointer: large strings today,
//! lists, hashes and the others as further variants. Never knows keys or expiry.
//! Invariant: an object is `Send`, so that whoever removes it may have another thread free it.

/// Objects that take at least this many bytes are freed by whoever takes the garbage.
const SLOW_TO_FREE: usize = 64 << 10;

/// Up to here a growing string doubles; beyond, it grows by an eighth (at least by this much), so
/// that a huge string never wastes half of its memory.
const DOUBLE_UP_TO: usize = 1 << 20;

/// A value that is not embedded in its entry.
pub(super) enum Object {
    /// A string too long to be embedded; grows in place.
    String(Vec<u8>),
}

impl Object {
    pub fn string(bytes: &[u8]) -> Box<Object> {
        Box::new(Object::String(bytes.to_vec()))
    }

    /// Whether freeing it may take long enough to be felt as a pause.
    pub fn slow_to_free(&self) -> bool {
        match self {
            Object::String(bytes) => bytes.capacity() >= SLOW_TO_FREE,
        }
    }
}

/// Grows `bytes` to at least `len` bytes of capacity, with room for further growth.
pub(super) fn reserve_growing(bytes: &mut Vec<u8>, len: usize) {
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

    #[test]
    fn only_large_objects_are_slow_to_free() {
        assert!(!Object::string(&[0; 2000]).slow_to_free());
        assert!(Object::string(&vec![0; SLOW_TO_FREE]).slow_to_free());
    }
}
