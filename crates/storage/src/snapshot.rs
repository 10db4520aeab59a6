//! The files that hold a member's state: their names, and the way to one.
//!
//! Owns the order in which such a file comes to be: written under a `.tmp` name, synced, named, the
//! folder synced (P2). So a file with a snapshot's name is whole, whatever a crash leaves. Never knows
//! what is in it, and never decides whether it counts: only one that the base names does (P8).

use super::base::{SnapshotMeta, StateFile};
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use ::base::ids::EntryId;
use ::base::mutation::{self, Mutation};

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".rdb";

/// The name of the state's file as of `at`. The checksum is part of it: a second file of one index
/// has other bytes, and must not take the place of the one that the base names.
pub fn name(at: EntryId, file: &StateFile) -> String {
    let EntryId { index, term } = at;
    format!(
        "{PREFIX}{index:016x}-{term:016x}-{:016x}{SUFFIX}",
        file.crc64
    )
}

/// Whether a file of this name is one.
pub fn is_snapshot(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

impl SnapshotMeta {
    /// The name of the file that holds the state, if one does.
    pub fn file_name(&self) -> Option<String> {
        self.file.as_ref().map(|file| name(self.entry(), file))
    }
}

/// A file that is being written. Blocks, so never on a loop that serves.
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    temp: String,
    file: D::File,
    written: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// The file of the state as of `at`.
    pub fn create(disk: D, at: EntryId) -> Result<SnapshotWriter<D>> {
        let temp = format!("{PREFIX}{:016x}.tmp", at.index);
        let file = disk
            .create(&temp)
            .map_err(StorageError::io("create", &temp))?;
        Ok(SnapshotWriter {
            disk,
            temp,
            file,
            written: 0,
        })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_at(bytes, self.written)
            .map_err(StorageError::io("write", &self.temp))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Makes it durable and gives it its name (P2). After an error it is none, and goes at the next start.
    pub fn finish(self, at: EntryId, crc64: u64) -> Result<StateFile> {
        let made = StateFile {
            bytes: self.written,
            crc64,
        };
        if !mutation::is(Mutation::NamedBeforeSync) {
            self.file
                .sync_data()
                .map_err(StorageError::io("sync", &self.temp))?;
        }
        self.disk
            .rename(&self.temp, &name(at, &made))
            .map_err(StorageError::io("rename", &self.temp))?;
        self.disk
            .sync_dir()
            .map_err(StorageError::io("sync the folder of", &self.temp))?;
        Ok(made)
    }
}

/// Bytes of one read of a file.
pub const SLICE: usize = 256 * 1024;

/// A read of [`SLICE`] bytes of a state's file; fewer at its end.
pub struct SliceRead<D: Disk> {
    disk: D,
    name: String,
    offset: u64,
}

impl<D: Disk> SliceRead<D> {
    pub fn new(disk: D, name: String, offset: u64) -> SliceRead<D> {
        SliceRead { disk, name, offset }
    }

    /// Blocks.
    pub fn run(self) -> Result<Vec<u8>> {
        let name = &self.name;
        let file = self.disk.open(name);
        let file = file.map_err(StorageError::io("open", name))?;
        let (mut slice, mut filled) = (vec![0; SLICE], 0);
        while filled < SLICE {
            let n = file
                .read_at(&mut slice[filled..], self.offset + filled as u64)
                .map_err(StorageError::io("read", name))?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        slice.truncate(filled);
        Ok(slice)
    }
}

/// Hands over the bytes of a file, in order and in slices. Blocks.
pub fn read<D: Disk, E: From<StorageError>>(
    disk: &D,
    name: &str,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let file = disk.open(name).map_err(StorageError::io("open", name))?;
    let (mut slice, mut at) = (vec![0; SLICE], 0);
    loop {
        let n = file
            .read_at(&mut slice, at)
            .map_err(StorageError::io("read", name))?;
        if n == 0 {
            return Ok(());
        }
        visit(&slice[..n])?;
        at += n as u64;
    }
}
