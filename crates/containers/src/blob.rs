//! Owns [`Blob`]: a large string in chunks, which clones share. Never shrinks.
//!
//! Invariants:
//! - every chunk but the last is [`CHUNK`] bytes long; the last one's block may have room for more;
//! - bytes behind the string's end are zeros;
//! - a chunk that was never written to is the one chunk of zeros that all blobs share, so that a write far behind the
//!   end takes no memory for the hole, and no time.

use std::fmt;
use std::sync::OnceLock;

use triomphe::Arc;

use crate::size_class;

/// Bytes of a chunk: with the count before them one of jemalloc's classes, but for 8 bytes.
pub const CHUNK: usize = 65_520;
/// The count that lies before a chunk's bytes.
const COUNT: usize = size_of::<usize>();
const ZEROS: &[u8; CHUNK] = &[0; CHUNK];

/// A string of any length. Clones share all chunks.
#[derive(Clone, Default)]
pub struct Blob {
    chunks: Vec<Arc<[u8]>>,
    len: usize,
    /// What the chunks take, but for the shared one.
    chunk_bytes: usize,
}

/// The chunk of all holes.
fn hole() -> &'static Arc<[u8]> {
    static HOLE: OnceLock<Arc<[u8]>> = OnceLock::new();
    HOLE.get_or_init(|| Arc::from(&ZEROS[..]))
}

fn block_bytes(chunk: &Arc<[u8]>) -> usize {
    match Arc::ptr_eq(chunk, hole()) {
        true => 0,
        false => size_class(COUNT + chunk.len()),
    }
}

/// The length of a block that grows to `len` bytes: room for an eighth more, all of its class.
fn grown(len: usize) -> usize {
    (size_class(COUNT + len + len / 8) - COUNT).min(CHUNK)
}

/// Its length: nobody wants to read that many bytes.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("len", &self.len).finish()
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        self.len == other.len && self.chunks().eq(other.chunks())
    }
}

impl Eq for Blob {}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        let chunks: Vec<Arc<[u8]>> = bytes.chunks(CHUNK).map(Arc::from).collect();
        Blob {
            chunk_bytes: chunks.iter().map(block_bytes).sum(),
            chunks,
            len: bytes.len(),
        }
    }
}

impl Blob {
    pub fn new() -> Self {
        Blob::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory of all chunks and of the list of them. What is shared with clones counts in full, holes do not.
    pub fn bytes(&self) -> usize {
        self.chunk_bytes + size_class(self.chunks.capacity() * size_of::<Arc<[u8]>>())
    }

    pub fn byte(&self, at: usize) -> Option<u8> {
        (at < self.len).then(|| self.chunks[at / CHUNK][at % CHUNK])
    }

    /// The bytes from `from` up to `to`, or to the end, chunk by chunk.
    pub fn range(&self, from: usize, to: usize) -> impl Iterator<Item = &[u8]> {
        let to = to.min(self.len);
        let from = from.min(to);
        let chunks = from / CHUNK..to.div_ceil(CHUNK).max(from / CHUNK);
        let pieces = chunks.map(move |i| {
            let start = i * CHUNK;
            let end = to.min(start + CHUNK);
            &self.chunks[i][from.max(start) - start..end - start]
        });
        pieces.filter(|piece| !piece.is_empty())
    }

    /// All bytes, chunk by chunk.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.range(0, self.len)
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.chunks()
            .for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes
    }

    pub fn append(&mut self, bytes: &[u8]) {
        self.write(self.len, bytes);
    }

    /// Writes `bytes` at `at`. Between the end and `at` there are zeros afterwards.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.fill_up_to(at);
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let (i, offset) = (at / CHUNK, at % CHUNK);
            let (piece, behind) = rest.split_at(rest.len().min(CHUNK - offset));
            self.write_chunk(i, offset, piece);
            at += piece.len();
            self.len = self.len.max(at);
            rest = behind;
        }
    }

    /// Makes the string `len` bytes long with zeros, if it is shorter.
    fn fill_up_to(&mut self, len: usize) {
        if len <= self.len {
            return;
        }
        if let Some(last) = self.chunks.len().checked_sub(1) {
            let wanted = (len - last * CHUNK).min(CHUNK);
            if self.chunks[last].len() < wanted {
                self.own(last, wanted);
            }
        }
        self.chunks
            .resize_with(len.div_ceil(CHUNK), || hole().clone());
        self.len = len;
    }

    /// Writes into the chunk `i`, which is there or is the next one.
    fn write_chunk(&mut self, i: usize, offset: usize, piece: &[u8]) {
        let end = offset + piece.len();
        if piece.len() == CHUNK || i == self.chunks.len() {
            assert_eq!(offset, 0, "bytes before were filled up");
            self.put(i, Arc::from(piece));
            return;
        }
        self.own(i, end)[offset..end].copy_from_slice(piece);
    }

    fn put(&mut self, i: usize, chunk: Arc<[u8]>) {
        self.chunk_bytes += block_bytes(&chunk);
        match self.chunks.get_mut(i) {
            None => self.chunks.push(chunk),
            Some(old) => {
                self.chunk_bytes -= block_bytes(old);
                *old = chunk;
            }
        }
    }

    /// The block of the chunk `i`, to be written to, at least `wanted` bytes long.
    fn own(&mut self, i: usize, wanted: usize) -> &mut [u8] {
        let chunk = &self.chunks[i];
        if !chunk.is_unique() || chunk.len() < wanted {
            let is_last = i + 1 == self.chunks.len();
            let used = (self.len - (i * CHUNK).min(self.len)).min(chunk.len());
            let len = match is_last {
                false => CHUNK,
                true if wanted > used => grown(wanted),
                true => used,
            };
            let mut copy: Arc<[u8]> = match used == len {
                true => Arc::from(&chunk[..used]),
                false => Arc::from(&ZEROS[..len]),
            };
            if used < len {
                let bytes = Arc::get_mut(&mut copy).expect("it is new");
                bytes[..used].copy_from_slice(&chunk[..used]);
            }
            self.put(i, copy);
        }
        Arc::get_mut(&mut self.chunks[i]).expect("it is the only one")
    }
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
