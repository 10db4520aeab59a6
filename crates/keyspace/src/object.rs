//! Owns the values that live outside their entry's block, behind one pointer: large strings today,
//! lists, hashes and the others as further variants. Never knows keys or expiry.
//! Invariant: an object is `Send` and `Sync`, so that another thread may read it for a snapshot, and free it.

use std::sync::Arc;

/// Objects that take at least this many bytes are freed by the taker of the garbage.
const SLOW_TO_FREE: usize = 64 << 10;

/// A value that is not embedded in its entry.
pub(super) enum Object {
    /// A string too long to be embedded; grows in place.
    String(Vec<u8>),
}

impl Object {
    pub fn string(bytes: &[u8]) -> Arc<Object> {
        Arc::new(Object::String(bytes.to_vec()))
    }

    /// About the memory that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Object::String(bytes) => bytes.capacity(),
        }
    }

    /// Whether freeing it may take long enough to be felt as a pause.
    pub fn slow_to_free(&self) -> bool {
        self.bytes() >= SLOW_TO_FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_objects_are_slow_to_free() {
        assert!(!Object::string(&[0; 2000]).slow_to_free());
        assert!(Object::string(&vec![0; SLOW_TO_FREE]).slow_to_free());
    }
}
