//! A simulated disk behind the log's [`Disk`] trait: what is written is in the page cache, what is
//! synced is on the platter, and a crash shows the difference.
//!
//! Owns: files (cached and durable image, writes in between), the folder (likewise), the faults:
//! a crash at any byte of any write, unsynced writes lost or reordered per sector, torn sectors, a
//! sync that fails, a full disk. Never does: decide when a fault happens (the world does) or know
//! what the bytes mean.
//!
//! Invariants: a durable image changes only through a sync that completes or through what a power
//! loss happens to keep; a handle of an earlier boot changes nothing.

mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use storage::{Disk, DiskFile};

use crate::rng::Rng;
pub use files::Loss;
use files::{DirOp, Inode};

/// What unwinds out of a process that the fuse killed. Never a bug by itself.
pub struct Crash;

/// Cost of an operation that writes no bytes, as the fuse counts.
const OP_COST: u64 = 24;

/// A sync whose end is still to come.
#[derive(Debug)]
pub struct Ticket {
    boot: u64,
    covers: Vec<Covered>,
}

/// A file or a folder, and the last write to it that a sync covers.
#[derive(Debug)]
enum Covered {
    File(u64, u64),
    Folder(Arc<str>, u64),
}

#[derive(Debug)]
struct Inner {
    boot: u64,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Counts writes and folder operations, so that a sync can say how far it reaches.
    next_seq: u64,
    dir: BTreeMap<String, u64>,
    dir_durable: BTreeMap<String, u64>,
    dir_pending: Vec<(u64, DirOp)>,
    /// Bytes that all files together may have.
    capacity: u64,
    /// Work left until the process is killed in the middle of it.
    fuse: Option<u64>,
    crashed: bool,
    fail_syncs: u32,
    /// What a sync costs that is waited for, and what all of them have cost.
    sync_ns: u64,
    synced_ns: u64,
    /// Set while a sync job runs whose end is to come later.
    deferred: Option<Vec<Covered>>,
}

/// A handle on one folder of the disk; clones share it. Made for one boot of the process.
#[derive(Clone, Debug)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    boot: u64,
    /// What the names of the folder's files begin with: nothing, or the folder's name and a slash.
    folder: Arc<str>,
}

/// An open file of [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl SimDisk {
    pub fn new(capacity: u64) -> SimDisk {
        let inner = Inner {
            boot: 0,
            inodes: BTreeMap::new(),
            next_inode: 1,
            next_seq: 1,
            dir: BTreeMap::new(),
            dir_durable: BTreeMap::new(),
            dir_pending: Vec::new(),
            capacity,
            fuse: None,
            crashed: false,
            fail_syncs: 0,
            sync_ns: 0,
            synced_ns: 0,
            deferred: None,
        };
        SimDisk {
            inner: Arc::new(Mutex::new(inner)),
            boot: 0,
            folder: "".into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A crash unwinds, and what it leaves behind is exactly what is to be looked at.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The process is gone; the machine is not: the page cache stays.
    pub fn process_crash(&self) -> SimDisk {
        let mut inner = self.lock();
        inner.boot += 1;
        inner.crashed = false;
        inner.fuse = None;
        inner.deferred = None;
        let boot = inner.boot;
        drop(inner);
        SimDisk {
            inner: self.inner.clone(),
            boot,
            folder: self.folder.clone(),
        }
    }

    /// Whether the fuse has burnt down.
    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Everything but the files named in `keep` is gone for good: another disk was put in.
    pub fn wipe(&self, keep: &[&str]) {
        let mut inner = self.lock();
        inner.dir_pending.clear();
        let kept = |name: &String, _: &mut u64| keep.contains(&name.as_str());
        inner.dir.retain(kept);
        inner.dir_durable.retain(kept);
    }

    /// A folder that is there, or a new one, durable then.
    pub fn make_folder(&self, name: &str) -> io::Result<SimDisk> {
        if !self.lock().dir.contains_key(name) {
            self.create(name)?;
            self.sync_dir()?;
        }
        Ok(SimDisk {
            folder: format!("{name}/").into(),
            ..self.clone()
        })
    }

    /// Removes a folder and what is in it.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        let prefix = format!("{name}/");
        let inside: Vec<String> = self.with(|d| {
            let names = d.dir.keys().filter(|n| n.starts_with(&prefix));
            Ok(names.cloned().collect())
        })?;
        for file in inside {
            self.with(|d| {
                d.dir_op(DirOp::Remove(file));
                Ok(())
            })?;
        }
        self.remove(name)?;
        self.sync_dir()
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// The machine is gone: of what was not synced, chance decides what is there afterwards.
    pub fn power_loss(&self, loss: Loss, rng: &mut Rng) -> SimDisk {
        {
            let mut inner = self.lock();
            let ops = std::mem::take(&mut inner.dir_pending);
            let mut dir = std::mem::take(&mut inner.dir_durable);
            files::settle_dir(&mut dir, ops, loss, rng);
            drop_orphans(&mut dir);
            inner.dir_durable = dir.clone();
            inner
                .inodes
                .retain(|inode, _| dir.values().any(|i| i == inode));
            for inode in inner.inodes.values_mut() {
                inode.settle(loss, rng);
            }
            inner.dir = dir;
        }
        self.process_crash()
    }

    /// Kills the process after `work` more bytes have been written (other operations cost a few).
    pub fn light_fuse(&self, work: u64) {
        self.lock().fuse = Some(work);
    }

    /// Work that is not the process's own burns nothing: what `look` does.
    pub fn look<R>(&self, look: impl FnOnce() -> R) -> R {
        let fuse = self.lock().fuse.take();
        let seen = look();
        self.lock().fuse = fuse;
        seen
    }

    pub fn put_out_fuse(&self) {
        self.lock().fuse = None;
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Whether nothing can be added to any file.
    pub fn is_full(&self) -> bool {
        let inner = self.lock();
        inner.used() >= inner.capacity
    }

    /// Bytes that all files have together.
    #[cfg(any(test, feature = "mutations"))]
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Lets the next sync of a file fail, as a device does once and then never again.
    pub fn fail_next_sync(&self) {
        self.lock().fail_syncs += 1;
    }

    /// What each sync costs from now on that its thread waits for.
    pub fn set_sync_time(&self, ns: u64) {
        self.lock().sync_ns = ns;
    }

    /// The time that such syncs have taken in all.
    pub fn synced_ns(&self) -> u64 {
        self.lock().synced_ns
    }

    /// Whether a sync to come will fail.
    pub fn will_fail(&self) -> bool {
        self.lock().fail_syncs > 0
    }

    /// Runs `job`, whose syncs return at once but count only when the read index is completed.
    pub fn deferred<R>(&self, job: impl FnOnce() -> R) -> (R, Ticket) {
        self.lock().deferred = Some(Vec::new());
        let result = job();
        let covers = self.lock().deferred.take().unwrap_or_default();
        (
            result,
            Ticket {
                boot: self.boot,
                covers,
            },
        )
    }

    /// The sync has reached the platter. One of an earlier boot comes too late to matter.
    pub fn complete(&self, ticket: Ticket) {
        let mut inner = self.lock();
        if inner.boot != ticket.boot {
            return;
        }
        for covered in ticket.covers {
            match covered {
                Covered::File(inode, seq) => {
                    if let Some(inode) = inner.inodes.get_mut(&inode) {
                        inode.sync(seq);
                    }
                }
                Covered::Folder(folder, seq) => inner.sync_dir(&folder, seq),
            }
        }
    }

    /// Does `op` unless the handle is dead or the fuse ends first.
    fn with<R>(&self, op: impl FnOnce(&mut Inner) -> io::Result<R>) -> io::Result<R> {
        let mut inner = self.lock();
        inner.alive(self.boot)?;
        if !inner.burn(OP_COST) {
            drop(inner);
            return crash();
        }
        op(&mut inner)
    }
}

/// Ends the process that runs this.
fn crash<R>() -> io::Result<R> {
    if std::thread::panicking() {
        return Err(io::Error::other("the process is dead"));
    }
    std::panic::resume_unwind(Box::new(Crash))
}

/// Files whose folder is gone.
fn drop_orphans(dir: &mut BTreeMap<String, u64>) {
    let folders: Vec<String> = dir.keys().cloned().collect();
    dir.retain(|name, _| match name.split_once('/') {
        Some((folder, _)) => folders.iter().any(|f| f == folder),
        None => true,
    });
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Inner {
    fn alive(&self, boot: u64) -> io::Result<()> {
        if self.boot != boot || self.crashed {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }

    /// Uses up fuse; false: this operation is the one that does not happen any more.
    fn burn(&mut self, cost: u64) -> bool {
        let Some(left) = &mut self.fuse else {
            return true;
        };
        if *left < cost {
            self.crashed = true;
            return false;
        }
        *left -= cost;
        true
    }

    fn used(&self) -> u64 {
        self.dir
            .values()
            .map(|i| self.inodes[i].cache.len() as u64)
            .sum()
    }

    fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    fn dir_op(&mut self, op: DirOp) {
        let seq = self.seq();
        op.apply(&mut self.dir);
        self.dir_pending.push((seq, op));
    }

    fn sync_dir(&mut self, folder: &str, upto: u64) {
        let pending = std::mem::take(&mut self.dir_pending);
        for (seq, op) in pending {
            if seq <= upto && op.folder() == folder {
                op.apply(&mut self.dir_durable);
            } else {
                self.dir_pending.push((seq, op));
            }
        }
        if folder.is_empty() {
            drop_orphans(&mut self.dir_durable);
        }
    }

    /// Writes, growing the file if need be and if there is room.
    fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let len = self.inodes[&inode].cache.len() as u64;
        if end > len && self.used() + (end - len) > self.capacity {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let seq = self.seq();
        self.inodes
            .get_mut(&inode)
            .expect("an open file")
            .write(seq, bytes, offset);
        Ok(())
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let of_folder = |name: &String| {
            let name = name.strip_prefix(&*self.folder)?;
            (!name.contains('/')).then(|| name.to_string())
        };
        self.with(|d| Ok(d.dir.keys().filter_map(of_folder).collect()))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let path = self.path(name);
        let inode = self.with(|d| d.dir.get(&path).copied().ok_or_else(|| not_found(name)))?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
        })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let inode = self.with(|d| {
            let inode = d.next_inode;
            d.next_inode += 1;
            d.inodes.insert(inode, Inode::default());
            d.dir_op(DirOp::Create(self.path(name), inode));
            Ok(inode)
        })?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|d| {
            if !d.dir.contains_key(&self.path(from)) {
                return Err(not_found(from));
            }
            d.dir_op(DirOp::Rename(self.path(from), self.path(to)));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|d| {
            if !d.dir.contains_key(&self.path(name)) {
                return Err(not_found(name));
            }
            d.dir_op(DirOp::Remove(self.path(name)));
            Ok(())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.with(|d| {
            let seq = d.next_seq;
            match &mut d.deferred {
                Some(covers) => covers.push(Covered::Folder(self.folder.clone(), seq)),
                None => d.sync_dir(&self.folder, seq),
            }
            Ok(())
        })
    }

    fn free_space(&self) -> io::Result<u64> {
        self.with(|d| Ok(d.capacity.saturating_sub(d.used())))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock();
        inner.alive(self.disk.boot)?;
        let cache = &inner.inodes[&self.inode].cache;
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(cache.len());
        let n = buf.len().min(cache.len() - from);
        buf[..n].copy_from_slice(&cache[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.alive(self.disk.boot)?;
        let left = inner.fuse.unwrap_or(u64::MAX);
        if !inner.burn(bytes.len() as u64) {
            // The last write of this process gets as far as the fuse lasts.
            let part = &bytes[..usize::try_from(left).expect("less than a slice's length")];
            let _ = inner.write(self.inode, part, offset);
            drop(inner);
            return crash();
        }
        inner.write(self.inode, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.with(|d| {
            let seq = d.next_seq;
            if d.fail_syncs > 0 {
                d.fail_syncs -= 1;
                d.inodes
                    .get_mut(&self.inode)
                    .expect("an open file")
                    .forget_dirty();
                return Err(io::Error::from_raw_os_error(5));
            }
            match &mut d.deferred {
                Some(covers) => covers.push(Covered::File(self.inode, seq)),
                None => {
                    d.synced_ns += d.sync_ns;
                    let inode = d.inodes.get_mut(&self.inode);
                    inode.expect("an open file").sync(seq);
                }
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk
            .with(|d| Ok(d.inodes[&self.inode].cache.len() as u64))
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        self.disk.with(|d| {
            let len = d.inodes[&self.inode].cache.len() as u64;
            let grow = to.saturating_sub(len);
            let room = d.capacity.saturating_sub(d.used());
            // What fits is taken even when all of it does not fit, as a real disk may do.
            let end = if grow > room { len + room } else { to };
            if end > from {
                let n = usize::try_from(end - from).expect("a file fits memory");
                d.write(self.inode, &vec![0; n], from)?;
            }
            if grow > room {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Ok(())
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.disk.with(|d| {
            d.inodes
                .get_mut(&self.inode)
                .expect("an open file")
                .drop_clean();
            Ok(())
        })
    }
}
