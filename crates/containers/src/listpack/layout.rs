//! How an element lies in the bytes of a listpack.
//!
//! Owns: the heads of elements, read ([`head`], [`read`], [`next`]) and written ([`Encoded`]), and the length behind
//! each ([`back_size`], [`before`]). Never: looks at the header. Invariant: [`head`] is total over any bytes; [`read`],
//! [`next`] and [`before`] are so over bytes that were checked.
//!
//! | first byte | element |
//! |---|---|
//! | `0xxxxxxx` | an integer from 0 to 127 |
//! | `10xxxxxx` | a string of up to 63 bytes |
//! | `110xxxxx` + 1 | an integer of 13 bits, the highest in the first byte |
//! | `1110xxxx` + 1 | a string of up to 4,095 bytes, the highest bits in the first byte |
//! | `0xf0` + 4 | a string of up to 2^32 - 1 bytes |
//! | `0xf1` + 2, `0xf2` + 3, `0xf3` + 4, `0xf4` + 8 | an integer |
//!
//! The length behind counts head and string, and not itself: seven bits a byte, the highest bits first, and the bit 0x80
//! in all bytes but the first, so that it is read from behind. Redis gives it a byte more at the highest value of each
//! size but the first ([`back_size`]).

use super::{Element, HEADER};

const STRING_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

const STRING_6_MAX: usize = (1 << 6) - 1;
const STRING_12_MAX: usize = (1 << 12) - 1;

/// The longest head, and the longest length behind.
const HEAD_MAX: usize = 9;
const BACK_MAX: usize = 5;

/// What the head of an element says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// An integer, and the bytes of the head.
    Int(i64, usize),
    /// A string's length, and the bytes of the head before it.
    Bytes(usize, usize),
}

impl Head {
    /// The bytes of head and string.
    pub(super) fn size(self) -> usize {
        match self {
            Head::Int(_, head) => head,
            Head::Bytes(length, head) => head + length,
        }
    }
}

/// The head that bytes begin with, if it is there whole and is one.
#[inline]
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let (&first, rest) = bytes.split_first()?;
    Some(match first {
        0..=0x7f => Head::Int(first.into(), 1),
        0x80..=0xbf => Head::Bytes((first & 0x3f).into(), 1),
        0xc0..=0xdf => {
            let bits = u16::from_be_bytes([first << 3, *rest.first()?]);
            // The sign is the highest of 13 bits: 5 are in a byte that was shifted by 3, above 8 in the next.
            let high = i64::from((bits >> 8) as u8 as i8) >> 3;
            Head::Int((high << 8) | i64::from(bits & 0xff), 2)
        }
        0xe0..=0xef => {
            let length = u16::from_be_bytes([first & 0x0f, *rest.first()?]);
            Head::Bytes(length.into(), 2)
        }
        STRING_32 => Head::Bytes(u32::from_le_bytes(*rest.first_chunk()?) as usize, 5),
        INT_16 => Head::Int(i16::from_le_bytes(*rest.first_chunk()?).into(), 3),
        INT_24 => {
            let [a, b, c] = *rest.first_chunk()?;
            Head::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into(), 4)
        }
        INT_32 => Head::Int(i32::from_le_bytes(*rest.first_chunk()?).into(), 5),
        INT_64 => Head::Int(i64::from_le_bytes(*rest.first_chunk()?), 9),
        0xf5..=0xff => return None,
    })
}

/// The element at an offset, and the offset behind it.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> (Element<'_>, usize) {
    // Short strings are what most elements are: no other head is looked for first.
    let first = bytes[at];
    if first & 0xc0 == 0x80 {
        let length = usize::from(first & 0x3f);
        return (
            Element::Bytes(&bytes[at + 1..at + 1 + length]),
            at + length + 2,
        );
    }
    let head = head(&bytes[at..]).expect("a checked listpack has heads where elements begin");
    let behind = at + head.size();
    let element = match head {
        Head::Int(n, _) => Element::Int(n),
        Head::Bytes(_, size) => Element::Bytes(&bytes[at + size..behind]),
    };
    (element, behind + back_size(behind - at))
}

/// The offset behind the element at an offset.
#[inline]
pub(super) fn next(bytes: &[u8], at: usize) -> usize {
    let first = bytes[at];
    match first {
        0x80..=0xbf => at + usize::from(first & 0x3f) + 2,
        0..=0x7f => at + 2,
        0xc0..=0xdf => at + 3,
        _ => {
            let head = head(&bytes[at..]).expect("a checked listpack has heads there");
            at + head.size() + back_size(head.size())
        }
    }
}

/// The offset of the element before an offset.
#[inline]
pub(super) fn before(bytes: &[u8], at: usize) -> usize {
    let last = bytes[at - 1];
    let mut size = usize::from(last & 0x7f);
    if last & 0x80 != 0 {
        let mut shift = 7;
        for &byte in bytes[HEADER..at - 1].iter().rev().take(BACK_MAX - 1) {
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    at - size - back_size(size)
}

/// How many bytes the length behind an element takes, whose head and string take `size`.
#[inline]
pub(super) fn back_size(size: usize) -> usize {
    match size {
        0..=0x7f => 1,
        0x80..=0x3ffe => 2,
        0x3fff..=0x1f_fffe => 3,
        0x1f_ffff..=0xfff_fffe => 4,
        _ => 5,
    }
}

/// The length behind an element, of which the first bytes count.
pub(super) fn back(size: usize) -> ([u8; BACK_MAX], usize) {
    let (mut bytes, count) = ([0; BACK_MAX], back_size(size));
    for (i, byte) in bytes[..count].iter_mut().enumerate() {
        let bits = (size >> (7 * (count - 1 - i))) as u8 & 0x7f;
        *byte = if i == 0 { bits } else { bits | 0x80 };
    }
    (bytes, count)
}

/// Whether two strings are the same. Fields of a hash often have one length and one beginning: their last bytes are
/// compared first.
#[inline]
pub(super) fn same(own: &[u8], text: &[u8]) -> bool {
    own.len() == text.len() && own.last() == text.last() && own == text
}

/// An element as it is written, in its shortest form.
#[derive(Clone, Copy)]
pub(super) struct Encoded<'a> {
    head: [u8; HEAD_MAX],
    head_size: usize,
    string: &'a [u8],
    back: [u8; BACK_MAX],
    back_size: usize,
}

impl<'a> Encoded<'a> {
    pub(super) fn new(element: Element<'a>) -> Encoded<'a> {
        let ((head, head_size), string) = match element {
            Element::Int(n) => (int_head(n), &[][..]),
            Element::Bytes(string) => (string_head(string.len()), string),
        };
        let (back, back_size) = back(head_size + string.len());
        Encoded {
            head,
            head_size,
            string,
            back,
            back_size,
        }
    }

    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [
            &self.head[..self.head_size],
            self.string,
            &self.back[..self.back_size],
        ]
    }
}

/// The bytes that an element takes in its shortest form.
pub(super) fn size(element: Element<'_>) -> usize {
    let size = match element {
        Element::Int(n) => int_head(n).1,
        Element::Bytes(string) => string_head(string.len()).1 + string.len(),
    };
    size + back_size(size)
}

fn int_head(n: i64) -> ([u8; HEAD_MAX], usize) {
    let bytes = n.to_le_bytes();
    let mut head = [0; HEAD_MAX];
    if (0..=0x7f).contains(&n) {
        head[0] = bytes[0];
        return (head, 1);
    }
    if (-0x1000..=0xfff).contains(&n) {
        head[0] = 0xc0 | (bytes[1] & 0x1f);
        head[1] = bytes[0];
        return (head, 2);
    }
    let (kind, size) = if i16::try_from(n).is_ok() {
        (INT_16, 2)
    } else if (-0x80_0000..=0x7f_ffff).contains(&n) {
        (INT_24, 3)
    } else if i32::try_from(n).is_ok() {
        (INT_32, 4)
    } else {
        (INT_64, 8)
    };
    head[0] = kind;
    head[1..=size].copy_from_slice(&bytes[..size]);
    (head, 1 + size)
}

fn string_head(length: usize) -> ([u8; HEAD_MAX], usize) {
    let mut head = [0; HEAD_MAX];
    if length <= STRING_6_MAX {
        head[0] = 0x80 | length as u8;
        return (head, 1);
    }
    if length <= STRING_12_MAX {
        head[0] = 0xe0 | (length >> 8) as u8;
        head[1] = length as u8;
        return (head, 2);
    }
    let length = u32::try_from(length).expect("callers ask first whether it fits");
    head[0] = STRING_32;
    head[1..5].copy_from_slice(&length.to_le_bytes());
    (head, 5)
}
