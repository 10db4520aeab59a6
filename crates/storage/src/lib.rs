//! The Raft log on disk: segments, records, recovery, and the thread that syncs them.
//!
//! Owns the folder that holds one group's log. Knows entries and hard states, never what is in
//! them; runs no election, applies nothing, takes no lock (the opener of the folder holds one).
//!
//! Reading order: [`disk`] the seam, `folders` the folders of members, [`base`] with what a member begins, [`record`] the bytes of a Ready,
//! [`segment`] the files, [`log`] appending, `space` room to append to, [`sync`] making it durable,
//! `recover` opening, [`read`] getting entries back, [`snapshot`] the files of states, [`transfer`] how they travel, [`download`] to clients, [`trim`] the log's end, [`install`] another member's state, [`thread`] the storage thread;
//! beside them, for the operator's tool, [`trial`] a disk on which nothing happens, [`survey`] what is in a folder, [`mend`] what may be cut. `docs/DATA_FORMATS.md` has the bytes.

pub mod base;
mod courtesy;
pub mod disk;
pub mod download;
mod encode;
pub mod error;
mod folders;
mod index;
pub mod install;
pub mod log;
pub mod mend;
pub mod position;
pub mod read;
pub mod record;
mod recover;
pub mod reserve;
mod scan;
pub mod segment;
pub mod snapshot;
mod space;
pub mod survey;
pub mod sync;
pub mod thread;
pub mod transfer;
pub mod trial;
pub mod trim;

pub use base::{Base, LogStart, MemberIdentity, SnapshotMeta, StateFile};
pub use disk::{Disk, DiskFile, RealDisk, RealFile};
pub use download::{DownloadDone, DownloadJob, OpenState};
pub use error::{is_full, StorageError};
pub use folders::{Folders, RealFolders};
pub use install::{InstallJob, Installed};
pub use log::{Log, LogConfig, LogRecord, Recovered};
pub use position::Position;
pub use read::{ReadDone, ReadJob};
pub use segment::{AllocJob, Allocated};
pub use snapshot::{MadeSnapshot, SnapshotError, SnapshotJob, SnapshotResult};
pub use sync::SyncJob;
pub use thread::{Done, Job, StorageThread};
pub use transfer::{
    FileCheck, PieceRead, TransferDone, TransferFile, TransferJob, TransferWork, Transferred,
};
pub use trim::{Needed, NotRemoved, SwitchJob, Switched, TrimJob};

#[cfg(test)]
mod tests;
