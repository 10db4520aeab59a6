//! Writing values.
//!
//! Owns: [`Encoder`], which writes what values are made of. Never: knows a payload's type and footer.

use super::sink::joined;
use super::{length, lzf, special, Sink, PACE_BYTES};
use base::number::parse_i64;
use std::convert::Infallible;

/// No integer of 32 bits has a longer text.
const INT_TEXT_MAX: usize = 11;
/// Strings up to this length are not compressed.
const PLAIN_MAX: usize = 20;

/// Writes parts of values behind what is there.
pub struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    /// `rdbcompression`: long strings are compressed.
    compress: bool,
    pace: &'o mut dyn FnMut(),
    /// How long `out` was when `pace` was called last.
    paced: usize,
}

impl<'o> Encoder<'o> {
    pub fn new(out: &'o mut Vec<u8>, compress: bool, pace: &'o mut dyn FnMut()) -> Encoder<'o> {
        let paced = out.len();
        Encoder {
            out,
            compress,
            pace,
            paced,
        }
    }

    /// A string: an integer in its short form if it is the text of a small one, compressed if that
    /// makes it shorter.
    pub fn string(&mut self, text: &[u8]) {
        let number = (text.len() <= INT_TEXT_MAX).then(|| parse_i64(text));
        if number.flatten().is_some_and(|n| self.int(n)) {
            return;
        }
        if self.compress && text.len() > PLAIN_MAX {
            if let Some(compressed) = lzf::compress(text, self.pace) {
                self.compressed_head(compressed.len(), text.len());
                self.bytes(&compressed);
                return;
            }
        }
        self.size(text.len());
        self.bytes(text);
    }

    /// What stands before the compressed bytes of a string.
    pub(crate) fn compressed_head(&mut self, compressed: usize, length: usize) {
        self.special(special::LZF);
        self.size(compressed);
        self.size(length);
    }

    /// The number, if it has a short form.
    fn int(&mut self, n: i64) -> bool {
        if let Ok(n) = i8::try_from(n) {
            self.special(special::INT_8);
            self.out.extend_from_slice(&n.to_le_bytes());
        } else if let Ok(n) = i16::try_from(n) {
            self.special(special::INT_16);
            self.out.extend_from_slice(&n.to_le_bytes());
        } else if let Ok(n) = i32::try_from(n) {
            self.special(special::INT_32);
            self.out.extend_from_slice(&n.to_le_bytes());
        } else {
            return false;
        }
        true
    }

    fn special(&mut self, form: u8) {
        self.out.push(length::SPECIAL << 6 | form);
    }

    pub(crate) fn size(&mut self, n: usize) {
        self.length(u64::try_from(n).expect("a usize fits"));
    }

    /// A number in the form of a length.
    pub fn length(&mut self, n: u64) {
        let [.., low_3, low_2, low_1, low] = n.to_be_bytes();
        match n {
            0..=0x3f => self.out.push(length::BITS_6 << 6 | low),
            0x40..=0x3fff => {
                let bytes = [length::BITS_14 << 6 | low_1, low];
                self.out.extend_from_slice(&bytes);
            }
            0x4000..=0xffff_ffff => {
                let bytes = [length::LONG_32, low_3, low_2, low_1, low];
                self.out.extend_from_slice(&bytes);
            }
            _ => {
                self.out.push(length::LONG_64);
                self.out.extend_from_slice(&n.to_be_bytes());
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len());
        for part in bytes.chunks(PACE_BYTES) {
            self.out.extend_from_slice(part);
            // After a few long bytes, or many short ones.
            if self.out.len() - self.paced >= PACE_BYTES {
                self.paced = self.out.len();
                (self.pace)();
            }
        }
    }
}

impl Sink for Encoder<'_> {
    type Error = Infallible;

    fn string(&mut self, text: &[u8]) -> Result<(), Infallible> {
        Encoder::string(self, text);
        Ok(())
    }

    fn long_string(
        &mut self,
        len: usize,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<(), Infallible> {
        if self.compress {
            self.string(&joined(len, pieces));
            return Ok(());
        }
        self.size(len);
        self.out.reserve(len);
        pieces.for_each(|piece| self.bytes(piece));
        Ok(())
    }

    fn length(&mut self, n: u64) -> Result<(), Infallible> {
        Encoder::length(self, n);
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (n, want) in [
            (0, &[0][..]),
            (63, &[63]),
            (64, &[0x40, 64]),
            (16_383, &[0x7f, 0xff]),
            (16_384, &[0x80, 0, 0, 0x40, 0]),
            (0xffff_ffff, &[0x80, 255, 255, 255, 255]),
            (0x1_0000_0000, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            Encoder::new(&mut out, true, &mut || {}).length(n);
            assert_eq!(out, want, "{n}");
        }
    }
}
