//! What can go wrong between the log and the disk, as one type.
//!
//! Bytes on disk never panic: whatever they are, they end here with the file and the offset.

use std::io;

/// Why a log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{action} {file}: {source}")]
    Io {
        action: &'static str,
        file: String,
        source: io::Error,
    },

    /// D3: a record that was known durable is not readable any more.
    #[error("{file} is damaged at offset {offset}: {what}; the log was known durable up to position {durable}, this is position {position}")]
    Damaged {
        file: String,
        offset: u64,
        position: u64,
        durable: u64,
        what: &'static str,
    },

    /// The file has a form that no crash leaves behind.
    #[error("{file}: {what}")]
    BadFile { file: String, what: &'static str },

    /// Another build's file.
    #[error(
        "{file} has format version {found}, and this build reads version {known}. Nothing has been \
         changed here: start the build that wrote it, or give this node an empty folder"
    )]
    Version {
        file: String,
        found: u32,
        known: u32,
    },

    /// A file of this version that uses a part of it which is not built yet.
    #[error("{file} has {what}, which this build does not read")]
    Unread { file: String, what: &'static str },

    /// Records are readable, but no sequence of Readies produces what they say.
    #[error("{file} at offset {offset}: {what}")]
    Inconsistent {
        file: String,
        offset: u64,
        what: String,
    },

    /// There is no base: no group was founded or joined in this folder.
    #[error("no group in this folder: the file {0} is missing")]
    NoBase(String),

    /// S4: the log is there, the base is not.
    #[error(
        "the file base is missing, but {0} beside it holds records. Nothing has been changed here: put \
         base back from a copy, or give this node an empty folder"
    )]
    BaseLost(String),

    /// P8: the base names a state, and its file is not there.
    #[error(
        "base names {0}, which is missing. Nothing has been changed here: put that file back from a \
         copy, or give this node an empty folder"
    )]
    StateLost(String),

    /// There already is a group where one should be founded.
    #[error("a group is already in this folder: {0} exists")]
    Exists(String),

    /// The base is there, the log is not.
    #[error("the group's log is missing: no segment beside {0}")]
    NoLog(String),

    /// D5: the caller appended without having asked for room.
    #[error("no allocated log space for {needed} bytes ({room} left)")]
    NoRoom { needed: u64, room: u64 },

    /// D5: what is free is kept for the snapshot that will give log back.
    #[error(
        "{free} bytes are free on the disk, and {kept} of them are kept for the next snapshot, which lets the log be \
         trimmed"
    )]
    Kept { free: u64, kept: u64 },

    /// Entries that were asked for are not in the log (dropped, or not there yet).
    #[error("entries {from}..={to} are not in the log ({first}..={last})")]
    OutOfRange {
        from: u64,
        to: u64,
        first: u64,
        last: u64,
    },
}

impl StorageError {
    pub fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> StorageError {
        let file = file.to_owned();
        move |source| StorageError::Io {
            action,
            file,
            source,
        }
    }

    /// Whether room was missing ([`is_full`]): resumes when there is some (D5).
    pub fn is_full(&self) -> bool {
        match self {
            StorageError::Io { source, .. } => is_full(source),
            StorageError::Kept { .. } => true,
            _ => false,
        }
    }

    /// Whether no file could be opened, since this process, or the machine, had as many as it may.
    pub fn lacks_files(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if lacks_files(source))
    }
}

fn lacks_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether there was no room: the disk or the quota was full, a limit of the file size was reached, or
/// this process, or the machine, had as many open files as it may. All pass without a restart.
pub fn is_full(error: &io::Error) -> bool {
    let no_space = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    no_space || lacks_files(error)
}

pub type Result<T, E = StorageError> = std::result::Result<T, E>;
