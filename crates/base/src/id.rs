//! Names of nodes and shards: on the wire and in files 40 lower-case hex digits, as Redis writes them.

use std::fmt;
use std::str::FromStr;

/// Not 40 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 40 hex digits")]
pub struct BadId;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 20]);

        impl $name {
            /// The text as it stands on the wire.
            pub fn to_hex(self) -> [u8; 40] {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let mut out = [0; 40];
                for (i, byte) in self.0.iter().enumerate() {
                    out[2 * i] = DIGITS[usize::from(byte >> 4)];
                    out[2 * i + 1] = DIGITS[usize::from(byte & 15)];
                }
                out
            }

            /// Reads 40 hex digits of either case.
            pub fn from_hex(text: &[u8]) -> Result<$name, BadId> {
                if text.len() != 40 {
                    return Err(BadId);
                }
                let digit = |c: u8| char::from(c).to_digit(16).ok_or(BadId);
                let mut id = [0; 20];
                for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
                }
                Ok($name(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<$name, BadId> {
                $name::from_hex(text.as_bytes())
            }
        }
    };
}

name! {
    /// Names a node, until RESET HARD.
    NodeId
}

name! {
    /// Names a shard: the same on all its nodes, whichever of them is the master.
    ShardId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_forty_hex_digits() {
        let text = "07c37dfeb235213a872192d90877d0cd55635b91";
        let id: NodeId = text.parse().expect("an id");
        assert_eq!(id.to_string(), text);
        assert_eq!(&id.to_hex(), text.as_bytes());
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        assert_eq!("07c3".parse::<NodeId>(), Err(BadId));
        assert_eq!("g".repeat(40).parse::<NodeId>(), Err(BadId));
    }
}
