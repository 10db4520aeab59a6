//! Owns the values that live outside their entry's block, behind one pointer: large strings, and containers beyond
//! what an entry has room for. Never knows keys or expiry.
//! Invariants: an object is `Send` and `Sync`, so that another thread may read it for a snapshot, and free it; the clone of
//! a container, or of a string in chunks, shares its parts, so it takes no time that grows with its elements.

use std::sync::Arc;

use containers::blob::Blob;
use containers::{size_class, Splice};

use super::form::Packing;
use super::types::hash::HashObject;
use super::types::list::ListObject;
use super::types::set::SetObject;
use super::types::zset::ZsetObject;

/// Objects that take at least this many bytes are freed by the taker of the garbage.
const SLOW_TO_FREE: usize = 64 << 10;

/// A value that is not embedded in its entry.
#[derive(Clone)]
pub(super) enum Object {
    /// A string too long to be embedded; grows in place.
    String(Vec<u8>),
    /// A string too long to be moved or copied.
    Blob(Blob),
    Hash(HashObject),
    Set(SetObject),
    List(ListObject),
    SortedSet(ZsetObject),
}

impl Object {
    pub fn string(bytes: &[u8]) -> Arc<Object> {
        Arc::new(Object::String(bytes.to_vec()))
    }

    /// A packed container.
    pub fn packed(packing: Packing, bytes: Vec<u8>) -> Object {
        match packing {
            Packing::Hash => Object::Hash(HashObject::Packed(bytes)),
            Packing::HashEx => Object::Hash(HashObject::PackedEx(bytes)),
            Packing::SetInts => Object::Set(SetObject::Ints(bytes)),
            Packing::Set => Object::Set(SetObject::Packed(bytes)),
            Packing::List => Object::List(ListObject::Packed(bytes)),
            Packing::SortedSet => Object::SortedSet(ZsetObject::Packed(bytes)),
        }
    }

    /// The bytes of a packed container.
    pub fn packed_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Object::Hash(HashObject::Packed(bytes) | HashObject::PackedEx(bytes)) => Some(bytes),
            Object::Set(SetObject::Ints(bytes) | SetObject::Packed(bytes)) => Some(bytes),
            Object::List(ListObject::Packed(bytes)) => Some(bytes),
            Object::Hash(HashObject::Table(_)) | Object::Set(SetObject::Table(_)) => None,
            Object::String(_) | Object::Blob(_) | Object::List(ListObject::Chunks(_)) => None,
            Object::SortedSet(ZsetObject::Packed(bytes)) => Some(bytes),
            Object::SortedSet(ZsetObject::Table(_)) => None,
        }
    }

    /// Whether a clone shares its parts, and a change copies only those that it meets.
    pub fn has_parts(&self) -> bool {
        match self {
            Object::String(_) => false,
            Object::Blob(_) => true,
            Object::Hash(hash) => matches!(hash, HashObject::Table(_)),
            Object::Set(set) => matches!(set, SetObject::Table(_)),
            Object::List(list) => matches!(list, ListObject::Chunks(_)),
            Object::SortedSet(zset) => matches!(zset, ZsetObject::Table(_)),
        }
    }

    /// About the memory that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Object::String(bytes) => bytes.capacity(),
            Object::Blob(blob) => blob.bytes(),
            Object::Hash(hash) => hash.bytes(),
            Object::Set(set) => set.bytes(),
            Object::List(list) => list.bytes(),
            Object::SortedSet(zset) => zset.bytes(),
        }
    }

    /// Whether freeing it may take long enough to be felt as a pause.
    pub fn slow_to_free(&self) -> bool {
        self.bytes() >= SLOW_TO_FREE
    }
}

/// The bytes of a packed container in an object, to be changed: a vector that grows by the allocator's classes, so that it never
/// has room that nothing will use.
pub(super) struct Exact<'o>(pub &'o mut Vec<u8>);

impl Splice for Exact<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let added: usize = insert.iter().map(|part| part.len()).sum();
        let needed = self.0.len() - remove + added;
        if needed > self.0.capacity() {
            self.0.reserve_exact(size_class(needed) - self.0.len());
        }
        Splice::splice(self.0, at, remove, insert);
        if 2 * size_class(needed) <= self.0.capacity() {
            self.0.shrink_to(size_class(needed));
        }
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

    #[test]
    fn packed_bytes_keep_to_classes() {
        let mut bytes = vec![1; 100];
        for len in 101..5000 {
            Exact(&mut bytes).splice(50, 0, &[b"x"]);
            assert_eq!(bytes.len(), len);
            assert!(bytes.capacity() <= size_class(len).max(100), "{len}");
        }
        Exact(&mut bytes).splice(10, 4900, &[]);
        assert_eq!((bytes.len(), bytes.capacity()), (99, size_class(99)));
    }
}
