//! What Redis before 7.0 packed elements in, made into what it packs them in now.
//!
//! Owns: [`Form`]. Never: writes such bytes.

use super::{piece, ValueError};

/// What the elements of ziplists and zipmaps are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A ziplist of elements of a list.
    List,
    /// A ziplist of members, each with its score behind it.
    SortedSet,
    /// A ziplist of fields, each with its value behind it.
    Hash,
    /// The same as a zipmap.
    Zipmap,
}

impl Form {
    /// What it becomes.
    pub(crate) fn packed(self) -> piece::Form {
        match self {
            Form::List => piece::Form::List,
            Form::SortedSet => piece::Form::SortedSet,
            Form::Hash | Form::Zipmap => piece::Form::Hash,
        }
    }

    /// The same elements as a listpack.
    pub(crate) fn listpack(self, _bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
        Err(ValueError::Legacy)
    }
}
