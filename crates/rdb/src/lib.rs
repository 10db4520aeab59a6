//! Redis's RDB encoding of values, and RDB files.
//!
//! Owns: the payload of DUMP and RESTORE ([`payload`]), files ([`file`](mod@file)), what both are made of
//! ([`encode`], [`decode`]), the packed values of old files ([`legacy`]), the compression of long strings ([`lzf`])
//! and the checksum ([`crc64`]). Never: does I/O, looks at a clock, knows the keyspace.
//!
//! Invariants: what is written is what Redis 7.4 writes, to the byte (but for long strings in files:
//! [`file::COMPRESSED_MAX`]). What is read may be any bytes: a value or a typed error comes of it, and no more
//! memory is taken than those bytes can fill.
//!
//! Large values take long. Every function that walks through one calls `pace` about every
//! [`PACE_BYTES`], so that its caller can let other things happen; a file is written and read in pieces.
//!
//! A value with elements is read and written piece by piece ([`Piece`]): nobody holds it whole but the keyspace, and
//! the bytes of a payload ([`Body`]). How each [`Type`] is made of pieces stands in `parts` for reading and in [`sink`]
//! for writing, and what packed bytes are is for the crate `containers`.

#[cfg(test)]
extern crate self as rdb; // so the tests beside the crate name it, which share their helpers with those in it

mod body;
pub mod crc64;
pub mod decode;
pub mod encode;
pub mod file;
pub mod legacy;
pub mod lzf;
mod parts;
pub mod payload;
pub mod piece;
mod repack;
pub mod sink;
mod types;

#[cfg(test)]
mod tests;

pub use body::Body;
pub use decode::{Decoder, Value, ValueError};
pub use encode::Encoder;
pub use payload::{dump, load, longest_string, value as value_of_body, FooterError, PayloadError};
pub use piece::{Form, Piece, EXPIRY_MAX};
pub use sink::{Pieces, Sink};
pub use types::{Kind, Type};

/// The version of RDB that DUMP of Redis 7.4 writes, and the newest that RESTORE takes.
pub const VERSION: u16 = 12;

/// How far a walk through a value goes between two calls of `pace`.
pub const PACE_BYTES: usize = 1 << 18;

/// The two highest bits of a length's first byte say how the length goes on.
mod length {
    /// The other six bits are the length.
    pub const BITS_6: u8 = 0;
    /// With the next byte, fourteen bits.
    pub const BITS_14: u8 = 1;
    /// With 2 there the whole byte says whether four or eight bytes follow, most significant first.
    pub const LONG_32: u8 = 0x80;
    pub const LONG_64: u8 = 0x81;
    /// No length follows but a string in a special form: the other six bits say which.
    pub const SPECIAL: u8 = 3;
}

/// Special forms of strings. Integers are little-endian.
mod special {
    pub const INT_8: u8 = 0;
    pub const INT_16: u8 = 1;
    pub const INT_32: u8 = 2;
    pub const LZF: u8 = 3;
}
