//! Files of states on their way between members: what the disk does for that (P16).
//!
//! Owns the part file of a member that pulls (`<name>.part`, which a start removes), how it becomes a
//! snapshot's file, and the reading of pieces on the other side. All of it blocks, and runs on a thread of its
//! own: neither a sync of the log nor a heartbeat waits for it (F11). Never decides what is pulled, and never
//! knows what is in a file ([`FileCheck`] does). Invariant: a file gets a snapshot's name only when it is on
//! disk, as long as was said, and has been read back and checked (P2).
//!
//! An error changes nothing else: the part may be written to again, or is abandoned.

use super::base::StateFile;
use super::disk::{Disk, DiskFile};
use super::error::StorageError;
use super::snapshot::{self, SnapshotError};
use ::base::ids::EntryId;
use ::base::mutation::{self, Mutation};
use std::fmt;
use std::io;

/// Bytes of a piece; fewer only at the end of the file.
pub const PIECE: u64 = 256 * 1024;
/// So much of a part is written before it is synced: one sync of the whole file at its end would take the
/// device for seconds.
const SYNC_EVERY: u64 = 32 << 20;

pub(super) const PART_SUFFIX: &str = ".part";

/// Which state's file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferFile {
    pub at: EntryId,
    pub file: StateFile,
}

impl TransferFile {
    fn name(&self) -> String {
        snapshot::name(self.at, &self.file)
    }

    fn part(&self) -> String {
        self.name() + PART_SUFFIX
    }

    /// Bytes of the piece at this offset; none where no piece begins.
    pub fn piece_at(&self, offset: u64) -> Option<u64> {
        let begins = offset % PIECE == 0 && offset < self.file.bytes;
        begins.then(|| (self.file.bytes - offset).min(PIECE))
    }
}

/// Reads a file that has come, from its beginning to its end, and says whether it is what was offered.
pub trait FileCheck: Send {
    fn feed(&mut self, slice: &[u8]) -> Result<(), SnapshotError>;
    fn end(self: Box<Self>) -> Result<(), SnapshotError>;
}

/// What is to be done for a transfer.
pub enum TransferWork {
    /// Puts a piece where it belongs in the part.
    Write { offset: u64, bytes: Vec<u8> },
    /// Makes the part a snapshot's file, if it is one.
    Finish { check: Box<dyn FileCheck> },
    /// Removes the part.
    Abandon,
    /// Reads the piece at this offset of a snapshot's file.
    Read { offset: u64 },
}

impl fmt::Debug for TransferWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferWork::Write { offset, bytes } => {
                write!(f, "Write({offset}, {} bytes)", bytes.len())
            }
            TransferWork::Finish { .. } => f.write_str("Finish"),
            TransferWork::Abandon => f.write_str("Abandon"),
            TransferWork::Read { offset } => write!(f, "Read({offset})"),
        }
    }
}

/// A piece as the disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceRead {
    pub bytes: Vec<u8>,
    pub crc32c: u32,
}

/// What was done.
#[derive(Debug)]
pub enum Transferred {
    Written,
    /// It has a snapshot's name; both are durable.
    Finished,
    Abandoned,
    Read(PieceRead),
}

/// One work of a transfer, for the disk of a member's folder.
pub struct TransferJob<D: Disk> {
    pub disk: D,
    /// Comes back with what came of it.
    pub ticket: u64,
    pub of: TransferFile,
    pub work: TransferWork,
}

#[derive(Debug)]
pub struct TransferDone {
    pub ticket: u64,
    pub result: Result<Transferred, SnapshotError>,
}

impl SnapshotError {
    /// Whether room was missing, or a file could not be opened now (D5): it may be tried again.
    pub fn is_full(&self) -> bool {
        matches!(self, SnapshotError::Disk(error) if error.is_full())
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, SnapshotError::Disk(StorageError::Io { source, .. })
            if source.kind() == io::ErrorKind::NotFound)
    }
}

impl<D: Disk> TransferJob<D> {
    /// Blocks.
    pub fn run(self) -> TransferDone {
        let TransferJob {
            disk,
            ticket,
            of,
            work,
        } = self;
        let result = match work {
            TransferWork::Write { offset, bytes } => write(&disk, &of, offset, &bytes),
            TransferWork::Finish { check } => finish(&disk, &of, check),
            TransferWork::Abandon => abandon(&disk, &of),
            TransferWork::Read { offset } => read(&disk, &of, offset).map(Transferred::Read),
        };
        TransferDone { ticket, result }
    }
}

fn write<D: Disk>(
    disk: &D,
    of: &TransferFile,
    offset: u64,
    bytes: &[u8],
) -> Result<Transferred, SnapshotError> {
    let part = of.part();
    let end = offset + bytes.len() as u64;
    assert!(end <= of.file.bytes, "a piece lies within its file");
    let file = match disk.open(&part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&part),
        opened => opened,
    };
    let file = file.map_err(StorageError::io("open", &part))?;
    file.write_at(bytes, offset)
        .map_err(StorageError::io("write", &part))?;
    if end / SYNC_EVERY > offset / SYNC_EVERY {
        file.sync_data().map_err(StorageError::io("sync", &part))?;
    } else {
        // Otherwise that sync finds all of it to be written, and the log's syncs wait behind it: for 14 ms on a fast device.
        file.begin_write();
    }
    Ok(Transferred::Written)
}

fn finish<D: Disk>(
    disk: &D,
    of: &TransferFile,
    check: Box<dyn FileCheck>,
) -> Result<Transferred, SnapshotError> {
    let (part, name) = (of.part(), of.name());
    let file = disk.open(&part).map_err(StorageError::io("open", &part))?;
    file.sync_data().map_err(StorageError::io("sync", &part))?;
    if !mutation::is(Mutation::NamedUnchecked) {
        examine(&file, of, check)?;
    }
    let named = disk
        .rename(&part, &name)
        .map_err(StorageError::io("rename", &part))
        .and_then(|()| {
            disk.sync_dir()
                .map_err(StorageError::io("sync the folder of", &name))
        });
    named.inspect_err(|_| {
        let _ = disk.remove(&name);
    })?;
    Ok(Transferred::Finished)
}

/// P2: what the device gives back, past the page cache, is what was offered.
fn examine<F: DiskFile>(
    file: &F,
    of: &TransferFile,
    mut check: Box<dyn FileCheck>,
) -> Result<(), SnapshotError> {
    let part = of.part();
    let length = file.len().map_err(StorageError::io("read", &part))?;
    if length != of.file.bytes {
        return Err(SnapshotError::Differs {
            what: format!("{length} bytes where {} were offered", of.file.bytes),
            file: part,
        });
    }
    snapshot::re_read(file, &part, |slice| check.feed(slice))?;
    check.end()
}

fn abandon<D: Disk>(disk: &D, of: &TransferFile) -> Result<Transferred, SnapshotError> {
    let part = of.part();
    match disk.remove(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", &part)(error).into())
        }
        _ => Ok(Transferred::Abandoned),
    }
}

fn read<D: Disk>(disk: &D, of: &TransferFile, offset: u64) -> Result<PieceRead, SnapshotError> {
    let name = of.name();
    let wanted = of.piece_at(offset).expect("a piece begins there");
    let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
    let length = usize::try_from(wanted).expect("a piece is small");
    let (mut bytes, mut filled) = (vec![0; length], 0);
    while filled < length {
        let end = length.min(filled + snapshot::SLICE);
        let n = file
            .read_at(&mut bytes[filled..end], offset + filled as u64)
            .map_err(StorageError::io("read", &name))?;
        if n == 0 {
            return Err(SnapshotError::Differs {
                file: name,
                what: format!("it ends before {} bytes", of.file.bytes),
            });
        }
        filled += n;
    }
    let crc32c = crc32c::crc32c(&bytes);
    Ok(PieceRead { bytes, crc32c })
}
