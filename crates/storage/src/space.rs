//! Room to append to (D5).
//!
//! Owns the arithmetic of what fits and the decision when the next segment is made. Entries that
//! were taken from a Ready can't be given back, so room is asked for before anything is stepped or
//! executed; what is asked for is already allocated and zero-filled. A log that takes the whole disk could never be
//! trimmed, since that needs a snapshot first: the room for one is kept free of log.

use super::disk::Disk;
use super::error::{Result, StorageError};
use super::log::{Log, Segment};
use super::position::{Position, SECTOR};
use super::record::{HEADER, MIN_TAIL, SOFT_BODY};
use super::segment::{AllocJob, Allocated, SegmentMeta, DATA, PAGE};
use ::base::mutation::{self, Mutation};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `log-segment-size`: bytes of a segment's file.
    pub segment_size: u64,
    /// Segments that are kept ready beyond the one in use.
    pub spare_segments: usize,
    /// Log space that only votes, conf changes and the like may use (D5).
    pub reserve: u64,
    /// Log space above that which only effects may use that free memory (D5).
    pub freeing: u64,
    /// Bytes of the disk that no segment may take: one number for all logs of a node.
    pub kept: Arc<AtomicU64>,
    /// P11: bytes of log below what is applied that no snapshot drops; four segments at least.
    pub floor: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_size: 16 << 20,
            spare_segments: 1,
            reserve: 1 << 20,
            freeing: 4 << 20,
            kept: Arc::default(),
            floor: 64 << 20,
        }
    }
}

/// The least that is kept, in segments (P11).
const FLOOR_SEGMENTS: u64 = 4;

impl LogConfig {
    pub(super) fn floor(&self) -> u64 {
        self.floor.max(FLOOR_SEGMENTS * self.capacity())
    }

    fn reserve(&self) -> u64 {
        self.reserve.min(self.capacity() / 4)
    }

    fn freeing(&self) -> u64 {
        self.freeing.min(self.capacity() / 4)
    }

    /// Bytes of positions in a segment.
    pub(super) fn capacity(&self) -> u64 {
        self.segment_size.next_multiple_of(PAGE).max(DATA + PAGE) - DATA
    }
}

/// The state of allocation.
#[derive(Debug)]
pub(super) struct Space {
    allocating: bool,
    failed: bool,
    /// Room that was asked for once.
    wanted: u64,
    /// D5: log space that only effects may use that free memory, beside what is always kept for them.
    held_back: u64,
    /// Bytes of the disk that must stay free beside a segment for such effects; none: there is to be no such segment.
    kept_to_free: Option<u64>,
    /// Bytes that were free on the disk when the last segment was made, or could not be.
    seen_free: Option<u64>,
    next_sequence: u64,
    next_generation: u64,
}

impl Space {
    /// Of a log that has these segments: those at its end that only effects may use that free memory.
    pub fn new(next_sequence: u64, next_generation: u64, held_back: u64) -> Self {
        Space {
            allocating: false,
            failed: false,
            wanted: 0,
            held_back,
            kept_to_free: None,
            seen_free: None,
            next_sequence,
            next_generation,
        }
    }
}

impl<D: Disk> Log<D> {
    /// Bytes of records that can be appended before what is kept back is touched.
    pub fn room(&self) -> u64 {
        let kept_back = self.config.freeing() + self.space.held_back;
        self.room_to_free().saturating_sub(kept_back)
    }

    /// The same for effects that only free memory (D5).
    pub fn room_to_free(&self) -> u64 {
        self.free().saturating_sub(self.config.reserve())
    }

    pub(super) fn free(&self) -> u64 {
        let end = self.segments.last().map_or(self.end, |s| s.meta.end);
        end.0.saturating_sub(self.end.0)
    }

    /// D5: whether entries of `bytes` in all ([`super::record::entry_len`]) can be appended without
    /// touching the reserve. To be asked, with the sum of all that may reach the log before it is
    /// asked again, before a message is stepped or a write is executed.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.room() >= self.with_overhead(bytes)
    }

    /// D5: the same for effects that only free memory.
    pub fn has_room_to_free(&self, bytes: u64) -> bool {
        self.room_to_free() >= self.with_overhead(bytes)
    }

    /// D5: the same for what may use the reserve: terms and votes, what a new leader begins with, and
    /// changes of members.
    pub fn has_reserve(&self, bytes: u64) -> bool {
        self.free() >= self.with_overhead(bytes)
    }

    fn with_overhead(&self, bytes: u64) -> u64 {
        // Headers of pieces, alignment, unused ends of segments.
        let pieces = bytes / SOFT_BODY as u64 + 2;
        let segments = bytes / self.config.capacity() + 2;
        let overhead =
            pieces * (HEADER as u64 + 8) + segments * (MIN_TAIL + HEADER as u64) + SECTOR;
        bytes + overhead
    }

    /// Asks for this much room once (a large command): `alloc_job` goes on until it is there.
    pub fn want_room(&mut self, bytes: u64) {
        self.space.wanted = self.space.wanted.max(bytes);
    }

    /// What was asked for once is not needed any more, or is asked for again.
    pub fn forget_wanted(&mut self) {
        self.space.wanted = 0;
    }

    /// What was asked for once and is not there yet.
    pub fn wanted_room(&self) -> u64 {
        self.space.wanted
    }

    /// D5: so much of the disk is for the next snapshot, and no segment is made of it.
    pub fn keep(&self, bytes: u64) {
        self.config.kept.store(bytes, Ordering::Relaxed);
    }

    /// D5: where less is free, a segment is still made of what is above this, for effects that free memory: what they
    /// leave would come too late, if their room ran out first.
    pub fn keep_to_free(&mut self, bytes: u64) {
        self.space.kept_to_free = Some(bytes);
    }

    pub fn kept(&self) -> u64 {
        match mutation::is(Mutation::NothingKeptForSnapshot) {
            true => 0,
            false => self.config.kept.load(Ordering::Relaxed),
        }
    }

    /// Bytes that were free on the disk when the last segment was made, or could not be.
    pub fn seen_free(&self) -> Option<u64> {
        self.space.seen_free
    }

    /// Bytes of records that a segment takes.
    pub fn segment_room(&self) -> u64 {
        self.config.capacity()
    }

    /// Whether a segment is to be made, and can be.
    pub fn wants_segment(&self) -> bool {
        let spare = self.segments.len() - 1 - self.active;
        // Writes come as far as there is room, and the next segment takes its time.
        let is_roomy = self.room() >= self.config.capacity();
        let enough = spare >= self.config.spare_segments && is_roomy && self.space.wanted == 0;
        !enough && !self.space.allocating && !self.space.failed
    }

    /// A job that makes the next segment; `None` if there is enough, one is being made, or the last
    /// one failed (until `retry_alloc`).
    pub fn alloc_job(&mut self) -> Option<AllocJob<D>> {
        if self.space.wanted > 0 && self.has_room(self.space.wanted) {
            self.space.wanted = 0;
        }
        if !self.wants_segment() {
            return None;
        }
        let meta = self.fresh_segment();
        self.space.allocating = true;
        let job = AllocJob::new(self.disk.clone(), self.base.identity, meta);
        let is_spent = self.room_to_free() < self.config.freeing() / 2;
        let to_free = self.space.kept_to_free.filter(|_| is_spent);
        Some(job.keeping(self.kept()).or_to_free(to_free))
    }

    /// The segment to come.
    pub(super) fn fresh_segment(&mut self) -> SegmentMeta {
        assert!(!self.space.allocating, "one allocation at a time");
        let start = self.segments.last().map_or(Position(0), |s| s.meta.end);
        let meta = SegmentMeta {
            sequence: self.space.next_sequence,
            generation: self.space.next_generation,
            start,
            end: Position(start.0 + self.config.capacity()),
            only_frees: false,
        };
        // A generation is never used twice, not even after a failure.
        self.space.next_generation += 1;
        meta
    }

    /// Whether a segment is being made.
    pub fn is_allocating(&self) -> bool {
        self.space.allocating
    }

    /// The result of an allocation. A failure (a full disk) is returned for the log; `alloc_job`
    /// gives nothing until `retry_alloc` is called, some time later.
    pub fn allocated(&mut self, result: Result<Allocated<D>>) -> Result<()> {
        self.space.allocating = false;
        match result {
            Ok(segment) => {
                assert_eq!(
                    segment.meta.sequence, self.space.next_sequence,
                    "one allocation at a time"
                );
                self.space.next_sequence += 1;
                self.space.seen_free = Some(segment.free);
                self.space.held_back = match segment.meta.only_frees {
                    true => self.space.held_back + self.config.capacity(),
                    false => 0,
                };
                self.segments.push(Segment {
                    meta: segment.meta,
                    first: None,
                    file: Some(segment.file),
                });
                Ok(())
            }
            Err(error) => {
                self.space.failed = true;
                self.space.seen_free = match &error {
                    StorageError::Kept { free, .. } => Some(*free),
                    _ => Some(0),
                };
                Err(error)
            }
        }
    }

    /// Whether the last allocation failed.
    pub fn alloc_failed(&self) -> bool {
        self.space.failed
    }

    /// Lets `alloc_job` try again after a failure.
    pub fn retry_alloc(&mut self) {
        self.space.failed = false;
    }
}
