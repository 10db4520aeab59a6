//! What Redis before 7.0 packed elements in, made into what it packs them in now.
//!
//! Owns: [`Old`]. Never: knows the bytes of either (that is [`legacy`], and `containers::listpack`).

use super::{legacy, piece::Form, ValueError, PACE_BYTES};
use containers::listpack::{fits, Builder};

/// What the elements of ziplists and zipmaps are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// A ziplist of elements of a list.
    List,
    /// A ziplist of members, each with its score behind it.
    SortedSet,
    /// A ziplist of fields, each with its value behind it.
    Hash,
    /// The same as a zipmap.
    Zipmap,
}

impl Old {
    /// What it becomes.
    pub(crate) fn form(self) -> Form {
        match self {
            Old::List => Form::List,
            Old::SortedSet => Form::SortedSet,
            Old::Hash | Old::Zipmap => Form::Hash,
        }
    }

    /// The same elements as a listpack; whether they are as many as they have to be is not looked at.
    pub(crate) fn listpack(
        self,
        bytes: &[u8],
        pace: &mut dyn FnMut(),
    ) -> Result<Vec<u8>, ValueError> {
        let elements = match self {
            Old::Zipmap => legacy::zipmap(bytes, pace),
            Old::List | Old::SortedSet | Old::Hash => legacy::ziplist(bytes, pace),
        };
        let mut listpack = Builder::with_capacity(bytes.len());
        let mut paced = 0;
        for element in elements.map_err(ValueError::Legacy)? {
            if !fits(listpack.size(), element.size()) {
                let length = u64::try_from(bytes.len()).expect("a usize fits");
                return Err(ValueError::TooLong(length));
            }
            listpack.push(element);
            if listpack.size() - paced >= PACE_BYTES {
                paced = listpack.size();
                pace();
            }
        }
        Ok(listpack.finish())
    }
}
