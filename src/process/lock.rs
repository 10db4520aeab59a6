//! One server per data folder: advisory locks that end with the process, however it ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A lock that is held as long as this lives. The file is closed on exec, so that no child keeps
/// it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{} is in use by another server", .0.display())]
    InUse(PathBuf),
    #[error("can't open or lock {}: {}", .0.display(), .1)]
    Failed(PathBuf, io::Error),
}

/// Locks a folder, which is created if it is not there, and makes sure that a crash of the machine
/// leaves it there: what is synced inside a folder is lost with the folder's own entry.
pub fn lock_dir(path: &Path) -> Result<Lock, LockError> {
    let open = || {
        create_dir_durably(path)?;
        File::open(path)
    };
    lock(path, open())
}

/// The entry of the last folder is synced even if it was there: the process that made it may have crashed.
fn create_dir_durably(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !parent.is_dir() {
        create_dir_durably(parent)?;
    }
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    File::open(parent)?.sync_all()
}

/// Locks a file, which is created empty if it is not there. A file that is replaced by renaming
/// loses its lock with its old content: lock another one beside it.
pub fn lock_file(path: &Path) -> Result<Lock, LockError> {
    lock(
        path,
        OpenOptions::new().append(true).create(true).open(path),
    )
}

fn lock(path: &Path, opened: io::Result<File>) -> Result<Lock, LockError> {
    let failed = |e| LockError::Failed(path.to_owned(), e);
    let file = opened.map_err(failed)?;
    // SAFETY: flock works on a descriptor that `file` keeps open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(Lock { file });
    }
    match io::Error::last_os_error() {
        e if e.kind() == io::ErrorKind::WouldBlock => Err(LockError::InUse(path.to_owned())),
        e => Err(failed(e)),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing unlocks too, but not if a forked child still holds the descriptor.
        // SAFETY: as above.
        unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
    }
}
