//! A group of one that makes its state the base's, and begins there (P8, P10).

use super::*;
use crate::testing::{made, write_snapshot};
use storage::{DiskFile, SnapshotMeta, StorageError};

/// Small segments, of which four are the floor.
pub(super) fn small(sync: SyncPolicy) -> ShardConfig {
    let mut config = config(sync);
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

pub(super) fn begin(sync: SyncPolicy) -> (tempfile::TempDir, Hand, Shard<RealDisk>) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let disk = RealDisk::new(folder.path());
    bootstrap(disk, small(sync).log, &base()).expect("a group can be founded");
    let shard = reopen(folder.path(), sync, &clock);
    (folder, clock, shard.expect("a shard opens"))
}

pub(super) fn reopen(
    folder: &std::path::Path,
    sync: SyncPolicy,
    clock: &Hand,
) -> Result<Shard<RealDisk>, ShardError> {
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let mut shard = Shard::open(RealDisk::new(folder), small(sync), clock.now(), &logger)?;
    while shard.is_loading() {
        shard.begin(clock.now())?;
        for done in shard.take_output().jobs.into_iter().filter_map(Job::run) {
            shard.job_done(clock.now(), done)?;
        }
    }
    settle(&mut shard, clock);
    Ok(shard)
}

/// So many writes of a few keys, 4 KiB each.
pub(super) fn fill(shard: &mut Shard<RealDisk>, clock: &Hand, count: usize) {
    for n in 0..count {
        settle(shard, clock);
        shard.begin(clock.now()).expect("a turn begins");
        set(shard, format!("key {}", n % 7).as_bytes(), &[n as u8; 4096]);
        shard.finish(clock).expect("a turn ends");
        let jobs = shard.take_output().jobs;
        work(shard, clock, jobs);
    }
    settle(shard, clock);
}

/// A snapshot of the state as it is, told to the shard.
pub(super) fn tell(
    folder: &std::path::Path,
    shard: &mut Shard<RealDisk>,
    clock: &Hand,
) -> SnapshotMeta {
    let mut snapshot = shard.state_now().expect("nothing is open");
    let disk = RealDisk::new(folder);
    let file = write_snapshot(&disk, shard.data().keyspace(), snapshot.entry());
    snapshot.file = Some(file.expect("a sound disk"));
    let done = made(snapshot.clone());
    shard.job_done(clock.now(), done).expect("it is taken in");
    snapshot
}

fn names(folder: &std::path::Path) -> Vec<String> {
    RealDisk::new(folder).list().expect("a folder")
}

pub(super) fn read(disk: &RealDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).expect("it is there");
    let mut bytes = vec![0; file.len().expect("a sound disk") as usize];
    let n = file.read_at(&mut bytes, 0).expect("a sound disk");
    assert_eq!(n, bytes.len());
    bytes
}

pub(super) fn write(disk: &RealDisk, name: &str, bytes: &[u8]) {
    let file = disk.create(name).expect("a sound disk");
    file.write_at(bytes, 0).expect("a sound disk");
}

#[test]
fn a_shard_begins_with_its_snapshot_and_the_log_behind_it() {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    for round in 1..4 {
        fill(&mut shard, &clock, 150);
        let first = shard.log().first_index();
        let snapshot = tell(folder.path(), &mut shard, &clock);
        fill(&mut shard, &clock, 3);
        assert_eq!(shard.snapshot_meta(), &snapshot);
        assert!(shard.log().first_index() > first);
        assert!(shard.log().first_index() <= snapshot.index);
        let kept = shard.log().end().0 - shard.base().start.expect("it moved").position.0;
        assert!(kept >= 4 * (60 << 10), "{kept}: the floor");
        // One snapshot, one base and the reserve beside the segments.
        assert_eq!(names(folder.path()).len(), shard.log().segment_count() + 3);
        let (digest, applied) = (
            shard.data().keyspace().digest_all(),
            shard.group().applied(),
        );
        drop(shard);
        shard = reopen(folder.path(), SyncPolicy::Always, &clock).expect("a shard opens");
        assert_eq!(
            shard.data().keyspace().digest_all(),
            digest,
            "round {round}"
        );
        // The start has appended the entry of its own term.
        assert_eq!(shard.group().applied(), applied + 1);
        assert_eq!(shard.snapshot_meta(), &snapshot);
    }
}

/// P10: with `appendfsync no` what is applied may not be on disk.
#[test]
fn a_state_waits_until_the_own_disk_has_its_entry() {
    let (folder, clock, mut shard) = begin(SyncPolicy::No);
    fill(&mut shard, &clock, 20);
    assert!(shard.log().durable() < shard.log().end());
    let snapshot = tell(folder.path(), &mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    shard.finish(&clock).expect("a turn ends");
    let jobs = shard.take_output().jobs;
    let is_switch = |job: &Job<RealDisk>| matches!(job, Job::Switch(_));
    assert!(!jobs.iter().any(is_switch), "the log comes first");
    assert!(jobs.iter().any(|job| matches!(job, Job::Sync(_))));
    work(&mut shard, &clock, jobs);
    settle(&mut shard, &clock);
    assert_eq!(shard.snapshot_meta(), &snapshot);
}

#[test]
fn what_is_no_newer_state_of_this_log_changes_nothing() {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, 10);
    let snapshot = tell(folder.path(), &mut shard, &clock);
    fill(&mut shard, &clock, 1);
    let changes: [fn(&mut SnapshotMeta); 4] = [
        |_| (),
        |s| s.index -= 1,
        |s| s.index += 100,
        |s| (s.index, s.term) = (s.index + 1, s.term + 1),
    ];
    for change in changes {
        let mut other = snapshot.clone();
        change(&mut other);
        let done = made(other);
        shard.job_done(clock.now(), done).expect("it is taken in");
        settle(&mut shard, &clock);
        assert_eq!(shard.snapshot_meta(), &snapshot);
    }
}

/// What is executed and not committed is in the keyspace and in no state.
#[test]
fn with_an_open_tail_there_is_no_state() {
    let (_folder, clock, mut shard) = begin(SyncPolicy::Always);
    assert!(shard.state_now().is_some());
    shard.begin(clock.now()).expect("a turn begins");
    set(&mut shard, b"k", b"v");
    assert!(shard.state_now().is_none(), "it is not even proposed");
    shard.finish(&clock).expect("a turn ends");
    assert!(shard.state_now().is_none());
    let jobs = shard.take_output().jobs;
    work(&mut shard, &clock, jobs);
    settle(&mut shard, &clock);
    assert!(shard.state_now().is_some());
}

/// D5: a base that can't be written ends nothing, and is tried again.
#[test]
fn a_switch_that_came_to_nothing_is_tried_again() {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, 10);
    let snapshot = tell(folder.path(), &mut shard, &clock);
    // A folder of that name is in the way.
    let temp = folder.path().join("base.tmp");
    std::fs::create_dir(&temp).expect("a folder");
    settle(&mut shard, &clock);
    assert_ne!(shard.snapshot_meta(), &snapshot);
    std::fs::remove_dir(&temp).expect("it is empty");
    settle(&mut shard, &clock);
    assert_ne!(shard.snapshot_meta(), &snapshot, "not at once");
    clock
        .0
        .set(shard.deadline().0.max(clock.0.get() + 1_000_000_000));
    settle(&mut shard, &clock);
    assert_eq!(shard.snapshot_meta(), &snapshot);
}

#[test]
fn a_state_that_is_gone_or_damaged_is_refused_by_name() {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, 10);
    let snapshot = tell(folder.path(), &mut shard, &clock);
    fill(&mut shard, &clock, 1);
    drop(shard);
    let name = snapshot.file_name().expect("it has one");
    let disk = RealDisk::new(folder.path());
    let good = read(&disk, &name);
    let refused = |bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => write(&disk, &name, bytes),
            None => disk.remove(&name).expect("it is there"),
        }
        let error = reopen(folder.path(), SyncPolicy::Always, &clock).map(|_| ());
        let error = error.expect_err("it can't begin");
        assert!(error.to_string().contains(&name), "{error}");
        assert!(error.to_string().contains("empty folder"), "{error}");
        error
    };
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 4;
    let damaged = |error| matches!(error, ShardError::State { .. });
    assert!(damaged(refused(Some(&bad))));
    assert!(damaged(refused(Some(&good[..good.len() - 1]))));
    assert!(damaged(refused(Some(&[&good[..], b"x"].concat()))));
    // Another file of the right form.
    let other = tempfile::tempdir().expect("a folder");
    let beside = RealDisk::new(other.path());
    let empty = Keyspace::new(Layout::Single { databases: 16 }, 7);
    write_snapshot(&beside, &empty, snapshot.entry()).expect("a sound disk");
    let [file] = &names(other.path())[..] else {
        panic!("one file was written");
    };
    assert!(damaged(refused(Some(&read(&beside, file)))));
    let gone = refused(None);
    assert!(matches!(
        gone,
        ShardError::Storage(StorageError::StateLost(_))
    ));
    write(&disk, &name, &good);
    reopen(folder.path(), SyncPolicy::Always, &clock).expect("as before");
}

/// D7: a member that is not alone drops nothing: others may lack it.
#[test]
fn a_group_of_three_trims_nothing() {
    let mut played = crate::testing::Played::leading(crate::testing::config());
    played.set(b"k", b"v");
    played.beats(&crate::testing::OTHERS, 100);
    let mut snapshot = played.shard.state_now().expect("all is committed");
    snapshot.file = Some(storage::StateFile { bytes: 1, crc64: 1 });
    let now = played.now();
    let told = played.shard.job_done(now, made(snapshot));
    told.expect("it is taken in");
    played.beats(&crate::testing::OTHERS, 100);
    assert_eq!(played.shard.snapshot_meta().index, 1);
}
