//! Encoding a record into the bytes that are appended.
//!
//! Owns the cutting of a record into pieces. Writes straight into one buffer that is reused: an
//! entry's data is copied once. Does no I/O and knows no file: the log tells where the pieces may
//! lie, and writes what comes out.

use super::position::Position;
use super::record::{
    entry_len, Header, CONTINUED, ENTRY, ENTRY_LEN, FIRST, HARD_STATE, HARD_STATE_LEN, HEADER,
    LAST, MAX_BODY, MIN_TAIL, SOFT_BODY,
};
use raft::eraftpb::{Entry, EntryType, HardState};
use std::ops::Range;

/// A stretch of the log that may be written to: what is left of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub start: Position,
    pub end: Position,
    pub generation: u64,
}

/// A contiguous part of an encoded record: `bytes` of the buffer go to `position`, in the
/// `place`-th place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub place: usize,
    pub position: Position,
    pub bytes: Range<usize>,
}

/// Where an encoded record lies.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    pub runs: Vec<Run>,
    /// Pieces that begin with an item: a reader may start at them. The index is that of the next
    /// entry there.
    pub starts: Vec<(Position, u64)>,
    pub end: Position,
    pub crc: u32,
}

/// Encodes one record straight into a buffer that is reused.
pub struct Encoder<'a> {
    buf: &'a mut Vec<u8>,
    places: &'a [Place],
    out: Encoded,
    place: usize,
    /// Where the next piece may begin, and where the piece before ended.
    next: Position,
    piece: Option<OpenPiece>,
    durable: Position,
    flags: u8,
    inside_item: bool,
    /// The index of the entry that is encoded next.
    index: u64,
}

struct OpenPiece {
    at: usize,
    position: Position,
    pad: u32,
    flags: u8,
    max_body: usize,
}

impl<'a> Encoder<'a> {
    /// `places` in the log's order, the first of them where the log stands; `end` and `crc` are
    /// those of the last piece, `next` where the record may begin.
    pub fn new(
        buf: &'a mut Vec<u8>,
        places: &'a [Place],
        (end, crc): (Position, u32),
        next: Position,
        durable: Position,
    ) -> Self {
        buf.clear();
        Encoder {
            buf,
            places,
            out: Encoded {
                end,
                crc,
                ..Encoded::default()
            },
            place: 0,
            next,
            piece: None,
            durable,
            flags: FIRST,
            inside_item: false,
            index: 0,
        }
    }

    /// Encodes the whole record; `index` is that of the first entry, or of the one to come. `None`
    /// if the places are too small.
    pub fn encode(
        mut self,
        hard_state: Option<&HardState>,
        entries: &[Entry],
        index: u64,
    ) -> Option<Encoded> {
        self.index = index;
        // T9: growing a large buffer step by step copies it several times.
        let bytes = entries.iter().map(entry_len).sum::<u64>() as usize;
        self.buf.reserve(bytes + bytes / 64 + HEADER);
        if let Some(hs) = hard_state {
            let mut item = [0; HARD_STATE_LEN];
            item[0] = HARD_STATE;
            item[1..9].copy_from_slice(&hs.term.to_le_bytes());
            item[9..17].copy_from_slice(&hs.vote.to_le_bytes());
            item[17..25].copy_from_slice(&hs.commit.to_le_bytes());
            self.begin_item();
            self.put(&item)?;
        }
        for entry in entries {
            self.index = entry.index;
            self.begin_item();
            self.put(&entry_header(entry))?;
            self.put(&entry.context)?;
            self.put(&entry.data)?;
        }
        self.close_piece(LAST);
        Some(self.out)
    }

    fn begin_item(&mut self) {
        self.inside_item = false;
        if self
            .piece
            .as_ref()
            .is_some_and(|p| self.buf.len() - p.at - HEADER >= SOFT_BODY)
        {
            self.close_piece(0);
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let left = match &self.piece {
                Some(p) => p.max_body - (self.buf.len() - p.at - HEADER),
                None => self.open_piece()?,
            };
            if left == 0 {
                self.close_piece(0);
                continue;
            }
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            self.buf.extend_from_slice(now);
            self.inside_item = true;
            bytes = later;
        }
        Some(())
    }

    /// Opens a piece where there is room for one, and says how long its body may become; `None` if
    /// there is no room.
    fn open_piece(&mut self) -> Option<usize> {
        while self
            .places
            .get(self.place)
            .is_some_and(|p| p.end.0 < self.next.0 + MIN_TAIL)
        {
            self.place += 1;
            if let Some(place) = self.places.get(self.place) {
                self.next = place.start;
            }
        }
        let place = self.places.get(self.place)?;
        let position = self.next;
        let mut flags = std::mem::take(&mut self.flags);
        if self.inside_item {
            flags |= CONTINUED;
        } else {
            self.out.starts.push((position, self.index));
        }
        let at = self.buf.len();
        match self.out.runs.last() {
            Some(run) if run.place == self.place => {}
            _ => self.out.runs.push(Run {
                place: self.place,
                position,
                bytes: at..at,
            }),
        }
        self.buf.resize(at + HEADER, 0);
        let max_body = (place.end.0 - position.0 - HEADER as u64).min(MAX_BODY as u64) as usize;
        let pad =
            u32::try_from(position.0 - self.out.end.0).expect("no gap is as long as a segment");
        self.piece = Some(OpenPiece {
            at,
            position,
            pad,
            flags,
            max_body,
        });
        Some(max_body)
    }

    fn close_piece(&mut self, flag: u8) {
        let Some(piece) = self.piece.take() else {
            return;
        };
        let bytes = &mut self.buf[piece.at..];
        let mut header = Header {
            crc: 0,
            len: (bytes.len() - HEADER) as u32,
            flags: piece.flags | flag,
            generation: self.places[self.place].generation,
            position: piece.position,
            durable: self.durable,
            pad: piece.pad,
            chain: self.out.crc,
        };
        header.write(bytes);
        header.crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&header.crc.to_le_bytes());
        self.out.crc = header.crc;
        self.out.end = header.end();
        self.next = header.end();
        self.buf
            .resize(piece.at + (header.end().0 - piece.position.0) as usize, 0);
        let run = self
            .out
            .runs
            .last_mut()
            .expect("an open piece lies in a run");
        run.bytes.end = self.buf.len();
    }
}

fn entry_header(entry: &Entry) -> [u8; ENTRY_LEN] {
    let len = |b: &[u8]| {
        u32::try_from(b.len())
            .expect("an entry is below 4 GiB (T8)")
            .to_le_bytes()
    };
    let mut item = [0; ENTRY_LEN];
    item[0] = ENTRY;
    item[1] = match entry.entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    item[2..6].copy_from_slice(&len(&entry.context));
    item[6..10].copy_from_slice(&len(&entry.data));
    item[10..18].copy_from_slice(&entry.term.to_le_bytes());
    item[18..26].copy_from_slice(&entry.index.to_le_bytes());
    item
}
