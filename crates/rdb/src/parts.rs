//! A value with elements, read part by part.
//!
//! Owns: [`Parts`], which is told what comes next in such a value and takes it off a decoder, and [`Part`], what was
//! found there. Never: keeps an element. Invariants: total; how many parts a value says that it has is only counted down; a
//! part is found without being made, as it may be looked for many times before all of it has come.

use super::decode::Raw;
use super::piece::{checked_expiry, score_of};
use super::repack::Old;
use super::{Decoder, Form, Piece, Type, ValueError};
use containers::listpack::EMPTY;
use std::borrow::Cow;

/// How far a value with elements has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    kind: Type,
    left: u64,
    /// Fields expire so much later than it says, and one millisecond sooner: 0 is for those that never do.
    soonest: u64,
}

/// A part of a value: all of its bytes have come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Member(Raw<'a>),
    Scored(Raw<'a>, f64),
    Field(Raw<'a>, Raw<'a>, Option<i64>),
    Packed(Form, Raw<'a>),
    Old(Old, Raw<'a>),
}

/// How a node of a list says that it is one long element, or a listpack.
pub(crate) const NODE_PLAIN: u64 = 1;
pub(crate) const NODE_PACKED: u64 = 2;

/// Scores as text: what stands in the place of the text's length.
const NAN: u8 = 253;
const INFINITY: u8 = 254;
const MINUS_INFINITY: u8 = 255;

impl Parts {
    /// Takes what stands before the first part. Never of a string.
    pub(crate) fn begin(kind: Type, from: &mut Decoder<'_, '_>) -> Result<Parts, ValueError> {
        let mut soonest = 0;
        if matches!(kind, Type::HashExpiring | Type::HashExpiringListpack) {
            soonest = u64::from_le_bytes(from.array()?);
        }
        let left = match Parts::is_counted(kind) {
            true => from.length()?,
            false => 1,
        };
        Ok(Parts {
            kind,
            left,
            soonest,
        })
    }

    /// Whether the number of parts stands before them; else there is one.
    fn is_counted(kind: Type) -> bool {
        matches!(
            kind,
            Type::List
                | Type::Set
                | Type::SortedSetText
                | Type::Hash
                | Type::SortedSet
                | Type::ListZiplists
                | Type::ListNodes
                | Type::HashExpiringCandidate
                | Type::HashExpiring
        )
    }

    pub(crate) fn kind(self) -> Type {
        self.kind
    }

    /// Whether all parts were taken.
    pub(crate) fn is_over(self) -> bool {
        self.left == 0
    }

    /// The same when one more part was taken.
    pub(crate) fn behind_one(self) -> Parts {
        let left = self.left.saturating_sub(1);
        Parts { left, ..self }
    }

    /// How many elements the value says that it has.
    pub(crate) fn elements(self) -> Option<u64> {
        let are_parts = !matches!(self.kind, Type::ListZiplists | Type::ListNodes);
        (Parts::is_counted(self.kind) && are_parts).then_some(self.left)
    }

    /// Takes one part.
    pub(crate) fn part<'a>(self, from: &mut Decoder<'a, '_>) -> Result<Part<'a>, ValueError> {
        Ok(match self.kind {
            Type::String | Type::List | Type::Set => Part::Member(from.raw()?),
            Type::SortedSetText => Part::Scored(from.raw()?, text_score(from)?),
            Type::SortedSet => Part::Scored(from.raw()?, binary_score(from)?),
            Type::Hash => Part::Field(from.raw()?, from.raw()?, None),
            Type::HashExpiring => {
                let expiry = match from.length()? {
                    0 => None,
                    later => {
                        let at = self.soonest.checked_add(later - 1);
                        checked_expiry(at.ok_or(ValueError::Expiry)?)?
                    }
                };
                Part::Field(from.raw()?, from.raw()?, expiry)
            }
            Type::HashExpiringCandidate => {
                let expiry = checked_expiry(from.length()?)?;
                Part::Field(from.raw()?, from.raw()?, expiry)
            }
            Type::ListNodes => match from.length()? {
                NODE_PLAIN => match from.raw()? {
                    // What has no length needs no node of its own: Redis refuses it.
                    Raw::Plain([]) => return Err(ValueError::Node(NODE_PLAIN)),
                    element => Part::Member(element),
                },
                NODE_PACKED => Part::Packed(Form::List, from.raw()?),
                other => return Err(ValueError::Node(other)),
            },
            Type::SetIntset => Part::Packed(Form::Intset, from.raw()?),
            Type::SetListpack => Part::Packed(Form::Set, from.raw()?),
            Type::SortedSetListpack => Part::Packed(Form::SortedSet, from.raw()?),
            Type::HashListpack => Part::Packed(Form::Hash, from.raw()?),
            Type::HashExpiringListpack | Type::HashExpiringListpackCandidate => {
                Part::Packed(Form::HashExpiring, from.raw()?)
            }
            Type::ListZiplist | Type::ListZiplists => Part::Old(Old::List, from.raw()?),
            Type::SortedSetZiplist => Part::Old(Old::SortedSet, from.raw()?),
            Type::HashZiplist => Part::Old(Old::Hash, from.raw()?),
            Type::HashZipmap => Part::Old(Old::Zipmap, from.raw()?),
        })
    }
}

impl<'a> Part<'a> {
    /// The piece that this is: strings are made, and packed bytes are checked.
    pub(crate) fn piece(self, pace: &mut dyn FnMut()) -> Result<Piece<'a>, ValueError> {
        let piece = self.unchecked(pace)?;
        if let Piece::Packed(form, bytes) = &piece {
            form.check(bytes, pace)?;
        }
        Ok(piece)
    }

    /// The same of a part that was looked at by [`Part::check`].
    pub(crate) fn unchecked(self, pace: &mut dyn FnMut()) -> Result<Piece<'a>, ValueError> {
        Ok(match self {
            Part::Member(member) => Piece::Member(member.text(pace)?),
            Part::Scored(member, score) => Piece::Scored(member.text(pace)?, score),
            Part::Field(field, value, expiry) => Piece::Field {
                field: field.text(pace)?,
                value: value.text(pace)?,
                expiry,
            },
            Part::Packed(form, bytes) => Piece::Packed(form, bytes.text(pace)?),
            Part::Old(old, bytes) => {
                let listpack = old.listpack(&bytes.text(pace)?, pace)?;
                Piece::Packed(old.form(), Cow::Owned(listpack))
            }
        })
    }

    /// The most bytes that its strings can have.
    pub(crate) fn longest(self) -> usize {
        match self {
            Part::Member(text) | Part::Scored(text, _) => text.longest(),
            Part::Field(field, value, _) => field.longest().saturating_add(value.longest()),
            Part::Packed(_, bytes) => bytes.longest(),
            // An element of a listpack may take a byte more than it did.
            Part::Old(_, bytes) => bytes
                .longest()
                .saturating_mul(2)
                .saturating_add(EMPTY.len()),
        }
    }

    /// Whether a piece comes of it, and how many elements that has.
    pub(crate) fn check(self, pace: &mut dyn FnMut()) -> Result<u64, ValueError> {
        match self {
            Part::Member(member) | Part::Scored(member, _) => member.check(pace).map(|()| 1),
            Part::Field(field, value, _) => {
                field.check(pace)?;
                value.check(pace).map(|()| 1)
            }
            Part::Packed(form, bytes) => form.check(&bytes.text(pace)?, pace),
            Part::Old(old, bytes) => {
                let listpack = old.listpack(&bytes.text(pace)?, pace)?;
                old.form().check(&listpack, pace)
            }
        }
    }
}

fn binary_score(from: &mut Decoder<'_, '_>) -> Result<f64, ValueError> {
    let score = f64::from_le_bytes(from.array()?);
    (!score.is_nan()).then_some(score).ok_or(ValueError::Score)
}

fn text_score(from: &mut Decoder<'_, '_>) -> Result<f64, ValueError> {
    match from.byte()? {
        NAN => Err(ValueError::Score),
        INFINITY => Ok(f64::INFINITY),
        MINUS_INFINITY => Ok(f64::NEG_INFINITY),
        length => score_of(from.bytes(length.into())?).ok_or(ValueError::Score),
    }
}
