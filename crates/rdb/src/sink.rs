//! Writing values with elements.
//!
//! Owns: [`Sink`], where a value's bytes go, be it a payload or a file, and [`Pieces`], which writes a value piece by
//! piece as its [`Type`] has it. Never: chooses the type, or packs elements.

use super::parts::{NODE_PACKED, NODE_PLAIN};
use super::{Form, Piece, Type};

/// Takes what values are made of.
pub trait Sink {
    type Error;

    /// A string, in the shortest form that there is for it.
    fn string(&mut self, text: &[u8]) -> Result<(), Self::Error>;

    /// A string of so many bytes, too many to be short or a number, that comes in pieces. What compresses it joins them.
    fn long_string(
        &mut self,
        len: usize,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<(), Self::Error>;

    /// A number in the form of a length.
    fn length(&mut self, n: u64) -> Result<(), Self::Error>;

    /// A few bytes as they are.
    fn raw(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    fn byte(&mut self, byte: u8) -> Result<(), Self::Error> {
        self.raw(&[byte])
    }

    fn double(&mut self, n: f64) -> Result<(), Self::Error> {
        self.raw(&n.to_le_bytes())
    }
}

/// The bytes of a string that come piece by piece.
pub(crate) fn joined(len: usize, pieces: &mut dyn Iterator<Item = &[u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    pieces.for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// Writes a value with elements: what stands before them, then piece by piece.
///
/// A value of a type whose elements are packed is one piece ([`Pieces::packed`]), a list of type
/// [`Type::ListNodes`] as many as it has nodes.
pub struct Pieces<'s, S: Sink> {
    to: &'s mut S,
    kind: Type,
    left: u64,
    soonest: i64,
}

impl<'s, S: Sink> Pieces<'s, S> {
    /// Begins a value of so many pieces. `soonest` is when the first of its fields expires, 0 where none does.
    ///
    /// No value is written as what only an older Redis writes, nor one of no pieces.
    pub fn begin(
        to: &'s mut S,
        kind: Type,
        pieces: u64,
        soonest: i64,
    ) -> Result<Pieces<'s, S>, S::Error> {
        debug_assert!(pieces > 0, "no key has an empty value");
        if matches!(kind, Type::HashExpiring | Type::HashExpiringListpack) {
            to.raw(&soonest.to_le_bytes())?;
        }
        match kind {
            Type::List
            | Type::Set
            | Type::Hash
            | Type::SortedSet
            | Type::HashExpiring
            | Type::ListNodes => to.length(pieces)?,
            Type::SetIntset
            | Type::SetListpack
            | Type::SortedSetListpack
            | Type::HashListpack
            | Type::HashExpiringListpack => debug_assert_eq!(pieces, 1, "one packed piece"),
            _ => panic!("values of the type {kind:?} are read only"),
        }
        Ok(Pieces {
            to,
            kind,
            left: pieces,
            soonest,
        })
    }

    /// An element of a list, or a member of a set.
    pub fn member(&mut self, member: &[u8]) -> Result<(), S::Error> {
        self.count(matches!(
            self.kind,
            Type::List | Type::Set | Type::ListNodes
        ));
        if self.kind == Type::ListNodes {
            self.to.length(NODE_PLAIN)?;
        }
        self.to.string(member)
    }

    /// A member of a sorted set. Redis writes the member with the highest score first, and loads faster so.
    pub fn scored(&mut self, member: &[u8], score: f64) -> Result<(), S::Error> {
        self.count(self.kind == Type::SortedSet);
        self.to.string(member)?;
        self.to.double(score)
    }

    /// A field of a hash.
    pub fn field(
        &mut self,
        field: &[u8],
        value: &[u8],
        expiry: Option<i64>,
    ) -> Result<(), S::Error> {
        let expiring = self.kind == Type::HashExpiring;
        self.count(expiring || self.kind == Type::Hash && expiry.is_none());
        if expiring {
            let later = expiry.map_or(0, |at| at.abs_diff(self.soonest) + 1);
            debug_assert!(expiry.is_none_or(|at| at >= self.soonest));
            self.to.length(later)?;
        }
        self.to.string(field)?;
        self.to.string(value)
    }

    /// A whole listpack or intset: all of the value, or a node of a list.
    pub fn packed(&mut self, form: Form, bytes: &[u8]) -> Result<(), S::Error> {
        self.count(matches!(
            (self.kind, form),
            (Type::ListNodes, Form::List)
                | (Type::SetIntset, Form::Intset)
                | (Type::SetListpack, Form::Set)
                | (Type::SortedSetListpack, Form::SortedSet)
                | (Type::HashListpack, Form::Hash)
                | (Type::HashExpiringListpack, Form::HashExpiring)
        ));
        if self.kind == Type::ListNodes {
            self.to.length(NODE_PACKED)?;
        }
        self.to.string(bytes)
    }

    pub fn put(&mut self, piece: &Piece<'_>) -> Result<(), S::Error> {
        match piece {
            Piece::Member(member) => self.member(member),
            Piece::Scored(member, score) => self.scored(member, *score),
            Piece::Field {
                field,
                value,
                expiry,
            } => self.field(field, value, *expiry),
            Piece::Packed(form, bytes) => self.packed(*form, bytes),
        }
    }

    /// All pieces were written.
    pub fn end(self) {
        assert_eq!(self.left, 0, "as many pieces as it was said to have");
    }

    fn count(&mut self, fits: bool) {
        assert!(fits, "no value of the type {:?} has this", self.kind);
        self.left = self
            .left
            .checked_sub(1)
            .expect("no more pieces than it was said to have");
    }
}
