//! Files of states on their way to clients that have said SYNC: held open, and read in pieces.
//!
//! Owns the open file and the reading of one piece, which blocks and runs on the thread of the files that
//! travel: a sync of the log never waits for it (F11). Never knows a client. Invariant: what was opened can be read
//! to its end though its name goes meanwhile, as it does where a base moves on or names none.

use super::base::SnapshotMeta;
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::snapshot::SnapshotError;
use std::fmt;
use std::sync::Arc;

/// Bytes of a piece; fewer only at the end of the file.
pub const DOWNLOAD_PIECE: u64 = 256 * 1024;

/// A state's file that is held open.
#[derive(Clone)]
pub struct OpenState {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    bytes: u64,
}

impl fmt::Debug for OpenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes)
    }
}

impl OpenState {
    /// Opens the file of this snapshot, which must have one. Blocks.
    pub fn open<D: Disk>(disk: &D, snapshot: &SnapshotMeta) -> Result<OpenState> {
        let named = snapshot.file.as_ref().zip(snapshot.file_name());
        let (of, name) = named.expect("a snapshot that was made has a file");
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        Ok(OpenState {
            file: Arc::new(file),
            name: name.into(),
            bytes: of.bytes,
        })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Reads the piece at an offset.
#[derive(Debug)]
pub struct DownloadJob {
    /// Comes back with the piece.
    pub ticket: u64,
    pub of: OpenState,
    pub offset: u64,
}

/// A piece, which is empty only behind the end.
#[derive(Debug)]
pub struct DownloadDone {
    pub ticket: u64,
    pub piece: std::result::Result<Vec<u8>, SnapshotError>,
}

impl DownloadJob {
    /// Blocks.
    pub fn run(self) -> DownloadDone {
        DownloadDone {
            ticket: self.ticket,
            piece: self.read(),
        }
    }

    fn read(&self) -> std::result::Result<Vec<u8>, SnapshotError> {
        let OpenState { file, name, bytes } = &self.of;
        let left = bytes.saturating_sub(self.offset);
        let length = usize::try_from(left.min(DOWNLOAD_PIECE)).expect("a piece is small");
        let (mut piece, mut filled) = (vec![0; length], 0);
        while filled < length {
            let n = file
                .read_at(&mut piece[filled..], self.offset + filled as u64)
                .map_err(StorageError::io("read", name))?;
            if n == 0 {
                return Err(SnapshotError::Differs {
                    file: name.to_string(),
                    what: format!("it ends before {bytes} bytes"),
                });
            }
            filled += n;
        }
        Ok(piece)
    }
}
