//! What a listpack holds.
//!
//! Owns: [`Element`], its text, and how it compares with the text of a client. Never: looks at bytes of a listpack.
//! Invariant: an integer is the same as its canonical text, and no text but that becomes one.

use super::layout;
use base::number::parse_i64;
use std::cmp::Ordering;

/// An element: a text that is an integer's is kept as that integer.
///
/// Two elements are equal here if they are kept alike. Foreign bytes may keep the text of an integer as a string:
/// [`Element::is`] tells whether an element *reads* like a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// A client's text, as Redis keeps it.
    #[inline]
    pub fn of(text: &'a [u8]) -> Element<'a> {
        match parse_i64(text) {
            Some(n) => Element::Int(n),
            None => Element::Bytes(text),
        }
    }

    /// The bytes that this takes in a listpack.
    pub fn size(self) -> usize {
        layout::size(self)
    }

    /// Whether this reads like a client's text.
    #[inline]
    pub fn is(self, text: &[u8]) -> bool {
        match self {
            Element::Int(n) => parse_i64(text) == Some(n),
            Element::Bytes(own) => own == text,
        }
    }

    /// How this stands to a text, byte by byte.
    pub fn cmp_text(self, text: &[u8]) -> Ordering {
        self.text(&mut Digits::default()).cmp(text)
    }

    /// The text of this; `digits` has room for that of an integer.
    #[inline]
    pub fn text<'t>(self, digits: &'t mut Digits) -> &'t [u8]
    where
        'a: 't,
    {
        match self {
            Element::Int(n) => digits.0.format(n).as_bytes(),
            Element::Bytes(own) => own,
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut Digits::default()).to_vec()
    }

    /// The length of the text.
    pub fn text_len(self) -> usize {
        match self {
            Element::Int(n) => {
                let digits = n.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
                digits as usize + usize::from(n < 0)
            }
            Element::Bytes(own) => own.len(),
        }
    }

    /// The integer that this reads like.
    #[inline]
    pub fn int(self) -> Option<i64> {
        match self {
            Element::Int(n) => Some(n),
            Element::Bytes(own) => parse_i64(own),
        }
    }
}

/// Room for the text of an integer.
#[derive(Clone, Default)]
pub struct Digits(itoa::Buffer);
