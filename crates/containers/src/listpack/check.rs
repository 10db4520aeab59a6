//! The door for foreign bytes.
//!
//! Owns: [`check`] and [`Bad`]. Never: looks at what elements mean; whether fields are there twice is the caller's.
//! Invariant: total over any bytes, and what passes is read from both sides to its end: so the length behind an element
//! must have exactly the bytes that would be written, where Redis takes some others that its own code never makes.

use super::{layout, Listpack, END, HEADER, UNKNOWN};
use crate::PACE_BYTES;

/// Why bytes are no listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("a listpack of {0} bytes is too short")]
    Short(usize),
    #[error("the listpack says that it has {0} bytes")]
    Total(u32),
    #[error("the listpack does not end with its end")]
    End,
    #[error("no element begins so, or not all of it is there")]
    Element,
    #[error("the length behind an element is another one")]
    Back,
    #[error("the listpack says that it has {0} elements")]
    Count(u16),
}

/// The listpack that these bytes are.
pub fn check(bytes: &[u8]) -> Result<Listpack<'_>, Bad> {
    check_with(bytes, &mut || {})
}

/// As [`check`]; `pace` is called about every [`PACE_BYTES`], so that its caller can let other things happen.
pub fn check_with<'a>(bytes: &'a [u8], pace: &mut dyn FnMut()) -> Result<Listpack<'a>, Bad> {
    let (Some(&total), Some(&[count_low, count_high]), true) = (
        bytes.first_chunk(),
        bytes.get(4..HEADER).and_then(<[u8]>::first_chunk),
        bytes.len() > HEADER,
    ) else {
        return Err(Bad::Short(bytes.len()));
    };
    let total = u32::from_le_bytes(total);
    if usize::try_from(total) != Ok(bytes.len()) {
        return Err(Bad::Total(total));
    }
    let (&last, before) = bytes.split_last().ok_or(Bad::End)?;
    if last != END {
        return Err(Bad::End);
    }
    let (mut rest, mut found) = (&before[HEADER..], 0usize);
    while !rest.is_empty() {
        let stop = rest.len().saturating_sub(PACE_BYTES);
        while rest.len() > stop {
            rest = check_element(rest)?;
            found += 1;
        }
        if !rest.is_empty() {
            pace();
        }
    }
    match u16::from_le_bytes([count_low, count_high]) {
        UNKNOWN => {}
        count if usize::from(count) == found => {}
        count => return Err(Bad::Count(count)),
    }
    Ok(Listpack { bytes })
}

/// What is behind the element that bytes begin with.
#[inline]
fn check_element(bytes: &[u8]) -> Result<&[u8], Bad> {
    let size = layout::head(bytes).ok_or(Bad::Element)?.size();
    let behind = bytes.get(size..).ok_or(Bad::Element)?;
    match behind.split_first() {
        Some((&back, rest)) if size < 0x80 && usize::from(back) == size => Ok(rest),
        _ => {
            let (back, back_size) = layout::back(size);
            behind.strip_prefix(&back[..back_size]).ok_or(Bad::Back)
        }
    }
}
