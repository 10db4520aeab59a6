//! Owns the bytes of a packed container wherever they lie: in their key's entry up to [`EMBED_MAX`], beyond in an
//! object. Never knows what they mean. Invariant: an entry's object stays one, however small it gets.

use std::sync::Arc;

use containers::Splice;

use crate::form::Packing;
use crate::object::{Exact, Object};
use crate::raw::{EntryPtr, PackedMut, Payload, PayloadRef, EMBED_MAX};

/// The bytes of a packed container, to be changed.
pub enum PackedBytes<'e> {
    Embedded(PackedMut<'e>),
    Object(Exact<'e>),
}

impl Splice for PackedBytes<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            PackedBytes::Embedded(bytes) => bytes.bytes(),
            PackedBytes::Object(bytes) => bytes.bytes(),
        }
    }

    #[inline]
    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        match self {
            PackedBytes::Embedded(bytes) => bytes.splice(at, remove, insert),
            PackedBytes::Object(bytes) => bytes.splice(at, remove, insert),
        }
    }
}

/// Opens a packed container for edits that make it at most `added` bytes longer. The entry must hold one.
pub fn open(entry: &mut EntryPtr, added: usize) -> PackedBytes<'_> {
    if let PayloadRef::Packed(packing, bytes) = entry.payload() {
        if bytes.len() + added <= EMBED_MAX {
            let embedded = entry.packed_mut();
            return PackedBytes::Embedded(embedded.expect("it is packed"));
        }
        let object = Arc::new(Object::packed(packing, bytes.to_vec()));
        let expiry = entry.expiry();
        let replaced = entry.store(Payload::Object(object), expiry);
        assert!(replaced.is_none(), "it was embedded");
    }
    let packed = entry.object_to_change().and_then(Object::packed_mut);
    PackedBytes::Object(Exact(
        packed.expect("the caller has seen that it is packed"),
    ))
}

/// The entry's value becomes a packed container of these bytes.
pub fn take_over(entry: &mut EntryPtr, packing: Packing, bytes: &[u8]) {
    let expiry = entry.expiry();
    let payload = match bytes.len() <= EMBED_MAX {
        true => Payload::Packed(packing, bytes),
        false => Payload::Object(Arc::new(Object::packed(packing, bytes.to_vec()))),
    };
    // What was there is packed or empty, and freed at once.
    drop(entry.store(payload, expiry));
}
