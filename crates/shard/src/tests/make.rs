//! Snapshots: of which index, on which disk, and what they change (P1, P2, D7, F23).

use super::*;
use crate::make::{CopyTo, NoSnapshot, SnapshotOrder};
use crate::testing::Played;
use keyspace::Layout;
use state::load::Loader;
use state::save::Origin;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use storage::snapshot::is_snapshot;
use storage::{Done, RealFile, SnapshotError, SnapshotResult};

/// What is wrong with the disk; with files of states alone.
#[derive(Default)]
pub(super) struct Faults {
    full: AtomicBool,
    fails_sync: AtomicBool,
    /// What is read differs from what was written.
    flips: AtomicBool,
    /// What was written last is not there.
    forgets: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Sick {
    disk: RealDisk,
    faults: Arc<Faults>,
}

pub(super) struct SickFile {
    file: RealFile,
    /// None: no file of a state.
    faults: Option<Arc<Faults>>,
}

impl Sick {
    fn new(folder: &Path) -> Sick {
        Sick {
            disk: RealDisk::new(folder),
            faults: Arc::default(),
        }
    }

    fn file(&self, name: &str, file: RealFile) -> SickFile {
        let of_state = is_snapshot(name) || name.starts_with("snapshot-") || name.contains("dump");
        SickFile {
            file,
            faults: of_state.then(|| Arc::clone(&self.faults)),
        }
    }
}

impl Disk for Sick {
    type File = SickFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<SickFile> {
        Ok(self.file(name, self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<SickFile> {
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_space(&self) -> io::Result<u64> {
        self.disk.free_space()
    }
}

impl SickFile {
    fn has(&self, fault: impl Fn(&Faults) -> &AtomicBool) -> bool {
        self.faults.as_ref().is_some_and(|f| fault(f).load(Relaxed))
    }
}

impl storage::DiskFile for SickFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut n = self.file.read_at(buf, offset)?;
        if n > 0 && self.has(|f| &f.forgets) {
            n -= 1;
        }
        if n > 0 && offset == 0 && self.has(|f| &f.flips) {
            buf[n / 2] ^= 1;
        }
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.has(|f| &f.full) {
            let half = &bytes[..bytes.len() / 2];
            self.file.write_at(half, offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.has(|f| &f.fails_sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.allocate(from, to)
    }
}

/// A server of its own, and the folder beside its member's for copies.
pub(super) struct One {
    pub folder: tempfile::TempDir,
    pub beside: tempfile::TempDir,
    pub disk: Sick,
    pub clock: Hand,
    pub shard: Shard<Sick>,
}

fn one_config(sync: SyncPolicy, layout: Layout) -> ShardConfig {
    let mut config = config(sync);
    config.layout = layout;
    config.log = LogConfig {
        segment_size: 64 << 10,
        spare_segments: 8,
        reserve: 8 << 10,
        freeing: 8 << 10,
        kept: Default::default(),
        floor: 0,
    };
    config
}

pub(super) const SINGLE: Layout = Layout::Single { databases: 16 };

impl One {
    pub fn new(sync: SyncPolicy, layout: Layout) -> One {
        let (folder, beside) = (tempfile::tempdir(), tempfile::tempdir());
        let (folder, beside) = (folder.expect("a folder"), beside.expect("a folder"));
        let (disk, clock) = (Sick::new(folder.path()), Hand(Cell::new(1)));
        let config = one_config(sync, layout);
        let mut base = base();
        if layout == Layout::Cluster {
            let all = (0..16384).collect();
            base.snapshot.record = topology::Record {
                slots: all,
                ..topology::Record::default()
            }
            .encode();
        }
        bootstrap(disk.clone(), config.log.clone(), &base).expect("a group can be founded");
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let shard = Shard::open(disk.clone(), config, clock.now(), &logger);
        let mut one = One {
            folder,
            beside,
            disk,
            clock,
            shard: shard.expect("a shard opens"),
        };
        one.settle();
        one
    }

    fn reopen(self) -> One {
        let sync = self.shard.config.sync;
        let config = one_config(sync, self.shard.config.layout);
        drop(self.shard);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let shard = Shard::open(self.disk.clone(), config, self.clock.now(), &logger);
        let mut one = One {
            shard: shard.expect("a shard opens"),
            ..self
        };
        one.settle();
        one
    }

    pub fn turn(&mut self) -> Vec<Job<Sick>> {
        self.shard.begin(self.clock.now()).expect("a turn begins");
        self.shard.finish(&self.clock).expect("a turn ends");
        self.shard.walk_snapshot(&self.clock);
        self.shard.take_output().jobs
    }

    pub fn work(&mut self, jobs: Vec<Job<Sick>>) {
        for done in jobs.into_iter().filter_map(Job::run) {
            self.done(done);
        }
    }

    fn done(&mut self, done: Done<Sick>) {
        let taken = self.shard.job_done(self.clock.now(), done);
        taken.expect("a job is taken in");
    }

    /// Turns until its disk has nothing left to do but snapshots; these.
    pub fn settle_but(&mut self) -> Vec<Job<Sick>> {
        let mut snapshots = Vec::new();
        loop {
            let jobs = self.turn();
            if jobs.is_empty() && !self.shard.has_unapplied() {
                return snapshots;
            }
            let (made, others) = jobs.into_iter().partition(is_snapshot_job);
            snapshots.extend::<Vec<_>>(made);
            self.work(others);
        }
    }

    pub fn settle(&mut self) {
        loop {
            let snapshots = self.settle_but();
            if snapshots.is_empty() {
                return;
            }
            self.work(snapshots);
        }
    }

    /// Executes and proposes; its disk has done nothing yet.
    pub fn execute(&mut self, change: impl FnOnce(&mut StateMachine)) -> Vec<Job<Sick>> {
        self.shard.begin(self.clock.now()).expect("a turn begins");
        let data = self.shard.data_mut();
        data.begin_command(0, Access::Lead);
        change(data);
        data.end_command();
        self.shard.finish(&self.clock).expect("a turn ends");
        self.shard.take_output().jobs
    }

    pub fn write(&mut self, key: &[u8], value: &[u8], ttl: Ttl) -> Vec<Job<Sick>> {
        self.execute(|data| {
            let key = data.key(key);
            data.set(&key, value, ttl);
        })
    }

    /// So many writes of a few keys, 4 KiB each.
    pub fn fill(&mut self, count: usize) {
        for n in 0..count {
            let key = format!("key {}", n % 7);
            let jobs = self.write(key.as_bytes(), &[n as u8; 4096], Ttl::Clear);
            self.work(jobs);
            self.settle();
        }
    }

    pub fn order(&mut self, copy: bool) -> Result<(), NoSnapshot> {
        let order = self.to_order(copy);
        self.shard.order_snapshot(order).map(drop)
    }

    pub fn to_order(&self, copy: bool) -> SnapshotOrder<Sick> {
        let to = CopyTo {
            folder: Sick {
                disk: RealDisk::new(self.beside.path()),
                faults: Arc::clone(&self.disk.faults),
            },
            name: "dump.rdb".to_owned(),
        };
        SnapshotOrder {
            origin: Origin {
                redis_version: "7.4.1".to_owned(),
                unix_seconds: 1_700_000_000,
                used_memory: 1 << 20,
            },
            compress: true,
            copy: copy.then_some(to),
            open: false,
        }
    }

    /// Orders one and lets it be made.
    fn snapshot(&mut self, copy: bool) -> SnapshotResult {
        self.order(copy).expect("none is under way");
        self.settle();
        self.shard.take_snapshot().expect("it was ordered")
    }

    pub fn digest(&self) -> [u8; 20] {
        self.shard.data().keyspace().digest_all()
    }

    fn copy(&self) -> Vec<u8> {
        super::log_end::read(&RealDisk::new(self.beside.path()), "dump.rdb")
    }

    /// The digest of the keys of the copy.
    pub fn copied(&self) -> [u8; 20] {
        let bytes = self.copy();
        let layout = self.shard.config.layout;
        let mut loader = Loader::new(Keyspace::new(layout, 99));
        loader.feed(&bytes).expect("a sound file");
        loader.finish().expect("a sound file").0.digest_all()
    }

    /// Files of states, named or not.
    fn states(&self) -> Vec<String> {
        let names = self.disk.list().expect("a folder");
        let of_state = names.into_iter().filter(|n| n.starts_with("snapshot-"));
        of_state.collect()
    }
}

pub(super) fn is_snapshot_job<D: Disk>(job: &Job<D>) -> bool {
    matches!(job, Job::Snapshot(_))
}

#[test]
fn a_snapshot_becomes_the_base_and_trims_the_log() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    for round in 1..4 {
        one.fill(150);
        let jobs = one.write(b"soon gone", b"v", Ttl::At(1 << 40));
        one.work(jobs);
        one.settle();
        let (first, digest) = (one.shard.log().first_index(), one.digest());
        let at = one.shard.group().applied();
        let made = one.snapshot(true).expect("a sound disk");
        assert!(made.kept && made.keys == 8 && made.meta.index == at);
        assert!(matches!(made.copied, Some(Ok(()))), "{:?}", made.copied);
        assert_eq!(one.shard.snapshot_meta(), &made.meta);
        assert!(one.shard.log().first_index() > first, "round {round}");
        assert_eq!(one.states().len(), 1);
        assert_eq!(one.copied(), digest);
        one = one.reopen();
        assert_eq!(one.digest(), digest, "round {round}");
        assert_eq!(one.shard.snapshot_meta(), &made.meta);
    }
}

#[test]
fn what_comes_during_a_snapshot_is_not_in_it() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(40);
    one.order(true).expect("none is under way");
    assert_eq!(one.order(true), Err(NoSnapshot::UnderWay));
    let (at, before) = (one.shard.snapshot_at().expect("it is whole"), one.digest());
    let jobs = one.settle_but();
    assert!(!jobs.is_empty());
    one.fill(300);
    one.work(jobs);
    assert_eq!(one.copied(), before);
    let made = one.shard.take_snapshot().expect("it is made");
    assert_eq!(made.expect("a sound disk").meta.entry(), at);
    one.settle();
    assert_eq!(one.shard.snapshot_meta().entry(), at);
    let after = one.digest();
    assert_eq!(one.reopen().digest(), after);
}

/// F6: what the base names is not made again: it would be another file of the same entry.
#[test]
fn a_second_snapshot_of_an_entry_is_the_first() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    let made = one.snapshot(false).expect("a sound disk");
    assert!(made.copied.is_none());
    let again = one.snapshot(true).expect("a sound disk");
    assert_eq!((&again.meta, again.keys), (&made.meta, 7));
    assert_eq!(one.copied(), one.digest());
    assert_eq!(one.states().len(), 1);
    // A damaged one is no answer, and changes nothing.
    one.disk.faults.flips.store(true, Relaxed);
    let error = one.snapshot(true).expect_err("it is damaged");
    assert!(matches!(error, SnapshotError::State(_)), "{error}");
    assert_eq!(one.shard.snapshot_meta(), &made.meta);
    assert_eq!(one.states().len(), 1);
}

/// P26: the base moves on and the file's name goes; what is held open is whole all the same.
#[test]
fn a_file_that_is_held_open_outlives_its_name() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(40);
    let digest = one.digest();
    let mut order = one.to_order(false);
    order.open = true;
    one.shard.order_snapshot(order).expect("none is under way");
    one.settle();
    let made = one.shard.take_snapshot().expect("it was ordered");
    let made = made.expect("a sound disk");
    let first = one.states();
    one.fill(10);
    one.snapshot(false).expect("a sound disk");
    assert!(one.states().len() == 1 && one.states() != first);
    let opened = made.opened.expect("it was to be held open");
    let opened = opened.expect("a sound disk");
    let whole = storage::DownloadJob {
        ticket: 1,
        of: opened.clone(),
        offset: 0,
    };
    let bytes = whole.run().piece.expect("a sound disk");
    assert_eq!(bytes.len() as u64, opened.bytes(), "one piece");
    let mut loader = Loader::new(Keyspace::new(SINGLE, 99));
    loader.feed(&bytes).expect("a sound file");
    let loaded = loader.finish().expect("a sound file").0;
    assert_eq!(loaded.digest_all(), digest);
}

/// P1: with `appendfsync no` what is applied may not be on disk, and large values not even written (T8).
#[test]
pub(super) fn a_snapshot_waits_for_the_own_disk() {
    let mut one = One::new(SyncPolicy::No, SINGLE);
    one.fill(10);
    assert!(one.shard.log().durable() < one.shard.log().end());
    one.order(false).expect("none is under way");
    let mut syncs = Vec::new();
    for _ in 0..5 {
        let (made, others) = one.turn().into_iter().partition(is_snapshot_job);
        one.work(made);
        syncs.extend::<Vec<_>>(others);
    }
    assert!(
        one.shard.take_snapshot().is_none(),
        "its entry is not on disk yet"
    );
    assert!(syncs.iter().any(|job| matches!(job, Job::Sync(_))));
    one.work(syncs);
    one.settle();
    let made = one.shard.take_snapshot().expect("it is made");
    made.expect("a sound disk");
}

/// F23: nothing has changed but a file that is gone.
fn comes_to_nothing(one: &mut One, fault: fn(&Faults) -> &AtomicBool) -> SnapshotError {
    one.fill(10);
    let before = one.shard.base().clone();
    let states = one.states();
    fault(&one.disk.faults).store(true, Relaxed);
    let error = one.snapshot(true).expect_err("it comes to nothing");
    fault(&one.disk.faults).store(false, Relaxed);
    assert_eq!(one.shard.base(), &before);
    assert_eq!(one.states(), states, "{error}");
    error
}

#[test]
fn a_snapshot_that_fails_changes_nothing() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    let full = comes_to_nothing(&mut one, |f| &f.full);
    assert!(
        matches!(&full, SnapshotError::Disk(e) if e.is_full()),
        "{full}"
    );
    let sync = comes_to_nothing(&mut one, |f| &f.fails_sync);
    assert!(matches!(sync, SnapshotError::Disk(_)), "{sync}");
    // It goes on, and the next one is whole.
    one.fill(10);
    let made = one.snapshot(true).expect("a sound disk");
    assert_eq!(one.shard.snapshot_meta(), &made.meta);
    assert_eq!(one.copied(), one.digest());
    let digest = one.digest();
    assert_eq!(one.reopen().digest(), digest);
}

/// P2: what the disk gives back decides, not what was written.
#[test]
pub(super) fn a_file_that_reads_back_otherwise_gets_no_name() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    let faults: [fn(&Faults) -> &AtomicBool; 2] = [|f| &f.flips, |f| &f.forgets];
    for fault in faults {
        let differs = comes_to_nothing(&mut one, fault);
        let what = differs.to_string();
        assert!(what.contains("does not read back as"), "{what}");
    }
}

#[test]
fn a_copy_that_fails_leaves_the_old_copy() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    one.snapshot(true).expect("a sound disk");
    let old = one.copied();
    one.fill(20);
    // A folder is in the way of its temporary file.
    let raft_id = one.shard.identity().raft_id;
    let temp = one.beside.path().join(format!("temp-{raft_id:016x}.rdb"));
    std::fs::create_dir(&temp).expect("a folder");
    let made = one.snapshot(true).expect("the state itself is whole");
    assert!(matches!(made.copied, Some(Err(_))), "{:?}", made.copied);
    assert_eq!(one.shard.snapshot_meta(), &made.meta);
    assert_eq!(one.copied(), old);
}

/// F23: what keeps the base from being replaced may last, and a save has nothing to do with it.
#[test]
fn saves_go_on_beside_a_stuck_base() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    one.snapshot(false).expect("a sound disk");
    let old = one.shard.snapshot_meta().clone();
    one.fill(10);
    // A folder is in the way of what is to become the base.
    let temp = one.folder.path().join("base.tmp");
    std::fs::create_dir(&temp).expect("a folder");
    let waits = one.snapshot(false).expect("the file is whole").meta;
    assert_eq!(one.shard.snapshot_meta(), &old);
    let why = one.shard.switch_failure().expect("it was tried");
    assert!(why.contains("base.tmp"), "{why}");
    // Of the same entry, and of a later one.
    for more in [0, 3] {
        one.fill(more);
        let made = one.snapshot(true).expect("a sound disk");
        assert!(matches!(made.copied, Some(Ok(()))), "{:?}", made.copied);
        assert_eq!(one.copied(), one.digest());
        assert_eq!(one.states().len(), 2, "what frees nothing is not kept");
        // P26: one for clients has nothing to do with it either.
        let mut order = one.to_order(false);
        order.open = true;
        one.shard.order_snapshot(order).expect("none is under way");
        one.settle();
        let made = one.shard.take_snapshot().expect("it was ordered");
        let opened = made.expect("a sound disk").opened;
        assert!(matches!(opened, Some(Ok(_))), "{opened:?}");
        assert_eq!(one.states().len(), 2);
    }
    let error = one.snapshot(false).expect_err("a second one frees nothing");
    assert!(error.to_string().contains("base.tmp"), "{error}");
    std::fs::remove_dir(&temp).expect("it is empty");
    let due = one
        .shard
        .deadline()
        .0
        .max(one.clock.0.get() + 1_000_000_000);
    one.clock.0.set(due);
    one.settle();
    assert_eq!(one.shard.snapshot_meta(), &waits);
    assert_eq!((one.shard.switch_failure(), one.states().len()), (None, 1));
    let digest = one.digest();
    let one = one.reopen();
    assert_eq!(one.digest(), digest);
}

/// P8: what is of no use fills the disk as what is of use does: an operator has to hear of it.
#[test]
fn file_that_stays_is_told_and_removed_later() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    one.snapshot(false).expect("a sound disk");
    // A folder has taken the place of the state that is about to be of no use.
    let name = one.states().remove(0);
    one.disk.remove(&name).expect("it was there");
    let folder = one.folder.path().join(&name);
    std::fs::create_dir(&folder).expect("a folder");
    one.fill(10);
    one.snapshot(false).expect("a sound disk");
    let why = one.shard.removal_failure().expect("it was tried");
    assert!(why.contains(&name), "{why}");
    assert_eq!(one.states().len(), 2);
    std::fs::remove_dir(&folder).expect("it is empty");
    one.disk.create(&name).expect("what stood there");
    assert!(one.shard.removal_failure().is_some(), "not yet");
    one.clock.0.set(one.clock.0.get() + 1_000_000_000);
    one.settle();
    assert_eq!((one.shard.removal_failure(), one.states().len()), (None, 1));
}

/// Memory is the only whole copy then: an operator must not end the server.
#[test]
fn damaged_base_is_told_with_what_not_to_do() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    one.snapshot(false).expect("a sound disk");
    let name = one.shard.snapshot_meta().file_name().expect("it has one");
    let disk = RealDisk::new(one.folder.path());
    let mut bytes = super::log_end::read(&disk, &name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    super::log_end::write(&disk, &name, &bytes);
    let told = one.snapshot(true).expect_err("damaged").to_string();
    assert!(told.contains("do not end this server"), "{told}");
    assert!(!told.contains("empty folder"), "{told}");
    assert_eq!(one.states(), std::slice::from_ref(&name));
    disk.remove(&name).expect("it is there");
    let told = one.snapshot(true).expect_err("missing").to_string();
    assert!(told.contains("do not end this server"), "{told}");
    // One of a later entry needs no file, and mends it.
    one.fill(3);
    let made = one.snapshot(true).expect("memory is whole");
    assert_eq!(one.shard.snapshot_meta(), &made.meta);
    let digest = one.digest();
    assert_eq!(one.reopen().digest(), digest);
}

/// A cut reads nothing that the base names, so the base need not wait for it.
#[test]
fn base_moves_on_while_a_snapshot_is_made() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    let temp = one.folder.path().join("base.tmp");
    std::fs::create_dir(&temp).expect("a folder");
    let waits = one.snapshot(false).expect("the file is whole").meta;
    one.fill(3);
    one.order(true).expect("none is under way");
    let jobs = one.settle_but();
    assert!(!jobs.is_empty(), "a snapshot is being made");
    std::fs::remove_dir(&temp).expect("it is empty");
    let later = one.clock.0.get() + 2_000_000_000;
    one.clock.0.set(later);
    assert!(one.settle_but().is_empty());
    assert_eq!(one.shard.snapshot_meta(), &waits);
    one.work(jobs);
    one.settle();
    let made = one.shard.take_snapshot().expect("it was ordered");
    made.expect("a sound disk");
    assert_eq!(one.copied(), one.digest());
    assert_eq!(one.states().len(), 1);
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    one.order(true).expect("none is under way");
    // Before its thread has it.
    one.shard.give_up_snapshot();
    one.settle();
    let result = one.shard.take_snapshot().expect("it is told");
    assert!(matches!(result, Err(SnapshotError::GivenUp)));
    // When it has: the end of the process waits for a moment only.
    one.order(true).expect("none is under way");
    let jobs = one.settle_but();
    one.shard.close().expect("a sound disk");
    one.work(jobs);
    let result = one.shard.take_snapshot().expect("it is told");
    assert!(matches!(result, Err(SnapshotError::GivenUp)));
    assert!(one.states().is_empty());
    assert!(!one.beside.path().join("dump.rdb").exists());
}

#[test]
fn a_shard_that_ends_gives_its_snapshot_up() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    one.order(true).expect("none is under way");
    let jobs = one.settle_but();
    let One { shard, folder, .. } = one;
    drop(shard);
    let done: Vec<_> = jobs.into_iter().filter_map(Job::run).collect();
    let given_up = |done: &&Done<Sick>| matches!(done, Done::Snapshot(Err(SnapshotError::GivenUp)));
    assert_eq!(done.iter().filter(given_up).count(), 1);
    let made = |done: &Done<Sick>| matches!(done, Done::Snapshot(Ok(_)));
    assert!(!done.iter().any(made));
    let names = RealDisk::new(folder.path()).list().expect("a folder");
    assert!(!names.iter().any(|n| n.starts_with("snapshot-")));
}

#[test]
fn progress_is_seen_from_outside() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(10);
    assert!(one.shard.snapshot_progress().is_none());
    one.order(false).expect("none is under way");
    let progress = Arc::clone(one.shard.snapshot_progress().expect("it is under way"));
    assert_eq!((progress.keys(), progress.bytes()), ((0, 7), 0));
    one.settle();
    assert_eq!(progress.keys(), (7, 7));
    let file = one.shard.snapshot_meta().file.expect("a file");
    assert_eq!(progress.bytes(), file.bytes);
    assert!(one.shard.snapshot_progress().is_none());
}

/// What the file says of itself is a base from which a member could begin.
#[test]
fn a_file_carries_the_base_of_its_group() {
    let mut one = One::new(SyncPolicy::Always, Layout::Cluster);
    one.fill(10);
    let made = one.snapshot(true).expect("a sound disk");
    let bytes = one.copy();
    let (mut reader, mut rest) = (rdb::file::Reader::new(usize::MAX), &bytes[..]);
    let mut fields = std::collections::BTreeMap::new();
    while let Some(item) = reader.next(&mut rest, &mut || {}).expect("a sound file") {
        if let rdb::file::Item::Aux { name, value } = item {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            fields.insert(text(&name), text(&value));
        }
    }
    assert_eq!(fields["hf-index"], made.meta.index.to_string());
    assert_eq!(fields["hf-term"], made.meta.term.to_string());
    assert_eq!(fields["hf-group"], "0000000000000001");
    assert_eq!(fields["hf-incarnation"], "1");
    let hex = &fields["hf-base"];
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let base: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let base = Base::from_bytes(&base).expect("a base");
    assert_eq!(base.identity.raft_id, RaftId::default());
    assert_eq!(base.identity.group, GroupId(1));
    let want = SnapshotMeta {
        file: None,
        ..made.meta.clone()
    };
    assert_eq!(base.snapshot, want);
}

/// P1, T8: a unit in parts is whole, or not in it at all.
#[test]
pub(super) fn a_unit_in_parts_is_waited_for() {
    let mut played = Played::leading(crate::testing::config());
    let others = crate::testing::OTHERS;
    played.beats(&others, 100);
    let whole = played.shard.group().applied();
    // A unit of several parts, of which the first is applied in a turn of its own.
    played.shard.config.sizes.apply_slice = 1;
    played.set(b"large", &vec![7; 5 << 20]);
    for _ in 0..40 {
        let applied = played.shard.group().applied();
        let mut at = None;
        if played.shard.order_snapshot(order_alone()).is_ok() {
            at = played.shard.snapshot_at();
            played.shard.give_up_snapshot();
        }
        let last = played.shard.group().last_index();
        let at = at.expect("the keyspace is the state as of the last entry");
        assert_eq!(at.index, last, "it ends inside a unit: of {whole}..{last}");
        played.beat(&others);
        played.beat(&others);
        if applied == last {
            return;
        }
    }
    panic!("it is never applied");
}

pub(super) fn order_alone() -> SnapshotOrder<RealDisk> {
    SnapshotOrder {
        origin: Origin::default(),
        compress: false,
        copy: None,
        open: false,
    }
}
