//! The door for foreign bytes.
//!
//! Owns: [`check`] and [`Bad`]. Never: looks at what elements mean; whether fields are there twice is the caller's.
//! Invariant: total over any bytes, and what passes is read from both sides to its end: so the length behind an element
//! must have exactly the bytes that would be written, where Redis takes some others that its own code never makes.

use super::{layout, Listpack, END, HEADER, UNKNOWN};

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
        rest = check_element(rest)?;
        found += 1;
    }
    match u16::from_le_bytes([count_low, count_high]) {
        UNKNOWN => {}
        count if usize::from(count) == found => {}
        count => return Err(Bad::Count(count)),
    }
    Ok(Listpack { bytes })
}

/// What is behind the element that bytes begin with.
fn check_element(bytes: &[u8]) -> Result<&[u8], Bad> {
    let size = layout::head(bytes).ok_or(Bad::Element)?.size();
    let (back, back_size) = layout::back(size);
    let rest = bytes.get(size..).ok_or(Bad::Element)?;
    rest.strip_prefix(&back[..back_size]).ok_or(Bad::Back)
}
