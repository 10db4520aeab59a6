//! A folder on which everything can be tried, and nothing happens.
//!
//! Owns the changes that were asked for: they are kept in memory, over files that are opened for reading
//! only. Never writes, removes, renames or creates anything in the folder. So the code that recovers a log
//! can be run to see what it would do, with files that may not be written to as well.
//!
//! Invariant: what is read is what would stand there, had the changes been made.

use super::disk::{free_space, Disk, DiskFile};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Hears how many bytes were read.
type Heard = dyn Fn(u64) + Send + Sync;

/// The folder, with what was changed in memory.
#[derive(Clone)]
pub struct TrialDisk {
    folder: Arc<PathBuf>,
    /// By name; none: it was removed. Names that are not here are as in the folder.
    names: Arc<Mutex<BTreeMap<String, Option<Named>>>>,
    heard: Arc<Heard>,
}

#[derive(Clone)]
struct Named {
    /// The name in the folder, if it has one.
    origin: Option<String>,
    over: Arc<Mutex<Over>>,
}

/// What was written over a file.
#[derive(Default)]
struct Over {
    /// If it is longer than the file.
    len: u64,
    /// Oldest first.
    patches: Vec<(u64, Patch)>,
}

enum Patch {
    Zeros(u64),
    Bytes(Vec<u8>),
}

/// A file of [`TrialDisk`].
pub struct TrialFile {
    origin: Option<File>,
    over: Arc<Mutex<Over>>,
    heard: Arc<Heard>,
}

impl TrialDisk {
    /// `heard` hears of every read how many bytes it has brought.
    pub fn new(folder: &Path, heard: impl Fn(u64) + Send + Sync + 'static) -> TrialDisk {
        TrialDisk {
            folder: Arc::new(folder.to_owned()),
            names: Arc::default(),
            heard: Arc::new(heard),
        }
    }

    /// Forgets all changes.
    pub fn forget(&self) {
        self.names().clear();
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Option<Named>>> {
        self.names.lock().expect("nothing panics while it is held")
    }

    /// What the name stands for now.
    fn find(&self, name: &str) -> io::Result<Named> {
        let named = match self.names().get(name) {
            Some(changed) => changed.clone(),
            None => self.folder.join(name).exists().then(|| Named {
                origin: Some(name.to_owned()),
                over: Arc::default(),
            }),
        };
        named.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, named: Named) -> io::Result<TrialFile> {
        let open = |name: String| File::open(self.folder.join(name));
        Ok(TrialFile {
            origin: named.origin.map(open).transpose()?,
            over: named.over,
            heard: self.heard.clone(),
        })
    }
}

impl Disk for TrialDisk {
    type File = TrialFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let changed = self.names();
        for entry in std::fs::read_dir(self.folder.as_path())? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                if !changed.contains_key(&name) {
                    found.push(name);
                }
            }
        }
        let there = changed.iter().filter(|(_, named)| named.is_some());
        found.extend(there.map(|(name, _)| name.clone()));
        Ok(found)
    }

    fn open(&self, name: &str) -> io::Result<TrialFile> {
        let named = self.find(name)?;
        let file = self.file(named.clone())?;
        self.names().insert(name.to_owned(), Some(named));
        Ok(file)
    }

    fn create(&self, name: &str) -> io::Result<TrialFile> {
        let named = Named {
            origin: None,
            over: Arc::default(),
        };
        self.names().insert(name.to_owned(), Some(named.clone()));
        self.file(named)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let named = self.find(from)?;
        let mut names = self.names();
        names.insert(from.to_owned(), None);
        names.insert(to.to_owned(), Some(named));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.names().insert(name.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        free_space(&self.folder)
    }
}

impl TrialFile {
    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().expect("nothing panics while it is held")
    }

    fn put(&self, offset: u64, patch: Patch) {
        let mut over = self.over();
        over.len = over.len.max(offset + patch.len());
        over.patches.push((offset, patch));
    }
}

impl Patch {
    fn len(&self) -> u64 {
        match self {
            Patch::Zeros(len) => *len,
            Patch::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Puts what both have into `buf`, which begins at `at`; the patch begins at `offset`.
    fn lay_over(&self, offset: u64, buf: &mut [u8], at: u64) {
        let from = offset.max(at);
        let to = (offset + self.len()).min(at + buf.len() as u64);
        if from >= to {
            return;
        }
        let target = &mut buf[(from - at) as usize..(to - at) as usize];
        match self {
            Patch::Zeros(_) => target.fill(0),
            Patch::Bytes(bytes) => {
                let (from, to) = ((from - offset) as usize, (to - offset) as usize);
                target.copy_from_slice(&bytes[from..to]);
            }
        }
    }
}

impl DiskFile for TrialFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.len()?.saturating_sub(offset).min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        let mut done = 0;
        while let (Some(file), true) = (&self.origin, done < len) {
            match file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        buf[done..].fill(0);
        for (at, patch) in &self.over().patches {
            patch.lay_over(*at, buf, offset);
        }
        (self.heard)(len as u64);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let patch = match bytes.iter().all(|byte| *byte == 0) {
            true => Patch::Zeros(bytes.len() as u64),
            false => Patch::Bytes(bytes.to_vec()),
        };
        self.put(offset, patch);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let origin = self
            .origin
            .as_ref()
            .map_or(Ok(0), |file| file.metadata().map(|about| about.len()))?;
        Ok(origin.max(self.over().len))
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        self.put(from, Patch::Zeros(to.saturating_sub(from)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn changes_are_seen_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"0123456789").unwrap();
        fs::write(folder.path().join("b"), b"b").unwrap();
        let disk = TrialDisk::new(folder.path(), |_| {});
        let file = disk.open("a").unwrap();
        file.write_at(b"xy", 3).unwrap();
        file.write_at(&[0; 2], 4).unwrap();
        file.allocate(12, 14).unwrap();
        disk.rename("a", "c").unwrap();
        disk.remove("b").unwrap();
        disk.create("d").unwrap().write_at(b"new", 2).unwrap();
        let mut names = disk.list().unwrap();
        names.sort();
        assert_eq!(names, ["c", "d"]);
        let read = |name: &str, at| {
            let mut buf = [9; 20];
            let n = disk.open(name).unwrap().read_at(&mut buf, at).unwrap();
            buf[..n].to_vec()
        };
        assert_eq!(read("c", 0), b"012x\0\x006789\0\0\0\0");
        assert_eq!(read("c", 4), b"\0\x006789\0\0\0\0");
        assert_eq!(read("d", 0), b"\0\0new");
        assert!(disk.open("a").is_err() && disk.remove("b").is_err());
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"0123456789");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        disk.forget();
        assert_eq!(read("a", 8), b"89");
    }
}
