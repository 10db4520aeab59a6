//! The folder of a node, and the folders of members in it.
//!
//! Owns making and removing them durably. Never knows which member a folder is of, nor whether it
//! may go: the callers decide.

use super::disk::{Disk, RealDisk};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// A folder with folders in it.
pub trait Folders: Clone + Send + 'static {
    type D: Disk;
    /// The files that lie in the folder itself.
    fn own(&self) -> Self::D;
    /// The names of all folders.
    fn folders(&self) -> io::Result<Vec<String>>;
    /// A folder that is there, or a new one; durable when this returns.
    fn folder(&self, name: &str) -> io::Result<Self::D>;
    /// Gives a folder another name; durable when this returns.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a folder with all that is in it, its base first: without that a folder is nobody's,
    /// whatever a crash leaves of the rest. Durable when this returns; nothing is done where there
    /// is no such folder. Two threads may remove the same one.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Where a folder is, for a line in the log.
    fn place(&self, name: &str) -> String;
}

/// Folders in a folder of the real disk.
#[derive(Clone, Debug)]
pub struct RealFolders {
    root: RealDisk,
}

impl RealFolders {
    pub fn new(root: &Path) -> RealFolders {
        RealFolders {
            root: RealDisk::new(root),
        }
    }

    fn root(&self) -> &Path {
        self.root.folder()
    }
}

impl Folders for RealFolders {
    type D = RealDisk;

    fn own(&self) -> RealDisk {
        self.root.clone()
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                // A name that is not UTF-8 is none of ours.
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn folder(&self, name: &str) -> io::Result<RealDisk> {
        let path = self.root().join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        self.root.sync_dir()?;
        Ok(RealDisk::new(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.root.rename(from, to)?;
        self.root.sync_dir()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.root().join(name);
        match fs::remove_file(path.join(super::base::FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        loop {
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                folder => folder?.sync_all()?,
            }
            match fs::remove_dir_all(&path) {
                // The storage thread removes the same folder: it has been faster with a part of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        self.root.sync_dir()
    }

    fn place(&self, name: &str) -> String {
        self.root().join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk;

    /// After a reset the loop removes the folder that the storage thread is removing.
    #[test]
    fn two_threads_remove_one_folder() {
        let temp = tempfile::tempdir().unwrap();
        let folders = RealFolders::new(temp.path());
        for _ in 0..50 {
            let folder = folders.folder("shard-1").unwrap();
            for n in 0..20 {
                folder.create(&format!("{n}")).unwrap();
            }
            let other = folders.clone();
            let there = std::thread::spawn(move || other.remove("shard-1"));
            folders.remove("shard-1").unwrap();
            there.join().unwrap().unwrap();
            assert_eq!(folders.folders().unwrap(), Vec::<String>::new());
        }
    }
}
