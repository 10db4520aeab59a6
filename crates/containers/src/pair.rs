//! Owns one field of a hash with its value and, where it has one, its expiry, in one block of shared bytes:
//!
//! ```text
//! varint: length of the field * 2 + 1 if there is an expiry | expiry i64, if so | field | value
//! ```
//!
//! Never looks at a clock: a field that is due is here like any other.

use super::shared::SharedBytes;

/// A varint of a length below 2^32 and one bit.
const VARINT_MAX: usize = 5;

/// One field of a hash. To clone it counts one owner more of its block; an edit of a shared one makes a new block.
#[derive(Clone)]
pub struct Pair {
    block: SharedBytes,
}

/// What stands in front of the field.
struct Head {
    expiry: Option<i64>,
    len: usize,
    field_len: usize,
}

/// A head as bytes.
struct Written {
    bytes: [u8; VARINT_MAX + 8],
    len: usize,
}

impl Written {
    fn new(field_len: usize, expiry: Option<i64>) -> Written {
        let mut bytes = [0; VARINT_MAX + 8];
        let mut len = 0;
        let mut rest = field_len * 2 + usize::from(expiry.is_some());
        while rest >= 0x80 {
            bytes[len] = rest as u8 | 0x80;
            len += 1;
            rest >>= 7;
        }
        bytes[len] = rest as u8;
        len += 1;
        if let Some(at) = expiry {
            bytes[len..len + 8].copy_from_slice(&at.to_le_bytes());
            len += 8;
        }
        Written { bytes, len }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Pair {
    /// The tag is that of the field's hash.
    ///
    /// # Panics
    /// Where field and value together come to 4 GiB.
    pub fn new(tag: u16, field: &[u8], value: &[u8], expiry: Option<i64>) -> Pair {
        assert!(
            u32::try_from(field.len()).is_ok(),
            "elements are below 4 GiB"
        );
        let head = Written::new(field.len(), expiry);
        Pair {
            block: SharedBytes::concat(tag, &[head.as_slice(), field, value]),
        }
    }

    fn head(&self) -> Head {
        let bytes = &*self.block;
        let (mut number, mut len) = (0, 0);
        loop {
            let byte = bytes[len];
            number |= usize::from(byte & 0x7F) << (7 * len);
            len += 1;
            if byte < 0x80 {
                break;
            }
        }
        let expiry = (number & 1 == 1).then(|| {
            let field = bytes[len..len + 8].try_into();
            len += 8;
            i64::from_le_bytes(field.expect("eight bytes"))
        });
        Head {
            expiry,
            len,
            field_len: number >> 1,
        }
    }

    #[inline]
    pub fn tag(&self) -> u16 {
        self.block.tag()
    }

    pub fn field(&self) -> &[u8] {
        let head = self.head();
        &self.block[head.len..head.len + head.field_len]
    }

    pub fn value(&self) -> &[u8] {
        let head = self.head();
        &self.block[head.len + head.field_len..]
    }

    pub fn expiry(&self) -> Option<i64> {
        self.head().expiry
    }

    /// Field, value and expiry at once.
    pub fn parts(&self) -> (&[u8], &[u8], Option<i64>) {
        let head = self.head();
        let (field, value) = self.block[head.len..].split_at(head.field_len);
        (field, value, head.expiry)
    }

    /// Writes another value; the expiry stays.
    pub fn set_value(&mut self, value: &[u8]) {
        let head = self.head();
        let at = head.len + head.field_len;
        self.block.splice(at, self.block.len() - at, &[value]);
    }

    /// Writes another expiry, or none; the value stays.
    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        let head = self.head();
        if head.expiry != expiry {
            let new = Written::new(head.field_len, expiry);
            self.block.splice(0, head.len, &[new.as_slice()]);
        }
    }

    /// Bytes of memory that the block takes, as if it had no other owner.
    pub fn bytes(&self) -> usize {
        self.block.bytes()
    }

    /// Whether both are owners of one block.
    pub fn is_same_block(&self, other: &Pair) -> bool {
        self.block.is_same_block(&other.block)
    }

    #[inline]
    pub(crate) fn prefetch(&self) {
        self.block.prefetch();
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
