//! The log as the loop uses it: append, know what is durable, ask for room, find terms.
//!
//! Owns the order of records and the state that recovery rebuilds. Appends inline into space that
//! is already allocated (a write to the page cache); never syncs, allocates or reads on the loop:
//! those are jobs for the storage thread, which the caller hands over and whose results it brings
//! back.
//!
//! Invariants:
//! - `durable <= taken <= end`; bytes below `taken` are never written again, and no record begins
//!   in a sector that holds such bytes, so a torn write never harms what was promised;
//! - every record carries the newest hard state, so any part of the log that holds a record knows
//!   it;
//! - an error of `append` or of a sync leaves the log unusable: the caller ends the process (D5).

use super::base::{Base, MemberIdentity};
use super::disk::{Disk, DiskFile};
use super::encode::{Encoded, Encoder, Place};
use super::error::{Result, StorageError};
use super::index::LogIndex;
use super::position::Position;
use super::read::{ReadJob, ReadPlan};
use super::record::entry_len;
use super::recover;
use super::segment::SegmentMeta;
use super::space::Space;
use super::sync::{SyncJob, Write};
use super::trim::FirstRecord;
use ::base::ids::EntryId;
use raft::eraftpb::{Entry, HardState};
use std::collections::VecDeque;
use std::sync::Arc;

pub use super::space::LogConfig;

/// Records above this are written by the storage thread, before its next sync (T8).
const INLINE: usize = 256 * 1024;
/// The most that the loop lets the device begin with.
const BEGIN_BYTES: u64 = 16 << 10;

/// What one Ready must persist (D1).
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRecord<'a> {
    pub hard_state: Option<&'a HardState>,
    /// Consecutive; the first one at most one above the last index, and above the base's state.
    pub entries: &'a [Entry],
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    pub base: Base,
    /// Of the base, if the log has none: its term, no vote, its index as commit. The commit is at
    /// least the index of the base's state (P9).
    pub hard_state: HardState,
    /// The entries above the commit index.
    pub tail: Vec<Entry>,
    /// Where bytes that were no valid record were cut off, if any were.
    pub cut: Option<Position>,
}

pub(super) struct Segment<D: Disk> {
    pub meta: SegmentMeta,
    /// The first record that begins here: the log may begin with it (P10).
    pub first: Option<FirstRecord>,
    /// Closed once it is full and durable; readers open by name.
    pub file: Option<Arc<D::File>>,
}

/// One member's log.
pub struct Log<D: Disk> {
    pub(super) disk: D,
    pub(super) base: Base,
    pub(super) config: LogConfig,
    pub(super) segments: Vec<Segment<D>>,
    /// The segment that is appended to; those behind it are spare.
    pub(super) active: usize,
    /// How many segments have been closed.
    pub(super) closed: usize,
    pub(super) index: LogIndex,
    hard_state: HardState,
    pub(super) end: Position,
    /// The checksum of the last piece.
    pub(super) crc: u32,
    durable: Position,
    /// Up to here sync jobs have been handed out.
    taken: Position,
    /// Files that were written to since the last sync job.
    dirty: Vec<(Arc<D::File>, String)>,
    writes: Vec<Write<D>>,
    /// (start, end) of records that the storage thread may not have written yet.
    unwritten: VecDeque<(Position, Position)>,
    buf: Vec<u8>,
    places: Vec<Place>,
    pub(super) space: Space,
}

impl<D: Disk> Log<D> {
    /// Founds the log of a newborn member and opens it (G1). What an earlier, unfinished bootstrap left
    /// is removed.
    pub fn create(disk: D, config: LogConfig, base: &Base) -> Result<(Self, Recovered)> {
        recover::bootstrap(&disk, config.capacity(), base)?;
        Log::open(disk, config)
    }

    /// Recovers the log of the member that was born in this folder (D2, D3). When this returns,
    /// everything the log says is durable.
    pub fn open(disk: D, config: LogConfig) -> Result<(Self, Recovered)> {
        let state = recover::recover(&disk)?;
        let next_sequence = state.segments.last().map_or(1, |s| s.meta.sequence + 1);
        let active = state
            .segments
            .iter()
            .rposition(|s| s.meta.start <= state.end)
            .unwrap_or(0);
        let held = state.segments.iter().rev();
        let held = held.take_while(|s| s.meta.only_frees);
        let held_back = held.map(|s| s.meta.end.0 - s.meta.start.0).sum();
        let log = Log {
            disk,
            base: state.base,
            config,
            segments: state.segments,
            active,
            closed: active,
            index: state.index,
            hard_state: state.hard_state,
            end: state.end,
            crc: state.crc,
            durable: state.end,
            taken: state.end,
            dirty: Vec::new(),
            writes: Vec::new(),
            unwritten: VecDeque::new(),
            buf: Vec::new(),
            places: Vec::new(),
            space: Space::new(next_sequence, state.next_generation, held_back),
        };
        let mut tail = Vec::new();
        let commit = log.hard_state.commit;
        if log.last_index() > commit {
            log.replay(commit + 1, log.last_index(), |entry| {
                tail.push(entry);
                Ok::<(), StorageError>(())
            })?;
        }
        let recovered = Recovered {
            base: log.base.clone(),
            hard_state: log.hard_state.clone(),
            tail,
            cut: state.cut,
        };
        Ok((log, recovered))
    }

    pub fn disk(&self) -> &D {
        &self.disk
    }

    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The member whose log this is.
    pub fn identity(&self) -> &MemberIdentity {
        &self.base.identity
    }

    /// The newest hard state that was appended.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// The lowest index that the log can hold.
    pub fn first_index(&self) -> u64 {
        self.index.first()
    }

    pub fn last_index(&self) -> u64 {
        self.index.last()
    }

    /// The term at an index, also at that of the entry before the first one; `None` outside the log.
    pub fn term(&self, index: u64) -> Option<u64> {
        self.index.term(index)
    }

    /// (first index, term) of every stretch of entries of one term.
    pub fn terms(&self) -> &[EntryId] {
        self.index.terms()
    }

    /// Where the log ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// How many bytes of log there are.
    pub fn kept_bytes(&self) -> u64 {
        let start = self.base.start.map_or(Position(0), |start| start.position);
        self.end.0 - start.0
    }

    /// About how many bytes of log come after an entry.
    pub fn bytes_after(&self, index: u64) -> u64 {
        if index >= self.last_index() {
            return 0;
        }
        let at = self.index.seek(index).unwrap_or(Position(0));
        self.end.0 - at.0
    }

    /// Everything below this survives a crash.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Files of the log, spare ones included.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Appends one record (D1) and returns where it ends: durable once `durable()` has got there.
    /// On an error the process must end: an entry taken from a Ready can't be given back (D5).
    pub fn append(&mut self, record: &LogRecord<'_>) -> Result<Position> {
        if record.hard_state.is_none() && record.entries.is_empty() {
            return Ok(self.end);
        }
        self.check(record.entries);
        let hard_state = record.hard_state.unwrap_or(&self.hard_state).clone();
        let first = record
            .entries
            .first()
            .map_or(self.last_index() + 1, |e| e.index);
        let encoded = self.encode(&hard_state, record.entries, first)?;
        self.write(&encoded)?;

        if let Some(run) = encoded.runs.first() {
            let segment = &mut self.segments[self.active + run.place];
            segment.first.get_or_insert(FirstRecord {
                position: run.position,
                chain: self.crc,
                next: first,
            });
        }
        if first <= self.last_index() {
            self.index.truncate(self.end, first);
        }
        for (position, index) in &encoded.starts {
            self.index.mark(*position, *index);
        }
        for entry in record.entries {
            self.index.push(entry.index, entry.term);
        }
        self.active += encoded.runs.last().map_or(0, |r| r.place);
        (self.end, self.crc) = (encoded.end, encoded.crc);
        self.hard_state = hard_state;
        Ok(self.end)
    }

    fn check(&self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.base.snapshot.index && first.index <= self.last_index() + 1,
            "entry {} can't follow a log of {}..={}",
            first.index,
            self.first_index(),
            self.last_index()
        );
        for (i, entry) in entries.iter().enumerate() {
            assert_eq!(
                entry.index,
                first.index + i as u64,
                "a Ready's entries are consecutive"
            );
        }
    }

    fn encode(&mut self, hard_state: &HardState, entries: &[Entry], first: u64) -> Result<Encoded> {
        self.places.clear();
        self.places
            .extend(self.segments[self.active..].iter().map(|s| Place {
                start: s.meta.start,
                end: s.meta.end,
                generation: s.meta.generation,
            }));
        // What a sync was asked for lies in sectors that are never written again.
        let next = if self.taken > self.end.sector() {
            self.end.aligned()
        } else {
            self.end
        };
        let encoder = Encoder::new(
            &mut self.buf,
            &self.places,
            (self.end, self.crc),
            next,
            self.durable,
        );
        let encoded = encoder.encode(Some(hard_state), entries, first);
        encoded.ok_or_else(|| StorageError::NoRoom {
            needed: entries.iter().map(entry_len).sum(),
            room: self.free(),
        })
    }

    fn write(&mut self, encoded: &Encoded) -> Result<()> {
        let late = (self.buf.len() > INLINE).then(|| Arc::new(std::mem::take(&mut self.buf)));
        for run in &encoded.runs {
            let segment = &self.segments[self.active + run.place];
            let file = segment
                .file
                .as_ref()
                .expect("segments that can be written to stay open");
            let offset = segment.meta.offset(run.position);
            if self.dirty.last().is_none_or(|(f, _)| !Arc::ptr_eq(f, file)) {
                self.dirty.push((file.clone(), segment.meta.name()));
            }
            match &late {
                None => file
                    .write_at(&self.buf[run.bytes.clone()], offset)
                    .map_err(|e| StorageError::io("write", &segment.meta.name())(e))?,
                Some(bytes) => self.writes.push(Write {
                    file: file.clone(),
                    name: segment.meta.name(),
                    offset,
                    bytes: bytes.clone(),
                    range: run.bytes.clone(),
                }),
            }
        }
        if late.is_some() {
            self.unwritten.push_back((self.end, encoded.end));
        }
        Ok(())
    }

    /// Lets the device begin with a little that waits for a sync, while the storage thread wakes up. To submit
    /// more would cost the loop time.
    pub fn begin_write(&self) {
        if self.end.0 - self.taken.0 <= BEGIN_BYTES {
            for (file, _) in &self.dirty {
                file.begin_write();
            }
        }
    }

    /// A job that makes everything appended so far durable; `None` if the jobs handed out do.
    pub fn sync_job(&mut self) -> Option<SyncJob<D>> {
        if self.taken == self.end {
            return None;
        }
        self.taken = self.end;
        Some(SyncJob {
            writes: std::mem::take(&mut self.writes),
            files: std::mem::take(&mut self.dirty),
            end: self.end,
        })
    }

    /// A sync has been ordered of everything below this.
    pub fn taken(&self) -> Position {
        self.taken
    }

    /// D4: everything below this has been written, so that kill -9 leaves it; a write counts when
    /// it has returned, never when its job was made.
    pub fn written(&self) -> Position {
        self.unwritten.front().map_or(self.end, |r| r.0)
    }

    /// A sync job has returned `position`.
    pub fn synced(&mut self, position: Position) {
        assert!(
            position <= self.taken,
            "only what was handed out can have been synced"
        );
        self.durable = self.durable.max(position);
        while self.unwritten.front().is_some_and(|r| r.1 <= self.durable) {
            self.unwritten.pop_front();
        }
        self.close_segments();
    }

    fn close_segments(&mut self) {
        while self.closed < self.active && self.segments[self.closed].meta.end <= self.durable {
            self.segments[self.closed].file = None;
            self.closed += 1;
        }
    }

    /// Visits the entries `from..=to` in order, with bounded memory. Reads files: in recovery, or
    /// on another thread through [`Log::read_job`], never on a loop that serves.
    pub fn replay<E: From<StorageError>>(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let plan = self.read_plan(from, to)?;
        plan.replay(&self.disk, |entry| visit(entry).map(|()| true))
    }

    /// A job that reads entries `from..=to`, or the first of them up to about `max_bytes`, but at
    /// least one. D6: of what is not written yet it returns nothing.
    pub fn read_job(&self, from: u64, to: u64, max_bytes: u64) -> Result<ReadJob<D>> {
        Ok(ReadJob::new(
            self.disk.clone(),
            self.read_plan(from, to)?,
            max_bytes,
        ))
    }

    fn read_plan(&self, from: u64, to: u64) -> Result<ReadPlan> {
        let (first, last) = (self.first_index(), self.last_index());
        if from < first || to > last || from > to {
            return Err(StorageError::OutOfRange {
                from,
                to,
                first,
                last,
            });
        }
        let oldest = self.segments.first().map_or(Position(0), |s| s.meta.start);
        let start = self.index.seek(from).unwrap_or(oldest);
        let skip = self.segments.partition_point(|s| s.meta.end <= start);
        let used = self.segments.get(skip..=self.active).unwrap_or_default();
        Ok(ReadPlan {
            segments: used.iter().map(|s| s.meta.clone()).collect(),
            start,
            limit: self.written(),
            is_open: self.written() < self.end,
            cuts: self.index.cuts_after(start).to_vec(),
            from,
            to,
        })
    }
}
