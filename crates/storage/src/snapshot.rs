//! The files that hold a member's state: their names, and the way to one.
//!
//! Owns the order in which such a file comes to be: written under a `.tmp` name, synced, read back by a
//! caller that knows what is in it, named, the folder synced (P2). So a file with a snapshot's name is whole, whatever
//! a crash leaves. Owns its copies elsewhere, and what comes of the job that makes one. Never knows what is
//! in it, and never decides whether it counts: only one that the base names does (P8).

use super::base::{SnapshotMeta, StateFile};
use super::courtesy;
use super::disk::{Disk, DiskFile};
use super::download::OpenState;
use super::error::{Result, StorageError};
use ::base::ids::EntryId;
use ::base::mutation::{self, Mutation};

/// Bytes of one read or write. Hazard: a kernel that is not preemptible keeps the core within a call, and the loop's priority
/// does not matter there: 1 MiB took 2 to 3 ms, and each client felt it.
pub(super) const SLICE: usize = 16 << 10;
/// So many bytes are written before the device is told to begin with them: a sync of the whole file at its
/// end would make a log's sync wait for all of it.
const AHEAD: u64 = 1 << 20;

/// 64 KiB, of which reading and checking takes a fraction of a millisecond.
const SLICES_UNTIL_REST: usize = 4;

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

/// Why there is no snapshot. Nothing else has changed, and what was written of it is gone (F23).
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// P2: what the disk gives back is not what was written.
    #[error("{file} does not read back as it was written: {what}")]
    Differs { file: String, what: String },
    /// The state from which it begins, or an entry behind that, can't be used.
    #[error("the state can't be made from base and log: {0}")]
    State(Box<dyn std::error::Error + Send + Sync>),
    /// P8: one that is whole waits to be named, and this one would free nothing.
    #[error("the base can't be replaced, so nothing can be trimmed: {0}")]
    NotNamed(String),
    #[error("it was given up")]
    GivenUp,
}

/// A snapshot that is valid (P2).
#[derive(Debug)]
pub struct MadeSnapshot {
    /// With its file, which may be gone again where it is not kept.
    pub meta: SnapshotMeta,
    pub keys: u64,
    /// Whether the base may name it.
    pub kept: bool,
    /// What came of the copy, if one was asked for.
    pub copied: Option<std::result::Result<(), SnapshotError>>,
    /// The file, if it was to be held open.
    pub opened: Option<std::result::Result<OpenState, SnapshotError>>,
}

pub type SnapshotResult = std::result::Result<Box<MadeSnapshot>, SnapshotError>;

/// Makes a snapshot or a part of one, on a thread of its own: it takes minutes, and no sync may wait for that.
/// What it does is the business of the shard, which knows what a state is. Jobs are done in their order.
pub struct SnapshotJob(Box<dyn FnOnce() -> Option<SnapshotResult> + Send>);

impl SnapshotJob {
    /// One that makes all of it.
    pub fn new(make: impl FnOnce() -> SnapshotResult + Send + 'static) -> SnapshotJob {
        SnapshotJob(Box::new(move || Some(make())))
    }

    /// One of several: of a snapshot one job, the last one or the one that fails, has the result.
    pub fn part(make: impl FnOnce() -> Option<SnapshotResult> + Send + 'static) -> SnapshotJob {
        SnapshotJob(Box::new(make))
    }

    pub fn run(self) -> Option<SnapshotResult> {
        (self.0)()
    }
}

/// A file that is being written. Blocks, so never on a loop that serves.
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    temp: String,
    file: D::File,
    /// What is not written yet.
    buffer: Vec<u8>,
    written: u64,
    /// What the device was told to begin with.
    begun: u64,
    synced: bool,
}

impl<D: Disk> SnapshotWriter<D> {
    /// The file of the state as of `at`.
    pub fn create(disk: D, at: EntryId) -> Result<SnapshotWriter<D>> {
        SnapshotWriter::create_as(disk, format!("{PREFIX}{:016x}.tmp", at.index))
    }

    fn create_as(disk: D, temp: String) -> Result<SnapshotWriter<D>> {
        let file = disk
            .create(&temp)
            .map_err(StorageError::io("create", &temp))?;
        Ok(SnapshotWriter {
            disk,
            temp,
            file,
            buffer: Vec::with_capacity(SLICE),
            written: 0,
            begun: 0,
            synced: false,
        })
    }

    /// Its name as long as it has no better one.
    pub fn temporary(&self) -> &str {
        &self.temp
    }

    /// Appends.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.synced = false;
        while !bytes.is_empty() {
            let now = bytes.len().min(SLICE - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            if self.buffer.len() == SLICE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file
            .write_at(&self.buffer, self.written)
            .map_err(StorageError::io("write", &self.temp))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written >= self.begun + AHEAD {
            self.file.begin_write();
            self.begun = self.written;
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.synced = true;
        if mutation::is(Mutation::NamedBeforeSync) {
            return Ok(());
        }
        self.file
            .sync_data()
            .map_err(StorageError::io("sync", &self.temp))
    }

    /// P2: hands over what is on the disk, past the page cache, in order and in slices. Synced before.
    pub fn read_back<E: From<StorageError>>(
        &self,
        visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        re_read(&self.file, &self.temp, visit)
    }

    /// Makes it durable and gives it its name (P2). After an error it is none.
    pub fn finish(mut self, at: EntryId, crc64: u64) -> Result<StateFile> {
        if !self.synced {
            self.sync()?;
        }
        let made = StateFile {
            bytes: self.written,
            crc64,
        };
        let name = name(at, &made);
        self.rename(&name).inspect_err(|_| {
            let _ = self.disk.remove(&name);
        })?;
        Ok(made)
    }

    /// Gives it a name; both it and the name are durable then.
    fn rename(&self, to: &str) -> Result<()> {
        self.disk
            .rename(&self.temp, to)
            .map_err(StorageError::io("rename", &self.temp))?;
        self.disk
            .sync_dir()
            .map_err(StorageError::io("sync the folder of", to))
    }
}

/// F2: a copy of a file, under any name in any folder; never a link, since a write into the copy would
/// be one into the only copy of a state. What was under the name stays until the copy is whole, which is called
/// `temp` until then. Blocks.
pub fn copy<D: Disk, E: From<StorageError>>(
    from: (&D, &str),
    to: (&D, &str),
    temp: &str,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (disk, name) = to;
    let copied = (|| {
        let mut copy = SnapshotWriter::create_as(disk.clone(), temp.to_owned())?;
        read(from.0, from.1, |slice| {
            visit(slice)?;
            copy.write(slice).map_err(E::from)
        })?;
        copy.sync()?;
        copy.rename(name).map_err(E::from)
    })();
    copied.inspect_err(|_| {
        let _ = disk.remove(temp);
    })
}

/// Removes the temporary file of a snapshot that came to nothing, and one that has its name and is not
/// wanted; what is left of them goes at the next start.
pub fn discard<D: Disk>(disk: &D, at: EntryId, made: Option<&StateFile>) {
    let _ = disk.remove(&format!("{PREFIX}{:016x}.tmp", at.index));
    if let Some(made) = made {
        let _ = disk.remove(&name(at, made));
        let _ = disk.sync_dir();
    }
}

/// Bytes of a [`SliceRead`].
pub const LOAD_SLICE: usize = 256 * 1024;

/// A read of [`LOAD_SLICE`] bytes of a state's file; fewer at its end.
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
        let (mut slice, mut filled) = (vec![0; LOAD_SLICE], 0);
        while filled < LOAD_SLICE {
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
    visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let file = disk.open_to_read(name);
    let file = file.map_err(StorageError::io("open", name))?;
    read_file(&file, name, visit)
}

/// The same of a file that has just been written: past the page cache, and with rests, since it takes long.
pub(super) fn re_read<F: DiskFile, E: From<StorageError>>(
    file: &F,
    name: &str,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    file.drop_cache()
        .map_err(StorageError::io("re-read", name))?;
    let mut slices = 0;
    read_file(file, name, |slice| {
        slices += 1;
        if slices % SLICES_UNTIL_REST == 0 {
            courtesy::rest();
        }
        visit(slice)
    })
}

fn read_file<F: DiskFile, E: From<StorageError>>(
    file: &F,
    name: &str,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
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
