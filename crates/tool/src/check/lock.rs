//! A folder that a server holds is not looked at: it changes meanwhile.
//!
//! Owns the lock, which is the server's own (`flock` on the folder). It ends with the process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// The lock of one folder.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

/// Nothing if a server has it. Checks may run beside each other, unless one of them is to change something.
pub fn lock(folder: &Path, alone: bool) -> io::Result<Option<Lock>> {
    let file = File::open(folder)?;
    let kind = if alone { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: flock works on a descriptor that `file` keeps open.
    if unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) } == 0 {
        return Ok(Some(Lock { _folder: file }));
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        error => Err(error),
    }
}
