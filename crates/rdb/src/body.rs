//! A value with elements as it stands in a payload.
//!
//! Owns: [`Body`]. Never: keeps an element. Invariant: all of it was read once, so that reading it again gives no error.

use super::parts::Parts;
use super::{Decoder, Piece, Type, ValueError, PACE_BYTES};

/// The bytes of a value with elements, which were looked at from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    kind: Type,
    bytes: &'a [u8],
    elements: u64,
}

impl<'a> Body<'a> {
    /// The value that bytes begin with: what is behind it is not looked at. No string of it may be longer than
    /// `limit`.
    pub(crate) fn read(
        kind: Type,
        bytes: &'a [u8],
        limit: usize,
        pace: &mut dyn FnMut(),
    ) -> Result<Body<'a>, ValueError> {
        let nothing = &mut || {};
        let mut from = Decoder::new(bytes, limit, nothing);
        let mut parts = Parts::begin(kind, &mut from)?;
        let (mut elements, mut pacer) = (0u64, Pacer::new(from.rest()));
        while !parts.is_over() {
            elements += parts.part(&mut from)?.check(pace)?;
            parts = parts.behind_one();
            pacer.at(from.rest(), pace);
        }
        if elements == 0 {
            return Err(ValueError::Empty);
        }
        let length = bytes.len() - from.rest().len();
        Ok(Body {
            kind,
            bytes: &bytes[..length],
            elements,
        })
    }

    /// How it is encoded.
    pub fn encoding(self) -> Type {
        self.kind
    }

    /// How many elements it has, one at least.
    pub fn elements(self) -> u64 {
        self.elements
    }

    /// What stands behind the byte of the type.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Gives all pieces to `visitor`, one by one, until it fails. No more is made at a time than one piece.
    ///
    /// Whether an element is there twice was not looked at.
    pub fn visit<E>(
        self,
        pace: &mut dyn FnMut(),
        visitor: &mut dyn FnMut(Piece<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        const READ: &str = "all of it was read once";
        let nothing = &mut || {};
        let mut from = Decoder::new(self.bytes, usize::MAX, nothing);
        let mut parts = Parts::begin(self.kind, &mut from).expect(READ);
        let mut pacer = Pacer::new(from.rest());
        while !parts.is_over() {
            let part = parts.part(&mut from).expect(READ);
            visitor(part.unchecked(pace).expect(READ))?;
            parts = parts.behind_one();
            pacer.at(from.rest(), pace);
        }
        Ok(())
    }
}

/// Calls `pace` once for [`PACE_BYTES`] that were walked through.
struct Pacer {
    /// Here it is called next: so many bytes are left then.
    next: usize,
}

impl Pacer {
    fn new(rest: &[u8]) -> Pacer {
        let next = rest.len().saturating_sub(PACE_BYTES);
        Pacer { next }
    }

    fn at(&mut self, rest: &[u8], pace: &mut dyn FnMut()) {
        if rest.len() < self.next {
            *self = Pacer::new(rest);
            pace();
        }
    }
}
