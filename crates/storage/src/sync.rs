//! Making the log durable, on the storage thread.
//!
//! Owns what one sync has to do: the large records that were left to it, then `fdatasync` of every
//! file that was written to. Knows the log only by the position that it reports.

use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::position::Position;
use ::base::mutation::{self, Mutation};
use std::sync::Arc;

/// A part of a record that the storage thread has to write.
pub(super) struct Write<D: Disk> {
    pub file: Arc<D::File>,
    pub name: String,
    pub offset: u64,
    pub bytes: Arc<Vec<u8>>,
    pub range: std::ops::Range<usize>,
}

/// Makes a stretch of the log durable, on the storage thread.
pub struct SyncJob<D: Disk> {
    pub(super) writes: Vec<Write<D>>,
    pub(super) files: Vec<(Arc<D::File>, String)>,
    pub(super) end: Position,
}

impl<D: Disk> SyncJob<D> {
    /// Takes over what a later job has to do, so that one sync serves both.
    pub fn merge(&mut self, later: SyncJob<D>) {
        self.writes.extend(later.writes);
        for (file, name) in later.files {
            if !self.files.iter().any(|(f, _)| Arc::ptr_eq(f, &file)) {
                self.files.push((file, name));
            }
        }
        self.end = self.end.max(later.end);
    }

    /// Everything below this is durable once `run` has returned.
    pub fn end(&self) -> Position {
        self.end
    }

    /// On an error the process must end: what reached the disk is unknown (D5).
    pub fn run(self) -> Result<Position> {
        for w in &self.writes {
            w.file
                .write_at(&w.bytes[w.range.clone()], w.offset)
                .map_err(StorageError::io("write", &w.name))?;
        }
        if !mutation::is(Mutation::SkipFsync) {
            for (file, name) in &self.files {
                file.sync_data().map_err(StorageError::io("sync", name))?;
            }
        }
        Ok(self.end)
    }
}
