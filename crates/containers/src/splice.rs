//! Owns: [`Splice`], by which packed bytes are edited where they lie, and its form for a `Vec<u8>`.
//!
//! Never: knows what the bytes mean. Invariant: an edit is computed from the bytes as they are, and then done by splices
//! alone, so a vector, a list's chunk and a key's entry are edited by the same code.

/// Bytes that are edited where they lie.
pub trait Splice {
    fn bytes(&self) -> &[u8];

    /// Puts the parts of `insert`, one behind the other, in the place of the `remove` bytes at `at`.
    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]);
}

impl Splice for Vec<u8> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let (length, behind) = (self.len(), at + remove);
        assert!(behind <= length, "what is removed is there");
        let added: usize = insert.iter().map(|part| part.len()).sum();
        if added > remove {
            self.resize(length + (added - remove), 0);
        }
        self.copy_within(behind..length, at + added);
        self.truncate(length - remove + added);
        let mut gap = &mut self[at..at + added];
        for part in insert {
            let (here, rest) = gap.split_at_mut(part.len());
            here.copy_from_slice(part);
            gap = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn splices_are_those_of_the_vector(
            bytes: Vec<u8>,
            place: (prop::sample::Index, prop::sample::Index),
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5),
        ) {
            let at = place.0.index(bytes.len() + 1);
            let remove = place.1.index(bytes.len() - at + 1);
            let (mut ours, mut model) = (bytes.clone(), bytes);
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            Splice::splice(&mut ours, at, remove, &slices);
            model.splice(at..at + remove, parts.concat());
            prop_assert_eq!(ours, model);
        }
    }
}
