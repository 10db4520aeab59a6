//! The seam between the log and a disk: two traits, and the real disk over one folder.
//!
//! Owns every system call that the log makes. Knows nothing of records. The simulator and the
//! tests put their own disk behind the same traits.
//!
//! What the log relies on, and nothing more:
//! - bytes written and then covered by a successful [`DiskFile::sync_data`] survive any crash;
//! - bytes written and not synced may survive or not, per 512-byte sector and in any order, and a
//!   sector may be torn, even one whose other bytes were rewritten with what they were;
//! - [`Disk::create`], [`Disk::rename`] and [`Disk::remove`] survive a crash once
//!   [`Disk::sync_dir`] has returned; of those since then, the last ones may not have happened;
//! - [`Disk::rename`] replaces the target in one step.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A folder that holds one log. Cloned into jobs that run on the storage thread.
pub trait Disk: Clone + Send + Sync + 'static {
    type File: DiskFile;

    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Opens an existing file for reading alone: it may be one that others have put there.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File> {
        self.open(name)
    }
    /// Creates an empty file for reading and writing; empties one that is there.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Renames, replacing `to` if it is there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// From now on [`Disk::sync_dir`] opens no file of its own: so it can't fail for want of one (D5).
    fn hold_dir(&self) -> io::Result<()> {
        Ok(())
    }
    /// Bytes that files in the folder can still take, as far as is known: other programs write there too.
    fn free_space(&self) -> io::Result<u64>;
}

/// An open file; shared as an `Arc` so that a sync runs on another thread while the loop appends.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file if need be.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`: everything written so far, and the size, is durable when this returns.
    fn sync_data(&self) -> io::Result<()>;
    /// Lets the device begin with what has been written, so that the sync that follows has less to wait for. It
    /// promises nothing, and what fails in it fails in the sync.
    fn begin_write(&self) {}
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reserves `from..to` and writes zeros there, so that later writes in it change no metadata
    /// and can't run out of space. Only called off the loop.
    fn allocate(&self, from: u64, to: u64) -> io::Result<()>;
    /// Forgets clean cached pages, so that what is read next comes from the device. After a failed
    /// write-back the kernel keeps pages that look clean and never reached the disk.
    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The real disk: one folder.
#[derive(Clone, Debug)]
pub struct RealDisk {
    folder: Arc<PathBuf>,
    /// The folder itself, once it is held open.
    held: Arc<OnceLock<File>>,
}

impl RealDisk {
    /// The folder must exist; its creator syncs its parent.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        RealDisk {
            folder: Arc::new(folder.into()),
            held: Arc::default(),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Disk for RealDisk {
    type File = RealFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder.as_path())? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        Ok(RealFile { file })
    }

    fn open_to_read(&self, name: &str) -> io::Result<RealFile> {
        // Opening a pipe waits until another process opens it to write, and a pipe has no places to read at.
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(self.path(name))?;
        match file.metadata()?.is_file() {
            true => Ok(RealFile { file }),
            false => Err(io::Error::other("it is no regular file")),
        }
    }

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(name))?;
        Ok(RealFile { file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        match self.held.get() {
            Some(folder) => folder.sync_all(),
            None => File::open(self.folder.as_path())?.sync_all(),
        }
    }

    fn hold_dir(&self) -> io::Result<()> {
        if self.held.get().is_none() {
            // Of two threads that come here at once the second one's is closed again.
            let _ = self.held.set(File::open(self.folder.as_path())?);
        }
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        free_space(&self.folder)
    }
}

/// Bytes that are free for us on a folder's file system; more than any disk has where that does not count its blocks.
pub(super) fn free_space(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero, and the struct has room for what is written.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros are one, and the call above has succeeded.
    let stat = unsafe { stat.assume_init() };
    Ok(match stat.f_blocks {
        0 => u64::MAX,
        _ => stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// A file of [`RealDisk`].
#[derive(Debug)]
pub struct RealFile {
    file: File,
}

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn begin_write(&self) {
        let (whole, flags) = (0, libc::SYNC_FILE_RANGE_WRITE);
        // SAFETY: the descriptor is open for as long as `self.file` is; no memory is passed.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), whole, whole, flags) };
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        let range = |v: u64| libc::off_t::try_from(v).map_err(|_| io::ErrorKind::FileTooLarge);
        let (start, length) = (range(from)?, range(to.saturating_sub(from))?);
        if length == 0 {
            return Ok(());
        }
        // SAFETY: the descriptor is open for as long as `self.file` is; no memory is passed.
        if unsafe { libc::fallocate(self.file.as_raw_fd(), 0, start, length) } != 0 {
            let error = io::Error::last_os_error();
            // File systems without fallocate get the same space from the zeros below.
            if !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) {
                return Err(error);
            }
        }
        let mut at = from;
        while at < to {
            let n = (to - at).min(ZEROS.len() as u64);
            self.file.write_all_at(&ZEROS[..n as usize], at)?;
            at += n;
        }
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        // SAFETY: as above; the advice concerns the whole file and changes no content.
        match unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }
        {
            0 | libc::EINVAL | libc::ENOSYS => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}
