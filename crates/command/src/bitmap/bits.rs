//! Bits of a string of bytes; the first is the highest of the first byte.
//!
//! Owns: counting, finding, integers of any width up to 64. Never: knows keys or commands.

use std::ops::Range;

/// How many bits are set.
pub fn count(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let of_words: u64 = words
        .by_ref()
        .map(|word| {
            u64::from(u64::from_ne_bytes(word.try_into().expect("a chunk of 8")).count_ones())
        })
        .sum();
    let of_rest = words.remainder().iter().map(|byte| byte.count_ones());
    of_words + u64::from(of_rest.sum::<u32>())
}

/// How many bits of the range are set; it lies within the bytes.
pub fn count_in(bytes: &[u8], range: Range<usize>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let last = range.end - 1;
    let whole = &bytes[range.start / 8..=last / 8];
    let before = whole[0] & !from(range.start);
    let behind = whole[whole.len() - 1] & !up_to(last);
    count(whole) - u64::from(before.count_ones() + behind.count_ones())
}

/// The first bit of the range that is set, or is not; it lies within the bytes.
pub fn find_in(bytes: &[u8], range: Range<usize>, set: bool) -> Option<usize> {
    if range.is_empty() {
        return None;
    }
    let (first, last) = (range.start / 8, (range.end - 1) / 8);
    // What is looked for becomes a bit that is set, and what is beside the range one that is not.
    let byte = |at: usize| {
        let byte = if set { bytes[at] } else { !bytes[at] };
        let byte = if at == first {
            byte & from(range.start)
        } else {
            byte
        };
        if at == last {
            byte & up_to(range.end - 1)
        } else {
            byte
        }
    };
    let at = match byte(first) {
        0 => {
            let nothing = if set { 0 } else { 0xFF };
            let rest = bytes[..=last].get(first + 1..).unwrap_or(&[]);
            first + 1 + rest.len() - skip(rest, nothing).len()
        }
        _ => first,
    };
    let found = (at <= last).then(|| byte(at)).filter(|byte| *byte != 0)?;
    Some(at * 8 + found.leading_zeros() as usize)
}

/// What is left behind the bytes at the beginning that are this one.
fn skip(mut bytes: &[u8], byte: u8) -> &[u8] {
    while let Some((word, rest)) = bytes.split_first_chunk::<8>() {
        if *word != [byte; 8] {
            break;
        }
        bytes = rest;
    }
    let other = bytes.iter().position(|b| *b != byte);
    &bytes[other.unwrap_or(bytes.len())..]
}

/// The bits of a byte from this one on.
fn from(bit: usize) -> u8 {
    0xFF >> (bit % 8)
}

/// The bits of a byte up to this one.
fn up_to(bit: usize) -> u8 {
    !(0x7F >> (bit % 8))
}

/// The bytes in which an integer of up to 64 bits lies, at most.
pub const WINDOW: usize = 9;

/// Where an integer lies: it has 1 to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: usize,
    pub bits: u32,
}

impl Place {
    /// The bytes that hold it.
    pub fn bytes(self) -> Range<usize> {
        let end = self.offset + self.bits as usize;
        self.offset / 8..end.div_ceil(8)
    }

    fn mask(self) -> u128 {
        (1 << self.bits) - 1
    }

    /// How far its lowest bit is from the end of the window.
    fn shift(self) -> u32 {
        (WINDOW * 8) as u32 - (self.offset % 8) as u32 - self.bits
    }

    /// The integer, without a sign, in the bytes that begin with its first one.
    pub fn read(self, window: &[u8; WINDOW]) -> u64 {
        ((wide(window) >> self.shift()) & self.mask()) as u64
    }

    /// Writes its lowest bits there.
    pub fn write(self, window: &mut [u8; WINDOW], value: u64) {
        let others = wide(window) & !(self.mask() << self.shift());
        let value = (u128::from(value) & self.mask()) << self.shift();
        window.copy_from_slice(&(others | value).to_be_bytes()[16 - WINDOW..]);
    }
}

fn wide(window: &[u8; WINDOW]) -> u128 {
    let mut all = [0; 16];
    all[16 - WINDOW..].copy_from_slice(window);
    u128::from_be_bytes(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bytes: &[u8], at: usize) -> bool {
        bytes[at / 8] >> (7 - at % 8) & 1 == 1
    }

    proptest! {
        #[test]
        fn counting_and_finding_agree_with_bits(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 1..40),
            a in 0usize..320,
            b in 0usize..320,
        ) {
            let len = bytes.len() * 8;
            let range = a.min(b) % len..(a.max(b) % len).max(a.min(b) % len) + 1;
            let set = range.clone().filter(|at| bit(&bytes, *at)).count();
            prop_assert_eq!(count_in(&bytes, range.clone()), set as u64);
            for wanted in [true, false] {
                let found = range.clone().find(|at| bit(&bytes, *at) == wanted);
                prop_assert_eq!(find_in(&bytes, range.clone(), wanted), found);
            }
            let all = (0..len).filter(|at| bit(&bytes, *at)).count();
            prop_assert_eq!(count(&bytes), all as u64);
        }

        #[test]
        fn integers_are_read_as_they_were_written(
            window: [u8; WINDOW],
            offset in 0usize..8,
            bits in 1u32..=64,
            value: u64,
        ) {
            let place = Place { offset, bits };
            let mut changed = window;
            place.write(&mut changed, value);
            let kept = if bits == 64 { value } else { value & ((1 << bits) - 1) };
            prop_assert_eq!(place.read(&changed), kept);
            for at in 0..WINDOW * 8 {
                let inside = (offset..offset + bits as usize).contains(&at);
                let expected = match inside {
                    true => kept >> (offset + bits as usize - 1 - at) & 1 == 1,
                    false => bit(&window, at),
                };
                prop_assert_eq!(bit(&changed, at), expected);
            }
        }
    }
}
