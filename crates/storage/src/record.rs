//! The bytes of a Ready in the log: one record, in one piece or several.
//!
//! Owns the form of hard states and entries, the header of a piece and its checksum, and their
//! decoding ([`super::encode`] is the way there). Does no I/O and knows no file.
//!
//! A record is what one Ready must persist (D1): the hard state first, then entries. It is one
//! piece where that is possible. A piece ends when it is large and an item ends, at a hard maximum,
//! and where its segment ends; an item may go on in the next piece. Only a whole record counts:
//! `FIRST` opens it, `LAST` closes it.
//!
//! Every piece carries, under its CRC32C, its segment's generation, its own position, the position
//! known durable when it was written (D3), the padding before it and the checksum of the piece
//! before it. So the pieces form a chain: a piece is valid in one place behind one predecessor,
//! and what was written behind a cut, or before its segment was recycled, is never taken for a
//! continuation.

use super::position::Position;
use raft::eraftpb::{Entry, EntryType, HardState};

/// Bytes of a piece's header.
pub const HEADER: usize = 48;
/// Pieces begin at multiples of this.
pub const ALIGN: u64 = 8;
/// "HFR" and the version of the record format.
pub const MAGIC: u32 = u32::from_le_bytes(*b"HFR\x01");
/// A piece's body is never longer: a reader holds one in memory.
pub const MAX_BODY: usize = 4 << 20;
/// After this many bytes a piece ends with the item: readers can start at a piece.
pub(super) const SOFT_BODY: usize = 1 << 20;
/// Less than this at the end of a segment is left empty.
pub const MIN_TAIL: u64 = HEADER as u64 + 64;

pub const FIRST: u8 = 1;
pub const LAST: u8 = 2;
/// The body begins inside an item.
pub const CONTINUED: u8 = 4;

pub(super) const HARD_STATE: u8 = 1;
pub(super) const ENTRY: u8 = 2;
pub(super) const HARD_STATE_LEN: usize = 25;
pub(super) const ENTRY_LEN: usize = 26;

/// The bytes that an entry takes in a record, without the pieces' headers.
pub fn entry_len(entry: &Entry) -> u64 {
    (ENTRY_LEN + entry.context.len() + entry.data.len()) as u64
}

/// The header of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub crc: u32,
    pub len: u32,
    pub flags: u8,
    pub generation: u64,
    pub position: Position,
    /// Everything below this was durable when the piece was written.
    pub durable: Position,
    /// Bytes between the end of the piece before and this one.
    pub pad: u32,
    /// The checksum of the piece before.
    pub chain: u32,
}

impl Header {
    /// The header that `bytes` begins with, if it is one; the body is not checked here.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let h: &[u8; HEADER] = bytes.first_chunk()?;
        if word(h, 4) != MAGIC {
            return None;
        }
        let header = Header {
            crc: word(h, 0),
            len: word(h, 8),
            flags: h[12],
            generation: long(h, 16),
            position: Position(long(h, 24)),
            durable: Position(long(h, 32)),
            pad: word(h, 40),
            chain: word(h, 44),
        };
        let known = header.flags & !(FIRST | LAST | CONTINUED) == 0 && h[13..16] == [0; 3];
        (known && header.len as usize <= MAX_BODY).then_some(header)
    }

    pub(super) fn write(&self, out: &mut [u8]) {
        out[4..8].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12..16].copy_from_slice(&[self.flags, 0, 0, 0]);
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..32].copy_from_slice(&self.position.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.durable.0.to_le_bytes());
        out[40..44].copy_from_slice(&self.pad.to_le_bytes());
        out[44..48].copy_from_slice(&self.chain.to_le_bytes());
    }

    /// Whether the header's checksum is that of `piece` (header and body).
    pub fn matches(&self, piece: &[u8]) -> bool {
        crc32c::crc32c(&piece[4..]) == self.crc
    }

    /// Header and body.
    pub fn piece_len(&self) -> usize {
        HEADER + self.len as usize
    }

    /// Where the piece ends, alignment included.
    pub fn end(&self) -> Position {
        Position(self.position.0 + (self.piece_len() as u64).next_multiple_of(ALIGN))
    }

    pub fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// An item of a record, as it lies in the piece.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    HardState(HardState),
    Entry(EntryRef<'a>),
}

/// An entry whose bytes have not been copied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntryRef<'a> {
    pub entry_type: EntryType,
    pub term: u64,
    pub index: u64,
    pub context: &'a [u8],
    pub data: &'a [u8],
}

impl EntryRef<'_> {
    pub fn to_entry(self) -> Entry {
        Entry {
            entry_type: self.entry_type,
            term: self.term,
            index: self.index,
            context: bytes::Bytes::copy_from_slice(self.context),
            data: bytes::Bytes::copy_from_slice(self.data),
            ..Entry::default()
        }
    }
}

/// Takes items out of consecutive bodies; holds at most one unfinished item and one body.
#[derive(Default)]
pub struct Items {
    rest: Vec<u8>,
}

impl Items {
    /// Forgets an unfinished item.
    pub fn clear(&mut self) {
        self.rest.clear();
    }

    /// Whether every item fed so far was complete.
    pub fn at_boundary(&self) -> bool {
        self.rest.is_empty()
    }

    /// Visits the items that `body` completes. An error of the visitor ends it, and with it this
    /// reader's use.
    pub fn feed<E: From<&'static str>>(
        &mut self,
        body: &[u8],
        mut visit: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.rest.is_empty() {
            let used = each_item(body, &mut visit)?;
            self.rest.extend_from_slice(&body[used..]);
        } else {
            self.rest.extend_from_slice(body);
            let used = each_item(&self.rest, &mut visit)?;
            self.rest.drain(..used);
        }
        Ok(())
    }
}

fn each_item<E: From<&'static str>>(
    bytes: &[u8],
    visit: &mut impl FnMut(Item<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let mut used = 0;
    while let Some((item, len)) = parse_item(&bytes[used..])? {
        visit(item)?;
        used += len;
    }
    Ok(used)
}

/// The item that `bytes` begins with and its length; `None` while it is incomplete.
fn parse_item(bytes: &[u8]) -> Result<Option<(Item<'_>, usize)>, &'static str> {
    match bytes.first() {
        None => Ok(None),
        Some(&HARD_STATE) => {
            let Some(b) = bytes.first_chunk::<HARD_STATE_LEN>() else {
                return Ok(None);
            };
            let hs = HardState {
                term: long(b, 1),
                vote: long(b, 9),
                commit: long(b, 17),
                ..HardState::default()
            };
            Ok(Some((Item::HardState(hs), HARD_STATE_LEN)))
        }
        Some(&ENTRY) => {
            let Some(b) = bytes.first_chunk::<ENTRY_LEN>() else {
                return Ok(None);
            };
            let context_end = ENTRY_LEN + word(b, 2) as usize;
            let end = context_end + word(b, 6) as usize;
            let entry_type = match b[1] {
                0 => EntryType::EntryNormal,
                1 => EntryType::EntryConfChange,
                2 => EntryType::EntryConfChangeV2,
                _ => return Err("an entry of an unknown type"),
            };
            if bytes.len() < end {
                return Ok(None);
            }
            let entry = EntryRef {
                entry_type,
                term: long(b, 10),
                index: long(b, 18),
                context: &bytes[ENTRY_LEN..context_end],
                data: &bytes[context_end..end],
            };
            Ok(Some((Item::Entry(entry), end)))
        }
        Some(_) => Err("an item of an unknown kind"),
    }
}
