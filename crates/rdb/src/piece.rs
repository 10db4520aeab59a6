//! What a value with elements consists of while it is read or written.
//!
//! Owns: [`Piece`], and [`Form`], which says what the elements of packed bytes are; it checks them ([`Form::check`]) and
//! takes them apart ([`Form::elements`]). Never: keeps elements, so it does not notice that one is there twice: that is
//! for the structure that they go to.

use super::ValueError;
use containers::intset::{self, Intset};
use containers::listpack::{self, Element, Listpack};
use std::borrow::Cow;

/// A part of a value with elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<'a> {
    /// An element of a list, or a member of a set.
    Member(Cow<'a, [u8]>),
    /// A member of a sorted set, and its score, which is a number.
    Scored(Cow<'a, [u8]>, f64),
    Field {
        field: Cow<'a, [u8]>,
        value: Cow<'a, [u8]>,
        /// In milliseconds since 1970: above 0 and up to [`EXPIRY_MAX`]. It may be long ago.
        expiry: Option<i64>,
    },
    /// A whole listpack or intset, which was checked: all of a value, or one node of a list, which may be empty.
    Packed(Form, Cow<'a, [u8]>),
}

/// The latest that a field can expire.
pub const EXPIRY_MAX: i64 = (1 << 48) - 1;

/// What packed bytes are, and what their elements are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A listpack of elements of a list.
    List,
    /// A listpack of members.
    Set,
    /// An intset of members.
    Intset,
    /// A listpack of members, each with its score behind it.
    SortedSet,
    /// A listpack of fields, each with its value behind it.
    Hash,
    /// A listpack of fields, each with its value behind it, and the time at which it expires or 0. Those that
    /// expire stand first, the soonest before all.
    HashExpiring,
}

impl Piece<'_> {
    /// The same, apart from the bytes that it was read from.
    pub fn into_owned(self) -> Piece<'static> {
        let owned = |text: Cow<'_, [u8]>| Cow::Owned(text.into_owned());
        match self {
            Piece::Member(member) => Piece::Member(owned(member)),
            Piece::Scored(member, score) => Piece::Scored(owned(member), score),
            Piece::Field {
                field,
                value,
                expiry,
            } => Piece::Field {
                field: owned(field),
                value: owned(value),
                expiry,
            },
            Piece::Packed(form, bytes) => Piece::Packed(form, owned(bytes)),
        }
    }
}

impl Form {
    /// How many bytes of a listpack make one element of the value.
    const fn together(self) -> usize {
        match self {
            Form::List | Form::Set | Form::Intset => 1,
            Form::SortedSet | Form::Hash => 2,
            Form::HashExpiring => 3,
        }
    }

    /// How many elements the value has in these bytes, which may be any.
    pub fn check(self, bytes: &[u8], pace: &mut dyn FnMut()) -> Result<u64, ValueError> {
        if self == Form::Intset {
            let set = intset::check_with(bytes, pace).map_err(ValueError::Intset)?;
            return Ok(number(set.len()));
        }
        let listpack = listpack::check_with(bytes, pace).map_err(ValueError::Listpack)?;
        let mut count = 0;
        match self {
            Form::SortedSet => {
                for (n, element) in listpack.iter().enumerate() {
                    if n % 2 == 1 {
                        score(element).ok_or(ValueError::Score)?;
                    }
                    count = n + 1;
                }
            }
            Form::HashExpiring => {
                let mut before = Some(0);
                for (n, element) in listpack.iter().enumerate() {
                    if n % 3 == 2 {
                        let expiry = expiry(element)?;
                        let ordered = expiry.is_none() || before.is_some() && expiry >= before;
                        before = ordered.then_some(expiry).ok_or(ValueError::Expiry)?;
                    }
                    count = n + 1;
                }
            }
            _ => count = listpack.len(),
        }
        if count % self.together() != 0 {
            return Err(ValueError::Together(self.together()));
        }
        Ok(number(count / self.together()))
    }

    /// The elements of bytes that were checked, one by one; none of them is [`Piece::Packed`].
    pub fn elements(self, bytes: &[u8]) -> Elements<'_> {
        match self {
            Form::Intset => Elements::Intset(Intset::trusted(bytes), 0),
            form => Elements::Listpack(form, Listpack::trusted(bytes).iter()),
        }
    }
}

/// The elements of packed bytes.
#[derive(Clone, Debug)]
pub enum Elements<'a> {
    Intset(Intset<'a>, usize),
    Listpack(Form, listpack::Iter<'a>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        match self {
            Elements::Intset(set, index) => {
                let n = set.get(*index)?;
                *index += 1;
                Some(Piece::Member(text(Element::Int(n))))
            }
            Elements::Listpack(form, elements) => {
                let first = text(elements.next()?);
                Some(match form {
                    Form::List | Form::Set | Form::Intset => Piece::Member(first),
                    Form::SortedSet => Piece::Scored(first, score(elements.next()?)?),
                    Form::Hash => Piece::Field {
                        field: first,
                        value: text(elements.next()?),
                        expiry: None,
                    },
                    Form::HashExpiring => Piece::Field {
                        field: first,
                        value: text(elements.next()?),
                        expiry: expiry(elements.next()?).ok()?,
                    },
                })
            }
        }
    }
}

fn number(n: usize) -> u64 {
    u64::try_from(n).expect("a usize fits")
}

fn text(element: Element<'_>) -> Cow<'_, [u8]> {
    match element {
        Element::Bytes(text) => Cow::Borrowed(text),
        Element::Int(_) => Cow::Owned(element.to_vec()),
    }
}

/// The score that an element of a listpack reads like.
pub fn score(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Int(n) => Some(n as f64), // as Redis does: the nearest
        Element::Bytes(text) => score_of(text),
    }
}

/// The score that a text is: a number, or an infinity.
pub(crate) fn score_of(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

fn expiry(element: Element<'_>) -> Result<Option<i64>, ValueError> {
    let at = element.int().ok_or(ValueError::Expiry)?;
    checked_expiry(u64::try_from(at).map_err(|_| ValueError::Expiry)?)
}

/// When a field expires; 0 is never.
pub(crate) fn checked_expiry(at: u64) -> Result<Option<i64>, ValueError> {
    match i64::try_from(at) {
        Ok(0) => Ok(None),
        Ok(at) if at <= EXPIRY_MAX => Ok(Some(at)),
        _ => Err(ValueError::Expiry),
    }
}
