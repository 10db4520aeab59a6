//! Walking the pieces of the log as they lie on the disk.
//!
//! Owns the judgement whether bytes are the next piece: generation, position, padding, chain and
//! checksum. Reads with bounded memory. Knows no hard state and no entry.

use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::position::Position;
use super::record::{Header, ALIGN, HEADER, MIN_TAIL};
use super::segment::SegmentMeta;
use ::base::mutation::{self, Mutation};

/// Read ahead at least this much.
const AHEAD: usize = 256 * 1024;

/// Where the walk stands, in the chain of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A piece ended here with this checksum.
    After(u32),
    /// A piece is known to begin exactly here.
    At,
    /// The same, and this is the checksum of the piece before it.
    Begins(u32),
}

/// A walk over the pieces from one position on.
pub struct Scanner<'a, D: Disk> {
    disk: &'a D,
    segments: &'a [SegmentMeta],
    open: Option<(usize, D::File)>,
    window: Window,
    at: Position,
    link: Link,
    limit: Position,
}

impl<'a, D: Disk> Scanner<'a, D> {
    /// Walks pieces that begin below `limit`. The segments follow one another.
    pub fn new(
        disk: &'a D,
        segments: &'a [SegmentMeta],
        at: Position,
        link: Link,
        limit: Position,
    ) -> Self {
        Scanner {
            disk,
            segments,
            open: None,
            window: Window::default(),
            at,
            link,
            limit,
        }
    }

    /// Where the last good piece ended.
    pub fn at(&self) -> Position {
        self.at
    }

    /// The next piece, header and body; `None` where nothing valid follows, or at the limit.
    pub fn next_piece(&mut self) -> Result<Option<(Header, &[u8])>> {
        for candidate in self.candidates() {
            let Some(position) = candidate else { continue };
            if position >= self.limit {
                continue;
            }
            if let Some((header, at)) = self.piece_at(position)? {
                self.at = header.end();
                self.link = Link::After(header.crc);
                let body = &self.window.bytes[at + HEADER..at + header.piece_len()];
                return Ok(Some((header, body)));
            }
        }
        Ok(None)
    }

    /// Where the next piece may begin: here, at the next sector, or in the next segment.
    fn candidates(&self) -> [Option<Position>; 3] {
        if matches!(self.link, Link::At | Link::Begins(_)) {
            return [Some(self.at), None, None];
        }
        let aligned = Some(self.at.aligned()).filter(|p| *p != self.at);
        let later = self.segments.partition_point(|s| s.start <= self.at);
        let next = self.segments.get(later).map(|s| s.start);
        [Some(self.at), aligned, next]
    }

    /// The valid piece at `position`, and where the window holds it.
    fn piece_at(&mut self, position: Position) -> Result<Option<(Header, usize)>> {
        let Some(i) = segment_of(self.segments, position) else {
            return Ok(None);
        };
        let meta = &self.segments[i];
        if meta.end.0 - position.0 < MIN_TAIL {
            return Ok(None);
        }
        let name = meta.name();
        if self.open.as_ref().is_none_or(|(open, _)| *open != i) {
            let file = self
                .disk
                .open(&name)
                .map_err(StorageError::io("open", &name))?;
            self.open = Some((i, file));
            self.window = Window {
                bytes: std::mem::take(&mut self.window.bytes),
                ..Window::default()
            };
        }
        let (_, file) = self.open.as_ref().expect("just opened");
        let (offset, end) = (meta.offset(position), meta.offset(meta.end));
        let read = StorageError::io("read", &name);
        let Some(at) = self.window.fill(file, offset, HEADER, end).map_err(read)? else {
            return Ok(None);
        };
        let Some(header) = Header::parse(&self.window.bytes[at..]) else {
            return Ok(None);
        };
        if !is_here(&header, meta, position) || !self.follows(&header) {
            return Ok(None);
        }
        let len = header.piece_len();
        let read = StorageError::io("read", &name);
        let Some(at) = self.window.fill(file, offset, len, end).map_err(read)? else {
            return Ok(None);
        };
        let good = header.matches(&self.window.bytes[at..at + len]);
        Ok(good.then_some((header, at)))
    }

    /// Whether the piece is the continuation of the one before it (D3).
    fn follows(&self, header: &Header) -> bool {
        match self.link {
            Link::At => true,
            Link::Begins(chain) => header.chain == chain,
            Link::After(_) if mutation::is(Mutation::ReviveBehindCut) => true,
            Link::After(crc) => {
                header.chain == crc && self.at.0 + u64::from(header.pad) == header.position.0
            }
        }
    }
}

/// Whether a header belongs where it was found (D3).
pub fn is_here(header: &Header, meta: &SegmentMeta, position: Position) -> bool {
    header.generation == meta.generation && header.position == position && header.end() <= meta.end
}

/// The segment that holds `position`.
pub fn segment_of(segments: &[SegmentMeta], position: Position) -> Option<usize> {
    let after = segments.partition_point(|s| s.start <= position);
    let i = after.checked_sub(1)?;
    (position < segments[i].end).then_some(i)
}

/// The highest durable position that any valid piece in `bytes` claims, wherever it begins.
/// `bytes` are those of the segment from `position` on.
pub fn claims(bytes: &[u8], meta: &SegmentMeta, position: Position) -> Option<Position> {
    let mut highest = None;
    let is_its = |header: &Header, at| is_here(header, meta, at);
    each_piece(bytes, position, is_its, |header, _| {
        highest = highest.max(Some(header.durable));
    });
    highest
}

/// Visits every piece in `bytes` that is valid for itself, header and body, wherever it begins. `bytes` are those from
/// `position` on; `fits` says whether a header belongs there.
pub fn each_piece(
    bytes: &[u8],
    position: Position,
    fits: impl Fn(&Header, Position) -> bool,
    mut visit: impl FnMut(&Header, &[u8]),
) {
    let mut at = (position.0.next_multiple_of(ALIGN) - position.0) as usize;
    while let Some(rest) = bytes.get(at..).filter(|r| r.len() >= HEADER) {
        let here = Position(position.0 + at as u64);
        let piece = Header::parse(rest).filter(|h| fits(h, here));
        let piece = piece.filter(|h| rest.get(..h.piece_len()).is_some_and(|p| h.matches(p)));
        match piece {
            Some(header) => {
                visit(&header, &rest[HEADER..header.piece_len()]);
                at += header.piece_len().next_multiple_of(ALIGN as usize);
            }
            None => at += ALIGN as usize,
        }
    }
}

/// A stretch of a file in memory.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    offset: u64,
    len: usize,
}

impl Window {
    /// Makes `len` bytes at `offset` available and says where; `None` if they pass `end` or the
    /// end of the file.
    fn fill<F: DiskFile>(
        &mut self,
        file: &F,
        offset: u64,
        len: usize,
        end: u64,
    ) -> std::io::Result<Option<usize>> {
        if offset + len as u64 > end {
            return Ok(None);
        }
        let have = self.offset + self.len as u64;
        if offset < self.offset || offset + len as u64 > have {
            let want = (len.max(AHEAD) as u64).min(end - offset) as usize;
            if self.bytes.len() < want {
                self.bytes.resize(want, 0);
            }
            self.len = 0;
            let n = file.read_at(&mut self.bytes[..want], offset)?;
            (self.offset, self.len) = (offset, n);
            if n < len {
                return Ok(None);
            }
        }
        Ok(Some((offset - self.offset) as usize))
    }
}
