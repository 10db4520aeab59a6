//! A disk in memory that crashes: for the tests of the log.
//!
//! Every call that changes something counts; at a chosen count the machine stops, with that call
//! done in part or not at all. A crash of the process keeps what was written; a crash of the
//! machine keeps what was synced and, of the rest, what chance leaves of each sector.

use crate::disk::{Disk, DiskFile};
use crate::position::SECTOR;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Default)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Written since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    files: Vec<FileState>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// The folder after each change since it was synced.
    folders: Vec<BTreeMap<String, usize>>,
    calls: u64,
    crash_at: Option<u64>,
    /// How much of a sector may be lost: also what was there before.
    shred: bool,
    full: bool,
    /// Of what is said to be free; nothing ends at it.
    capacity: Option<u64>,
    fail_sync: bool,
    /// Calls of [`DiskFile::begin_write`].
    begun: usize,
}

#[derive(Clone, Default)]
pub struct TestDisk {
    state: Arc<Mutex<State>>,
}

pub struct TestFile {
    disk: TestDisk,
    id: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// kill -9: the page cache lives.
    Process,
    /// Power: it does not.
    Machine,
}

impl TestDisk {
    /// `shred`: an interrupted write may turn the whole sector into noise.
    pub fn new(shred: bool) -> Self {
        let disk = TestDisk::default();
        disk.lock().shred = shred;
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Stops the machine at the call after `calls` more, or never.
    pub fn crash_after(&self, calls: Option<u64>) {
        let mut s = self.lock();
        s.crash_at = calls.map(|n| s.calls + n);
    }

    pub fn crashed(&self) -> bool {
        let s = self.lock();
        s.crash_at.is_some_and(|at| s.calls >= at)
    }

    /// How often a device was let begin since the last look.
    pub fn take_begun(&self) -> usize {
        std::mem::take(&mut self.lock().begun)
    }

    /// So many bytes are said to be free from now on.
    pub fn set_free(&self, bytes: u64) {
        let mut s = self.lock();
        s.capacity = Some(s.used() + bytes);
    }

    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    pub fn set_fail_sync(&self, fail: bool) {
        self.lock().fail_sync = fail;
    }

    /// The files on which something depends.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.all_names();
        names.retain(|name| *name != crate::reserve::FILE);
        names
    }

    fn all_names(&self) -> Vec<String> {
        self.lock().live.keys().cloned().collect()
    }

    /// Changes bytes for good, as a bad sector would.
    pub fn damage(&self, name: &str, offset: usize, change: impl Fn(u8) -> u8) {
        let mut s = self.lock();
        let id = s.live[name];
        let f = &mut s.files[id];
        f.live[offset] = change(f.live[offset]);
        f.durable = f.live.clone();
        f.pending.clear();
    }

    pub fn len_of(&self, name: &str) -> usize {
        let s = self.lock();
        s.files[s.live[name]].live.len()
    }

    /// What a restart finds.
    pub fn restart(&self, crash: Crash, rng: &mut StdRng) {
        let mut s = self.lock();
        s.crash_at = None;
        if crash == Crash::Process {
            return;
        }
        let kept = rng.gen_range(0..=s.folders.len());
        if kept > 0 {
            s.durable = s.folders[kept - 1].clone();
        }
        s.folders.clear();
        s.live = s.durable.clone();
        let shred = s.shred;
        for file in &mut s.files {
            file.lose(shred, rng);
        }
    }
}

impl State {
    /// Bytes of all files that have a name.
    fn used(&self) -> u64 {
        let bytes = self.live.values().map(|id| self.files[*id].live.len());
        bytes.sum::<usize>() as u64
    }

    /// Counts a call that changes something; an error from the crash on. The call at the crash
    /// itself is `Ok(true)`: it may be done in part.
    fn change(&mut self) -> io::Result<bool> {
        self.calls += 1;
        match self.crash_at {
            Some(at) if self.calls > at => Err(io::Error::other("crashed")),
            Some(at) => Ok(self.calls == at),
            None => Ok(false),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.live
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn note_folder(&mut self) {
        self.folders.push(self.live.clone());
    }
}

fn write_into(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl FileState {
    fn write_back(&mut self) {
        for (offset, data) in std::mem::take(&mut self.pending) {
            write_into(&mut self.durable, offset, &data);
        }
    }

    /// Of every sector with unsynced writes one of its states is left, or two of them torn.
    fn lose(&mut self, shred: bool, rng: &mut StdRng) {
        let sector = SECTOR as usize;
        let mut touched: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, (offset, data)) in self.pending.iter().enumerate() {
            for n in offset / sector..(offset + data.len()).div_ceil(sector) {
                touched.entry(n).or_default().push(i);
            }
        }
        let mut result = self.durable.clone();
        // The size is metadata; here it always arrives.
        result.resize(self.live.len(), 0);
        for (n, writes) in touched {
            let span = n * sector..((n + 1) * sector).min(result.len());
            let state = |upto: usize| {
                let mut bytes = self.durable.clone();
                for i in &writes[..upto] {
                    let (offset, data) = &self.pending[*i];
                    write_into(&mut bytes, *offset, data);
                }
                bytes.resize(self.live.len().max(bytes.len()), 0);
                bytes[span.clone()].to_vec()
            };
            let mut bytes = state(rng.gen_range(0..=writes.len()));
            match rng.gen_range(0..10) {
                0 | 1 => {
                    let other = state(rng.gen_range(0..=writes.len()));
                    let at = rng.gen_range(0..=bytes.len());
                    bytes[at..].copy_from_slice(&other[at..]);
                }
                2 if shred => rng.fill(&mut bytes[..]),
                _ => {}
            }
            result[span].copy_from_slice(&bytes);
        }
        self.live = result.clone();
        self.durable = result;
        self.pending.clear();
    }
}

impl Disk for TestDisk {
    type File = TestFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.all_names())
    }

    fn open(&self, name: &str) -> io::Result<TestFile> {
        let id = self.lock().find(name)?;
        Ok(TestFile {
            disk: self.clone(),
            id,
        })
    }

    fn create(&self, name: &str) -> io::Result<TestFile> {
        let mut s = self.lock();
        s.change()?;
        let id = s.files.len();
        s.files.push(FileState::default());
        s.live.insert(name.into(), id);
        s.note_folder();
        Ok(TestFile {
            disk: self.clone(),
            id,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut s = self.lock();
        s.change()?;
        let id = s.find(from)?;
        s.live.remove(from);
        s.live.insert(to.into(), id);
        s.note_folder();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut s = self.lock();
        s.change()?;
        s.find(name)?;
        s.live.remove(name);
        s.note_folder();
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut s = self.lock();
        if !s.change()? {
            s.durable = s.live.clone();
            s.folders.clear();
        }
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        let s = self.lock();
        Ok(s.capacity.unwrap_or(u64::MAX).saturating_sub(s.used()))
    }
}

impl DiskFile for TestFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let s = self.disk.lock();
        let live = &s.files[self.id].live;
        let from = live.len().min(offset as usize);
        let n = buf.len().min(live.len() - from);
        buf[..n].copy_from_slice(&live[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut s = self.disk.lock();
        let grows = s.files[self.id].live.len() < offset as usize + bytes.len();
        if s.full && grows {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // The write at the crash is cut at a place that the count makes arbitrary.
        let bytes = match s.change()? {
            true => &bytes[..bytes.len() * (s.calls as usize % 7) / 7],
            false => bytes,
        };
        let file = &mut s.files[self.id];
        write_into(&mut file.live, offset as usize, bytes);
        file.pending.push((offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut s = self.disk.lock();
        let crashing = s.change()?;
        if s.fail_sync {
            // As a kernel does: the pages look clean from now on, and what is in them is lost.
            s.files[self.id].pending.clear();
            return Err(io::Error::other("the device is gone"));
        }
        if !crashing {
            s.files[self.id].write_back();
        }
        Ok(())
    }

    fn begin_write(&self) {
        self.disk.lock().begun += 1;
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut s = self.disk.lock();
        let file = &mut s.files[self.id];
        file.live = file.durable.clone();
        for (offset, data) in &file.pending {
            write_into(&mut file.live, *offset, data);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.id].live.len() as u64)
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        if self.disk.lock().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.write_at(&vec![0; (to - from) as usize], from)
    }
}

#[test]
fn the_test_disk_loses_what_was_not_synced() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut lost = 0;
    for _ in 0..50 {
        let disk = TestDisk::new(false);
        let file = disk.create("a").unwrap();
        file.write_at(b"old", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(b"new", 0).unwrap();
        disk.restart(Crash::Machine, &mut rng);
        let mut buf = [0; 3];
        disk.open("a").unwrap().read_at(&mut buf, 0).unwrap();
        lost += u32::from(&buf == b"old");
    }
    assert!(lost > 10 && lost < 45, "{lost}");
}
