//! The files of the log: their names, their headers, and the job that makes new ones.
//!
//! A segment is a file of fixed size, zero-filled and synced before it gets its name, so that
//! appending to it changes no metadata and never runs out of space (D5). Its header says which
//! stretch of positions it holds; positions run on from one segment to the next.
//!
//! Invariants: a file with a segment's name has a durable, valid header (a crash can't leave it
//! otherwise, so another header is damage); no two segments ever have the same generation.

use super::base::MemberIdentity;
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::position::Position;
use super::reserve;
use super::transfer::PART_SUFFIX;
use std::sync::Arc;

/// Where records begin in a file: the header has a page of its own.
pub const DATA: u64 = 4096;
/// Segment sizes are multiples of this.
pub const PAGE: u64 = 4096;
const MAGIC: &[u8; 8] = b"HFLOG\r\n\0";
const VERSION: u32 = 1;
const HEADER: usize = 80;
/// What is wrong with a segment that has lost its end.
pub(super) const SHORT: &str = "is shorter than its header says";
const SUFFIX: &str = ".seg";
const TEMP_SUFFIX: &str = ".tmp";
/// One step of an allocation: what a waiting sync is delayed by.
const STEP: u64 = 1 << 20;

/// Which stretch of the log a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    pub sequence: u64,
    pub generation: u64,
    pub start: Position,
    /// The end of the stretch, which is the start of the next segment.
    pub end: Position,
    /// D5: only what frees memory may use it, also after a restart.
    pub only_frees: bool,
}

impl SegmentMeta {
    pub fn name(&self) -> String {
        name_of(self.sequence)
    }

    pub fn offset(&self, position: Position) -> u64 {
        DATA + (position.0 - self.start.0)
    }

    pub fn position(&self, offset: u64) -> Position {
        Position(self.start.0 + (offset - DATA))
    }

    fn encode(&self, of: &MemberIdentity) -> [u8; HEADER] {
        let mut h = [0; HEADER];
        h[..8].copy_from_slice(MAGIC);
        h[8..12].copy_from_slice(&VERSION.to_le_bytes());
        h[12..16].copy_from_slice(&u32::from(self.only_frees).to_le_bytes());
        let fields = [
            self.sequence,
            self.generation,
            self.start.0,
            self.end.0,
            of.group.0,
            of.incarnation.0,
            of.raft_id.0,
        ];
        for (i, v) in fields.into_iter().enumerate() {
            h[16 + 8 * i..24 + 8 * i].copy_from_slice(&v.to_le_bytes());
        }
        let crc = crc32c::crc32c(&h[..HEADER - 8]);
        h[HEADER - 8..HEADER - 4].copy_from_slice(&crc.to_le_bytes());
        h
    }

    /// Reads and checks the header of `name`.
    pub fn read<F: DiskFile>(file: &F, name: &str, of: &MemberIdentity) -> Result<SegmentMeta> {
        let bad = |what| {
            Err(StorageError::BadFile {
                file: name.into(),
                what,
            })
        };
        let mut h = [0; HEADER];
        let n = file
            .read_at(&mut h, 0)
            .map_err(StorageError::io("read", name))?;
        if n < HEADER || h[..8] != MAGIC[..] {
            return bad("is not a log segment");
        }
        let found = u32::from_le_bytes(h[8..12].try_into().expect("four bytes"));
        if found != VERSION {
            return Err(StorageError::Version {
                file: name.into(),
                found,
                known: VERSION,
            });
        }
        if h[HEADER - 8..HEADER - 4] != crc32c::crc32c(&h[..HEADER - 8]).to_le_bytes() {
            return bad("has a damaged header");
        }
        let field = |i: usize| {
            u64::from_le_bytes(h[16 + 8 * i..24 + 8 * i].try_into().expect("eight bytes"))
        };
        let meta = SegmentMeta {
            sequence: field(0),
            generation: field(1),
            start: Position(field(2)),
            end: Position(field(3)),
            only_frees: h[12] & 1 == 1,
        };
        let (start, end) = (meta.start.0, meta.end.0);
        if (field(4), field(5), field(6)) != (of.group.0, of.incarnation.0, of.raft_id.0) {
            return bad("belongs to another group or member");
        }
        if name_of(meta.sequence) != name {
            return bad("has been renamed");
        }
        if end <= start || start % PAGE != 0 || end % PAGE != 0 || end > u64::MAX / 2 {
            return bad("has a header that makes no sense");
        }
        if file.len().map_err(StorageError::io("read", name))? < DATA + (end - start) {
            return bad(SHORT);
        }
        Ok(meta)
    }
}

/// The length that a good header says its file has.
pub(super) fn length_in(header: &[u8]) -> Option<u64> {
    let field = |i: usize| {
        let bytes = header.get(16 + 8 * i..24 + 8 * i)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (start, end) = (field(2)?, field(3)?);
    end.checked_sub(start)?.checked_add(DATA)
}

fn name_of(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// Whether a file of this name is a segment.
pub fn is_segment(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Whether the name is one that a segment can have.
pub(super) fn is_name_of_segment(name: &str) -> bool {
    let number = name.strip_suffix(SUFFIX).and_then(|n| n.parse().ok());
    number.is_some_and(|sequence| name_of(sequence) == name)
}

/// Whether a file of this name is left over from a crash, or is a state of which not all had come.
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMP_SUFFIX) || name.ends_with(PART_SUFFIX)
}

/// A segment that is ready to be appended to.
pub struct Allocated<D: Disk> {
    pub meta: SegmentMeta,
    /// Bytes that are free on the disk beside it; so few, it may be, that only what frees memory may use it.
    pub free: u64,
    pub file: Arc<D::File>,
}

/// Makes a segment (on the storage thread); in steps, so that syncs need not wait for all of it.
pub struct AllocJob<D: Disk> {
    disk: D,
    of: MemberIdentity,
    meta: SegmentMeta,
    temp: String,
    file: Option<D::File>,
    filled: u64,
    beside: Box<Beside>,
}

/// D5: what the disk has beside a segment.
#[derive(Default)]
struct Beside {
    /// Bytes that are to stay free.
    kept: u64,
    /// The same, if only what frees memory may use the segment; none: it is for all.
    kept_to_free: Option<u64>,
    /// Bytes that were free.
    free: u64,
}

impl<D: Disk> AllocJob<D> {
    pub fn new(disk: D, of: MemberIdentity, meta: SegmentMeta) -> Self {
        let temp = format!("{}{TEMP_SUFFIX}", meta.sequence);
        AllocJob {
            disk,
            of,
            meta,
            temp,
            file: None,
            filled: 0,
            beside: Box::default(),
        }
    }

    /// D5: it comes to nothing if so many bytes would not stay free.
    pub fn keeping(mut self, kept: u64) -> Self {
        self.beside.kept = kept;
        self
    }

    /// D5: where that is too much, so many must stay free, and only what frees memory may use the segment.
    pub fn or_to_free(mut self, kept: Option<u64>) -> Self {
        self.beside.kept_to_free = kept;
        self
    }

    /// Does a bounded part; `Some` when the segment is there, durably. After an error the job is
    /// over and its file is gone.
    pub fn step(&mut self) -> Result<Option<Allocated<D>>> {
        let done = self.advance();
        if done.is_err() && self.file.take().is_some() {
            // The space is what is needed now; a failure to give it back changes nothing.
            let _ = self.disk.remove(&self.temp);
        }
        done
    }

    /// Does all of it.
    pub fn run(mut self) -> Result<Allocated<D>> {
        loop {
            if let Some(allocated) = self.step()? {
                return Ok(allocated);
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Allocated<D>>> {
        let size = DATA + (self.meta.end.0 - self.meta.start.0);
        let io = |action| StorageError::io(action, &self.temp);
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                (self.beside.free, self.meta.only_frees) = self.look_for_room(size)?;
                self.disk.create(&self.temp).map_err(io("create"))?
            }
        };
        let file = self.file.insert(file);
        if self.filled < size {
            let to = (self.filled + STEP).min(size);
            file.allocate(self.filled, to).map_err(io("allocate"))?;
            file.sync_data().map_err(io("sync"))?;
            self.filled = to;
            return Ok(None);
        }
        file.write_at(&self.meta.encode(&self.of), 0)
            .map_err(io("write"))?;
        file.sync_data().map_err(io("sync"))?;
        self.disk
            .rename(&self.temp, &self.meta.name())
            .map_err(io("rename"))?;
        self.disk.sync_dir().map_err(io("sync the folder of"))?;
        reserve::keep(&self.disk, size);
        let file = self.file.take().expect("it was opened above");
        Ok(Some(Allocated {
            meta: self.meta.clone(),
            free: self.beside.free,
            file: Arc::new(file),
        }))
    }

    /// D5: what is free beside the segment, if that is enough, and whether it is so little that only what frees memory
    /// may use the segment.
    fn look_for_room(&self, size: u64) -> Result<(u64, bool)> {
        let free = self.disk.free_space();
        let free = free.map_err(StorageError::io("look for room beside", &self.temp))?;
        let kept = self.beside.kept;
        let fits = |kept: u64| free >= size.saturating_add(kept);
        let fits_all = kept == 0 || fits(kept);
        let only_frees = !fits_all && self.beside.kept_to_free.is_some_and(fits);
        match fits_all || only_frees {
            true => Ok((free.saturating_sub(size), only_frees)),
            false => Err(StorageError::Kept { free, kept }),
        }
    }
}
