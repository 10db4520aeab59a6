//! Writing files.
//!
//! Owns: [`Writer`]. Never: does I/O; what it writes goes to its caller in pieces. Invariants: a piece is at
//! most [`PIECE_BYTES`] long; a long value is handed on from where it lies, never copied as a whole.
//!
//! What is written loads in Redis 7.0 and later, as far as the version that was chosen goes. When
//! the caller fails with a piece the file is lost: the writer does not know how much of it is there.

use super::{
    opcode, End, Entry, Head, CHECKSUM_SINCE, MAGIC, NEVER, PIECE_BYTES, SLOT_SINCE, WRITTEN,
};
use crate::crc64::crc64;
use crate::sink::joined;
use crate::{lzf, Encoder, Sink, Type};
use std::borrow::Cow;

/// Longer strings are not compressed: the compressed form is made as a whole before its first byte can be
/// written, as its length stands before it. So no string takes more memory than this.
pub const COMPRESSED_MAX: usize = 4 << 20;
/// Strings up to this length are written into the buffer as one.
const SHORT_MAX: usize = PIECE_BYTES / 4;
/// What stands before a string: its form and two lengths.
const HEAD_MAX: usize = 1 + 9 + 9;
/// A byte and three lengths.
const NUMBERS_MAX: usize = 1 + 3 * 9;

/// Writes the value of a key into a file.
pub struct EntryWriter<'w, E> {
    writer: &'w mut Writer,
    sink: &'w mut dyn FnMut(&[u8]) -> Result<(), E>,
}

impl<E> Sink for EntryWriter<'_, E> {
    type Error = E;

    fn string(&mut self, text: &[u8]) -> Result<(), E> {
        self.writer.string(text, &mut self.sink)
    }

    fn long_string(
        &mut self,
        len: usize,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<(), E> {
        if self.writer.compress && len <= COMPRESSED_MAX {
            return self.string(&joined(len, pieces));
        }
        self.writer.room(HEAD_MAX, &mut self.sink)?;
        self.writer.encode(|to| to.size(len));
        for piece in pieces {
            self.writer.bytes(piece, &mut self.sink)?;
        }
        Ok(())
    }

    fn length(&mut self, n: u64) -> Result<(), E> {
        self.writer.room(NUMBERS_MAX, &mut self.sink)?;
        self.writer.encode(|to| to.length(n));
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), E> {
        for part in bytes.chunks(SHORT_MAX) {
            self.writer.room(part.len(), &mut self.sink)?;
            self.writer.buffer.extend_from_slice(part);
        }
        Ok(())
    }
}

/// Writes a file, piece by piece.
pub struct Writer {
    /// What is not handed on yet: at most one piece.
    buffer: Vec<u8>,
    /// Of what was handed on.
    length: u64,
    sum: u64,
    version: u16,
    /// `rdbcompression`: strings above 20 bytes are compressed.
    compress: bool,
}

impl Writer {
    /// A file of one of the versions [`WRITTEN`]: the lowest that knows what it will hold, as a reader refuses
    /// a version above its own.
    pub fn new(version: u16, compress: bool) -> Writer {
        assert!(
            WRITTEN.contains(&version),
            "version {version} is not written"
        );
        let mut buffer = Vec::with_capacity(PIECE_BYTES);
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(format!("{version:04}").as_bytes());
        Writer {
            buffer,
            length: 0,
            sum: 0,
            version,
            compress,
        }
    }

    /// The file's version.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// A field beside the keys, with any bytes as its value. Redis passes over names that it doesn't know,
    /// wherever they stand.
    pub fn aux<E>(
        &mut self,
        name: &[u8],
        value: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.numbers(opcode::AUX, &[], sink)?;
        self.string(name, sink)?;
        self.string(value, sink)
    }

    /// The entries that follow are of this database.
    pub fn db<E>(
        &mut self,
        db: u64,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.numbers(opcode::SELECTDB, &[db], sink)
    }

    /// How many keys the database has, and how many of them expire.
    pub fn sizes<E>(
        &mut self,
        keys: u64,
        expires: u64,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.numbers(opcode::RESIZEDB, &[keys, expires], sink)
    }

    /// The same for a slot. It is a hint: nothing is written in a version that doesn't have it.
    pub fn slot<E>(
        &mut self,
        slot: u16,
        keys: u64,
        expires: u64,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.version < SLOT_SINCE {
            return Ok(());
        }
        self.numbers(opcode::SLOT_INFO, &[slot.into(), keys, expires], sink)
    }

    /// The source of a library of functions.
    pub fn function<E>(
        &mut self,
        source: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.numbers(opcode::FUNCTION2, &[], sink)?;
        self.string(source, sink)
    }

    /// A key whose value is a string.
    pub fn entry<E>(
        &mut self,
        entry: &Entry<'_>,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let head = Head {
            key: Cow::Borrowed(&entry.key),
            encoding: Type::String,
            expires_at_ms: entry.expires_at_ms,
            idle_seconds: entry.idle_seconds,
            frequency: entry.frequency,
        };
        self.begin_entry(&head, sink)?.string(&entry.value)
    }

    /// A key and what stands before its value. The value is written into what comes back.
    pub fn begin_entry<'w, E>(
        &'w mut self,
        head: &Head<'_>,
        sink: &'w mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<EntryWriter<'w, E>, E> {
        debug_assert!(
            head.encoding.lowest_version() <= self.version,
            "a file of version {} has no {:?}",
            self.version,
            head.encoding
        );
        if let Some(at) = head.expires_at_ms {
            // One of -1 would be read as none, and the key would stay for ever: a moment before is as long ago.
            let at = if at == NEVER { NEVER - 1 } else { at };
            self.room(NUMBERS_MAX, sink)?;
            self.buffer.push(opcode::EXPIRETIME_MS);
            self.buffer.extend_from_slice(&at.to_le_bytes());
        }
        if let Some(seconds) = head.idle_seconds {
            self.numbers(opcode::IDLE, &[seconds], sink)?;
        }
        if let Some(frequency) = head.frequency {
            self.room(NUMBERS_MAX, sink)?;
            self.buffer.extend_from_slice(&[opcode::FREQ, frequency]);
        }
        self.numbers(head.encoding.number(), &[], sink)?;
        self.string(&head.key, sink)?;
        Ok(EntryWriter { writer: self, sink })
    }

    /// The end, with the checksum of everything before it.
    pub fn end<E>(mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<End, E> {
        const { assert!(*WRITTEN.start() >= CHECKSUM_SINCE) };
        self.numbers(opcode::EOF, &[], sink)?;
        self.hand_on(sink)?;
        let sum = self.sum;
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        self.hand_on(sink)?;
        Ok(End {
            length: self.length,
            // Zero would say that there is none.
            checksum: (sum != 0).then_some(sum),
        })
    }

    fn numbers<E>(
        &mut self,
        first: u8,
        numbers: &[u64],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.room(NUMBERS_MAX, sink)?;
        self.buffer.push(first);
        for n in numbers {
            self.encode(|to| to.length(*n));
        }
        Ok(())
    }

    fn string<E>(
        &mut self,
        text: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if text.len() <= SHORT_MAX {
            self.room(HEAD_MAX + text.len(), sink)?;
            self.encode(|to| to.string(text));
            return Ok(());
        }
        self.room(HEAD_MAX, sink)?;
        let compressed = (self.compress && text.len() <= COMPRESSED_MAX)
            .then(|| lzf::compress(text, &mut || {}))
            .flatten();
        if let Some(compressed) = compressed {
            self.encode(|to| to.compressed_head(compressed.len(), text.len()));
            return self.bytes(&compressed, sink);
        }
        self.encode(|to| to.size(text.len()));
        self.bytes(text, sink)
    }
}

/// What the buffer does.
impl Writer {
    /// What is written here is short: nobody waits for it.
    fn encode(&mut self, write: impl FnOnce(&mut Encoder<'_>)) {
        write(&mut Encoder::new(
            &mut self.buffer,
            self.compress,
            &mut || {},
        ));
    }

    /// Room for so many bytes in the buffer.
    fn room<E>(
        &mut self,
        bytes: usize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.buffer.len() + bytes > PIECE_BYTES {
            self.hand_on(sink)?;
        }
        Ok(())
    }

    /// Long bytes go past the buffer.
    fn bytes<E>(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.hand_on(sink)?;
        let pieces = bytes.chunks_exact(PIECE_BYTES);
        self.buffer.extend_from_slice(pieces.remainder());
        for piece in pieces {
            self.length += length(piece);
            self.sum = crc64(self.sum, piece);
            sink(piece)?;
        }
        Ok(())
    }

    fn hand_on<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.length += length(&self.buffer);
        self.sum = crc64(self.sum, &self.buffer);
        sink(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn length(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).expect("a usize fits")
}
