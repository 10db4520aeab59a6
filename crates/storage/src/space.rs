//! Room to append to (D5).
//!
//! Owns the arithmetic of what fits and the decision when the next segment is made. Entries that
//! were taken from a Ready can't be given back, so room is asked for before anything is stepped or
//! executed; what is asked for is already allocated and zero-filled.

use super::disk::Disk;
use super::error::Result;
use super::log::{Log, Segment};
use super::position::{Position, SECTOR};
use super::record::{HEADER, MIN_TAIL, SOFT_BODY};
use super::segment::{AllocJob, Allocated, SegmentMeta, DATA, PAGE};

#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `log-segment-size`: bytes of a segment's file.
    pub segment_size: u64,
    /// Segments that are kept ready beyond the one in use.
    pub spare_segments: usize,
    /// Log space that only votes, conf changes and the like may use (D5).
    pub reserve: u64,
    /// P11: bytes of log below what is applied that no snapshot drops; four segments at least.
    pub floor: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_size: 16 << 20,
            spare_segments: 1,
            reserve: 1 << 20,
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
    next_sequence: u64,
    next_generation: u64,
}

impl Space {
    pub fn new(next_sequence: u64, next_generation: u64) -> Self {
        Space {
            allocating: false,
            failed: false,
            wanted: 0,
            next_sequence,
            next_generation,
        }
    }
}

impl<D: Disk> Log<D> {
    /// Bytes of records that can be appended before the reserve is touched.
    pub fn room(&self) -> u64 {
        let free = self.free();
        free.saturating_sub(self.config.reserve.min(self.config.capacity() / 4))
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

    /// A job that makes the next segment; `None` if there is enough, one is being made, or the last
    /// one failed (until `retry_alloc`).
    pub fn alloc_job(&mut self) -> Option<AllocJob<D>> {
        if self.space.allocating || self.space.failed {
            return None;
        }
        if self.space.wanted > 0 && self.has_room(self.space.wanted) {
            self.space.wanted = 0;
        }
        let spare = self.segments.len() - 1 - self.active;
        if spare >= self.config.spare_segments && self.space.wanted == 0 {
            return None;
        }
        let meta = self.fresh_segment();
        self.space.allocating = true;
        Some(AllocJob::new(self.disk.clone(), self.base.identity, meta))
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
                self.segments.push(Segment {
                    meta: segment.meta,
                    first: None,
                    file: Some(segment.file),
                });
                Ok(())
            }
            Err(error) => {
                self.space.failed = true;
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
